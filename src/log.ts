import { type Logger, pino, stdSerializers } from 'pino';

export type { Logger };

/** Names of fields that may hold a secret, in all objects that are logged and all messages that are shown. */
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

/**
 * Tells whether a field of that name may hold a secret. So may a name that ends with one of the names:
 * `_context_auth_token`.
 */
export function isSecret(name: string): boolean {
  return SECRETS.some((secret) => name === secret || name.endsWith(`_${secret}`));
}

export const HIDDEN = '[secret]';

/**
 * The text of an error in one line. If an error consists of several (every address of a host refused), the
 * text has all of them.
 */
export function textOf(err: unknown): string {
  if (err instanceof AggregateError) return err.errors.map(textOf).join('; ');
  return err instanceof Error ? err.message : String(err);
}
