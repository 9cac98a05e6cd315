import { CommanderError } from 'commander';
import { CofferApiError } from '../client/index.ts';
import { START_API } from './installation.ts';
import { Interrupted, type Io } from './io.ts';

/** The exit codes of the process. They are part of the interface. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  not_found: 3,
  refused: 4,
  unreachable: 5,
  paused: 6,
  forbidden: 7,
  interrupted: 130,
} as const;

export const EXIT_CODES_HELP = `
Exit codes:
  0    done
  1    the upgrade failed or was cancelled, or something unforeseen went wrong
  2    the command line or the request is wrong
  3    there is no such cluster, version, upgrade …
  4    refused: the cluster is busy, a gate blocks the upgrade, or its state does not allow the action
  5    the API can't be reached, or can't do its work right now
  6    the upgrade is paused and waits for a person (--wait)
  7    not allowed
  130  Ctrl-C; it ends the watching alone`;

/** A wrong command line that commander could not detect. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

interface Asked {
  readonly json: boolean;
  /** The arguments that were typed after the command, by their names. */
  readonly typed: ReadonlyMap<string, string>;
}

/** Reports on stderr what went wrong and what to do next; returns the exit code. */
export function report(error: unknown, io: Io, { json, typed }: Asked): number {
  // Commander has already written its message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof Interrupted) return EXIT.interrupted;
  const code =
    error instanceof CofferApiError ? error.code : error instanceof UsageError ? 'usage' : 'unforeseen';
  const message = error instanceof Error ? error.message : String(error);
  const request_id = error instanceof CofferApiError ? error.requestId : null;
  if (json) {
    io.stderr.write(`${JSON.stringify({ error: { code, message, request_id } })}\n`);
  } else {
    const advice = adviceOn(code, typed);
    io.stderr.write(`Error: ${message}\n${advice === undefined ? '' : `${advice}\n`}`);
  }
  if (io.env['COFFER_DEBUG'] && error instanceof Error) io.stderr.write(`${error.stack}\n`);
  return exitCode(error);
}

/** The kinds that have a `-show` command, the most specific first. */
const SHOWN = ['upgrade', 'batch', 'cluster'] as const;

/** The advice as a command that can be typed: with the names that the user has typed already. */
function adviceOn(code: string, typed: ReadonlyMap<string, string>): string | undefined {
  const shown = SHOWN.find((kind) => typed.has(kind));
  const advice =
    code === 'action_refused' && shown ? `${SEE} coffer ${shown}-show <${shown}>` : ADVICE.get(code);
  return advice?.replaceAll(/<(\w+)>/g, (blank, name: string) => quoted(typed.get(name)) ?? blank);
}

/** Quotes a word for a shell. */
function quoted(word: string | undefined): string | undefined {
  if (word === undefined || /^[\w.:@%+-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

const SEE = 'See what can be done:';
const ADVICE: ReadonlyMap<string, string> = new Map([
  ['unreachable', `Is the API running? Start it: ${START_API}. Another one: --endpoint, or COFFER_ENDPOINT.`],
  ['unexpected_answer', 'Is the endpoint right? Set it with --endpoint, or COFFER_ENDPOINT.'],
  ['cluster_not_found', 'List the clusters of your tenant: coffer cluster-list'],
  ['instance_not_found', 'Show a cluster with its instances: coffer cluster-show <cluster>'],
  ['datastore_not_found', 'List them: coffer datastore-list'],
  ['datastore_version_not_found', 'List the versions: coffer datastore-version-list <datastore>'],
  [
    'cluster_busy',
    'See what it is busy with: coffer cluster-show <cluster>. Cancel its upgrade: coffer upgrade-cancel <cluster>',
  ],
  ['batch_not_found', 'List the batches: coffer batch-list'],
  ['batch_empty', 'See which clusters there are, and their versions: coffer cluster-list'],
  ['dead_letter_not_found', 'List them: coffer dead-letters list'],
  ['upgrade_not_found', 'List the upgrades of a cluster: coffer upgrade-list <cluster>'],
  [
    'bus_unavailable',
    'Is a taskmanager running? `coffer doctor` tells. What was asked for may be carried out all the same: look before asking again.',
  ],
  ['unauthorized', 'Say who you are: --token, or better COFFER_TOKEN in the environment.'],
  ['forbidden', 'Is it the right tenant (--tenant, or COFFER_TENANT)? Otherwise ask an administrator.'],
  ['identity_unavailable', 'Keystone is away, not Coffer. Try again in a moment.'],
  ['rate_limited', 'Wait a moment; to follow an upgrade, --watch asks once instead of often.'],
  ['quota_exceeded', 'See what there is: coffer cluster-list'],
  ['store_unavailable', 'Nothing has been lost. Try again in a moment.'],
  ['unforeseen', 'This should not have happened. COFFER_DEBUG=1 shows more.'],
]);

function exitCode(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  if (!(error instanceof CofferApiError)) return EXIT.failed;
  if (error.isTemporary || error.code === 'unexpected_answer') return EXIT.unreachable;
  if (error.code === 'rate_limited') return EXIT.unreachable;
  if (error.code === 'quota_exceeded') return EXIT.refused;
  switch (error.status) {
    case 400:
    case 413:
    case 415:
      return EXIT.usage;
    case 401:
    case 403:
      return EXIT.forbidden;
    case 404:
      return EXIT.not_found;
    case 409:
    case 422:
      return EXIT.refused;
    default:
      return EXIT.failed;
  }
}
