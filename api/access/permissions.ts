import { TenantParams } from '../../src/contract/http.ts';
import { PermissionsAnswer } from '../../src/contract/permissions.ts';
import type { App, Deps } from '../deps.ts';
import { DEFAULT_RULES, type RuleName } from './rules.ts';

const NAMES = Object.keys(DEFAULT_RULES) as readonly RuleName[];

/** `/permissions`: who the caller is, and what they may do. */
export function permissionRoutes(app: App, { access: { rules } }: Deps): void {
  app.get(
    '/permissions',
    {
      config: { rule: 'permissions:show' },
      schema: {
        tags: ['limits'],
        summary: 'Who the caller is, and which rules allow them something',
        params: TenantParams,
        response: { 200: PermissionsAnswer },
      },
    },
    async ({ caller: { user, project_id, is_admin, credentials, tenant_id } }) => {
      const allowed = NAMES.filter((name) => rules.allow(name, credentials, tenant_id));
      return { permissions: { user, project_id, is_admin, rules: allowed } };
    },
  );
}
