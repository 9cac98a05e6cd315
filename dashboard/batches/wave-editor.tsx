import { Button } from '../parts/basics.tsx';
import { Check, Field, TextInput } from '../parts/fields.tsx';
import { PlusIcon } from '../parts/icons.tsx';
import { type WaveDraft, waveDraft } from './draft.ts';

interface WaveEditorProps {
  readonly waves: readonly WaveDraft[];
  readonly onChange: (waves: readonly WaveDraft[]) => void;
}

export function WaveEditor({ waves, onChange }: WaveEditorProps) {
  const set = (key: number, part: Partial<WaveDraft>) =>
    onChange(waves.map((wave) => (wave.key === key ? { ...wave, ...part } : wave)));
  const add = () => {
    const key = Math.max(0, ...waves.map((wave) => wave.key)) + 1;
    onChange([...waves, waveDraft(key)]);
  };
  return (
    <div className="stack">
      {waves.map((wave, index) => (
        <fieldset key={wave.key} className="wave-draft">
          <legend>Wave {index + 1}</legend>
          <WaveFields wave={wave} onChange={(part) => set(wave.key, part)} />
          {waves.length > 1 && (
            <button
              type="button"
              className="link"
              onClick={() => onChange(waves.filter(({ key }) => key !== wave.key))}
            >
              Remove wave {index + 1}
            </button>
          )}
        </fieldset>
      ))}
      <div>
        <Button onClick={add}>
          <PlusIcon />
          Add a wave
        </Button>
      </div>
    </div>
  );
}

interface WaveFieldsProps {
  readonly wave: WaveDraft;
  readonly onChange: (part: Partial<WaveDraft>) => void;
}

const plain = waveDraft(0);

function WaveFields({ wave, onChange }: WaveFieldsProps) {
  const text = (field: Exclude<keyof WaveDraft, 'key' | 'approval'>, label: string, placeholder: string) => (
    <Field label={label}>
      {(id) => (
        <TextInput
          id={id}
          value={wave[field]}
          placeholder={placeholder}
          onChange={(value) => onChange({ [field]: value.trim() })}
        />
      )}
    </Field>
  );
  return (
    <>
      <div className="field-row tight">
        {text('share', 'Clusters', 'the rest')}
        {text('maxConcurrent', 'At once', plain.maxConcurrent)}
        {text('failureBudget', 'May fail', plain.failureBudget)}
        {text('outageBudget', 'Outage, s', 'any')}
        {text('soakMinutes', 'Soak, min', plain.soakMinutes)}
      </div>
      <Check
        label="Wait for an approval before it starts"
        isChecked={wave.approval}
        onChange={(approval) => onChange({ approval })}
      />
    </>
  );
}
