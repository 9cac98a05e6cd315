import { z } from 'zod';
import { ConfigError, commonConfig, loadConfig, numberOf, redisPrefix } from '../src/config.ts';

const shape = {
  ...commonConfig,
  COFFER_REDIS_PREFIX: redisPrefix,
  COFFER_API_HOST: z.string().min(1).max(255).default('127.0.0.1'),
  /** Trove's port. 0 lets the system choose. */
  COFFER_API_PORT: numberOf(0, 65_535).default(8779),
  /** Who brings the instances of a new cluster: the same as the taskmanagers are told. */
  COFFER_PROVISIONER: z.enum(['local', 'external']).default('local'),
  /** `none`: whoever reaches the port may do everything. */
  COFFER_AUTH: z.enum(['none']).default('none'),
};

export type ApiConfig = Awaited<ReturnType<typeof loadApiConfig>>;

/**
 * The api's configuration. Throws a `ConfigError`, also where nobody would have to sign in on an
 * address that other machines reach.
 */
export function loadApiConfig(env: Readonly<Record<string, string | undefined>>) {
  const config = loadConfig(shape, env);
  if (config.COFFER_AUTH === 'none' && !isLoopback(config.COFFER_API_HOST)) {
    throw new ConfigError(
      `COFFER_API_HOST: ${config.COFFER_API_HOST} can be reached from other machines, and COFFER_AUTH=none asks nobody who they are. Listen on 127.0.0.1.`,
    );
  }
  return config;
}

/** True for a host, with or without a port, that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])(:\d{1,5})?$/i.test(host);
}
