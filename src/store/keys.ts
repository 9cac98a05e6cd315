/**
 * The keys of instances, and the keys that external agents join with, encrypted by the caller. Clusters bring
 * them when they are created and grown (`provisioning.ts`). On Redis:
 *
 * | key | type | holds |
 * |---|---|---|
 * | `keys` | hash | keys by the ids of instances, and by `join:<cluster>`; of an adopted cluster by `join:<instance>` |
 */
import { RedisPart } from './redis-port.ts';
import { script } from './script.ts';

/** Keys by the ids of their instances or clusters, encrypted by the caller. */
export type Keys = ReadonlyMap<string, string>;
export const NO_KEYS: Keys = new Map();

/**
 * The id under which the join key of a cluster, or of an instance of an adopted cluster, is kept next to the
 * keys of instances.
 */
export function joinKeyId(cluster_or_instance_id: string): string {
  return `join:${cluster_or_instance_id}`;
}

export interface KeyStore {
  /** The key of an instance, or a join key; null if there is none. */
  get(id: string): Promise<string | null>;
  /** Replaces an existing key. False if the key no longer exists. */
  replace(id: string, sealed: string): Promise<boolean>;
  /** The ids of all keys. */
  ids(): Promise<readonly string[]>;
}

const REPLACE = script('keys.replace', {
  keys: { instance_keys: ['hash', 'keys'] },
  args: ['id', 'sealed'],
  lua: `
if redis.call('HEXISTS', INSTANCE_KEYS, id) == 0 then return 0 end
redis.call('HSET', INSTANCE_KEYS, id, sealed)
return 1`,
});

export class RedisKeys extends RedisPart implements KeyStore {
  get(id: string) {
    return this.port.ask((redis) => redis.hget(this.port.key('keys'), id));
  }

  async replace(id: string, sealed: string) {
    return (await this.port.run(REPLACE, { id, sealed })) === 1;
  }

  ids() {
    return this.port.ask((redis) => redis.hkeys(this.port.key('keys')));
  }
}
