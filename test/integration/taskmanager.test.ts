/**
 * A taskmanager's handlers at moments that a whole stack seldom meets: on a real Redis, with a
 * provisioner that the test plays.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { Bus, Request } from '../../src/bus/bus.ts';
import type { Cluster, Instance } from '../../src/core/domain.ts';
import type { PendingCast } from '../../src/store/outbox.ts';
import type { BuildOrder } from '../../src/store/provisioning.ts';
import { openRedisStore } from '../../src/store/redis.ts';
import type { Store } from '../../src/store/store.ts';
import { Batches } from '../../taskmanager/batch-engine.ts';
import { Engine } from '../../taskmanager/engine.ts';
import { LocalProvisioner } from '../../taskmanager/provisioner-local.ts';
import { type Provisioner, Provisioning } from '../../taskmanager/provisioning.ts';
import { handleConductorRequest, type RequestDeps } from '../../taskmanager/requests.ts';
import { seeded } from '../conformance/store.ts';
import { silentLog as log, testUrls, uniqueName } from '../support/services.ts';

const ORDER: BuildOrder = { databases: [], users: [] };
const MINUTE_MS = 60_000;

let store: Store;
beforeAll(async () => {
  store = await seeded(
    await openRedisStore({ url: testUrls().redis_url, prefix: uniqueName('taskmanager'), log }),
  );
});
afterAll(() => store.close());

/** Files as the local provisioner writes them, in memory. */
class Files implements Provisioner {
  readonly held = new Set<string>();
  /** What happens to the cluster between the look at its task and the first file. */
  meanwhile: () => Promise<void> = async () => undefined;

  async provision(cluster: Cluster): Promise<void> {
    await this.meanwhile();
    for (const { id } of cluster.instances) this.held.add(id);
  }

  async remove(_cluster: Cluster, instances: readonly Instance[]): Promise<boolean> {
    for (const { id } of instances) this.held.delete(id);
    return true;
  }

  async unsettled(): Promise<readonly Cluster[]> {
    return [];
  }

  async settled(): Promise<void> {}
}

async function newCluster(): Promise<Cluster> {
  const id = randomUUID();
  const instance: Instance = {
    id: randomUUID(),
    cluster_id: id,
    name: 'shop-member-1',
    flavor_id: '1',
    volume_size: 1,
    task: 'BUILDING',
    fault: null,
    in_doubt: false,
    report: null,
    heard: null,
  };
  const cluster: Cluster = {
    id,
    tenant_id: 't1',
    name: 'shop',
    datastore_id: 'd1',
    datastore_name: 'simulated',
    manager: 'simulated',
    datastore_version_id: 'v1',
    datastore_version: '1.0',
    task: 'BUILDING',
    upgrade_id: null,
    extended_properties: {},
    created: Date.now(),
    updated: Date.now(),
    instances: [instance],
  };
  await store.provisioning.create(cluster, ORDER, castOf(cluster, 'create_cluster'));
  return cluster;
}

function castOf({ id }: Cluster, method: string): PendingCast {
  const args = { cluster_id: id };
  return { id: `${id}:${method}`, topic: 'taskmanager', method, args, request_id: 'req-1', tenant_id: 't1' };
}

describe('a cluster that is deleted while it is being built', () => {
  const build = async (meanwhile: (cluster: Cluster, provisioning: Provisioning) => Promise<unknown>) => {
    const cluster = await newCluster();
    const provisioner = new Files();
    const provisioning = new Provisioning({ store, provisioner, log, now: Date.now });
    provisioner.meanwhile = async () => void (await meanwhile(cluster, provisioning));
    await provisioning.create(cluster.id);
    return { cluster, provisioner, provisioning };
  };
  const beginDelete = (cluster: Cluster) =>
    store.provisioning.beginDelete(cluster.id, castOf(cluster, 'delete_cluster'), Date.now());

  it('leaves no instance, although its removal found none yet', async () => {
    const { cluster, provisioner } = await build(async (one, provisioning) => {
      expect(await beginDelete(one)).toBe('begun');
      await provisioning.remove(one.id);
    });
    expect(await store.clusters.get(cluster.id)).toBeNull();
    expect([...provisioner.held]).toEqual([]);
  });

  it('leaves no instance when its removal comes later', async () => {
    const { cluster, provisioner, provisioning } = await build(beginDelete);
    expect([...provisioner.held]).toEqual([]);
    await provisioning.remove(cluster.id);
    expect(await store.clusters.get(cluster.id)).toBeNull();
  });

  it('is not mistaken for one that was built meanwhile', async () => {
    const { cluster, provisioner } = await build((one) => store.provisioning.finishBuild(one.id, Date.now()));
    expect((await store.clusters.get(cluster.id))?.task).toBe('NONE');
    expect(provisioner.held.size).toBe(1);
  });
});

function ofThree(cluster: Cluster): Cluster {
  const instances = cluster.instances.flatMap((instance) =>
    [1, 2, 3].map((n) => ({ ...instance, id: randomUUID(), name: `shop-${n}` })),
  );
  return { ...cluster, manager: 'postgresql', instances };
}

describe('two taskmanagers that provision one cluster at once', () => {
  it('make one cluster of it: every replica is told where its primary truly is', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'coffer-guests-'));
    onTestFinished(() => rm(parent, { recursive: true, force: true }));
    const dir = join(parent, 'of-the-first-cluster');
    for (let round = 0; round < 20; round++) {
      const cluster = ofThree(await newCluster());
      await Promise.all([1, 2, 3].map(() => new LocalProvisioner(dir).provision(cluster, ORDER)));
      const paths = cluster.instances.map(({ id }) => join(dir, id, `${id}.json`));
      const configs = await Promise.all(paths.map(async (path) => JSON.parse(await readFile(path, 'utf8'))));
      const [first, ...others] = configs;
      for (const { primary } of others) expect(primary).toEqual(first.endpoint);
      expect(new Set(configs.map(({ endpoint }) => endpoint.port)).size).toBe(3);
    }
    const names = await readdir(dir);
    expect(names.filter((name) => name.startsWith('.draft-'))).toEqual([]);
  });
});

describe('a taskmanager that dies while it provisions', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'coffer-guests-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  /** Dies when the files are written, before it looks whether they are still wanted. */
  const dieProvisioning = async (meanwhile: (cluster: Cluster) => Promise<unknown>) => {
    const cluster = await newCluster();
    const real = new LocalProvisioner(dir);
    const dying = {
      provision: async () => {
        await meanwhile(cluster);
        await real.provision(cluster, ORDER);
        throw new Error('killed');
      },
      remove: (one: Cluster, gone: readonly Instance[]) => real.remove(one, gone),
      unsettled: () => real.unsettled(),
      settled: (one: Cluster) => real.settled(one),
    };
    const provisioning = new Provisioning({ store, provisioner: dying, log, now: Date.now });
    await expect(provisioning.create(cluster.id)).rejects.toThrow('killed');
    return cluster;
  };
  const files = () => readdir(join(dir, 'simulated'));
  const startAgain = () =>
    new Provisioning({ store, provisioner: new LocalProvisioner(dir), log, now: Date.now }).clearLeftovers();

  it('leaves nothing of a cluster that was deleted meanwhile', async () => {
    const other = new Provisioning({ store, provisioner: new LocalProvisioner(dir), log, now: Date.now });
    const cluster = await dieProvisioning(async (one) => {
      await store.provisioning.beginDelete(one.id, castOf(one, 'delete_cluster'), Date.now());
      await other.remove(one.id);
    });
    expect(await store.clusters.get(cluster.id)).toBeNull();
    expect(await files()).toHaveLength(1);
    await startAgain();
    expect(await files()).toEqual([]);
    expect(await new LocalProvisioner(dir).unsettled()).toEqual([]);
  });

  it('leaves alone what is wanted, and what no note of its own tells of', async () => {
    const cluster = await dieProvisioning(async () => undefined);
    await startAgain();
    expect(await files(), 'it is being built still').toHaveLength(1);
    await store.provisioning.finishBuild(cluster.id, Date.now());
    await startAgain();
    expect(await files()).toHaveLength(1);
    expect(await new LocalProvisioner(dir).unsettled()).toEqual([]);
    // As if Redis had lost everything: databases are not removed for that.
    await store.provisioning.beginDelete(cluster.id, castOf(cluster, 'delete_cluster'), Date.now());
    await store.provisioning.remove(cluster.id);
    await startAgain();
    expect(await files()).toHaveLength(1);
  });
});

describe('a guest whose clock is wrong', () => {
  const heartbeat = async (instance_id: string, sent: number, now: number) => {
    const unused = { store, log, bus: {} as Bus, now: () => now };
    const engine = new Engine(unused);
    const places = { newId: randomUUID, max_concurrent_total: 1, wake: () => undefined };
    const deps: RequestDeps = {
      ...unused,
      engine,
      batches: new Batches({ ...unused, ...places, engine }),
      provisioning: new Provisioning({ ...unused, provisioner: new Files() }),
      newId: randomUUID,
    };
    const context = { request_id: 'req-1', tenant_id: null, user: null, is_admin: true };
    const payload = { service_status: 'building', version: '1.0' };
    const args = { instance_id, sent: sent / 1000, payload };
    const request: Request = { method: 'heartbeat', args, context, unique_id: 'm-1', redelivered: false };
    await handleConductorRequest(deps, request);
  };
  const held = async (id: string) => (await store.clusters.get(id))?.instances[0];

  it.each([
    ['a year ahead', 365 * 24 * 60 * MINUTE_MS, 0],
    ['a little ahead', MINUTE_MS, MINUTE_MS],
    ['behind', -90 * MINUTE_MS, -90 * MINUTE_MS],
  ])(
    '%s is heard all the same, and again once it is set right',
    async (_title, offset_ms, held_offset_ms) => {
      const cluster = await newCluster();
      const id = cluster.instances[0]?.id ?? '';
      const now = Date.now();
      await heartbeat(id, now + offset_ms, now);
      expect(await held(cluster.id)).toMatchObject({ heard: now, report: { sent: now + held_offset_ms } });
      await heartbeat(id, now + MINUTE_MS + 1, now + MINUTE_MS + 1);
      expect((await held(cluster.id))?.heard).toBe(now + MINUTE_MS + 1);
    },
  );
});
