/** What an upgrade would do, and which gates would hold it back. */
import type { PlanDocument } from '../../client/index.ts';
import { capitalised, count, duration } from '../format.ts';
import { Note, Stat } from '../parts/basics.tsx';
import { ArrowIcon } from '../parts/icons.tsx';
import { useSession } from '../session.tsx';
import { FINDING_TITLES, GATE_ADVICE, isRefusing } from '../words.ts';
import type { PolicyDraft } from './policy.ts';

interface PlanPreviewProps {
  readonly plan: PlanDocument;
  readonly overrides: PolicyDraft['overrides'];
  readonly onOverride: (gate: string, reason: string | null) => void;
}

export function PlanPreview({ plan, overrides, onOverride }: PlanPreviewProps) {
  const instances = plan.steps.filter(({ kind }) => kind === 'instance').length;
  return (
    <div className="stack">
      <dl className="stats">
        <Stat label="Steps">{plan.steps.length}</Stat>
        <Stat label="Estimate">
          {plan.estimate_seconds === null ? 'not measured yet' : duration(plan.estimate_seconds * 1000)}
        </Stat>
        {plan.steps.some(({ kind }) => kind === 'switchover') && (
          <Stat label="Becomes primary">{plan.successor?.instance_name ?? 'whoever has caught up'}</Stat>
        )}
      </dl>
      {plan.gates.map(({ gate, reason }) => (
        <GateNote key={gate} gate={gate} reason={reason} onSkip={() => onOverride(gate, '')} />
      ))}
      {plan.findings
        .filter(({ name }) => plan.gates.every(({ gate }) => gate !== name))
        .map(({ name, instance_id, instance_name, reason }) => (
          <Note
            key={`${name} ${instance_id}`}
            kind="wait"
            title={`${FINDING_TITLES[name] ?? name} (${instance_name})`}
          >
            {capitalised(reason)}.
          </Note>
        ))}
      {Object.entries(overrides).map(([gate, reason]) => (
        <SkippedGate key={gate} gate={gate} reason={reason} onOverride={onOverride} />
      ))}
      {plan.steps.length === 0 ? (
        <p className="quiet">There is nothing to do.</p>
      ) : (
        <>
          <p className="quiet">
            {count(instances, 'instance')}, in this order. Steps of one number may run side by side.
          </p>
          <PlannedSteps plan={plan} />
        </>
      )}
    </div>
  );
}

function PlannedSteps({ plan: { steps, successor } }: { readonly plan: PlanDocument }) {
  const stages = [...new Set(steps.map(({ stage }) => stage))];
  return (
    <ol className="plan">
      {steps.map(({ kind, instance_id, instance_name, role, stage, repair }) => (
        <li key={`${kind} ${instance_id}`} className={kind}>
          <span className="number" aria-hidden="true">
            {stages.indexOf(stage) + 1}
          </span>
          {kind === 'switchover' ? (
            <span className="what">
              <b>Switchover</b>
              <span className="quiet">
                {instance_name} <ArrowIcon /> {successor?.instance_name ?? 'whoever has caught up'} becomes
                primary
              </span>
            </span>
          ) : (
            <span className="what">
              <b>{instance_name}</b>
              <span className="quiet">
                {role ?? 'instance'}
                {kind === 'fence' && ' · is told to refuse orders of earlier upgrades'}
                {repair && ' · broken already, goes first'}
              </span>
            </span>
          )}
        </li>
      ))}
    </ol>
  );
}

interface GateNoteProps {
  readonly gate: string;
  readonly reason: string;
  readonly onSkip: () => void;
}

function GateNote({ gate, reason, onSkip }: GateNoteProps) {
  const { may } = useSession();
  const isRefusal = isRefusing(gate);
  return (
    <Note
      kind={isRefusal ? 'bad' : 'wait'}
      title={isRefusal ? `Blocked by ${gate}` : `It would wait for ${gate}`}
      action={
        may('gate:override') &&
        gate !== 'cluster_idle' && (
          <button type="button" className="link" onClick={onSkip}>
            Skip this gate …
          </button>
        )
      }
    >
      {capitalised(reason)}. {GATE_ADVICE[gate]}
    </Note>
  );
}

interface SkippedGateProps {
  readonly gate: string;
  readonly reason: string;
  readonly onOverride: PlanPreviewProps['onOverride'];
}

function SkippedGate({ gate, reason, onOverride }: SkippedGateProps) {
  return (
    <div className="skipped">
      <label>
        Skip <b>{gate}</b>, because
        <input
          value={reason}
          placeholder="the reason, which is kept with the upgrade"
          onChange={(event) => onOverride(gate, event.target.value)}
        />
      </label>
      <button type="button" className="link" onClick={() => onOverride(gate, null)}>
        Do not skip it
      </button>
    </div>
  );
}
