/** The state of many clusters as one bar. */
import type { BatchDocument } from '../../client/index.ts';
import { MEMBER_WORDS } from '../words.ts';

type Counts = BatchDocument['counts'];
type Name = keyof Counts;

const ORDER: readonly Name[] = [
  'succeeded',
  'running',
  'failed',
  'waiting',
  'queued',
  'skipped',
  'cancelled',
];

export function CountsBar({ counts, label }: { readonly counts: Counts; readonly label: string }) {
  const total = ORDER.reduce((sum, name) => sum + counts[name], 0);
  const present = ORDER.filter((name) => counts[name] > 0);
  const words = present.map((name) => `${counts[name]} ${MEMBER_WORDS[name].text.toLowerCase()}`).join(', ');
  return (
    <div className="counts">
      <div className="counts-bar" role="img" aria-label={`${label}: ${words || 'none'}`}>
        {present.map((name) => (
          <span
            key={name}
            className={`${name} ${MEMBER_WORDS[name].tone}`}
            title={`${counts[name]} ${MEMBER_WORDS[name].text.toLowerCase()}`}
            style={{ width: `${(counts[name] / total) * 100}%` }}
          />
        ))}
      </div>
      <div className="counts-text" aria-hidden="true">
        {present.map((name) => (
          <span key={name} className={MEMBER_WORDS[name].tone}>
            <b>{counts[name]}</b> {MEMBER_WORDS[name].text.toLowerCase()}
          </span>
        ))}
      </div>
    </div>
  );
}
