import { z } from 'zod';

/** The environment does not fit: holds every problem, so that one start shows them all. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** A connection URL of one of `schemes`, e.g. `amqp`. The message never shows the value: it may hold a password. */
export function urlOf(...schemes: readonly string[]) {
  return z
    .string()
    .refine(
      (text) => URL.canParse(text) && schemes.includes(new URL(text).protocol.slice(0, -1)),
      `must be a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`,
    );
}

/** A number from an environment variable, which is always a string. */
export function numberOf(min: number, max: number) {
  return z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must lie between ${min} and ${max}`);
}

/**
 * How queues are declared. `coffer`: shared ones as quorum queues, a guest's own light. The others:
 * exactly as oslo.messaging does with `rabbit_quorum_queue`, with `amqp_durable_queues`, or with neither.
 */
export const QUEUE_MODES = ['coffer', 'quorum', 'durable', 'transient'] as const;
export type QueueMode = (typeof QUEUE_MODES)[number];

/** What every process is configured by. */
export const commonConfig = {
  COFFER_AMQP_URL: urlOf('amqp', 'amqps'),
  COFFER_REDIS_URL: urlOf('redis', 'rediss'),
  COFFER_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
  COFFER_CONTROL_EXCHANGE: z.string().min(1).max(100).default('trove'),
  COFFER_AMQP_QUEUES: z.enum(QUEUE_MODES).default('coffer'),
};

/** Where records are kept within Redis: two installations may share one server. */
export const redisPrefix = z
  .string()
  .regex(/^[A-Za-z0-9_.-]{1,50}$/, 'must be 1 to 50 letters, digits, dots, dashes or underscores')
  .default('coffer');

/**
 * Reads the environment, once, before any socket opens. Throws a `ConfigError` that names every
 * variable that is missing or wrong. An empty variable counts as not set. `rules` finds what is wrong
 * with variables together, as `NAME: what`; it sees them as they were given.
 */
export function loadConfig<Shape extends z.ZodRawShape>(
  shape: Shape,
  env: Readonly<Record<string, string | undefined>>,
  rules: (given: Readonly<Record<string, string>>) => readonly string[] = () => [],
): z.infer<z.ZodObject<Shape>> {
  const given: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value) given[name] = value;
  const parsed = z.object(shape).safeParse(given);
  const problems = (parsed.error?.issues ?? []).map((issue) => {
    const name = issue.path.join('.');
    return `${name}: ${given[name] === undefined ? 'is not set' : issue.message}`;
  });
  problems.push(...rules(given));
  if (parsed.success && problems.length === 0) return parsed.data;
  const lines = problems.map((problem) => `  ${problem}`).join('\n');
  throw new ConfigError(`The configuration has ${problems.length} problem(s):\n${lines}`);
}
