import { Check, Choices, Field, TextInput } from '../parts/fields.tsx';
import type { PolicyDraft, PolicyProblems } from './policy.ts';

interface PolicyFormProps {
  readonly draft: PolicyDraft;
  readonly problems: PolicyProblems;
  readonly onChange: (change: Partial<PolicyDraft>) => void;
}

/** A few questions are visible, each with a default answer; the others are shown when the user asks for them. */
export function PolicyForm({ draft, problems, onChange }: PolicyFormProps) {
  return (
    <div className="stack">
      <Choices
        legend="When a step keeps failing"
        value={draft.onFailure}
        onChange={(onFailure) => onChange({ onFailure })}
        options={[
          {
            value: 'pause',
            label: 'Pause',
            hint: 'It stops and waits for you: retry, roll back or cancel.',
          },
          {
            value: 'rollback',
            label: 'Roll back',
            hint: 'It takes every instance back to the present version by itself.',
          },
          {
            value: 'fail',
            label: 'Fail',
            hint: 'It ends there. Instances stay as they are, and the record says which runs what.',
          },
        ]}
      />
      <Check
        label="Try it on one instance first"
        hint="After the first instance it pauses until somebody approves: a canary."
        isChecked={draft.canary !== ''}
        onChange={(isChecked) => onChange({ canary: isChecked ? '1' : '' })}
      />
      {draft.canary !== '' && (
        <Field label="Instances before the approval" problem={problems.canary}>
          {(id) => (
            <TextInput
              id={id}
              type="number"
              min={1}
              value={draft.canary}
              onChange={(canary) => onChange({ canary: canary === '' ? '0' : canary })}
            />
          )}
        </Field>
      )}
      <details>
        <summary>More settings</summary>
        <MoreSettings draft={draft} problems={problems} onChange={onChange} />
      </details>
    </div>
  );
}

type TextField = Exclude<keyof PolicyDraft, 'onFailure' | 'overrides'>;

function MoreSettings({ draft, problems, onChange }: PolicyFormProps) {
  const text = (
    field: TextField,
    label: string,
    hint: string,
    type: 'text' | 'number' | 'datetime-local' = 'number',
  ) => (
    <Field label={label} hint={hint} problem={problems[field]}>
      {(id) => (
        <TextInput
          id={id}
          type={type}
          value={draft[field]}
          onChange={(value) => onChange({ [field]: value })}
        />
      )}
    </Field>
  );
  return (
    <div className="stack settings">
      <div className="field-row">
        {text('maxUnavailable', 'Out of service at once', 'Instances, or a percentage such as 25%.', 'text')}
        {text('soakSeconds', 'Soak, seconds', 'Health must hold so long after each step.')}
        {text('retries', 'Retries', 'Of each step, beyond the first attempt.')}
      </div>
      <div className="field-row">
        {text('stepTimeoutSeconds', 'Step timeout, seconds', 'For one attempt.')}
        {text('timeoutSeconds', 'Whole timeout, seconds', 'Without the time it waits for a person.')}
        {text('notBefore', 'Start no step before', 'In your time zone; empty: at once.', 'datetime-local')}
      </div>
      {text(
        'windowCron',
        'Only in a window that opens',
        'Minute, hour, day of month, month, day of week: 0 2 * * 6,0 is Saturdays and Sundays at two. Empty: at any time.',
        'text',
      )}
      {draft.windowCron !== '' && (
        <div className="field-row">
          {text('windowMinutes', 'Window length, minutes', 'A step starts only if it can finish in it.')}
          {text('windowZone', 'Window time zone', 'By whose clock it opens: Europe/Berlin.', 'text')}
        </div>
      )}
    </div>
  );
}
