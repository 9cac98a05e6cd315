import type { Logger } from '../../src/log.ts';
import type { Service } from '../../src/service.ts';
import { watchFiles } from '../../src/watched-file.ts';
import type { ApiConfig } from '../config.ts';
import type { Access, Authenticate } from './caller.ts';
import { believeKeystone } from './keystone.ts';
import { believeEverybody } from './loopback.ts';
import { rateLimits } from './rate-limits.ts';
import { readRuleFile } from './rule-file.ts';
import { accessRules, defaultChecks } from './rules.ts';
import { believeTokens, readTokenFile } from './token-file.ts';

/**
 * Builds the access control that the configuration describes; `add` takes the services that must be stopped
 * at the end.
 */
export function openAccess(
  config: ApiConfig,
  {
    log,
    now,
    add,
  }: { readonly log: Logger; readonly now: () => number; readonly add: (service: Service) => void },
): Access {
  const { COFFER_POLICY_FILE: path, COFFER_RATE_LIMITS: rates } = config;
  const file =
    path === undefined
      ? undefined
      : watchFiles({ name: 'policy file', paths: [path], read: () => readRuleFile(path), log });
  if (file) add(file);
  const defaults = defaultChecks();
  return {
    ...authenticationOf(config, { log, now, add }),
    rules: accessRules(() => file?.current ?? defaults),
    limits: rates === null ? null : rateLimits(rates, now),
  };
}

function authenticationOf(
  config: ApiConfig,
  { log, now, add }: Parameters<typeof openAccess>[1],
): { readonly authenticate: Authenticate; readonly challenge: string | null } {
  switch (config.COFFER_AUTH) {
    case 'none':
      return { authenticate: believeEverybody, challenge: null };
    case 'token': {
      const path = config.COFFER_TOKENS_FILE ?? '';
      const tokens = watchFiles({ name: 'tokens file', paths: [path], read: () => readTokenFile(path), log });
      add(tokens);
      return { authenticate: believeTokens(tokens), challenge: 'Token realm="coffer"' };
    }
    case 'keystone': {
      const url = config.COFFER_KEYSTONE_URL ?? '';
      const authenticate = believeKeystone({
        url,
        user: config.COFFER_KEYSTONE_USER ?? '',
        password: config.COFFER_KEYSTONE_PASSWORD ?? '',
        project: config.COFFER_KEYSTONE_PROJECT,
        user_domain: config.COFFER_KEYSTONE_USER_DOMAIN,
        project_domain: config.COFFER_KEYSTONE_PROJECT_DOMAIN,
        cache_ms: config.COFFER_KEYSTONE_CACHE_SECONDS * 1000,
        timeout_ms: config.COFFER_KEYSTONE_TIMEOUT_SECONDS * 1000,
        log,
        now,
      });
      return { authenticate, challenge: `Keystone uri="${config.COFFER_KEYSTONE_PUBLIC_URL ?? url}"` };
    }
  }
}
