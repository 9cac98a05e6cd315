import { z } from 'zod';
import {
  ConfigError,
  commonConfig,
  loadConfig,
  notifications,
  numberOf,
  redisPrefix,
  urlOf,
} from '../src/config.ts';
import { masterKeyConfig, requireMasterKey } from '../src/master-key.ts';
import { metricsConfig } from '../src/telemetry.ts';
import { tracingConfig } from '../src/tracing.ts';
import { isLoopback } from './access/loopback.ts';
import { DEFAULT_RATES, LIMITED_VERBS, type Rates } from './access/rate-limits.ts';
import { readRuleFile } from './access/rule-file.ts';
import { readTokenFile } from './access/token-file.ts';
import { readCertificate } from './http/certificate.ts';

const word = z.string().min(1).max(255);
const path = z.string().min(1).max(4096);

const shape = {
  ...commonConfig,
  ...metricsConfig,
  ...tracingConfig,
  COFFER_REDIS_PREFIX: redisPrefix,
  COFFER_NOTIFICATIONS: notifications,
  ...masterKeyConfig,
  COFFER_API_HOST: z.string().min(1).max(255).default('127.0.0.1'),
  /** Trove's port. 0 lets the system choose. */
  COFFER_API_PORT: numberOf(0, 65_535).default(8779),
  /** With both, HTTP is served under TLS. */
  COFFER_TLS_CERT: path.optional(),
  COFFER_TLS_KEY: path.optional(),
  /** Who provides the instances of a new cluster: the taskmanagers must have the same value. */
  COFFER_PROVISIONER: z.enum(['local', 'external']).default('local'),
  /** `none`: everybody who can reach the port may do everything. */
  COFFER_AUTH: z.enum(['none', 'token', 'keystone']).default('none'),
  COFFER_TOKENS_FILE: path.optional(),
  COFFER_KEYSTONE_URL: urlOf('http', 'https').optional(),
  /** Where callers find Keystone, if not at the URL that we use. */
  COFFER_KEYSTONE_PUBLIC_URL: urlOf('http', 'https').optional(),
  COFFER_KEYSTONE_USER: word.optional(),
  COFFER_KEYSTONE_PASSWORD: z.string().min(1).max(1024).optional(),
  COFFER_KEYSTONE_PROJECT: word.default('service'),
  COFFER_KEYSTONE_USER_DOMAIN: word.default('Default'),
  COFFER_KEYSTONE_PROJECT_DOMAIN: word.default('Default'),
  COFFER_KEYSTONE_CACHE_SECONDS: numberOf(0, 3600).default(60),
  COFFER_KEYSTONE_TIMEOUT_SECONDS: numberOf(1, 300).default(5),
  /** Rules of oslo.policy that override the defaults. */
  COFFER_POLICY_FILE: path.optional(),
  COFFER_RATE_LIMITS: z.string().max(255).optional(),
  COFFER_MAX_CLUSTERS: numberOf(0, 1_000_000).optional(),
};

/** Clusters of a tenant, where tenants are reliably identified. */
const DEFAULT_MAX_CLUSTERS = 100;

export type ApiConfig = ReturnType<typeof loadApiConfig>;

/** The api's configuration. Throws a `ConfigError` that lists every problem, including those of its files. */
export function loadApiConfig(env: Readonly<Record<string, string | undefined>>) {
  const config = loadConfig(shape, env, problemsTogether);
  const isOpen = config.COFFER_AUTH === 'none';
  return {
    ...config,
    /** Requests per minute for each tenant and verb; null for no limit. */
    COFFER_RATE_LIMITS: ratesOf(config.COFFER_RATE_LIMITS ?? (isOpen ? 'off' : '')),
    /** Null for no limit. */
    COFFER_MAX_CLUSTERS: config.COFFER_MAX_CLUSTERS ?? (isOpen ? null : DEFAULT_MAX_CLUSTERS),
  };
}

function problemsTogether(given: Readonly<Record<string, string>>): readonly string[] {
  const {
    COFFER_AUTH: auth = 'none',
    COFFER_API_HOST: host = '127.0.0.1',
    COFFER_TOKENS_FILE: tokens,
    COFFER_POLICY_FILE: policy,
    COFFER_RATE_LIMITS: rates,
    COFFER_TLS_CERT: cert,
    COFFER_TLS_KEY: key,
  } = given;
  const missing = (NEEDED.get(auth) ?? []).filter((name) => given[name] === undefined);
  return [
    ...requireMasterKey(given),
    ...missing.map((name) => `${name}: is not set, and COFFER_AUTH=${auth} needs it`),
    ...(auth === 'none' && !isLoopback(host) ? [`COFFER_API_HOST: ${openTo(host)}`] : []),
    ...(tokens !== undefined && auth === 'token'
      ? problemsOf('COFFER_TOKENS_FILE', () => readTokenFile(tokens))
      : []),
    ...(policy === undefined ? [] : problemsOf('COFFER_POLICY_FILE', () => readRuleFile(policy))),
    ...(cert !== undefined && key === undefined
      ? ['COFFER_TLS_KEY: is not set, and COFFER_TLS_CERT is']
      : []),
    ...(key !== undefined && cert === undefined
      ? ['COFFER_TLS_CERT: is not set, and COFFER_TLS_KEY is']
      : []),
    ...(cert && key ? problemsOf('COFFER_TLS_CERT', () => readCertificate(cert, key)) : []),
    ...(rates === undefined ? [] : problemsOf('COFFER_RATE_LIMITS', () => ratesOf(rates))),
  ];
}

const NEEDED: ReadonlyMap<string, readonly string[]> = new Map([
  ['token', ['COFFER_TOKENS_FILE']],
  ['keystone', ['COFFER_KEYSTONE_URL', 'COFFER_KEYSTONE_USER', 'COFFER_KEYSTONE_PASSWORD']],
]);

function openTo(host: string): string {
  return `${host} can be reached from other machines, and COFFER_AUTH=none asks nobody who they are. Listen on 127.0.0.1, or set COFFER_AUTH to keystone or token.`;
}

function problemsOf(name: string, read: () => unknown): readonly string[] {
  try {
    read();
    return [];
  } catch (err) {
    if (err instanceof ConfigError) return err.message.split('\n').map((line) => `${name}: ${line}`);
    throw err;
  }
}

/** `POST=50,DELETE=10`; verbs that are not named keep their default. `off`: no limits. */
function ratesOf(text: string): Rates | null {
  if (text === 'off') return null;
  const rates = { ...DEFAULT_RATES };
  for (const part of text.split(',').filter((each) => each.trim() !== '')) {
    const [, name, value] = /^\s*([A-Z]+)=(\d{1,7})\s*$/.exec(part) ?? [];
    const verb = LIMITED_VERBS.find((each) => each === name);
    if (verb === undefined || Number(value) === 0) {
      throw new ConfigError(
        `'${part}' is not a limit: write requests a minute per verb, e.g. GET=1200,POST=200, or off`,
      );
    }
    rates[verb] = Number(value);
  }
  return rates;
}
