/** Which servers are ours to make: the api goes by it before anything is asked of a guest. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Caller } from '../../api/auth.ts';
import { isBuilt } from '../../api/create-cluster.ts';
import type { Deps } from '../../api/deps.ts';
import { growCluster, shrinkCluster } from '../../api/resize-cluster.ts';
import type { Cluster } from '../../src/core/domain.ts';

const ROOT = resolve(import.meta.dirname, '../..');

describe('servers', () => {
  it('are made by the drivers that the guest agent has, and by no other', () => {
    const agent = readFileSync(join(ROOT, 'guestagent/main.ts'), 'utf8');
    const drivers = /const BUILT_IN = \{([^}]*)\}/.exec(agent)?.[1] ?? '';
    const names = [...drivers.matchAll(/(\w+):/g)].map(([, name = '']) => name);
    expect(names).toEqual(['postgresql', 'simulated']);
    expect(names.every(isBuilt)).toBe(true);
    expect(['kv', 'mysql', 'mongodb', 'cassandra', ''].some(isBuilt)).toBe(false);
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
