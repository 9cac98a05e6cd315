/**
 * An upgrade of one instance: the same machine, gates and actions, over that instance's part of the plan.
 * What is not here: how it is asked for (api-instances).
 */
import { describe, expect, it } from 'vitest';
import { admissionFindings, checkAdmission, scopeOf } from '../../../src/core/admit.ts';
import { CUT_OFF } from '../../../src/core/domain.ts';
import { possibleFollowUps } from '../../../src/core/follow-up.ts';
import { previewUpgrade } from '../../../src/core/preview.ts';
import { versionOf } from './versions.ts';
import { FROM, TO } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const VERSION_TO = versionOf(TO, { id: 'v-to' });
const VERSION_FROM = versionOf(FROM, { id: 'v-from' });
const versions = [VERSION_FROM, VERSION_TO];

describe('an upgrade of one instance', () => {
  it('upgrades that instance alone, and leaves the version of the cluster (G5)', () => {
    const it = world({ only: 'db-3' });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.told('upgrade')).toEqual(['db-3']);
    expect(it.guests.map(({ version }) => version)).toEqual([FROM, FROM, TO]);
    expect(it.cluster.datastore_version).toBe(FROM);
  });

  it('makes its version that of the cluster once all have it (G5)', () => {
    const it = world({ only: 'db-2', already_upgraded: ['db-1', 'db-3'] });
    it.settle();
    expect(it.told('upgrade')).toEqual(['db-2']);
    expect(it.cluster.datastore_version).toBe(TO);
  });

  it('of the primary hands over to an upgraded replica first (G6)', () => {
    const it = world({ only: 'db-1', already_upgraded: ['db-2'] });
    expect(it.upgrade.from_version).toBe(FROM);
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.upgrade.steps.map(({ kind }) => kind)).toEqual(['switchover', 'instance']);
    expect(it.told('promote')).toEqual(['db-2']);
    expect(it.told('upgrade')).toEqual(['db-1']);
    expect(it.guests.map(({ version }) => version)).toEqual([TO, TO, FROM]);
  });

  it('of the primary waits for a replica that runs the version, whatever is overridden (G6)', () => {
    const overrides = [{ gate: 'replication_caught_up', reason: 'it is Sunday' }] as const;
    const it = world({ only: 'db-1', policy: { overrides } });
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.step('db-1', 'switchover').phase).toMatchObject({
      blocked: { reason: 'no replica runs 17.10: there is nobody to take over from db-1' },
    });
    expect(it.told('pre_upgrade')).toEqual([]);
  });

  it('waits while another one may still carry an old order out: only the whole cluster mends that (G2)', () => {
    const it = world({ only: 'db-3' });
    const instances = it.cluster.instances.map((one) =>
      one.name === 'db-2'
        ? { ...one, task: 'UPGRADING_ERROR' as const, fault: CUT_OFF, in_doubt: true }
        : one,
    );
    it.cluster = { ...it.cluster, instances };
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.eventsOf('gate_blocked')[0]?.message).toBe(
      'db-3 waits for instances_healthy: 1 of at most 1 instance out of service already: db-2',
    );
  });

  it('of the primary waits while no replica is upgraded, and says so (G6)', () => {
    const it = world({ only: 'db-1' });
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.step('db-1', 'switchover').phase).toMatchObject({
      blocked: {
        gate: 'replication_caught_up',
        reason: expect.stringContaining('no replica that runs 17.10'),
      },
    });
    expect(it.told('demote')).toEqual([]);
    it.act('cancel');
    it.settle();
    expect(it.upgrade.state.name).toBe('cancelled');
    expect(it.cluster).toMatchObject({ task: 'NONE', datastore_version: FROM });
  });

  it('of a cluster of one is in place', () => {
    const it = world({ only: 'db-1', instances: 1 });
    it.settle();
    expect(it.upgrade.state.name).toBe('succeeded');
    expect(it.told('demote')).toEqual([]);
    expect(it.cluster.datastore_version).toBe(TO);
  });

  it('waits while another instance is broken (G2)', () => {
    const it = world({ only: 'db-3', broken: ['db-2'] });
    it.until(() => it.eventsOf('gate_blocked').length > 0);
    expect(it.step('db-3').phase).toMatchObject({ blocked: { gate: 'instances_healthy' } });
    expect(it.told('upgrade')).toEqual([]);
  });

  it('can be rolled back, and touches nobody else on the way', () => {
    const it = world({ only: 'db-3' });
    it.reach('db-3', 'upgrading');
    it.act('rollback');
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(it.guests.map(({ version }) => version)).toEqual([FROM, FROM, FROM]);
    expect(it.told('upgrade')).toEqual(['db-3']);
  });

  it('can be taken back once it has ended, with the same scope', () => {
    const it = world({ only: 'db-3' });
    it.settle();
    expect(possibleFollowUps(it.upgrade, it.cluster)).toEqual(['rollback']);
    it.takeUp('rollback', 'u2');
    expect(it.upgrade.instance_id).toBe(it.guest('db-3').id);
    it.settle();
    expect(it.upgrade.state.name).toBe('rolled_back');
    expect(it.guests.map(({ version }) => version)).toEqual([FROM, FROM, FROM]);
    expect(possibleFollowUps(it.upgrade, it.cluster)).toEqual([]);
  });

  it('fails when its instance has left the cluster meanwhile', () => {
    const it = world({ only: 'db-3' });
    it.cluster = { ...it.cluster, instances: it.cluster.instances.filter(({ name }) => name !== 'db-3') };
    it.feed({ type: 'wake' });
    expect(it.upgrade.state).toMatchObject({ name: 'failed', message: /no longer part of the cluster/ });
    expect(it.cluster.datastore_version).toBe(FROM);
  });
});

describe('what an upgrade of one instance is judged by', () => {
  const idle = (options: Parameters<typeof world>[0] = {}) => {
    const it = world(options);
    return { ...it.cluster, task: 'NONE' as const };
  };
  const idOf = (name: string, cluster: ReturnType<typeof idle>) =>
    cluster.instances.find((instance) => instance.name === name)?.id ?? '';

  it('is the version that it runs itself', () => {
    const cluster = idle({ already_upgraded: ['db-2'] });
    const upgraded = scopeOf(versions, cluster, idOf('db-2', cluster));
    expect(upgraded).toMatchObject({ name: 'db-2', datastore_version: TO, instances: [{}] });
    expect(admissionFindings(upgraded, VERSION_TO, { versions }).map(({ gate }) => gate)).toEqual([
      'upgrade_needed',
    ]);
    const other = scopeOf(versions, cluster, idOf('db-3', cluster));
    expect(() => checkAdmission(other, VERSION_TO, { versions })).not.toThrow();
    expect(scopeOf(versions, cluster, undefined)).toBe(cluster);
    expect(() => scopeOf(versions, cluster, 'nobody')).toThrow(
      expect.objectContaining({ code: 'instance_not_found', message: 'Instance nobody cannot be found.' }),
    );
    const namesake = versionOf(TO, { id: 'v-else', datastore_id: 'else' });
    const own = scopeOf([namesake, ...versions], cluster, idOf('db-2', cluster));
    expect(own.datastore_version_id, 'and not a namesake of another datastore').toBe('v-to');
  });

  it('is shown before anything is begun', () => {
    const cluster = idle();
    const instance_id = idOf('db-1', cluster);
    const scope = scopeOf(versions, cluster, instance_id);
    const plan = previewUpgrade(cluster, { target: VERSION_TO, versions, scope, instance_id }, world().now);
    expect(plan.steps.map(({ kind, instance_name }) => [kind, instance_name])).toEqual([
      ['switchover', 'db-1'],
      ['instance', 'db-1'],
    ]);
    expect(plan.from.name).toBe(FROM);
  });
});
