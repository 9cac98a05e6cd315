/**
 * The actions that an upgrade offers are those that `advance` takes, in every state that this table can
 * make. Not covered: what each of them does.
 */
import { describe, expect, it } from 'vitest';
import type { Cluster, Instance } from '../../../src/core/domain.ts';
import { expectedTimes, NOTHING_MEASURED } from '../../../src/core/history.ts';
import type { Phase } from '../../../src/core/phase.ts';
import { DEFAULT_POLICY } from '../../../src/core/policy.ts';
import { PAUSE_REASONS, type Step, type Upgrade, type UpgradeState } from '../../../src/core/record.ts';
import { possibleActions } from '../../../src/core/upgrade/actions.ts';
import { advance } from '../../../src/core/upgrade/advance.ts';
import { ACTIONS, type Action } from '../../../src/core/upgrade/inputs.ts';
import { versionOf } from './versions.ts';

const NOW = 1_800_000_000_000;
const started = NOW - 60_000;

const OUTSTANDING = { since: NOW, recast: NOW + 2_000, deadline: NOW + 600_000, accepted: false };
const PHASES: readonly Phase[] = [
  { name: 'pending', blocked: null },
  { name: 'backoff', until: NOW + 60_000, error: 'disk full' },
  { name: 'upgrading', info: {}, ...OUTSTANDING },
  { name: 'promoting', lsn: '0/1', down_since: NOW, ...OUTSTANDING },
  { name: 'restoring', lsn: '0/1', down_since: NOW, error: 'refused', ...OUTSTANDING },
  { name: 'failed', ended: NOW, error: 'disk full' },
  { name: 'failed', ended: NOW, error: 'it did not answer', unconfirmed: true },
  { name: 'done', ended: NOW },
];
const STATES: readonly UpgradeState[] = [
  { name: 'scheduled' },
  { name: 'running', started },
  ...PAUSE_REASONS.map((reason) => ({
    name: 'paused' as const,
    started,
    since: NOW,
    reason,
    message: 'waits',
    until: null,
  })),
  { name: 'succeeded', started, ended: NOW },
  { name: 'failed', started, ended: NOW, message: 'disk full' },
  { name: 'cancelled', started, ended: NOW, message: 'cancelled' },
];

function instance(id: string): Instance {
  const report = { service_status: 'healthy', version: '1.0', role: 'member', sent: NOW } as const;
  const fixed = { cluster_id: 'c', name: id, flavor_id: '1', volume_size: 1, fault: null, in_doubt: false };
  return { id, ...fixed, task: 'UPGRADING', report, heard: NOW };
}

const CLUSTER: Cluster = {
  id: 'c',
  tenant_id: 't',
  name: 'shop',
  datastore_id: 'd',
  datastore_name: 'simulated',
  manager: 'simulated',
  datastore_version_id: 'v1',
  datastore_version: '1.0',
  task: 'UPGRADING_CLUSTER',
  upgrade_id: 'u',
  extended_properties: {},
  created: started,
  updated: started,
  instances: [instance('a'), instance('b')],
};

const SEEN = {
  cluster: CLUSTER,
  versions: ['1.0', '2.0'].map((name) => versionOf(name, { manager: 'simulated' })),
};

function step(id: number, phase: Phase): Step {
  const kind = phase.name === 'promoting' || phase.name === 'restoring' ? 'switchover' : 'instance';
  const instance_id = id === 0 ? 'a' : 'b';
  const attempt = phase.name === 'pending' ? 0 : 1;
  const counts = { attempt, attempts_forgiven: 0, started: attempt === 0 ? null : started };
  return {
    id,
    stage: id,
    round: 0,
    to_version: '2.0',
    reversible: null,
    touched: false,
    in_doubt: false,
    kind,
    instance_id,
    successor_id: 'b',
    returns: false,
    repair: false,
    ...counts,
    phase,
  };
}

function upgrade(fields: Partial<Upgrade>): Upgrade {
  return {
    id: 'u',
    cluster_id: 'c',
    tenant_id: 't',
    revision: 7,
    seq: 7,
    from_version_id: 'v1',
    from_version: '1.0',
    to_version_id: 'v2',
    to_version: '2.0',
    policy: DEFAULT_POLICY,
    requested_by: { user: null, request_id: 'req-1', via: 'rest' },
    created: started,
    state: { name: 'running', started },
    cancelling: false,
    approved: false,
    waited_ms: 0,
    acted: [],
    direction: 'forward',
    round: 0,
    planned_round: 0,
    write_outage_ms: 0,
    batch: null,
    expected: expectedTimes(NOTHING_MEASURED),
    progressed: started,
    silent: false,
    follows: null,
    steps: [],
    ...fields,
  };
}

/** Until nothing moves any more without a person; what is left is what a person can look at. */
function settled(record: Upgrade): Upgrade {
  let now = record;
  for (let looks = 0; looks < 10; looks++) {
    const next = advance(now, { type: 'wake' }, SEEN, NOW);
    if (next.verdict === 'stale') return now;
    now = next.upgrade;
  }
  throw new Error('it moves on and on');
}

/** Of an upgrade that goes forward or back, waits for its window or not, and can go back or not. */
const everyRecord = (): readonly Upgrade[] => {
  const kinds = (['forward', 'back'] as const).flatMap((direction) =>
    [false, true].flatMap((cancelling) =>
      [false, true].flatMap((approved) =>
        [0, 1].flatMap((canary) =>
          [null, false].map((reversible) => ({ direction, cancelling, approved, canary, reversible })),
        ),
      ),
    ),
  );
  return STATES.flatMap((state) =>
    PHASES.flatMap((first) =>
      PHASES.flatMap((second) =>
        kinds.map(({ canary, reversible, ...fields }) =>
          upgrade({
            ...{ ...fields, state, policy: { ...DEFAULT_POLICY, canary } },
            steps: [{ ...step(0, first), reversible }, step(1, second)],
          }),
        ),
      ),
    ),
  );
};

/** Made within each test: what a fault in the core does to them is then that test's to find. */
const records = (): readonly Upgrade[] =>
  everyRecord()
    .filter(({ direction, steps }) => direction === 'forward' && steps[0]?.reversible === null)
    .map(settled);

const verdictOf = (record: Upgrade, action: Action) =>
  advance(record, { type: 'action', action, by: 'ann' }, SEEN, NOW).verdict;
const about = ({ state, steps, ...record }: Upgrade) =>
  JSON.stringify([state, steps.map(({ phase }) => phase.name), record.cancelling, record.approved]);

/** Only what is neither approved nor cancelled waits for its canary. */
function isImpossible({ state, policy, approved, cancelling }: Upgrade): boolean {
  return (
    state.name === 'paused' && state.reason === 'canary' && (policy.canary === 0 || approved || cancelling)
  );
}

describe('the actions that an upgrade offers', () => {
  /** What comes of it beyond what time does by itself. */
  const changes = (record: Upgrade, action: Action) => {
    const asked = advance(record, { type: 'action', action, by: 'ann' }, SEEN, NOW);
    const looked = advance(record, { type: 'wake' }, SEEN, NOW);
    const told = ({ upgrade, effects, events }: typeof asked) =>
      JSON.stringify([{ ...upgrade, revision: 0 }, effects, events]);
    return asked.verdict !== 'refused' && told(asked) !== told(looked);
  };

  it('are taken, and no other changes anything: in every state that can be written', () => {
    const differing = everyRecord().flatMap((record) =>
      ACTIONS.filter(
        (action) => possibleActions(record, CLUSTER).includes(action) !== changes(record, action),
      ).map((action) => `${action}: ${about(record)}`),
    );
    expect(differing).toEqual([]);
  });

  it('are taken, every one of them', () => {
    const wrong = records().flatMap((record) =>
      possibleActions(record, CLUSTER)
        .filter((action) => verdictOf(record, action) !== 'applied')
        .map((action) => `${action}: ${about(record)}`),
    );
    expect(wrong).toEqual([]);
  });

  it('are all that would change something', () => {
    const missing = records().flatMap((record) =>
      ACTIONS.filter((action) => !possibleActions(record, CLUSTER).includes(action))
        .filter((action) => verdictOf(record, action) === 'applied')
        .map((action) => `${action}: ${about(record)}`),
    );
    expect(missing).toEqual([]);
  });

  it('begin with the one that ends the wait', () => {
    const waiting = records().filter((record) => record.state.name === 'paused' && !isImpossible(record));
    const stuck = waiting.filter((record) => {
      const [action] = possibleActions(record, CLUSTER);
      if (action === undefined) return true;
      const next = advance(record, { type: 'action', action, by: 'ann' }, SEEN, NOW);
      return !next.events.some(({ type }) => type === 'resumed');
    });
    expect(stuck.map(about)).toEqual([]);
    expect(waiting.length).toBeGreaterThan(100);
  });

  it.each([
    [{ name: 'scheduled' }, [], ['cancel']],
    [{ name: 'running', started }, [], ['pause', 'cancel', 'rollback']],
    [STATES[2], [PHASES[2]], ['resume', 'cancel', 'rollback']],
    [{ ...STATES[2], reason: 'failure' }, [PHASES[5]], ['retry', 'cancel', 'rollback']],
    [{ ...STATES[2], reason: 'failure' }, [PHASES[3]], ['retry', 'resume', 'cancel', 'rollback']],
    [{ ...STATES[2], reason: 'failure' }, [PHASES[2]], ['resume', 'retry', 'cancel', 'rollback']],
    [{ ...STATES[2], reason: 'failure' }, [PHASES[3], PHASES[0]], ['retry', 'resume', 'cancel', 'rollback']],
    [{ ...STATES[2], reason: 'failure' }, [PHASES[4]], ['retry', 'resume', 'cancel', 'rollback']],
    [{ name: 'running', started }, [PHASES[5], PHASES[2]], ['pause', 'retry', 'cancel', 'rollback']],
    [{ name: 'succeeded', started, ended: NOW }, [], []],
  ] as const)('in %j with %j are %j', (state, phases, actions) => {
    const steps = phases.flatMap((phase, id) => (phase ? [step(id, phase)] : []));
    expect(possibleActions(upgrade({ state: state as UpgradeState, steps }), CLUSTER)).toEqual(actions);
  });

  it('are no way back for what is on its way back', () => {
    expect(possibleActions(upgrade({ direction: 'back' }), CLUSTER)).toEqual(['pause', 'cancel']);
  });
});
