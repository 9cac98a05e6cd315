/** What Trove's world hears of an upgrade, in its own words. Not covered: the wire (test/interop/). */
import { describe, expect, it } from 'vitest';
import {
  clusterNotification,
  inContext,
  instanceNotification,
  notificationOf,
} from '../../../src/core/notification.ts';
import { UPGRADE_EVENT_TYPES } from '../../../src/core/record.ts';
import type { World } from './world.ts';
import { worlds } from './worlds.ts';

const world = worlds();
const members = { manager: 'cassandra', instances: 2 };
const BAD = { error: 'no space left on device' };

const about = {
  tenant_id: 't',
  cluster_id: 'c',
  to_version_id: 'v-to',
  requested_by: { user: 'ann', request_id: 'req-1', via: 'rest' },
} as const;
const payload = {
  ...{ request_id: 'req-1', server_type: 'api', client_ip: '', server_ip: '' },
  ...{ tenant_id: 't', cluster_id: 'c', datastore_version: 'v-to' },
};

/** Everything that was told, with the instance that it is about, as one line each. */
function told(it: World): string[] {
  return it.events.flatMap((event) => {
    const notification = notificationOf(it.upgrade, event);
    if (!notification) return [];
    const { instance_id } = notification.payload;
    return [`${notification.event_type}${instance_id === undefined ? '' : ` ${it.nameOf(instance_id)}`}`];
  });
}

/** What was told by this name, without what each payload has. */
function payloadsOf(it: World, event_type: string) {
  return it.events
    .map((event) => notificationOf(it.upgrade, event))
    .filter((notification) => notification?.event_type === event_type)
    .map((notification) => notification?.payload);
}

describe('a payload', () => {
  it('of a whole upgrade says who asked, from where, and what for', () => {
    const requested_by = { ...about.requested_by, client_ip: '192.0.2.1', server_ip: '192.0.2.9' };
    expect(clusterNotification({ ...about, requested_by })).toEqual({
      ...payload,
      ...{ client_ip: '192.0.2.1', server_ip: '192.0.2.9' },
    });
    expect(clusterNotification(about)).toEqual(payload);
    expect(clusterNotification(about, 'guest')).toEqual({ ...payload, server_type: 'guest' });
  });

  it('of one instance names it, and the version a second time, as Trove does', () => {
    const part = { ...payload, instance_id: 'i-1', datastore_version_id: 'v-to' };
    expect(instanceNotification(about, 'i-1')).toEqual(part);
    expect(instanceNotification(about, 'i-1', 'guest')).toEqual({ ...part, server_type: 'guest' });
  });

  it('in a context names the class that its receiver makes of it', () => {
    expect(inContext('DBaaSInstanceUpgrade', payload)).toEqual({
      ...payload,
      notification_classname: 'trove.common.notification.DBaaSInstanceUpgrade',
    });
  });
});

describe('told of an upgrade', () => {
  it('are its start and end and those of each instance; a switchover is none of them', () => {
    const it = world({ instances: 2 });
    it.settle();
    expect(it.eventsOf('switched_over')).toHaveLength(1);
    expect(told(it)).toEqual([
      'dbaas.cluster_upgrade.start',
      'dbaas.upgrade.start db-2',
      'dbaas.upgrade.end db-2',
      'dbaas.upgrade.start db-1',
      'dbaas.upgrade.end db-1',
      'dbaas.cluster_upgrade.end',
    ]);
    expect(payloadsOf(it, 'dbaas.cluster_upgrade.end')).toEqual([payload]);
    expect(payloadsOf(it, 'dbaas.upgrade.end')[0]).toEqual({
      ...payload,
      ...{ instance_id: 'i-2', datastore_version_id: 'v-to' },
    });
  });

  it('is an instance once, however often it is tried, and its failure with the reason', () => {
    const it = world({ ...members, scripts: { 'db-1': { upgrade: BAD } }, policy: { retries: 1 } });
    it.settle();
    it.act('cancel');
    expect(told(it)).toEqual([
      'dbaas.cluster_upgrade.start',
      'dbaas.upgrade.start db-1',
      'dbaas.upgrade.error db-1',
      'dbaas.cluster_upgrade.error',
    ]);
    const failure = 'db-1: no space left on device';
    expect(payloadsOf(it, 'dbaas.upgrade.error')).toMatchObject([{ message: failure, exception: failure }]);
    const end = 'cancelled; 17.10 runs on 0 of 2 instances';
    expect(payloadsOf(it, 'dbaas.cluster_upgrade.error')).toMatchObject([{ message: end, exception: end }]);
  });

  it('of one instance is that instance alone: the cluster as a whole is not being upgraded', () => {
    const it = world({ ...members, only: 'db-2' });
    it.settle();
    expect(told(it)).toEqual(['dbaas.upgrade.start db-2', 'dbaas.upgrade.end db-2']);
    expect(payloadsOf(it, 'dbaas.upgrade.start')).toEqual([
      { ...payload, instance_id: 'i-2', datastore_version_id: 'v-to' },
    ]);
  });

  it('of one instance that fails is its error once, with the reason, also when it is given up then', () => {
    const it = world({
      ...members,
      only: 'db-2',
      scripts: { 'db-2': { upgrade: BAD } },
      policy: { retries: 0 },
    });
    it.settle();
    it.act('cancel');
    expect(told(it)).toEqual(['dbaas.upgrade.start db-2', 'dbaas.upgrade.error db-2']);
    const failure = 'db-2: no space left on device';
    expect(payloadsOf(it, 'dbaas.upgrade.error')).toMatchObject([{ message: failure, exception: failure }]);
  });

  it('of one instance that is given up before anything has failed is an error all the same', () => {
    const it = world({ ...members, only: 'db-2' });
    it.act('cancel');
    it.settle();
    expect(told(it)).toEqual(['dbaas.upgrade.start db-2', 'dbaas.upgrade.error db-2']);
  });

  it('is an error whenever it does not end on the new version', () => {
    const { upgrade } = world(members);
    const heard = UPGRADE_EVENT_TYPES.map((type) => {
      const notification = notificationOf(upgrade, { seq: 1, at: 1, type, message: 'as it is' });
      return [type, notification?.event_type.replace('dbaas.cluster_upgrade.', '')];
    }).filter(([type, name]) => name !== undefined && !type?.startsWith('step_'));
    expect(heard).toEqual([
      ['accepted', 'start'],
      ['rolled_back', 'error'],
      ['succeeded', 'end'],
      ['failed', 'error'],
      ['cancelled', 'error'],
    ]);
  });
});
