/** Which servers are ours to make: the api goes by it before anything is asked of a guest. */
import { describe, expect, it } from 'vitest';
import type { Caller } from '../../api/access/caller.ts';
import { growCluster, shrinkCluster } from '../../api/clusters/resize.ts';
import type { Deps } from '../../api/deps.ts';
import { driversOf } from '../../guestagent/drivers/index.ts';
import type { Cluster } from '../../src/core/domain.ts';
import { BUILDING_MANAGERS, managerOf } from '../../src/core/managers/index.ts';

describe('servers', () => {
  it('are made by drivers that come with the guest agent, and by no other', () => {
    expect(Object.keys(driversOf({}))).toEqual(expect.arrayContaining([...BUILDING_MANAGERS]));
    expect(['kv', 'mysql', 'mongodb', 'cassandra', ''].some((name) => managerOf(name).buildsServers)).toBe(
      false,
    );
  });

  it.each([
    ['more', (deps: Deps, caller: Caller, kv: Cluster) => growCluster(deps, caller, kv, [], 'new')],
    [
      'fewer',
      (deps: Deps, caller: Caller, kv: Cluster) => shrinkCluster(deps, caller, kv, ['notes-member-2']),
    ],
  ])('that an operator makes are not to be %s, before anything is looked at', async (_title, resize) => {
    const kv = { name: 'notes', datastore_name: 'kv', manager: 'kv', instances: [{ id: 'a' }] };
    const cluster = kv as unknown as Cluster;
    await expect(resize({} as Deps, {} as Caller, cluster)).rejects.toMatchObject({
      code: 'action_refused',
      message: expect.stringMatching(
        /^The servers of cluster notes are made by their operator: .*create it again/,
      ),
    });
  });
});
