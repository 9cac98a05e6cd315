/** The words of the API as a person reads them, each with its colour. Pure. */
import type {
  BatchDocument,
  BatchMemberDocument,
  ClusterDocument,
  ClusterInstanceDocument,
  StepDocument,
  UpgradeDocument,
} from '../client/index.ts';
import type { Tone } from './tones.ts';

interface Word {
  readonly text: string;
  readonly tone: Tone;
}

const TASKS: Readonly<Record<ClusterDocument['task']['name'], Word>> = {
  NONE: { text: 'Idle', tone: 'ok' },
  BUILDING: { text: 'Building', tone: 'run' },
  DELETING: { text: 'Deleting', tone: 'wait' },
  GROWING_CLUSTER: { text: 'Growing', tone: 'run' },
  SHRINKING_CLUSTER: { text: 'Shrinking', tone: 'run' },
  UPGRADING_CLUSTER: { text: 'Upgrading', tone: 'run' },
};

/** The task of a cluster, and the progress of its upgrade; for an idle cluster, its health. */
export function clusterWord({
  task,
  instances,
  upgrade,
  problems,
  adopted,
}: Pick<ClusterDocument, 'task' | 'instances' | 'upgrade' | 'problems' | 'adopted'>): Word {
  if (problems.some(({ gate }) => gate === 'one_primary')) return primaryWord(instances);
  if (task.name === 'UPGRADING_CLUSTER' && upgrade) {
    if (upgrade.state === 'running' && !upgrade.cancelling) {
      return upgrade.silent ? { text: 'Upgrading: nothing moves', tone: 'wait' } : TASKS[task.name];
    }
    return upgrade.state === 'scheduled' ? { text: 'Upgrade scheduled', tone: 'idle' } : upgradeWord(upgrade);
  }
  if (adopted && task.name === 'BUILDING') return { text: 'Being adopted', tone: 'wait' };
  if (adopted && task.name === 'DELETING') return { text: 'Being released', tone: 'run' };
  if (task.name !== 'NONE') return TASKS[task.name];
  if (problems.length > 0) return { text: 'Refused', tone: 'wait' };
  const unwell = instances.filter(({ status }) => status !== 'ACTIVE');
  if (unwell.length === 0) return { text: 'Healthy', tone: 'ok' };
  if (unwell.some(({ status }) => status === 'ERROR')) return { text: 'Unwell', tone: 'bad' };
  return { text: unwell.length === instances.length ? 'Unknown' : 'Partly unknown', tone: 'wait' };
}

function primaryWord(instances: ClusterDocument['instances']): Word {
  const count = instances.filter(({ role }) => role === 'primary').length;
  return { text: count === 0 ? 'No primary' : `${count} primaries`, tone: 'bad' };
}

export const INSTANCE_WORDS: Readonly<Record<ClusterInstanceDocument['status'], Word>> = {
  ACTIVE: { text: 'Healthy', tone: 'ok' },
  BUILD: { text: 'Building', tone: 'run' },
  UPGRADE: { text: 'Upgrading', tone: 'run' },
  ERROR: { text: 'Failed', tone: 'bad' },
  SHUTDOWN: { text: 'Shut down', tone: 'wait' },
  UNKNOWN: { text: 'Not heard', tone: 'wait' },
};

/** Why an instance is not well: what Coffer could not do to it, and what its guest agent reports. */
export function troublesOf({
  fault,
  service_message,
}: Pick<ClusterInstanceDocument, 'fault' | 'service_message'>): readonly string[] {
  const said = [fault?.message ?? null, service_message].filter((one) => one !== null);
  return [...new Set(said)];
}

const UPGRADE_WORDS: Readonly<Record<UpgradeDocument['state'], Word>> = {
  scheduled: { text: 'Scheduled', tone: 'idle' },
  running: { text: 'Running', tone: 'run' },
  paused: { text: 'Paused', tone: 'wait' },
  rolling_back: { text: 'Rolling back', tone: 'run' },
  succeeded: { text: 'Succeeded', tone: 'ok' },
  failed: { text: 'Failed', tone: 'bad' },
  rolled_back: { text: 'Rolled back', tone: 'wait' },
  cancelled: { text: 'Cancelled', tone: 'idle' },
};

const PAUSES: Readonly<Record<NonNullable<UpgradeDocument['reason']>, string>> = {
  requested: 'Paused by a person',
  canary: 'Waits for approval',
  window: 'Waits for its window',
  failure: 'Paused: failure',
  gate: 'Paused: gate',
};

export function upgradeWord({
  state,
  reason,
  cancelling,
}: Pick<UpgradeDocument, 'state' | 'reason' | 'cancelling'>): Word {
  if (state === 'paused' && reason) {
    return { text: PAUSES[reason], tone: reason === 'failure' ? 'bad' : 'wait' };
  }
  if (cancelling && state === 'running') return { text: 'Being cancelled', tone: 'wait' };
  return UPGRADE_WORDS[state];
}

/** Paused until a person acts; an upgrade that waits for its window continues by itself. */
export function waitsForPerson({ state, until }: Pick<UpgradeDocument, 'state' | 'until'>): boolean {
  return state === 'paused' && until === null;
}

export function isOver({ state }: Pick<UpgradeDocument, 'state'>): boolean {
  return ['succeeded', 'failed', 'rolled_back', 'cancelled'].includes(state);
}

const BATCH_WORDS: Readonly<Record<BatchDocument['state'], Word>> = {
  scheduled: { text: 'Scheduled', tone: 'idle' },
  running: { text: 'Running', tone: 'run' },
  rolling_back: { text: 'Rolling back', tone: 'run' },
  paused: { text: 'Paused', tone: 'wait' },
  succeeded: { text: 'Succeeded', tone: 'ok' },
  incomplete: { text: 'Incomplete', tone: 'bad' },
  cancelled: { text: 'Cancelled', tone: 'idle' },
};

const BATCH_PAUSES: Readonly<Record<NonNullable<BatchDocument['reason']>, string>> = {
  requested: 'Paused by a person',
  approval: 'Waits for approval',
  failures: 'Failure budget exceeded',
  write_outage: 'Outage budget exceeded',
  health: 'Health does not hold',
  rolled_back: 'Wave taken back',
};

export function batchWord({
  state,
  reason,
  message,
  cancelling,
}: Pick<BatchDocument, 'state' | 'reason' | 'message' | 'cancelling'>): Word {
  if (state === 'paused' && reason) {
    return { text: BATCH_PAUSES[reason], tone: BAD_PAUSES.includes(reason) ? 'bad' : 'wait' };
  }
  // While a batch runs, a message has only one meaning: upgrades within the batch wait for a person.
  if (state === 'running' && !cancelling && message !== null) {
    return { text: 'Runs, and waits for a person', tone: 'wait' };
  }
  if (cancelling && state === 'running') return { text: 'Being cancelled', tone: 'wait' };
  return BATCH_WORDS[state];
}

/** Pauses because something is wrong, and not only because a decision is open. */
const BAD_PAUSES: readonly BatchDocument['reason'][] = ['failures', 'write_outage', 'health'];

export function isBatchOver({ state }: Pick<BatchDocument, 'state'>): boolean {
  return ['succeeded', 'incomplete', 'cancelled'].includes(state);
}

export const MEMBER_WORDS: Readonly<Record<BatchMemberDocument['state'], Word>> = {
  queued: { text: 'Queued', tone: 'idle' },
  waiting: { text: 'Waiting', tone: 'wait' },
  running: { text: 'Running', tone: 'run' },
  succeeded: { text: 'Succeeded', tone: 'ok' },
  failed: { text: 'Failed', tone: 'bad' },
  skipped: { text: 'Skipped', tone: 'idle' },
  cancelled: { text: 'Cancelled', tone: 'idle' },
};

/** A cluster whose upgrade is paused counts as running, and is shown with what it waits for. */
export function memberWord({ state, held }: Pick<BatchMemberDocument, 'state' | 'held'>): Word {
  return held === null
    ? MEMBER_WORDS[state]
    : upgradeWord({ state: 'paused', reason: held, cancelling: false });
}

export type Phase = StepDocument['phase'];

/** Explains each phase to a user who sees it for the first time. */
export const PHASES: Readonly<Record<Phase, { readonly text: string; readonly means: string }>> = {
  pending: { text: 'Waiting', means: 'its turn has not come, or a gate holds it back' },
  backoff: { text: 'Back-off', means: 'waits a moment before the next attempt' },
  preparing: { text: 'Preparing', means: 'fetches and checks the new version, and goes on serving' },
  upgrading: { text: 'Upgrading', means: 'is out of service for a moment' },
  verifying: { text: 'Verifying', means: 'the guest checks itself' },
  settling: { text: 'Settling', means: 'its report must say that it is healthy' },
  soaking: { text: 'Soaking', means: 'its health must hold' },
  fencing: { text: 'Fencing', means: 'is told to refuse every older order, and goes on serving' },
  demoting: { text: 'Demoting', means: 'the old primary stops taking writes' },
  promoting: { text: 'Promoting', means: 'the successor takes over' },
  following: { text: 'Following', means: 'the others turn to the new primary' },
  restoring: { text: 'Restoring', means: 'the old primary serves again' },
  done: { text: 'Done', means: '' },
  failed: { text: 'Failed', means: 'its retries are used up' },
  skipped: { text: 'Skipped', means: 'the goal has changed before its turn' },
};

/** What the user can do about a gate that does not hold. */
export const GATE_ADVICE: Readonly<Record<string, string>> = {
  cluster_idle: 'Wait until the cluster is idle, or cancel what it is busy with.',
  adoption_accepted: 'Do on that host what the reason says; the agent notices by itself.',
  version_active: 'Choose another version, or have an administrator enable this one.',
  version_path: 'Choose a version that can be reached from here; larger steps go through one in between.',
  guests_alive: 'Start the guest agents that are not heard. An upgrade that begins now waits for them.',
  one_primary: 'Have one instance of each replica set be the primary; an upgrade begins only then.',
  instances_healthy:
    'Mend what is broken and not part of the upgrade. An upgrade that begins now waits for it.',
  replication_caught_up:
    'Wait until a replica has caught up. An upgrade that begins now waits for that before its switchover.',
  unlogged_tables: 'Make the tables logged or empty them, or skip this gate: that acknowledges the loss.',
  logical_slots:
    'Have their subscribers finish and drop them, or skip this gate: they are made anew on the new primary.',
  upgrade_needed: 'There is nothing to do: choose another version.',
};

/** The titles of findings that hold nothing back. */
export const FINDING_TITLES: Readonly<Record<string, string>> = {
  unlogged_tables: 'Unlogged tables will be empty',
  logical_slots: 'Logical replication slots will be gone',
  settings_overridden: 'Settings of an operator beat those of Coffer',
  settings_differ: 'Settings differ between primary and successor',
};

/** Gates for which a request is refused; with the other gates an upgrade would begin, and wait. */
const REFUSING = [
  'cluster_idle',
  'adoption_accepted',
  'version_active',
  'version_path',
  'one_primary',
  'upgrade_needed',
];

export function isRefusing(gate: string): boolean {
  return REFUSING.includes(gate);
}
