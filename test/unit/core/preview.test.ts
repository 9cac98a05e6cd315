/** What an upgrade would do, told before it is begun. */
import { describe, expect, it } from 'vitest';
import { admissionFindings } from '../../../src/core/admit.ts';
import type { Cluster, GuestReport } from '../../../src/core/domain.ts';
import { CofferError } from '../../../src/core/errors.ts';
import { expectedTimes, NOTHING_MEASURED } from '../../../src/core/history.ts';
import { checkPlanHash, previewUpgrade } from '../../../src/core/preview.ts';
import { versionOf } from './versions.ts';
import { FROM, T0, TO, World, type WorldOptions } from './world.ts';

const TARGET = versionOf(TO, { id: 'v-to' });
const VERSIONS = [versionOf(FROM), TARGET];

function idle(options: WorldOptions = {}, fields: Partial<Cluster> = {}): Cluster {
  return { ...new World(options).cluster, task: 'NONE', upgrade_id: null, ...fields };
}

/** The cluster with one instance reporting something else. */
function reporting(cluster: Cluster, name: string, report: Partial<GuestReport>): Cluster {
  const instances = cluster.instances.map((one) =>
    one.name === name && one.report ? { ...one, report: { ...one.report, ...report } } : one,
  );
  return { ...cluster, instances };
}

const preview = (cluster: Cluster, intent = {}) =>
  previewUpgrade(
    cluster,
    { target: { ...TARGET, manager: cluster.manager }, versions: VERSIONS, ...intent },
    T0,
  );

describe('a plan preview', () => {
  it('is the plan that the machine makes, with names and roles', () => {
    const world = new World({ instances: 3 });
    const plan = preview({ ...world.cluster, task: 'NONE', upgrade_id: null });
    world.until(() => world.upgrade.steps.length > 0);
    expect(plan.steps.map(({ kind, instance_id, stage }) => [kind, instance_id, stage])).toEqual(
      world.upgrade.steps.map(({ kind, instance_id, stage }) => [kind, instance_id, stage]),
    );
    expect(plan.steps.map(({ kind, instance_name, role }) => `${kind} ${instance_name} ${role}`)).toEqual([
      'instance db-2 replica',
      'instance db-3 replica',
      'switchover db-1 primary',
      'instance db-1 primary',
    ]);
    expect(plan.gates).toEqual([]);
    expect([plan.from, plan.to]).toEqual([
      { id: 'v-from', name: FROM },
      { id: 'v-to', name: TO },
    ]);
  });

  it('says of each gate what it is about', () => {
    const reasons = (cluster: Cluster) =>
      preview(cluster).gates.map(({ gate, reason }) => `${gate}: ${reason}`);
    expect(reasons(idle({ last_heard_s_ago: 60 }))).toEqual([
      'guests_alive: the guest agent of db-1, db-2, db-3 has not been heard lately: start it',
    ]);
    const ill = reporting(idle({ already_upgraded: ['db-2'] }), 'db-2', { service_status: 'failed' });
    expect(reasons(ill)).toContain(
      'instances_healthy: db-2 not healthy, and no step of this upgrade would mend that',
    );
    const lag_bytes = { 'db-2': 1024 * 1024 + 1, 'db-3': 1024 * 1024 + 1 };
    expect(reasons(idle({ lag_bytes }))).toEqual([
      'replication_caught_up: no replica has caught up with db-1',
    ]);
    expect(reasons(idle({ lag_bytes: { ...lag_bytes, 'db-3': 1024 * 1024 } }))).toEqual([]);
  });

  it('knows nothing of an instance that was never heard, and plans it all the same', () => {
    const cluster = idle({ manager: 'cassandra' });
    const instances = cluster.instances.map((one) => ({ ...one, report: null, heard: null }));
    const plan = preview({ ...cluster, instances });
    expect(plan.steps.map(({ instance_name, role }) => [instance_name, role])).toEqual([
      ['db-1', null],
      ['db-2', null],
      ['db-3', null],
    ]);
  });

  it('names who would become primary: the replica that is behind least', () => {
    const plan = preview(idle({ instances: 3, lag_bytes: { 'db-2': 900, 'db-3': 100 } }));
    expect(plan.successor?.instance_name).toBe('db-3');
    expect(preview(idle({ manager: 'simulated' })).successor).toBeNull();
  });

  it('names nobody as the next primary who is none of its replicas, however little they are behind', () => {
    const cluster = idle({ instances: 3, lag_bytes: { 'db-2': 900, 'db-3': 1_000 } });
    const bystander = reporting(cluster, 'db-2', { role: 'member', lag_bytes: 0 });
    expect(preview(bystander).successor?.instance_name).toBe('db-3');
    const primary = reporting(cluster, 'db-1', { lag_bytes: 0 });
    expect(preview(primary).successor?.instance_name).toBe('db-2');
  });

  it('lists every gate that would block, not just the first', () => {
    const cluster = idle(
      { instances: 3, lag_bytes: { 'db-2': 1e9, 'db-3': null }, already_upgraded: ['db-3'] },
      { task: 'UPGRADING_CLUSTER', upgrade_id: 'u1' },
    );
    const away = reporting(cluster, 'db-3', { service_status: 'failed' });
    const instances = away.instances.map((one) => (one.name === 'db-2' ? { ...one, heard: null } : one));
    const target = { ...TARGET, name: '16.1', active: false };
    const { gates } = preview({ ...away, instances }, { target });
    expect(gates.map(({ gate }) => gate)).toEqual([
      'cluster_idle',
      'version_active',
      'version_path',
      'guests_alive',
      'replication_caught_up',
    ]);
    expect(gates[0]?.reason).toContain('u1');
    const blocked = preview({ ...away, instances }, { target: TARGET });
    expect(blocked.gates.map(({ gate }) => gate)).toContain('instances_healthy');
  });

  it('says that no upgrade is needed', () => {
    const cluster = idle(
      { instances: 2, already_upgraded: ['db-1', 'db-2'] },
      { datastore_version_id: 'v-to' },
    );
    const plan = preview({ ...cluster, datastore_version: TO });
    expect(plan.gates.map(({ gate }) => gate)).toEqual(['upgrade_needed']);
    expect(plan.steps).toEqual([]);
    expect(plan.estimate_seconds).toBe(0);
  });

  it('leaves out what is overridden, but never that the cluster is busy', () => {
    const policy = {
      overrides: [
        { gate: 'version_active', reason: 'known' },
        { gate: 'guests_alive', reason: 'known' },
      ],
    } as const;
    const busy = idle({ last_heard_s_ago: 60 }, { task: 'BUILDING' });
    const { gates } = preview(busy, { target: { ...TARGET, active: false }, policy });
    expect(gates.map(({ gate }) => gate)).toEqual(['cluster_idle']);
  });

  it('estimates by steps, side by side where the policy allows it, and soak', () => {
    const five = idle({ manager: 'simulated', instances: 5 });
    const times = { median_ms: 10_000, p95_ms: 90_000 };
    const expected = { instance: times, switchover: times };
    expect(preview(five, { expected }).estimate_seconds, 'by what is usual').toBe(50);
    expect(preview(five, { expected, policy: { max_unavailable: 2 } }).estimate_seconds).toBe(30);
    expect(preview(five, { expected, policy: { soak_seconds: 10 } }).estimate_seconds).toBe(100);
  });

  it('estimates nothing before a step of each of its kinds was measured', () => {
    const measured = { median_ms: 2_000, p95_ms: 2_000 };
    const { instance, switchover } = expectedTimes(NOTHING_MEASURED);
    const five = idle({ manager: 'simulated', instances: 5 });
    expect(preview(five).estimate_seconds).toBeNull();
    expect(preview(five, { expected: { instance: measured, switchover } }).estimate_seconds).toBe(10);
    expect(preview(idle(), { expected: { instance: measured, switchover } }).estimate_seconds).toBeNull();
    expect(preview(idle(), { expected: { instance, switchover: measured } }).estimate_seconds).toBeNull();
  });

  it('estimates a switchover by its own time, and without a soak', () => {
    const times = (ms: number) => ({ median_ms: ms, p95_ms: ms });
    const expected = { instance: times(60_000), switchover: times(5_000) };
    // Two replicas, the switchover, the old primary.
    expect(preview(idle(), { expected }).estimate_seconds).toBe(60 + 60 + 5 + 60);
    expect(preview(idle(), { expected, policy: { soak_seconds: 10 } }).estimate_seconds).toBe(
      70 + 70 + 5 + 70,
    );
  });

  it('never changes what it looks at', () => {
    const cluster = idle({ instances: 3 });
    const before = structuredClone(cluster);
    preview(cluster);
    expect(cluster).toEqual(before);
  });
});

describe('the hash of a plan', () => {
  const three = () => idle({ instances: 3, lag_bytes: { 'db-2': 100, 'db-3': 900 } });

  it('is the same for the same plan, whatever else changes', () => {
    const cluster = three();
    const { hash } = preview(cluster);
    expect(hash).toMatch(/^[0-9a-f]{16}$/);
    expect(preview(cluster).hash).toBe(hash);
    expect(preview(reporting(cluster, 'db-3', { lag_bytes: 901, sent: 5 })).hash).toBe(hash);
  });

  it.each([
    ['order', (one: Cluster) => reporting(one, 'db-3', { lag_bytes: 1 })],
    ['roles', (one: Cluster) => reporting(one, 'db-3', { role: 'member' })],
    ['versions', (one: Cluster) => reporting(one, 'db-3', { version: '17.7' })],
    ['health', (one: Cluster) => reporting(one, 'db-2', { service_status: 'failed' })],
    ['the version it comes from', (one: Cluster) => ({ ...one, datastore_version_id: 'other' })],
  ])('changes with %s', (_what, change) => {
    const cluster = three();
    expect(preview(change(cluster)).hash).not.toBe(preview(cluster).hash);
  });

  it('changes with the target', () => {
    const cluster = three();
    const other = preview(cluster, { target: { ...TARGET, id: 'v-x' } });
    expect(other.hash).not.toBe(preview(cluster).hash);
  });

  it('is checked: another one is a conflict that says what to do', () => {
    const plan = preview(three());
    expect(() => checkPlanHash(plan, plan.hash)).not.toThrow();
    try {
      checkPlanHash(plan, '0'.repeat(16));
      expect.unreachable();
    } catch (err) {
      expect(err).toBeInstanceOf(CofferError);
      expect(err).toMatchObject({
        code: 'conflict',
        message: `The plan is no longer the one with hash ${'0'.repeat(16)}: order, roles or versions have changed, and its hash is ${plan.hash} now. Ask for the plan again (dry_run), look at it, and send its hash.`,
      });
    }
  });
});

describe('what a plan finds', () => {
  const LOSS = { name: 'unlogged_tables', message: 'public.cache would be empty' } as const;
  const OURS = { name: 'settings_overridden', message: 'port' } as const;
  const found = (cluster: Cluster, intent = {}) =>
    preview(cluster, intent).findings.map(
      ({ name, instance_name, holds, acknowledged }) =>
        `${name} ${instance_name}${holds ? ' holds' : ''}${acknowledged ? ' acknowledged' : ''}`,
    );

  it('is what the primary would lose, as a gate too until it is acknowledged', () => {
    const cluster = reporting(idle(), 'db-1', { findings: [LOSS] });
    expect(found(cluster)).toEqual(['unlogged_tables db-1 holds']);
    expect(preview(cluster).gates).toEqual([{ gate: 'unlogged_tables', reason: LOSS.message }]);
    const policy = { overrides: [{ gate: 'unlogged_tables', reason: 'a cache' }] };
    expect(found(cluster, { policy })).toEqual(['unlogged_tables db-1 holds acknowledged']);
    expect(preview(cluster, { policy }).gates).toEqual([]);
    expect(found(reporting(idle({ instances: 1 }), 'db-1', { findings: [LOSS] }))).toEqual([]);
  });

  it('is what any guest says of its own server', () => {
    const cluster = reporting(idle(), 'db-3', { findings: [OURS] });
    expect(found(cluster)).toEqual(['settings_overridden db-3']);
    expect(preview(cluster).gates).toEqual([]);
  });

  it('is what the primary and its successor set differently', () => {
    const one = reporting(idle({ instances: 2 }), 'db-1', { settings: { a: '1', b: '2', c: '3' } });
    expect(found(one)).toEqual([]);
    const both = reporting(one, 'db-2', { settings: { b: '2', c: 'x', d: '4' } });
    expect(found(both)).toEqual(['settings_differ db-1']);
    expect(preview(both).findings[0]?.reason).toMatch(/^a, c, d set with ALTER SYSTEM on db-1, .* on db-2/);
    expect(found(reporting(both, 'db-2', { settings: { a: '1', b: '2', c: '3' } }))).toEqual([]);
  });
});

describe('the findings of admission', () => {
  it('are all there are, in the order in which they are refused', () => {
    const cluster = idle({}, { task: 'DELETING' });
    const findings = admissionFindings(
      cluster,
      { ...TARGET, name: '16.0', active: false },
      { versions: VERSIONS },
    );
    expect(findings.map(({ gate }) => gate)).toEqual(['cluster_idle', 'version_active', 'version_path']);
    expect(admissionFindings(idle(), TARGET, { versions: VERSIONS })).toEqual([]);
  });
});
