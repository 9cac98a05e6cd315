/** The waves of a batch: the progress of each, and what is left of its budgets. */
import type { BatchDocument, WaveDocument } from '../../client/index.ts';
import { count, duration } from '../format.ts';
import { Progress } from '../parts/basics.tsx';
import { Lasted } from '../parts/when.tsx';
import { isBatchOver } from '../words.ts';
import { CountsBar } from './counts.tsx';

export function Waves({ batch }: { readonly batch: BatchDocument }) {
  return (
    <ol className="waves">
      {batch.waves.map((wave) => (
        <WaveRow
          key={wave.number}
          wave={wave}
          isCurrent={wave.number === batch.wave && !isBatchOver(batch)}
        />
      ))}
    </ol>
  );
}

function WaveRow({ wave, isCurrent }: { readonly wave: WaveDocument; readonly isCurrent: boolean }) {
  const { number, size, counts, max_concurrent, soak_seconds, approval, started, ended } = wave;
  return (
    <li className={isCurrent ? 'current' : ''} aria-current={isCurrent ? 'step' : undefined}>
      <div className="wave-head">
        <h3>Wave {number}</h3>
        <span className="quiet">
          {count(size, 'cluster')}, {max_concurrent} at once
          {soak_seconds > 0 && `, soaks ${duration(soak_seconds * 1000)}`}
          {approval && ', needs an approval'}
        </span>
        <span className="quiet wave-time">
          {started ? <Lasted from={started} to={ended} /> : 'not started'}
        </span>
      </div>
      <CountsBar counts={counts} label={`Wave ${number}`} />
      <div className="budgets">
        <FailureBudget wave={wave} />
        <OutageBudget wave={wave} />
      </div>
    </li>
  );
}

function FailureBudget({ wave }: { readonly wave: WaveDocument }) {
  const { failed } = wave.counts;
  const allowed = wave.failures_allowed;
  const isOver = failed > allowed;
  return (
    <div className="budget">
      <span className={isOver ? 'bad' : ''}>
        {failed} of {allowed} failures allowed
      </span>
      <Progress
        label={`Failure budget of wave ${wave.number}`}
        value={failed}
        max={Math.max(allowed, failed, 1)}
        tone={isOver ? 'bad' : 'wait'}
      />
    </div>
  );
}

function OutageBudget({ wave }: { readonly wave: WaveDocument }) {
  const { write_outage_budget_seconds: seconds, write_outage_ms, number } = wave;
  const spent = write_outage_ms > 0 ? duration(write_outage_ms) : 'no';
  if (seconds === null) return <div className="budget">{spent} write outage</div>;
  const isOver = write_outage_ms > seconds * 1000;
  return (
    <div className="budget">
      <span className={isOver ? 'bad' : ''}>
        {spent} write outage of {duration(seconds * 1000)} allowed
      </span>
      <Progress
        label={`Write outage budget of wave ${number}`}
        value={write_outage_ms}
        max={Math.max(seconds * 1000, write_outage_ms, 1)}
        tone={isOver ? 'bad' : 'wait'}
      />
    </div>
  );
}
