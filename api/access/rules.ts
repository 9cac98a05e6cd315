/**
 * Who may do what: Trove's rules with Trove's defaults, and our own. `COFFER_POLICY_FILE` overrides
 * them one by one; `docs/security.md` tells how.
 */
import { allows, type Check, type Credentials, parseRule, type Rules } from './language.ts';

const OWNER = 'rule:admin_or_owner';
const ADMIN = 'rule:admin';
/** Whoever has a valid token. */
const EVERYBODY = '';

/** Every rule that a route asks for, with its default. Names with a colon are Trove's way: thing, deed. */
export const DEFAULT_RULES = {
  admin: 'role:admin or is_admin:True',
  admin_or_owner: 'rule:admin or project_id:%(tenant)s',
  default: OWNER,

  'cluster:create': OWNER,
  'cluster:index': OWNER,
  'cluster:show': OWNER,
  'cluster:show_instance': OWNER,
  'cluster:action': OWNER,
  'cluster:delete': OWNER,
  'cluster:force_delete': OWNER,
  'cluster:reset-status': ADMIN,
  'instance:index': OWNER,
  'instance:detail': OWNER,
  'instance:show': OWNER,
  'instance:edit': OWNER,
  'datastore:index': EVERYBODY,
  'datastore:show': EVERYBODY,
  'datastore:version_index': EVERYBODY,
  'datastore:version_show': EVERYBODY,
  'datastore:version_show_by_uuid': EVERYBODY,
  'flavor:index': EVERYBODY,
  'flavor:show': EVERYBODY,
  'limits:index': OWNER,

  'upgrade:index': OWNER,
  'upgrade:show': OWNER,
  'upgrade:pause': OWNER,
  'upgrade:resume': OWNER,
  'upgrade:approve': OWNER,
  'upgrade:retry': OWNER,
  'upgrade:cancel': OWNER,
  'upgrade:rollback': OWNER,
  'gate:override': ADMIN,
  'dead-letter:index': ADMIN,
  'dead-letter:show': ADMIN,
  'dead-letter:replay': ADMIN,
  'dead-letter:discard': ADMIN,
} as const satisfies Record<string, string>;

export type RuleName = keyof typeof DEFAULT_RULES;

/** The rules in force. */
export interface AccessRules {
  /** Whether who has these credentials may do it to what belongs to `tenant_id`. */
  allow(rule: RuleName, credentials: Credentials, tenant_id: string): boolean;
}

export function defaultChecks(): Map<string, Check> {
  return new Map(Object.entries(DEFAULT_RULES).map(([name, text]) => [name, parseRule(text)]));
}

export function accessRules(rules: Rules): AccessRules {
  return {
    allow(rule, credentials, tenant_id) {
      const check = rules.get(rule);
      const target = { tenant: tenant_id, project_id: tenant_id };
      return check !== undefined && allows(check, rules, credentials, target);
    },
  };
}
