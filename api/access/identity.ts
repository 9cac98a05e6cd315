import { IdentityAnswer } from '../../src/contract/permissions.ts';
import type { App, Deps } from '../deps.ts';
import { identify } from './enforce.ts';

/** `/identity`: the owner of a token, for clients that do not know yet which tenant to use. */
export function identityRoutes(app: App, { access }: Deps): void {
  app.get(
    '/v1.0/identity',
    {
      schema: {
        tags: ['limits'],
        summary: 'Who the caller is, and which tenant is theirs',
        response: { 200: IdentityAnswer },
      },
    },
    async (request, reply) => {
      const { user, project_id } = await identify(access, request, reply);
      return { identity: { user, project_id } };
    },
  );
}
