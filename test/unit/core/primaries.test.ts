/** M8, G6: nobody is taken down, and nothing starts, in a replica set that has two primaries, or none. */
import { describe, expect, it } from 'vitest';
import { checkAdmission } from '../../../src/core/admit.ts';
import type { Cluster, Role } from '../../../src/core/domain.ts';
import { CofferError } from '../../../src/core/errors.ts';
import { previewUpgrade } from '../../../src/core/preview.ts';
import { primaryProblems } from '../../../src/core/primaries.ts';
import { versionOf } from './versions.ts';
import { FROM, T0, TO, World, type WorldOptions } from './world.ts';

const TARGET = versionOf(TO, { id: 'v-to' });
const VERSIONS = [versionOf(FROM), TARGET];
/** What nobody may skip, whoever asks for it. */
const EVERY_OVERRIDE = ['guests_alive', 'instances_healthy', 'replication_caught_up'] as const;
const overrides = EVERY_OVERRIDE.map((gate) => ({ gate, reason: 'known' }));

function idle(options: WorldOptions, roles: Readonly<Record<string, Role | null>> = {}): Cluster {
  const { cluster } = new World(options);
  const instances = cluster.instances.map((one) => {
    const role = roles[one.name];
    return role === undefined || !one.report ? one : { ...one, report: { ...one.report, role } };
  });
  return { ...cluster, name: 'shop', task: 'NONE', upgrade_id: null, instances };
}

const two = (instances = 3) => idle({ instances }, { 'db-2': 'primary' });
const none = () => idle({ instances: 3 }, { 'db-1': null });
const gatesOf = (cluster: Cluster) =>
  previewUpgrade(cluster, { target: TARGET, versions: VERSIONS, policy: { overrides } }, T0).gates;
const admit = (cluster: Cluster, scope = cluster) =>
  checkAdmission(
    scope,
    { ...TARGET, manager: cluster.manager },
    { versions: VERSIONS, whole: cluster, overrides },
  );

describe('a set of two primaries', () => {
  it.each([2, 3])('of %i instances is refused, and the refusal names both and the way out', (instances) => {
    const refused = (() => {
      try {
        return admit(two(instances));
      } catch (err) {
        return err instanceof CofferError ? err : undefined;
      }
    })();
    expect(refused?.code).toBe('gate_blocked');
    expect(refused?.message).toMatch(
      /^The upgrade is blocked by one_primary: db-1 \(\S+\) and db-2 \(\S+\) are both primary/,
    );
    expect(refused?.message).toContain(
      'coffer cluster-shrink shop <the other>, then coffer cluster-grow shop',
    );
    const gates = gatesOf(two(instances)).filter(({ gate }) => gate === 'one_primary');
    expect(gates).toHaveLength(1);
    expect(primaryProblems({ ...two(instances), task: 'UPGRADING_CLUSTER' })).toEqual(gates);
  });

  it('also for an upgrade of one of its instances alone', () => {
    const cluster = two();
    expect(() => admit(cluster, { ...cluster, instances: cluster.instances.slice(2) })).toThrow(
      /one_primary/,
    );
  });

  it('is another matter in another shard, and where all are members', () => {
    const shards = { 'db-1': { shard: 'a' }, 'db-2': { shard: 'b' } };
    expect(primaryProblems(idle({ instances: 2, placement: shards }, { 'db-2': 'primary' }))).toEqual([]);
    expect(primaryProblems(idle({ manager: 'couchdb', instances: 3 }))).toEqual([]);
    expect(primaryProblems(idle({ manager: 'cassandra', trove: ['db-1', 'db-2'], instances: 2 }))).toEqual(
      [],
    );
  });
});

describe('a set without a primary', () => {
  it('says so in a plan, and its upgrade waits: a failover may be under way', () => {
    const finding = {
      gate: 'one_primary',
      reason: expect.stringContaining('none of db-1, db-2, db-3 is the primary'),
    };
    expect(gatesOf(none())).toContainEqual(finding);
    expect(primaryProblems(none())).toEqual([finding]);
    expect(() => admit(none())).not.toThrow();
  });

  it('is not known to be one as long as somebody was never heard, or while its cluster is busy', () => {
    const cluster = none();
    const [first, ...others] = cluster.instances;
    const unheard = {
      ...cluster,
      instances: [{ ...first, report: null, heard: null }, ...others],
    } as Cluster;
    expect(primaryProblems(unheard)).toEqual([]);
    expect(primaryProblems({ ...cluster, task: 'UPGRADING_CLUSTER' })).toEqual([]);
  });
});

/** Somebody calls `pg_promote()` on a replica. */
function promote(it: World, name: string): void {
  it.guest(name).role = 'primary';
  it.heard(name, { role: 'primary' });
}

function demoteByHand(it: World, name: string): void {
  it.guest(name).role = 'replica';
  it.heard(name, { role: 'replica' });
}

describe('an upgrade in whose middle a replica is promoted by hand', () => {
  it.each([
    ['before a replica', 'db-2', 'db-3'],
    ['of two instances, before the switchover', 'db-2', undefined],
  ] as const)(
    '%s starts nothing more, names both, and asks a person in the end (M8, G1)',
    (_, first, other) => {
      const it = new World({ instances: other ? 3 : 2, policy: { step_timeout_seconds: 60, overrides } });
      it.reach(first, 'upgrading');
      it.until(() => it.step(first).phase.name === 'verifying');
      promote(it, other ?? first);
      const before = it.messages.length;
      it.settle();
      expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'gate' });
      expect(it.message).toMatch(
        new RegExp(`waits for one_primary: db-1 .* and ${other ?? first} .* are both primary`),
      );
      expect(it.message).toContain('then resume; or cancel it first');
      const orders = it.messages
        .slice(before)
        .map(({ attempt, instance_id }) => [attempt.action, it.nameOf(instance_id)]);
      expect(orders.filter(([action]) => action !== 'post_upgrade')).toEqual([]);
      it.act('cancel');
      expect(it.upgrade.state.name).toBe('cancelled');
      expect(it.violations).toEqual([]);
    },
  );

  it('goes on by itself once the one is a replica again', () => {
    const it = new World({ instances: 3 });
    it.reach('db-2', 'verifying');
    promote(it, 'db-3');
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    demoteByHand(it, 'db-3');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.violations).toEqual([]);
  });

  it('goes by another plan once the other one is the primary: the old one is a replica like any other', () => {
    const it = new World({ instances: 3, policy: { step_timeout_seconds: 60 } });
    it.reach('db-2', 'verifying');
    promote(it, 'db-3');
    it.settle();
    demoteByHand(it, 'db-1');
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.eventsOf('planned').map(({ message }) => message)).toEqual([
      'db-2, db-3, switchover, db-1',
      'db-2, db-1, switchover, db-3',
    ]);
    expect(it.told('demote')).toEqual(['db-3']);
    expect(it.violations).toEqual([]);
  });

  it('does not take down a replica that has made ready by then, and counts that as no try of it', () => {
    const it = new World({
      ...{ instances: 3, policy: { retries: 0, step_timeout_seconds: 60 } },
      scripts: { 'db-2': { pre_upgrade: { ms: 2_000 } } },
    });
    it.reach('db-2', 'preparing');
    promote(it, 'db-3');
    it.settle();
    expect(it.told('upgrade')).toEqual([]);
    expect(it.message).toContain('one_primary');
    demoteByHand(it, 'db-3');
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('does not stop the primary when that happens while it makes ready for the switchover', () => {
    const it = new World({
      ...{ instances: 3, policy: { step_timeout_seconds: 60 } },
      scripts: { 'db-1': { pre_upgrade: { ms: 2_000 } } },
    });
    it.reach('db-1', 'preparing', 'switchover');
    promote(it, 'db-3');
    it.settle();
    expect(it.told('demote')).toEqual([]);
    expect(it.message).toContain('one_primary');
  });
});
