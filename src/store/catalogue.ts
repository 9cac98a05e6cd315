/**
 * The catalogue of datastores and their versions. `change-catalogue.ts` changes it. On Redis:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `catalogue` | hash | `revision`, `doc`; per datastore, under its id, its versions |
 * | `catalogue:versions` | set | ids of all versions |
 * | `uses:<version>` | set | who uses the version: `cluster:<id>` of clusters that have it, and `upgrade:<id>` of active upgrades from it or to it |
 */
import { type Catalogue, EMPTY_CATALOGUE, versionsOf } from '../core/catalogue.ts';
import { RedisPart } from './redis-port.ts';
import { script } from './script.ts';

export type PutVerdict =
  | { readonly verdict: 'put' }
  /** Another revision was written since: read again and decide again. */
  | { readonly verdict: 'conflict' }
  /** `users`, each `cluster:<id>` or `upgrade:<id>`, use a version that must be unused. */
  | { readonly verdict: 'in_use'; readonly version_id: string; readonly users: readonly string[] };

export interface CatalogueStore {
  /** The whole catalogue, as one consistent view. */
  get(): Promise<Catalogue>;
  /** Replaces the catalogue of the preceding revision, if nobody uses the versions in `unused`. */
  put(catalogue: Catalogue, unused: readonly string[]): Promise<PutVerdict>;
}

const PUT = script('catalogue.put', {
  keys: { catalogue: ['hash', 'catalogue'], versions: ['set', 'catalogue:versions'] },
  args: ['revision_read', 'revision', 'doc'],
  lists: { unused: ['id'], versions: ['id'], datastores: ['id', 'own_versions'] },
  lua: `
if (redis.call('HGET', CATALOGUE, 'revision') or '0') ~= revision_read then return { 'conflict' } end
for id in unused() do
  local users = redis.call('SMEMBERS', PREFIX .. ':uses:' .. id)
  if #users > 0 then return { 'in_use', id, users } end
end
redis.call('DEL', CATALOGUE, VERSIONS)
redis.call('HSET', CATALOGUE, 'revision', revision, 'doc', doc)
for id in versions() do redis.call('SADD', VERSIONS, id) end
for id, own_versions in datastores() do redis.call('HSET', CATALOGUE, id, own_versions) end
return { 'put' }`,
});

export class RedisCatalogue extends RedisPart implements CatalogueStore {
  /** The catalogue as it was read last. */
  #last: Catalogue = EMPTY_CATALOGUE;

  async get() {
    return this.at(await this.port.ask((redis) => redis.hget(this.port.key('catalogue'), 'revision')));
  }

  /**
   * The catalogue at this revision or a later one. It is read only if it has changed: every request needs it,
   * and it hardly ever changes.
   */
  async at(revision: string | null): Promise<Catalogue> {
    if (revision === String(this.#last.revision)) return this.#last;
    const doc = await this.port.ask((redis) => redis.hget(this.port.key('catalogue'), 'doc'));
    this.#last = doc === null ? EMPTY_CATALOGUE : (JSON.parse(doc) as Catalogue);
    return this.#last;
  }

  async put(catalogue: Catalogue, unused: readonly string[]): Promise<PutVerdict> {
    const { revision, datastores, versions } = catalogue;
    const answer = await this.port.run(PUT, {
      revision_read: revision - 1,
      revision,
      doc: JSON.stringify(catalogue),
      unused,
      versions: versions.map(({ id }) => id),
      datastores: datastores.map(({ id }) => ({
        id,
        own_versions: JSON.stringify(versionsOf(catalogue, id)),
      })),
    });
    const [verdict, version_id = '', users = []] = answer as [PutVerdict['verdict'], string?, string[]?];
    return verdict === 'in_use' ? { verdict, version_id, users: users.toSorted() } : { verdict };
  }
}
