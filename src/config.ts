import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { textOf } from './log.ts';

/** The environment is not usable. The error holds every problem, so that a single start shows them all. */
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

/** Parses a number from an environment variable, which is always a string. */
export function numberOf(min: number, max: number) {
  return z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must lie between ${min} and ${max}`);
}

/**
 * How queues are declared. `coffer`: shared queues as quorum queues, and each guest's own queue as a light
 * one. The other modes declare queues exactly as oslo.messaging does with `rabbit_quorum_queue`, with
 * `amqp_durable_queues`, or with neither.
 */
export const QUEUE_MODES = ['coffer', 'quorum', 'durable', 'transient'] as const;
export type QueueMode = (typeof QUEUE_MODES)[number];

/** Reads the file that a variable names. */
const fileText = z.string().transform((path, context) => {
  try {
    return readFileSync(path, 'utf8');
  } catch (err) {
    context.addIssue({ code: 'custom', message: `${path} can't be read: ${textOf(err)}` });
    return z.NEVER;
  }
});

/**
 * How to reach RabbitMQ. With `amqps://` also which certificates to trust, and the certificate that
 * identifies this process.
 */
export const amqpConfig = {
  COFFER_AMQP_URL: urlOf('amqp', 'amqps'),
  COFFER_AMQP_CA_FILE: fileText.optional(),
  COFFER_AMQP_CERT_FILE: fileText.optional(),
  COFFER_AMQP_KEY_FILE: fileText.optional(),
  COFFER_AMQP_SERVER_NAME: z.string().min(1).max(255).optional(),
  COFFER_CONTROL_EXCHANGE: z.string().min(1).max(100).default('trove'),
  COFFER_AMQP_QUEUES: z.enum(QUEUE_MODES).default('coffer'),
};

export const logConfig = {
  COFFER_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
};

/**
 * The options that a Redis URL may have after the question mark. Any other option would replace one that
 * Coffer depends on.
 */
const REDIS_OPTIONS: readonly string[] = ['db', 'family'];

/**
 * The URL of one server. A URL that names Sentinels or several servers is refused, because the client would
 * connect to 127.0.0.1, or to one of the servers.
 */
const redisUrl = z.string().superRefine((text, context) => {
  const problem = redisUrlProblem(text);
  if (problem !== null) context.addIssue({ code: 'custom', message: problem });
});

function redisUrlProblem(text: string): string | null {
  const one =
    'give the URL of the primary itself, e.g. by a name that follows it: redis://redis.example.org:6379';
  if (/^[a-z+-]*sentinel|[?&](sentinels?|name|role)=/i.test(text))
    return `names Sentinels, which Coffer does not ask: ${one}`;
  const [authority = ''] = text.replace(/^rediss?:\/\//i, '').split(/[/?#]/);
  if (authority.split('@').at(-1)?.includes(',')) return `names several servers, and Coffer uses one: ${one}`;
  if (!URL.canParse(text) || !/^rediss?:$/.test(new URL(text).protocol))
    return 'must be a URL that begins with redis:// or rediss://';
  const { searchParams, hostname } = new URL(text);
  if (hostname === '') return `names no server: ${one}`;
  const odd = [...searchParams.keys()].filter((key) => !REDIS_OPTIONS.includes(key));
  return odd.length === 0 ? null : `may not set ${odd.join(', ')}: remove what follows the question mark`;
}

/**
 * How to reach Redis. With `rediss://` also which certificates to trust, and the certificate that identifies
 * this process.
 */
export const redisConfig = {
  COFFER_REDIS_URL: redisUrl,
  COFFER_REDIS_CA_FILE: fileText.optional(),
  COFFER_REDIS_CERT_FILE: fileText.optional(),
  COFFER_REDIS_KEY_FILE: fileText.optional(),
  COFFER_REDIS_SERVER_NAME: z.string().min(1).max(255).optional(),
};

/** The configuration of every process except the guest agents. */
export const commonConfig = { ...amqpConfig, ...logConfig, ...redisConfig };

/** The options of a TLS connection, in the form that node:tls takes. */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
}

/** Undefined where the connection is not encrypted. */
export function amqpTls(config: z.infer<z.ZodObject<typeof amqpConfig>>): TlsOptions | undefined {
  if (!config.COFFER_AMQP_URL.startsWith('amqps:')) return undefined;
  return tlsOptions({
    ca: config.COFFER_AMQP_CA_FILE,
    cert: config.COFFER_AMQP_CERT_FILE,
    key: config.COFFER_AMQP_KEY_FILE,
    servername: config.COFFER_AMQP_SERVER_NAME,
  });
}

export function redisTls(config: z.infer<z.ZodObject<typeof redisConfig>>): TlsOptions | undefined {
  if (!config.COFFER_REDIS_URL.startsWith('rediss:')) return undefined;
  return tlsOptions({
    ca: config.COFFER_REDIS_CA_FILE,
    cert: config.COFFER_REDIS_CERT_FILE,
    key: config.COFFER_REDIS_KEY_FILE,
    servername: config.COFFER_REDIS_SERVER_NAME,
  });
}

function tlsOptions(given: Record<keyof TlsOptions, string | undefined>): TlsOptions {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** The problems of TLS variables that do not fit together. */
function tlsProblems(given: Readonly<Record<string, string>>): readonly string[] {
  return (['AMQP', 'REDIS'] as const).flatMap((name) => {
    const set = ['CA_FILE', 'CERT_FILE', 'KEY_FILE', 'SERVER_NAME']
      .map((end) => `COFFER_${name}_${end}`)
      .filter((variable) => given[variable] !== undefined);
    const [url, secure] = [`COFFER_${name}_URL`, `${name.toLowerCase()}s://`];
    const [cert, key] = [`COFFER_${name}_CERT_FILE`, `COFFER_${name}_KEY_FILE`];
    if (set.length > 0 && given[url]?.startsWith(secure) === false) {
      return [`${set.join(', ')}: of use only if ${url} begins with ${secure}`];
    }
    if ((given[cert] === undefined) === (given[key] === undefined)) return [];
    return [`${given[cert] === undefined ? cert : key}: is not set, and its other half is`];
  });
}

/**
 * Whether upgrades are announced in oslo.messaging's notifications. The api and the taskmanagers must have
 * the same value.
 */
export const notifications = z.enum(['on', 'off']).default('off');

/** Where records are kept in Redis, because two installations may share one server. */
export const redisPrefix = z
  .string()
  .regex(/^[A-Za-z0-9_.-]{1,50}$/, 'must be 1 to 50 letters, digits, dots, dashes or underscores')
  .default('coffer');

/**
 * Reads the environment, once, before any socket opens. Throws a `ConfigError` that names every variable that
 * is missing or wrong. An empty variable counts as not set. `rules` finds variables that do not fit together,
 * and returns each problem as `NAME: what`; it gets the variables as they were given.
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
  problems.push(...tlsProblems(given), ...rules(given));
  if (parsed.success && problems.length === 0) return parsed.data;
  const lines = problems.map((problem) => `  ${problem}`).join('\n');
  throw new ConfigError(
    `The configuration has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n${lines}`,
  );
}
