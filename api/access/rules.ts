/**
 * Who may do what: Trove's rules with Trove's defaults, and our own. `COFFER_POLICY_FILE` overrides single
 * rules; `docs/security.md` describes how.
 */
import { allows, type Check, type Credentials, parseRule, type Rules } from './language.ts';

const OWNER = 'rule:admin_or_owner';
const ADMIN = 'rule:admin';
/** Every caller with a valid token. */
const EVERYBODY = '';

/**
 * Every rule that a route requires, with its default. Names with a colon follow Trove's pattern: object,
 * action.
 */
export const DEFAULT_RULES = {
  admin: 'role:admin or is_admin:True',
  admin_or_owner: 'rule:admin or project_id:%(tenant)s',
  default: OWNER,

  'cluster:create': OWNER,
  'cluster:adopt': OWNER,
  'cluster:index': OWNER,
  'cluster:show': OWNER,
  'cluster:show_instance': OWNER,
  'cluster:action': OWNER,
  'cluster:delete': OWNER,
  'cluster:reset-status': ADMIN,
  'instance:index': OWNER,
  'instance:show': OWNER,
  'instance:edit': OWNER,
  'datastore:index': EVERYBODY,
  'datastore:show': EVERYBODY,
  'datastore:version_index': EVERYBODY,
  'datastore:version_show': EVERYBODY,
  'datastore:version_show_by_uuid': EVERYBODY,
  'datastore:delete': ADMIN,
  'datastore-version:index': ADMIN,
  'datastore-version:show': ADMIN,
  'datastore-version:create': ADMIN,
  'datastore-version:edit': ADMIN,
  'datastore-version:delete': ADMIN,
  'flavor:index': EVERYBODY,
  'flavor:show': EVERYBODY,
  'limits:index': OWNER,
  'permissions:show': EVERYBODY,
  'health:show': ADMIN,

  'upgrade:index': OWNER,
  'upgrade:show': OWNER,
  'upgrade:pause': OWNER,
  'upgrade:resume': OWNER,
  'upgrade:approve': OWNER,
  'upgrade:confirm': OWNER,
  'upgrade:retry': OWNER,
  'upgrade:cancel': OWNER,
  'upgrade:rollback': OWNER,
  'batch:create': OWNER,
  'batch:index': OWNER,
  'batch:show': OWNER,
  'batch:pause': OWNER,
  'batch:resume': OWNER,
  'batch:approve': OWNER,
  'batch:retry': OWNER,
  'batch:skip': OWNER,
  'batch:rollback': OWNER,
  'batch:cancel': OWNER,
  'batch:all_tenants': ADMIN,
  'gate:override': ADMIN,
  'dead-letter:index': ADMIN,
  'dead-letter:show': ADMIN,
  'dead-letter:replay': ADMIN,
  'dead-letter:discard': ADMIN,
} as const satisfies Record<string, string>;

/**
 * Trove's rules for what Coffer doesn't do: a policy file of Trove may contain them, and no route requires
 * them.
 */
export const TROVE_ONLY: ReadonlySet<string> = new Set(
  `cluster:force_delete instance:detail instance:create instance:delete instance:force_delete instance:update instance:restart
  instance:resize_volume instance:resize_flavor instance:reset_status instance:promote_to_replica_source
  instance:eject_replica_source instance:configuration instance:guest_log_list instance:backups
  instance:module_list instance:module_apply instance:module_remove
  instance:extension:root:create instance:extension:root:delete instance:extension:root:index
  cluster:extension:root:create cluster:extension:root:delete cluster:extension:root:index
  instance:extension:user:create instance:extension:user:delete instance:extension:user:index
  instance:extension:user:show instance:extension:user:update instance:extension:user:update_all
  instance:extension:user_access:update instance:extension:user_access:delete
  instance:extension:user_access:index instance:extension:database:create
  instance:extension:database:delete instance:extension:database:index instance:extension:database:show
  backup:create backup:delete backup:index backup:show backup:index:all_projects
  backup_strategy:create backup_strategy:index backup_strategy:delete
  configuration:create configuration:delete configuration:index configuration:show
  configuration:instances configuration:update configuration:edit configuration-parameter:index
  configuration-parameter:show configuration-parameter:index_by_version
  configuration-parameter:show_by_version datastore:list_associated_flavors
  datastore:list_associated_volume_types module:create module:delete module:index module:show
  module:instances module:update module:reapply`.split(/\s+/),
);

export type RuleName = keyof typeof DEFAULT_RULES;

/** The rules in force. */
export interface AccessRules {
  /** Whether a caller with these credentials may do this to the objects of `tenant_id`. */
  allow(rule: RuleName, credentials: Credentials, tenant_id: string): boolean;
}

export function defaultChecks(): Map<string, Check> {
  return new Map(Object.entries(DEFAULT_RULES).map(([name, text]) => [name, parseRule(text)]));
}

/** `current` returns the rules as they are now: the file that overrides them may have changed. */
export function accessRules(current: () => Rules): AccessRules {
  return {
    allow(rule, credentials, tenant_id) {
      const rules = current();
      const check = rules.get(rule);
      const target = { tenant: tenant_id, project_id: tenant_id };
      return check !== undefined && allows(check, rules, credentials, target);
    },
  };
}
