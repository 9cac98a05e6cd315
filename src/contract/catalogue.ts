/**
 * The catalogue: datastores and their versions as everybody sees them, and what administrators send to change
 * them: Trove's `/mgmt/datastore-versions`.
 */
import { z } from 'zod';
import { isRange, isVersion } from '../core/versions.ts';
import { isId, Links, nextPage, text } from './fields.ts';

/** Which versions can be upgraded to this one, and which versions can serve beside it. */
const VersionPaths = {
  upgrade_from: z.string().nullable().meta({
    description:
      'The versions that it can be reached from, as a semver range; null: what its manager allows.',
  }),
  not_mixed_with: z.string().nullable().meta({
    description: 'The versions that must not run beside it in one cluster, as a semver range; null: none.',
  }),
};

const version = {
  id: z.string(),
  name: z.string(),
  version: z.string(),
  links: Links,
  packages: z.string(),
  image: z.string(),
  image_tags: z.array(z.string()),
  ...VersionPaths,
};

/**
 * A version within its datastore. `active` is a number here and a boolean in the document of a single
 * version, as in Trove.
 */
export const DatastoreDocument = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    links: Links,
    versions: z.array(z.strictObject({ ...version, active: z.literal([0, 1]) })),
    default_version: z
      .string()
      .exactOptional()
      .meta({ description: 'What clusters get that name no version; absent when they have to.' }),
  })
  .meta({ id: 'Datastore' });
export type DatastoreDocument = z.output<typeof DatastoreDocument>;
export const DatastoreAnswer = z.strictObject({ datastore: DatastoreDocument });
export type DatastoreAnswer = z.output<typeof DatastoreAnswer>;
export const DatastoresAnswer = z.strictObject({ datastores: z.array(DatastoreDocument), ...nextPage });
export type DatastoresAnswer = z.output<typeof DatastoresAnswer>;

const ListedVersion = z.strictObject({ ...version, datastore: z.string(), active: z.literal([0, 1]) });
export type DatastoreVersionListed = z.output<typeof ListedVersion>;
export const VersionsAnswer = z.strictObject({ versions: z.array(ListedVersion), ...nextPage });
export type VersionsAnswer = z.output<typeof VersionsAnswer>;
export const DatastoreVersionDocument = z
  .strictObject({ ...version, datastore: z.string(), active: z.boolean() })
  .meta({ id: 'DatastoreVersion' });
export type DatastoreVersionDocument = z.output<typeof DatastoreVersionDocument>;
export const VersionAnswer = z.strictObject({ version: DatastoreVersionDocument });
export type VersionAnswer = z.output<typeof VersionAnswer>;

/**
 * A version's name is its number: a guest agent reports the number, and Coffer compares the report with the
 * name.
 */
const VersionName = text(255)
  .refine((name) => !isId(name), 'must not have the form of an id')
  .refine(isVersion, "must have a version number in it, such as '17.10'");
const DatastoreName = text(255).refine((name) => !isId(name), 'must not have the form of an id');
const Manager = z
  .string()
  .max(63)
  .regex(/^[a-z][a-z0-9_]*$/, "must be the name of a guest agent's driver, such as 'postgresql'");
const Image = text(255);
const Tags = z.array(text(20)).max(5);
const Packages = z.array(text(255)).max(100);
const Range = text(255).refine(isRange, "must be a semver range, such as '>=17.0 <17.10'").nullable();

/** Fields that a new version may have and that a change may set. */
const settings = {
  image: Image.exactOptional().meta({ description: 'Kept for Trove clients; nothing here uses it.' }),
  image_tags: Tags.exactOptional(),
  packages: Packages.exactOptional(),
  default: z.boolean().exactOptional(),
  upgrade_from: Range.exactOptional(),
  not_mixed_with: Range.exactOptional(),
};

/** Body of `POST /mgmt/datastore-versions`. */
export const CreateVersionBody = z.strictObject({
  version: z
    .strictObject({
      name: VersionName,
      datastore_name: DatastoreName.meta({ description: 'It is made if there is none of that name.' }),
      datastore_manager: Manager,
      active: z.boolean(),
      version: text(255).exactOptional().meta({ description: 'As Trove clients send it: the same as name.' }),
      ...settings,
    })
    .refine(({ name, version }) => version === undefined || version === name, {
      path: ['version'],
      message: 'must be the same as the name: a guest agent reports it, and it is compared with the name',
    }),
});
export type NewVersionInput = z.input<typeof CreateVersionBody>['version'];
export type VersionRequest = z.output<typeof CreateVersionBody>['version'];

/** Body of `PATCH /mgmt/datastore-versions/{id}`: fields that are left out keep their values. */
export const ChangeVersionBody = z.strictObject({
  name: VersionName.exactOptional(),
  datastore_manager: Manager.exactOptional(),
  active: z.boolean().exactOptional(),
  ...settings,
});
export type VersionChangeInput = z.input<typeof ChangeVersionBody>;
export type VersionChangeRequest = z.output<typeof ChangeVersionBody>;

export const ManagedVersionDocument = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    version: z.string(),
    datastore_id: z.string(),
    datastore_name: z.string(),
    datastore_manager: z.string(),
    image: z.string(),
    image_tags: z.array(z.string()),
    packages: z.array(z.string()),
    active: z.boolean(),
    default: z.boolean(),
    ...VersionPaths,
  })
  .meta({ id: 'ManagedDatastoreVersion' });
export type ManagedVersionDocument = z.output<typeof ManagedVersionDocument>;
export const ManagedVersionAnswer = z.strictObject({ version: ManagedVersionDocument });
export type ManagedVersionAnswer = z.output<typeof ManagedVersionAnswer>;
export const ManagedVersionsAnswer = z.strictObject({
  versions: z.array(ManagedVersionDocument),
  ...nextPage,
});
export type ManagedVersionsAnswer = z.output<typeof ManagedVersionsAnswer>;
