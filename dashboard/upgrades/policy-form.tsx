import { Check, Choices, Field, TextInput } from '../parts/fields.tsx';
import { DEFAULT_DRAFT, isAsked, type PolicyDraft, type PolicyProblems, TEXT_INPUTS } from './policy.ts';

type Input = (typeof TEXT_INPUTS)[number];

interface PolicyFormProps {
  readonly draft: PolicyDraft;
  readonly problems: PolicyProblems;
  readonly onChange: (change: Partial<PolicyDraft>) => void;
}

/** A few questions are visible, each with a default answer; the others are shown when the user asks for them. */
export function PolicyForm(form: PolicyFormProps) {
  const inputs = (asked: Input['asked']) =>
    TEXT_INPUTS.filter((input) => input.asked === asked && isAsked(input, form.draft)).map((input) => (
      <PolicyQuestion key={input.name} input={input} {...form} />
    ));
  return (
    <div className="stack">
      {inputs('at_once')}
      <details>
        <summary>More settings</summary>
        <div className="field-row">{inputs('further')}</div>
      </details>
    </div>
  );
}

function PolicyQuestion({ input, draft, problems, onChange }: PolicyFormProps & { readonly input: Input }) {
  const { name } = input;
  const change = (value: string) => onChange({ [name]: value });
  if (input.kind === 'choice') {
    const options = Object.entries(input.choices).map(([value, { label, meaning: hint }]) => ({
      value,
      label,
      hint,
    }));
    return <Choices legend={input.label} value={draft[name]} onChange={change} options={options} />;
  }
  const offer = 'offer' in input ? input.offer : undefined;
  const isOff = offer !== undefined && draft[name] === DEFAULT_DRAFT[name];
  return (
    <>
      {offer && (
        <Check
          label={offer.label}
          hint={offer.meaning}
          isChecked={!isOff}
          onChange={(isChecked) => change(isChecked ? offer.value : DEFAULT_DRAFT[name])}
        />
      )}
      {!isOff && (
        <Field label={labelOf(input)} hint={hintOf(input)} problem={problems[name]}>
          {(id) => <TextInput id={id} {...controlOf(input)} value={draft[name]} onChange={change} />}
        </Field>
      )}
    </>
  );
}

function labelOf({ label, kind }: Input): string {
  return kind === 'seconds' ? `${label}, seconds` : label;
}

function hintOf({ meaning, example, kind }: Input): string {
  if (kind === 'time') return `${meaning} In your time zone; empty: at once.`;
  return example === undefined ? meaning : `${meaning} For example: ${example}`;
}

function controlOf(input: Input) {
  if (input.kind === 'time') return { type: 'datetime-local' } as const;
  if (input.kind !== 'count' && input.kind !== 'seconds') return {};
  return { type: 'number', min: input.least, max: input.most } as const;
}
