/** What the caller may do. Programs that show a person only the allowed actions ask for this document. */
import { z } from 'zod';

export const PermissionsDocument = z
  .strictObject({
    user: z.string().nullable().meta({ description: 'Null where nobody has to say who they are.' }),
    project_id: z.string().nullable().meta({ description: 'The tenant that they are at home with.' }),
    is_admin: z.boolean(),
    rules: z.array(z.string()).meta({
      description: 'Names of the rules that allow them something for the tenant of the path.',
    }),
  })
  .meta({ id: 'Permissions' });
export type PermissionsDocument = z.output<typeof PermissionsDocument>;
export const PermissionsAnswer = z.strictObject({ permissions: PermissionsDocument });
export type PermissionsAnswer = z.output<typeof PermissionsAnswer>;

export const IdentityDocument = z
  .strictObject({
    user: z.string().nullable().meta({ description: 'Null where nobody has to say who they are.' }),
    project_id: z.string().nullable().meta({
      description:
        'The tenant that the token is for; null where it is for none, or nobody has to say who they are.',
    }),
  })
  .meta({ id: 'Identity' });
export type IdentityDocument = z.output<typeof IdentityDocument>;
export const IdentityAnswer = z.strictObject({ identity: IdentityDocument });
export type IdentityAnswer = z.output<typeof IdentityAnswer>;
