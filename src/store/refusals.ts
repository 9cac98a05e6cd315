import { ReplyError } from 'ioredis';
import { CofferError } from '../core/errors.ts';
import { textOf } from '../log.ts';

/** Why Redis refuses a command, how to repair that, and the words of Redis itself. */
export interface Refusal {
  readonly found: string;
  readonly repair: string;
  readonly said: string;
}

/**
 * Refusals by the first word of the answer. None of them is a mistake in Coffer, and Redis may accept the
 * same command later.
 */
const REFUSALS: readonly (readonly [codes: string, found: string, repair: string])[] = [
  ['OOM', 'Redis is full', 'raise its maxmemory, or delete clusters'],
  ['MISCONF', 'Redis can not write to its disk', 'make room there'],
  [
    'NOAUTH|WRONGPASS|NOPERM|ERR invalid password|ERR AUTH',
    'Redis refuses the user or the password',
    'correct COFFER_REDIS_URL',
  ],
  [
    'READONLY',
    'Redis is a replica, which takes no writes',
    'point COFFER_REDIS_URL at the primary, or promote the replica',
  ],
  [
    'MASTERDOWN',
    'Redis is a replica that has lost its primary',
    'bring the primary back, or point COFFER_REDIS_URL at it',
  ],
  [
    'NOREPLICAS',
    'Redis takes no writes while fewer replicas follow it than its min-replicas-to-write asks for',
    'bring the replicas back, or lower that setting',
  ],
  ['LOADING', 'Redis is loading its data from disk', 'wait until it has done so'],
  ['BUSY', "Redis is busy with somebody's script", 'end the script there with SCRIPT KILL'],
  [
    'CLUSTERDOWN|MOVED|ASK|TRYAGAIN|CROSSSLOT',
    'Redis is part of a Redis Cluster, which Coffer can not use',
    'point COFFER_REDIS_URL at a single server',
  ],
];

/** Redis before version 7 puts this word behind the name of the script in which it refused a command. */
const IN_SCRIPT = String.raw`ERR Error running script .*@user_script: ?\d+: -?`;

/** Null if `err` is not an answer in which Redis says that it cannot serve. */
export function refusalOf(err: unknown): Refusal | null {
  if (!(err instanceof ReplyError)) return null;
  const said = textOf(err);
  const known = REFUSALS.find(([codes]) => new RegExp(`^(${IN_SCRIPT})?(${codes})\\b`).test(said));
  return known ? { found: known[1], repair: known[2], said } : null;
}

export function wordsOf({ found, repair, said }: Refusal): string {
  return `${found}: ${repair} (${said})`;
}

/** Turns any error of a Redis client into the error that the store's callers get. */
export function toStoreError(cause: unknown): CofferError {
  const message = textOf(cause);
  if (!(cause instanceof ReplyError))
    return new CofferError('store_unavailable', `Redis can't be reached: ${message}`, { cause });
  const refusal = refusalOf(cause);
  return refusal === null
    ? new CofferError('internal', `Redis refused a command: ${message}`, { cause })
    : new CofferError('store_unavailable', wordsOf(refusal), { cause });
}
