import { CONDUCTOR_TOPIC } from '../../src/bus/bus.ts';
import { heartbeatArgs } from '../../src/contract/rpc.ts';
import { CofferError } from '../../src/core/errors.ts';
import type { Action } from '../../src/core/machine/advance.ts';
import type { Upgrade } from '../../src/core/record.ts';
import type { Trouble } from './scenario.ts';
import { TENANT, VERSIONS, type World } from './world.ts';

/** Asks for an upgrade, over HTTP or as another service does. */
export function request(world: World, via: 'rest' | 'rpc', to: 'same' | 'other', tenant_id = TENANT): void {
  const { manager, policy } = world.scenario;
  const versions = VERSIONS[manager];
  const datastore_version = to === 'same' ? versions.to : versions.other;
  const request_id = `req-${world.random.uuid()}`;
  world.tell(`${tenant_id} asks for ${datastore_version} via ${via}`);
  if (via === 'rest') {
    const requested_by = { user: 'ann', request_id, via };
    const cluster_id = world.cluster.id;
    const again = () => void world.scheduler.after(2_000, () => request(world, via, to, tenant_id));
    if (!world.api) return again();
    const asked = { cluster_id, tenant_id, datastore_version, policy, requested_by };
    world.api.request(asked).catch((err: unknown) => {
      world.tell(`not accepted: ${textOf(err)}`);
      if (err instanceof CofferError && err.status === 503) again();
    });
    return;
  }
  const args = { cluster_id: world.cluster.id, datastore_version_id: datastore_version, policy };
  const context = { request_id, tenant_id, user: 'python', is_admin: true };
  const cast = () => world.broker.connect().cast('taskmanager', 'upgrade_cluster', args, { context });
  // Nobody serves yet, or the broker lost it: the other service says it once more.
  cast().catch(() => world.scheduler.after(1_000, () => void cast().catch(() => undefined)));
}

/** The upgrade that holds the cluster. */
export function activeUpgrade(world: World): Upgrade | undefined {
  const { clusters, upgrades } = world.store.data;
  const cluster = clusters.get(world.cluster.id);
  return cluster?.task === 'UPGRADING_CLUSTER' ? upgrades.get(cluster.upgrade_id ?? '') : undefined;
}

export function act(world: World, action: Action): void {
  const upgrade = activeUpgrade(world);
  if (!upgrade || !world.api) return;
  world.tell(`ann says ${action}`);
  const heard = world.checks.requests.asked(upgrade.id, action);
  world.api.act(upgrade.id, action).then(
    (verdict) => {
      world.tell(`${action}: ${verdict}`);
      heard(verdict);
    },
    (err: unknown) => world.tell(`${action} not done: ${textOf(err)}`),
  );
}

/** Does what a waiting upgrade asks for. */
export function help(world: World): void {
  const upgrade = activeUpgrade(world);
  if (upgrade?.state.name !== 'paused' || !world.api) return;
  const { reason, message } = upgrade.state;
  if (message.includes('start a new upgrade')) return act(world, 'cancel');
  if (reason === 'canary') return act(world, 'approve');
  const hasFailed = upgrade.steps.some(({ phase }) => phase.name === 'failed') || reason === 'failure';
  act(world, hasFailed && !message.startsWith('not done within') ? 'retry' : 'resume');
}

/** Makes one thing go wrong. */
export function strike(world: World, trouble: Trouble): void {
  const { scheduler, network, servers, random } = world;
  switch (trouble.kind) {
    case 'kill':
      return world.processes.get(trouble.who)?.killAfter(trouble.steps, trouble.down_ms);
    case 'cut':
      world.tell(`the connection of ${trouble.who} breaks`);
      return world.bus(trouble.who)?.cut(trouble.down_ms);
    case 'store_away':
      world.tell(`the store is away for ${trouble.ms} ms`);
      network.storeAwayUntil = scheduler.now + trouble.ms;
      return;
    case 'queue_gone':
      world.tell(`the queue of db-${trouble.instance} is gone`);
      return world.dropQueueOf(trouble.instance);
    case 'liar':
      return lie(world, trouble.instance);
    case 'action':
      return act(world, trouble.action);
    case 'request':
      return request(world, trouble.via, trouble.to);
    case 'foreign_request':
      return request(world, 'rest', 'same', 'tenant-2');
    case 'crash':
    case 'sick':
    case 'unlinked':
    case 'slow_replay': {
      const server = servers.all[trouble.instance];
      if (!server) return;
      world.tell(`${server.name}: ${trouble.kind}`);
      if (trouble.kind === 'sick') server.sickUntil = scheduler.now + trouble.ms;
      else if (trouble.kind === 'unlinked') server.unlinkedUntil = scheduler.now + trouble.ms;
      else if (trouble.kind === 'slow_replay') server.replayRate = random.pick([0, 0.5]);
      else {
        servers.stop(server, 'fault');
        if (trouble.stays_down) server.isBroken = true;
      }
      return;
    }
    default:
      return trouble satisfies never;
  }
}

/** A guest says that another one's attempt went well (G10): in its own name, or in a stranger's. */
function lie(world: World, instance: number): void {
  const upgrade = activeUpgrade(world);
  const step = upgrade?.steps.find(({ phase }) => 'recast' in phase);
  const server = world.servers.all[instance];
  if (!upgrade || !step || !server || world.instanceOf(server).id === step.instance_id) return;
  const isStranger = world.random.chance(0.3);
  const own = world.store.data.clusters.get(world.cluster.id)?.instances[instance]?.report;
  const liar = isStranger ? world.stranger.instances[0]?.id : world.instanceOf(server).id;
  const phases = { upgrading: 'upgrade', demoting: 'demote', promoting: 'promote' } as const;
  const action = Object.entries(phases).find(([phase]) => phase === step.phase.name)?.[1];
  if (!own || !liar || !action || (action === 'promote' && step.successor_id === liar)) return;
  world.tell(`a lie about ${action} of step ${step.id}`);
  const attempt = { upgrade_id: upgrade.id, step: step.id, attempt: step.attempt, action };
  const report = { ...own, attempt: { ...attempt, status: 'succeeded' as const, result: { lsn: '0/0' } } };
  const bus = world.broker.connect();
  bus.cast(CONDUCTOR_TOPIC, 'heartbeat', heartbeatArgs(liar, report)).catch(() => undefined);
}

export function textOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}
