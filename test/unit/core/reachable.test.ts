/** Which versions a cluster is offered: those that the catalogue lets it go to. */
import { describe, expect, it } from 'vitest';
import { EMPTY_CATALOGUE } from '../../../src/core/catalogue.ts';
import type { Cluster, DatastoreVersion } from '../../../src/core/domain.ts';
import { reachableIn } from '../../../src/core/reachable.ts';
import { versionOf } from './versions.ts';
import { FROM, World, type WorldOptions } from './world.ts';

const clusterOf = (options: WorldOptions = {}): Cluster => new World(options).cluster;
const own = versionOf(FROM, { id: 'v-from' });

function offered(cluster: Cluster, ...versions: readonly DatastoreVersion[]): readonly string[] {
  return reachableIn({ ...EMPTY_CATALOGUE, versions: [own, ...versions] })(cluster);
}

describe('the versions that a cluster can be upgraded to', () => {
  it('are those of its datastore that are newer, the oldest first', () => {
    const elsewhere = versionOf('17.12', { datastore_id: 'else' });
    const versions = ['17.11', '17.9', '17.10', '17.5', '18.0'].map((name) => versionOf(name));
    expect(offered(clusterOf(), ...versions, elsewhere)).toEqual(['17.9', '17.10', '17.11']);
  });

  it('are none that is inactive, or out of reach by the rules of the catalogue', () => {
    const inactive = versionOf('17.9', { active: false });
    const far = versionOf('17.10', { upgrade_from: '>=17.8' });
    const alone = versionOf('17.11', { not_mixed_with: FROM });
    expect(offered(clusterOf(), inactive, far, alone)).toEqual([]);
    expect(offered(clusterOf({ instances: 1 }), alone), 'one alone is never mixed').toEqual(['17.11']);
  });

  it('are asked for whatever its task is, and by what each of its instances runs', () => {
    const busy: Cluster = { ...clusterOf(), task: 'DELETING' };
    expect(offered(busy, versionOf('17.8'))).toEqual(['17.8']);
    expect(offered(clusterOf({ already_upgraded: ['db-2'] }), versionOf('17.8'))).toEqual([]);
  });

  it('are worked out once for all clusters that run the same, and for no other', () => {
    const reachable = reachableIn({ ...EMPTY_CATALOGUE, versions: [own, versionOf('17.8')] });
    const first = reachable(clusterOf({ already_upgraded: ['db-1'] }));
    expect(reachable(clusterOf({ already_upgraded: ['db-3'] }))).toBe(first);
    expect(reachable(clusterOf())).toEqual(['17.8']);
    expect(reachable(clusterOf({ manager: 'cassandra' })), 'run by another manager').toEqual([]);
  });
});
