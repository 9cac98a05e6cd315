import type { DatastoreVersion } from '../../../src/core/domain.ts';

/** An active version of the datastore `d`, with no rules of its own. */
export function versionOf(name: string, fields: Partial<DatastoreVersion> = {}): DatastoreVersion {
  return {
    ...{ id: `v-${name}`, datastore_id: 'd', name, manager: 'postgresql', active: true, packages: [] },
    ...{ image: '', image_tags: [], upgrade_from: null, not_mixed_with: null },
    ...fields,
  };
}
