import { type Logger, pino, stdSerializers } from 'pino';

export type { Logger };

/** Paths that may hold a secret wherever an object is logged. */
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
    redact: { paths: SECRETS.flatMap((secret) => [secret, `*.${secret}`]), censor: '[secret]' },
    serializers: { err: stdSerializers.err },
  });
}

/** An error in a line; of several at once (every address of a host refused), all of them. */
export function textOf(err: unknown): string {
  if (err instanceof AggregateError) return err.errors.map(textOf).join('; ');
  return err instanceof Error ? err.message : String(err);
}
