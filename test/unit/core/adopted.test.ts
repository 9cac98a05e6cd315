/**
 * Clusters whose servers existed before: what keeps them from being upgraded, what their record may say, and
 * that an upgrade pauses for a change that it has not made.
 */
import { describe, expect, it } from 'vitest';
import { admissionFindings } from '../../../src/core/admit.ts';
import { adoptionFindings, settlementOf } from '../../../src/core/adopted.ts';
import type { AdoptionReport } from '../../../src/core/adoption.ts';
import type { Cluster, Instance } from '../../../src/core/domain.ts';
import { previewUpgrade } from '../../../src/core/preview.ts';
import { primaryProblems } from '../../../src/core/primaries.ts';
import { adoptionReport } from './adopted.ts';
import { versionOf } from './versions.ts';
import { FROM, T0, TO, World, type WorldOptions } from './world.ts';

const VERSIONS = [versionOf(FROM, { id: 'v-from' }), versionOf(TO, { id: 'v-to' })].map((version) => ({
  ...version,
  datastore_id: 'd',
}));
const REFUSAL = {
  code: 'not_superuser',
  reason: 'the login coffer is no superuser.',
  way_out: 'use postgres, in login of the host file',
} as const;

/** A cluster whose agents have reported and refuse nothing. */
function adopted(fields: Partial<Cluster> = {}): Cluster {
  const { cluster } = new World({ instances: 3, adopted: true });
  const instances = cluster.instances.map((one, index) => ({
    ...one,
    address: { host: `${one.name}.test`, port: 5432 },
    report: one.report && { ...one.report, adoption: adoptionReport(index === 0 ? {} : { role: 'replica' }) },
  }));
  return { ...cluster, task: 'NONE', upgrade_id: null, instances, ...fields };
}

/** The same, before the end of its adoption. */
function adopting(): Cluster {
  const { system_identifier: _, ...cluster } = adopted({ task: 'BUILDING', datastore_version_id: '' });
  const instances = cluster.instances.map((one) => ({ ...one, task: 'BUILDING' as const }));
  return { ...cluster, datastore_version: '', instances };
}

function with2(cluster: Cluster, change: (instance: Instance) => Partial<Instance>): Cluster {
  const instances = cluster.instances.map((one, index) => (index === 1 ? { ...one, ...change(one) } : one));
  return { ...cluster, instances };
}

const reporting = (cluster: Cluster, adoption: AdoptionReport, version = FROM) =>
  with2(cluster, ({ report }) => ({ report: report && { ...report, version, adoption } }));
const reasons = (cluster: Cluster) => adoptionFindings(cluster, VERSIONS).map(({ reason }) => reason);

describe('an adopted cluster', () => {
  it('is settled once every agent has reported, by what the primary says', () => {
    expect(reasons(adopting())).toEqual([]);
    expect(settlementOf(adopting(), VERSIONS)).toEqual({ version: VERSIONS[0], system_identifier: '7' });
    const mixed = reporting(adopting(), adoptionReport({ role: 'replica' }), TO);
    expect(settlementOf(mixed, VERSIONS)?.version.name, 'a replica was upgraded by hand').toBe(FROM);
    const silent = with2(adopting(), () => ({ report: null }));
    expect(reasons(silent)).toEqual([
      'db-2 (db-2.test:5432): its agent has not joined: start it there, with its own join token',
    ]);
    expect(settlementOf(silent, VERSIONS)).toBeNull();
    const two = with2(adopting(), ({ report }) => ({ report: report && { ...report, role: 'primary' } }));
    expect(settlementOf(two, VERSIONS)).toBeNull();
  });

  it('is not settled while an agent refuses something, and says what, and the way out', () => {
    const cluster = reporting(adopting(), adoptionReport(null, [REFUSAL]));
    expect(adoptionFindings(cluster, VERSIONS)).toEqual([
      {
        gate: 'adoption_accepted',
        reason: 'db-2: the login coffer is no superuser: use postgres, in login of the host file',
      },
    ]);
    expect(settlementOf(cluster, VERSIONS)).toBeNull();
    const server = with2(adopting(), ({ report }) => {
      const { adoption: _, ...rest } = report ?? { service_status: 'healthy', sent: 1 };
      return { report: rest };
    });
    expect(reasons(server)).toEqual([
      'db-2 (db-2.test:5432): its agent does not report on a server that it adopts: see its log',
    ]);
    const blocked = with2(adopting(), () => ({ fault: 'its server is in another cluster' }));
    expect(reasons(blocked)).toEqual(['db-2: its server is in another cluster']);
  });

  it('is not made of servers of two clusters, and notices when its data becomes other data', () => {
    const strangers = reporting(adopting(), adoptionReport({ role: 'replica', system_identifier: '8' }));
    expect(reasons(strangers)).toEqual([
      expect.stringMatching(
        /^these servers are not of one cluster \(db-1 has .* 7, db-2 has .* 8, db-3 has .* 7\)/,
      ),
    ]);
    expect(settlementOf(strangers, VERSIONS)).toBeNull();
    const other = adopted({ system_identifier: '6' });
    expect(reasons(other)).toEqual([expect.stringContaining('(system identifier 7, and not 6)')]);
    expect(settlementOf(other, VERSIONS)).toBeNull();
  });

  it('waits for a version that the catalogue lacks, and names the command that adds it', () => {
    const cluster = reporting(adopted(), adoptionReport({ role: 'replica' }), '17.7');
    expect(reasons(cluster)).toEqual([
      expect.stringContaining('coffer datastore-version-create 17.7 postgresql postgresql --active'),
    ]);
    expect(adoptionFindings(cluster, null), 'where the catalogue is not read').toEqual([]);
  });

  it('has the version that all its servers say, and keeps its version while they differ (G5)', () => {
    expect(settlementOf(adopted(), VERSIONS), 'nothing is new').toBeNull();
    const one = reporting(adopted(), adoptionReport({ role: 'replica' }), TO);
    expect(settlementOf(one, VERSIONS)).toBeNull();
    const instances = one.instances.map((instance) => ({
      ...instance,
      report: instance.report && { ...instance.report, version: TO },
    }));
    expect(settlementOf({ ...one, instances }, VERSIONS)).toMatchObject({ version: { name: TO } });
    expect(settlementOf({ ...one, instances, task: 'UPGRADING_CLUSTER' }, VERSIONS)).toBeNull();
    expect(settlementOf({ ...one, instances, adopted: false }, VERSIONS)).toBeNull();
  });

  it('is not upgraded against a refusal: the plan shows the gate, and nobody can override it', () => {
    const cluster = reporting(adopted(), adoptionReport({ role: 'replica' }, [REFUSAL]));
    const [, target = versionOf(TO)] = VERSIONS;
    const plan = previewUpgrade(cluster, { target, versions: VERSIONS }, T0);
    expect(plan.gates).toEqual(adoptionFindings(cluster, VERSIONS));
    const scope = { ...cluster, instances: cluster.instances.slice(0, 1) };
    expect(
      admissionFindings(scope, target, { versions: VERSIONS, whole: cluster }),
      'an upgrade of another instance alone',
    ).toEqual(plan.gates);
    expect(admissionFindings({ ...cluster, adopted: false }, target, { versions: VERSIONS })).toEqual([]);
  });

  it('is not told to grow and shrink when it has two primaries', () => {
    const cluster = with2(adopted(), ({ report }) => ({ report: report && { ...report, role: 'primary' } }));
    expect(primaryProblems(cluster).map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/make the other a replica again by hand$/),
    ]);
  });
});

/** Another role, by somebody else's doing; its agent says so at once. */
function turn(it: World, name: string, role: 'primary' | 'replica', upstream?: string): void {
  it.guest(name).role = role;
  it.guest(name).upstream = upstream === undefined ? null : it.guest(upstream);
  it.heard(name, { role });
}

function failOver(it: World): void {
  turn(it, 'db-1', 'replica', 'db-3');
  turn(it, 'db-3', 'primary');
  turn(it, 'db-2', 'replica', 'db-3');
}

const inWorld = (options: WorldOptions = {}) => new World({ instances: 3, adopted: true, ...options });

describe('an upgrade of an adopted cluster', () => {
  it('waits for an instance whose agent refuses, and goes on by itself when it no longer does', () => {
    const it = inWorld();
    it.guest('db-3').adoption = adoptionReport({ role: 'replica' }, [REFUSAL]);
    it.heard('db-3', { adoption: adoptionReport({ role: 'replica' }, [REFUSAL]) });
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.eventsOf('gate_blocked').at(-1)?.message).toContain(
      'db-3 waits for adoption_accepted: db-3: the login',
    );
    expect(it.told('upgrade')).toEqual(['db-2']);
    it.guest('db-3').adoption = adoptionReport({ role: 'replica' });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.violations).toEqual([]);
  });

  it('carries on with an instance whose agent refuses while its server is down for its upgrade', () => {
    const it = inWorld();
    it.reach('db-2', 'upgrading');
    it.guest('db-2').adoption = adoptionReport(null, [{ ...REFUSAL, code: 'not_running' }]);
    it.reach('db-2', 'done');
    expect(it.eventsOf('gate_blocked')).toEqual([]);
  });

  it('pauses at once when a failover has made another instance the primary, and then plans by that', () => {
    const it = inWorld();
    it.reach('db-2', 'verifying');
    failOver(it);
    it.until(() => it.upgrade.state.name === 'paused', 20);
    expect(it.upgrade.state).toMatchObject({ name: 'paused', reason: 'gate' });
    expect(it.message).toMatch(/^db-3 was made the primary, and not by this upgrade, which knows db-1/);
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name, 'it was told, and is not asked again').toBe('succeeded');
    expect(it.told('demote')).toEqual(['db-3']);
    expect(it.violations).toEqual([]);
  });

  it('pauses at once when a replica is promoted beside the primary', () => {
    const it = inWorld();
    it.reach('db-2', 'verifying');
    turn(it, 'db-3', 'primary');
    it.until(() => it.upgrade.state.name === 'paused', 20);
    expect(it.message).toMatch(/^one_primary: db-1 .* and db-3 .* are both primary.*; then resume$/);
    turn(it, 'db-3', 'replica', 'db-1');
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('says how to go on after a failure, and not how to resume, while another step is under way (G1)', () => {
    const refused = { error: 'no room on the disk', permanent: true };
    const it = inWorld({
      instances: 4,
      policy: { max_unavailable: 2, on_failure: 'pause' },
      scripts: { 'db-2': { pre_upgrade: [refused] }, 'db-3': { upgrade: { ms: 30_000 } } },
    });
    it.reach('db-2', 'failed');
    it.reach('db-3', 'upgrading');
    turn(it, 'db-4', 'primary');
    it.pass(2);
    expect(it.upgrade.state.name, 'db-3 is under way').toBe('running');
    it.until(() => it.upgrade.state.name === 'paused', 60);
    expect(it.message).toBe('db-2: no room on the disk: retry it, or cancel it');
    it.act('retry');
    expect(it.message).toMatch(/^one_primary: db-1 .* and db-4 .* are both primary/);
  });

  it('does not take its own switchover for a change from outside, nor that of the way back', () => {
    const it = inWorld();
    it.reach('db-1', 'done', 'switchover');
    it.act('rollback');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(it.eventsOf('paused')).toEqual([]);
  });

  it('leaves a replica where it is that another replica feeds, and makes it no primary (G12)', () => {
    const it = inWorld({ instances: 4 });
    const [fed, feeder] = [it.guest('db-3'), it.guest('db-2')];
    turn(it, 'db-3', 'replica', 'db-2');
    fed.adoption = adoptionReport({ role: 'replica' });
    it.heard('db-3', { upstream: feeder.endpoint });
    for (const [name, lag_bytes] of Object.entries({ 'db-2': 1_000, 'db-4': 2_000 })) {
      it.guest(name).lagBytes = lag_bytes;
      it.heard(name, { lag_bytes });
    }
    const target = VERSIONS[1] ?? expect.fail();
    const plan = previewUpgrade(it.cluster, { target, versions: VERSIONS }, it.now);
    expect(plan.successor?.instance_name).toBe('db-2');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(fed.upstream).toBe(feeder);
    expect(it.guest('db-3').role).toBe('replica');
    expect(it.told('follow')).toEqual(['db-4']);
  });

  it('pauses at once when an instance that it has upgraded says another version', () => {
    const it = inWorld();
    it.reach('db-3', 'preparing');
    it.guest('db-2').version = '17.11';
    it.until(() => it.upgrade.state.name === 'paused', 20);
    expect(it.message).toMatch(/^db-2 runs 17.11, and this upgrade had brought it to 17.10: somebody else/);
    it.guest('db-2').version = TO;
    it.until(() => it.instance('db-2').report?.version === TO);
    it.act('resume');
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
  });

  it('tells the primary its successor by the name under which the successor streams', () => {
    const it = inWorld();
    for (const name of ['db-2', 'db-3']) {
      it.guest(name).adoption = adoptionReport({ role: 'replica', streams_as: `standby of ${name}` });
    }
    it.settle();
    expect(it.messagesTo('db-1', 'demote')[0]?.args).toMatchObject({ successor: 'standby of db-2' });
    const built = inWorld({ adopted: false });
    built.settle();
    expect(built.messagesTo('db-1', 'demote')[0]?.args).toMatchObject({ successor: 'db-2' });
  });

  it('of a cluster that Coffer has built goes on by another plan without a pause, as before', () => {
    const it = inWorld({ adopted: false });
    it.reach('db-2', 'verifying');
    failOver(it);
    it.settle();
    expect(it.eventsOf('paused')).toEqual([]);
    expect(it.told('demote')).toEqual(['db-3']);
  });
});
