import { type Logger, pino, stdSerializers } from 'pino';

export type { Logger };

/** Names of fields that may hold a secret, wherever an object is logged or a message is shown. */
const SECRETS = [
  'password',
  'token',
  'auth_token',
  'cluster_token',
  'join_token',
  'rpc_key',
  'rpc_secret',
  'join_key',
  'verifier',
  'authorization',
];

/**
 * The log of one process: JSON lines on stdout.
 *
 * Errors go under `err`, ids under their own names (`upgrade_id`, `cluster_id`, `instance_id`, `request_id`).
 */
export function createLogger(options: { readonly name: string; readonly level: string }): Logger {
  return pino({
    name: options.name,
    level: options.level,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: SECRETS.flatMap((secret) => [secret, `*.${secret}`]), censor: HIDDEN },
    serializers: { err: stdSerializers.err },
  });
}

/** Whether a field of that name may hold a secret; names that end with one may, too: `_context_auth_token`. */
export function isSecret(name: string): boolean {
  return SECRETS.some((secret) => name === secret || name.endsWith(`_${secret}`));
}

export const HIDDEN = '[secret]';

/** An error in a line; of several at once (every address of a host refused), all of them. */
export function textOf(err: unknown): string {
  if (err instanceof AggregateError) return err.errors.map(textOf).join('; ');
  return err instanceof Error ? err.message : String(err);
}
