import { type Catalogue, mustBeUnused, withBuiltIns } from '../core/catalogue.ts';
import { CofferError } from '../core/errors.ts';
import type { CatalogueStore } from './catalogue.ts';

/**
 * Two administrators who change the catalogue at once agree after a try or two. This limit is for a case that
 * should never happen.
 */
const MAX_CONFLICTS = 50;
/** How many users of a version an error message names. */
const MAX_NAMED = 5;

/**
 * Changes the catalogue by a pure function of its present content, and returns the new content. Rejects with
 * what `change` throws, with `in_use` if a cluster or an active upgrade has a version that would be gone, and
 * with `store_unavailable`.
 */
export async function changeCatalogue(
  store: CatalogueStore,
  change: (catalogue: Catalogue) => Catalogue,
): Promise<Catalogue> {
  for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
    const before = await store.get();
    const after = change(before);
    if (after === before) return before;
    const outcome = await store.put(after, mustBeUnused(before, after));
    if (outcome.verdict === 'put') return after;
    if (outcome.verdict === 'in_use') throw inUse(before, outcome.version_id, outcome.users);
  }
  throw new CofferError('store_unavailable', 'the catalogue keeps changing');
}

/**
 * For a process that starts: ensures that the catalogue contains the versions that come with this release.
 */
export async function seedCatalogue(store: CatalogueStore): Promise<void> {
  await changeCatalogue(store, withBuiltIns);
}

function inUse({ versions }: Catalogue, version_id: string, users: readonly string[]): CofferError {
  const name = versions.find(({ id }) => id === version_id)?.name ?? version_id;
  const named = users.slice(0, MAX_NAMED).map((user) => user.replace(':', ' '));
  const more = users.length > MAX_NAMED ? ` and ${users.length - MAX_NAMED} more` : '';
  return new CofferError(
    'in_use',
    `Datastore version '${name}' is in use by ${named.join(', ')}${more}. Take them to another version first, or deactivate this one so that nothing new gets it.`,
  );
}
