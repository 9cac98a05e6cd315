/**
 * Ctrl-C ends the watching, not the watched upgrade, batch or cluster. The last message reports its state: it
 * may continue, wait for a person or for a window, not have begun yet, or have ended.
 */
import type { BatchDocument, ClusterDocument, UpgradeDocument } from '../client/index.ts';
import { wayOnOf } from './batch-waves.ts';
import { Interrupted, type Io } from './io.ts';
import { printable } from './output.ts';
import { wayOn } from './upgrades.ts';

/** A person has pressed Ctrl-C and waits for the prompt; `main.ts` ends the process a little later than this. */
const ANSWER_MS = 1_500;

/** The watched thing, in the words of a sentence. */
interface Watched<Document> {
  /** `The upgrade` */
  readonly name: string;
  /** The command that shows it again. */
  readonly command: string;
  readonly get: () => Promise<Document>;
  readonly tell: (document: Document) => string;
}

/** Does the work; if Ctrl-C ends it, reports on stderr the state of the watched thing. */
export async function withLastWord<Document>(
  io: Io,
  watched: Watched<Document>,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Interrupted) {
      error.isAnswered = true;
      io.stderr.write(`\n${await lastWord(watched)} Look again: ${watched.command}\n`);
    }
    throw error;
  }
}

async function lastWord<Document>({ name, get, tell }: Watched<Document>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), ANSWER_MS);
  });
  try {
    const document = await Promise.race([get().catch(() => null), silence]);
    return document === null
      ? `${name} is not stopped by this; the API does not answer how it stands.`
      : printable(tell(document));
  } finally {
    clearTimeout(timer);
  }
}

export function upgradeWord(upgrade: UpgradeDocument): string {
  const { state, cancelling, message, until, policy, silent, last_progress } = upgrade;
  switch (state) {
    case 'scheduled':
      return policy.not_before !== null && Date.parse(policy.not_before) > Date.now()
        ? `The upgrade has not started: it starts no step before ${policy.not_before}.`
        : 'The upgrade has not started: it waits for a taskmanager.';
    case 'running':
    case 'rolling_back':
      if (cancelling) return 'The upgrade is being cancelled: it ends once nothing is in flight.';
      if (silent) return `The upgrade is not over, and nothing has moved since ${last_progress}.`;
      return state === 'running'
        ? 'The upgrade goes on.'
        : 'The upgrade goes on, back to the version that it came from.';
    case 'paused':
      if (until !== null) return `The upgrade is paused for its window, and goes on by itself at ${until}.`;
      if (wayOn(upgrade) === null) return `The upgrade is paused and waits for a person: ${message}.`;
      return `The upgrade is paused and waits for a person: ${message}. To go on: ${wayOn(upgrade)}.`;
    default:
      return `The upgrade has ended: ${ended(state, message)}.`;
  }
}

export function batchWord(batch: BatchDocument): string {
  const { state, cancelling, message, soaks_until } = batch;
  switch (state) {
    case 'scheduled':
      return 'The batch has not started: it waits for a taskmanager.';
    case 'running':
    case 'rolling_back':
      if (cancelling) return 'The batch is being cancelled: it ends once nothing is in flight.';
      if (message !== null) return `The batch goes on, but ${message}.`;
      if (soaks_until !== null) return `The batch goes on: it begins no cluster before ${soaks_until}.`;
      return state === 'running' ? 'The batch goes on.' : 'The batch goes on, and takes a wave back.';
    case 'paused':
      return `The batch is paused and waits for a person: ${message}. To go on: ${wayOnOf(batch)}.`;
    default:
      return `The batch has ended: ${ended(state, message)}.`;
  }
}

/** The state of a cluster that is being built, grown, shrunk or deleted. */
export function clusterWord({ name, task }: ClusterDocument): string {
  return task.name === 'NONE'
    ? `Cluster ${name} is idle: nothing is done to it any more.`
    : `Cluster ${name} is still at ${task.name}, which goes on.`;
}

function ended(state: string, message: string | null): string {
  return message === null ? state : `${state}, ${message}`;
}
