import { CONDUCTOR_TOPIC, guestTopic } from '../../src/bus/bus.ts';
import { heartbeatArgs } from '../../src/contract/rpc.ts';
import { isInDoubt } from '../../src/core/domain.ts';
import { statedPolicy } from '../../src/core/policy.ts';
import type { Upgrade } from '../../src/core/record.ts';
import type { Action } from '../../src/core/upgrade/inputs.ts';
import type { HttpAnswer, HttpRequest } from './api.ts';
import { FOLLOWER } from './checks/requests.ts';
import { ask, askUntilAnswered } from './client.ts';
import { type Moment, SOUND, type Target, type Trouble } from './scenario.ts';
import type { Server } from './servers.ts';
import { TASKMANAGERS, TENANT, VERSIONS, type World } from './world.ts';

const FOREIGN_TENANT = 'tenant-2';
const SWITCHING = ['demoting', 'promoting', 'restoring'];
/** A server that was about to take over has done so by then, or never will. */
const CERTAIN_MS = 60_000;

/** The first request of all, which a user sends until it is answered. */
export function begin(world: World): void {
  const { first, target } = world.scenario;
  if (first === 'rpc') castRequest(world, target);
  else void request(world, target, 'keyed');
}

/** Requests an upgrade over HTTP; `keyed`: again and again, under an Idempotency-Key. */
async function request(world: World, to: Target, how: 'keyed' | 'once'): Promise<void> {
  const { random } = world;
  const { user, version, policy } = intend(world, to);
  world.tell(`${user} asks for ${version}`);
  const body = { datastore_version: version, policy };
  const path = `/clusters/${world.cluster.id}`;
  const asked: HttpRequest = { method: 'PATCH', path, tenant_id: TENANT, user, body };
  if (how === 'once') return hear(world, user, await ask(world, asked));
  const keyed = { ...asked, key: `key-${random.uuid()}` };
  // Some users press the button twice.
  if (random.chance(0.2)) void askUntilAnswered(world, keyed).then((answer) => hear(world, user, answer));
  const answer = await askUntilAnswered(world, keyed);
  hear(world, user, answer);
  if (answer.status === 202 && random.chance(0.2)) await reuse(world, keyed);
}

function hear(world: World, user: string, answer: HttpAnswer | null): void {
  if (answer?.status === 202) return world.checks.requests.accepted(user, answer);
  world.checks.requests.declined(user, answer);
  world.tell(`${user} is not told that it is accepted: ${saidBy(answer)}`);
}

/** Sends the key of an accepted request with another request. */
async function reuse(world: World, { body, ...request }: HttpRequest & { readonly key: string }) {
  const other = { ...body, policy: { canary: 7 } };
  const answer = await ask(world, { ...request, body: other });
  world.checks.requests.reused(answer);
}

/** A request as another service makes it, for example one written in Python; perhaps for only one instance. */
function castRequest(world: World, to: Target, instance?: number): void {
  const { user, version, policy } = intend(world, to);
  const instance_id = instance === undefined ? undefined : world.cluster.instances[instance]?.id;
  const [method, what] =
    instance_id === undefined
      ? (['upgrade_cluster', { cluster_id: world.cluster.id }] as const)
      : (['upgrade', { instance_id }] as const);
  world.tell(`${user} casts ${method} to ${version}`);
  const args = { ...what, datastore_version_id: version, policy };
  const context = { request_id: `req-${world.random.uuid()}`, tenant_id: TENANT, user, is_admin: true };
  const cast = () => world.broker.connect().cast('taskmanager', method, args, { context });
  // No process serves yet, or the broker lost the message: the other service sends it once more.
  cast().catch(() => world.scheduler.after(1_000, () => void cast().catch(() => undefined)));
}

/** Each requester has a name of its own, which the record then holds. */
function intend(world: World, to: Target) {
  const { manager, policy } = world.scenario;
  const user = `ann-${world.checks.requests.intents}`;
  const version = VERSIONS[manager][to];
  world.checks.requests.intended(user, { version, policy });
  return { user, version, policy: statedPolicy(policy) };
}

/** The upgrade that holds the cluster. */
export function activeUpgrade(world: World): Upgrade | undefined {
  const { clusters, upgrades } = world.store.data;
  const cluster = clusters.get(world.cluster.id);
  return cluster?.task === 'UPGRADING_CLUSTER' ? upgrades.get(cluster.upgrade_id ?? '') : undefined;
}

/**
 * A person requests an action on the upgrade that holds the cluster, or on the last one; `retry` perhaps with
 * another version.
 */
function act(world: World, action: Action, to?: Target): void {
  const { clusters, upgrades } = world.store.data;
  const upgrade = upgrades.get(clusters.get(world.cluster.id)?.upgrade_id ?? '');
  // Nobody confirms a version that does not run.
  if (!upgrade || (action === 'confirm' && !canConfirm(world, upgrade))) return;
  const version = to && VERSIONS[world.scenario.manager][to];
  const options = version === undefined ? {} : { datastore_version: version };
  world.tell(`ann says ${action} ${version ?? ''}`);
  const heard = world.checks.requests.asked(upgrade.id, action, version);
  const path = `/upgrades/${upgrade.id}`;
  void post(world, path, { [action]: options }).then((answer) => {
    world.tell(`${action}: ${saidBy(answer)}`);
    if (answer?.status === 202) heard('applied');
    else if (answer?.status === 422) heard('refused');
  });
}

function post(world: World, path: string, body: Readonly<Record<string, unknown>>, tenant_id = TENANT) {
  return ask(world, { method: 'POST', path, tenant_id, user: FOLLOWER, body });
}

/** An administrator frees the cluster, whatever its task is. */
function reset(world: World): void {
  const held = activeUpgrade(world)?.id;
  world.tell('ann resets the status of the cluster');
  world.checks.requests.resetAsked();
  void post(world, `/clusters/${world.cluster.id}`, { 'reset-status': {} }).then((answer) => {
    world.tell(`reset-status: ${saidBy(answer)}`);
    if (answer?.status === 202 && held !== undefined) world.checks.requests.wasReset(held);
  });
}

function remove(world: World): void {
  world.tell('ann deletes the cluster');
  const path = `/clusters/${world.cluster.id}`;
  void ask(world, { method: 'DELETE', path, tenant_id: TENANT, user: FOLLOWER }).then((answer) =>
    world.tell(`delete: ${saidBy(answer)}`),
  );
}

/** A user of another tenant tries to reach this cluster. */
function trespass(world: World): void {
  const { random, cluster, store } = world;
  const of = { tenant_id: FOREIGN_TENANT, user: 'eve' };
  const [upgrade_id = cluster.id] = [...store.data.upgrades.keys()];
  const body = { datastore_version: VERSIONS[world.scenario.manager].to };
  const tries: [HttpRequest, ...HttpRequest[]] = [
    { ...of, method: 'PATCH', path: `/clusters/${cluster.id}`, body },
    { ...of, method: 'POST', path: `/clusters/${cluster.id}`, body: { 'reset-status': {} } },
    { ...of, method: 'DELETE', path: `/clusters/${cluster.id}` },
    { ...of, method: 'POST', path: `/upgrades/${upgrade_id}`, body: { cancel: {} } },
    { ...of, method: 'GET', path: `/upgrades/${upgrade_id}/events` },
    { ...of, method: 'GET', path: `/clusters/${cluster.id}/upgrades` },
  ];
  const chosen = random.pick(tries);
  world.tell(`eve of another tenant: ${chosen.method} ${chosen.path}`);
  void ask(world, chosen);
}

function saidBy(answer: HttpAnswer | null): string {
  if (!answer) return 'no answer';
  return answer.status < 400 ? String(answer.status) : `${answer.status} ${answer.body}`;
}

/** Several actions at the same time. */
function race(world: World): void {
  const { random } = world;
  const orders = [
    () => act(world, 'cancel'),
    () => reset(world),
    () => act(world, 'retry', 'other'),
    () => act(world, 'rollback'),
    () => act(world, 'pause'),
    () => act(world, 'resume'),
    () => void request(world, 'to', 'once'),
  ] as const;
  for (let i = random.int(2, 3); i > 0; i--) random.pick([...orders] as [() => void, ...(() => void)[]])();
}

/** Does what a waiting upgrade asks a person to do. */
export function help(world: World): void {
  const upgrade = activeUpgrade(world);
  if (upgrade && isHopeless(world, upgrade)) return act(world, 'cancel');
  if (upgrade && isLeaderless(world, upgrade)) return lead(world);
  if (upgrade?.state.name !== 'paused') return;
  const { reason, message } = upgrade.state;
  if (message.includes('start a new upgrade')) return act(world, 'cancel');
  if (reason === 'canary') return act(world, 'approve');
  if (reason === 'window') return;
  if (canConfirm(world, upgrade)) return act(world, 'confirm');
  const hasFailed = upgrade.steps.some(({ phase }) => phase.name === 'failed') || reason === 'failure';
  act(world, hasFailed && !message.startsWith('not done within') ? 'retry' : 'resume');
}

/** A person who checks the server of the paused step finds that it runs the version. */
function canConfirm({ servers, cluster }: World, { steps }: Upgrade): boolean {
  const failed = steps.find(({ phase }) => phase.name === 'failed');
  if (failed?.phase.name !== 'failed' || failed.phase.unconfirmed !== true) return false;
  const index = cluster.instances.findIndex(({ id }) => id === failed.instance_id);
  return servers.all[index]?.version === failed.to_version;
}

/**
 * An upgrade of a single instance that can never succeed: a primary, where no other instance runs the
 * version, and none ever will; or any instance beside one that is in doubt, which only an upgrade of the
 * whole cluster mends.
 */
function isHopeless({ store, cluster }: World, { instance_id, cancelling, steps }: Upgrade): boolean {
  if (instance_id === undefined || cancelling) return false;
  const blocks = steps.map(({ phase }) => (phase.name === 'pending' ? phase.blocked?.gate : undefined));
  const isDoubtful = store.data.clusters.get(cluster.id)?.instances.some(isInDoubt) ?? false;
  return blocks.includes('replication_caught_up') || (isDoubtful && blocks.includes('instances_healthy'));
}

/** A status was reset in the middle of a switchover: the old primary has stopped, and no server has taken over. */
function isLeaderless({ servers, checks, scheduler }: World, { steps }: Upgrade): boolean {
  if (!checks.requests.isResetAsked || !servers.isReplicated) return false;
  if (steps.some(({ phase }) => SWITCHING.includes(phase.name))) return false;
  const [old, ...others] = servers.all.filter(({ isPrimary }) => isPrimary);
  if (!old || others.length > 0 || old.state.phase !== 'demoted') return false;
  return (old.downSince ?? scheduler.now) < scheduler.now - CERTAIN_MS;
}

/** No upgrade can know whether a server is still about to take over; a person can see that none is. */
function lead(world: World): void {
  const { servers } = world;
  const old = servers.all.find(({ isPrimary }) => isPrimary);
  if (!old) return;
  world.tell(`ann has ${old.name} lead again`);
  servers.setState(old, { phase: 'serving' });
  servers.start(old);
}

/** Injects one fault. */
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
    case 'unwritable':
      world.tell(`the journal of db-${trouble.instance} can not be written ${trouble.times} time(s)`);
      return world.disks[trouble.instance]?.refuse(trouble.times);
    case 'liar':
      return lie(world, trouble.instance);
    case 'action':
      return act(world, trouble.action, trouble.to);
    case 'request':
      if (trouble.via === 'rpc') return castRequest(world, trouble.to);
      return void request(world, trouble.to, trouble.via);
    case 'instance_request':
      return castRequest(world, trouble.to, trouble.instance);
    case 'reset':
      return reset(world);
    case 'delete':
      return remove(world);
    case 'race':
      return race(world);
    case 'foreign_request':
      return trespass(world);
    case 'flapping':
      return flap(world, trouble.instance, trouble.times, trouble.ms);
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

/** Checks for the moment that the ambush waits for; acts once, and only as long as there are faults. */
export function lieInWait(world: World): () => void {
  const { scenario, scheduler } = world;
  let ambush = scenario.ambush;
  return () => {
    const upgrade = ambush && activeUpgrade(world);
    if (!ambush || !upgrade || !isAt(upgrade, ambush.moment)) return;
    const { after_ms, trouble } = ambush;
    ambush = null;
    scheduler.after(after_ms, () => {
      if (world.guests === SOUND) return;
      if (trouble.kind === 'successor_unlinked') unlinkSuccessor(world, trouble.ms);
      else if (trouble.kind === 'window_missed') missWindow(world, trouble.late_ms);
      else strike(world, trouble);
    });
  };
}

/**
 * Checks for an upgrade that is accepted and that no taskmanager has taken up: the store loses its begin,
 * once.
 */
export function loseBegin(world: World): () => void {
  const { scenario, scheduler, store, checks } = world;
  let after_ms = scenario.begin_lost_ms;
  return () => {
    const upgrade = after_ms === null ? undefined : activeUpgrade(world);
    if (after_ms === null || upgrade?.state.name !== 'scheduled') return;
    // An upgrade that had to wait for its time stays as it is when a taskmanager takes its cast: nobody could
    // tell whether the cast is still to come.
    if ((upgrade.policy.not_before ?? 0) > upgrade.created) return;
    scheduler.after(after_ms, () => {
      if (store.data.upgrades.get(upgrade.id)?.state.name !== 'scheduled') return;
      world.tell('the store fails over, and has lost the begin of the upgrade');
      store.forgetBegin(upgrade.id);
      checks.requests.beginLost(upgrade.id);
      checks.events.beginLost(upgrade.id);
    });
    after_ms = null;
  };
}

/** Checks for an upgrade under way, and promotes a replica that the upgrade has not reached yet, once. */
export function promoteByHand(world: World): () => void {
  const { scenario, scheduler, servers } = world;
  let lasts_ms = scenario.promoted_for_ms;
  return () => {
    const upgrade = lasts_ms === null ? undefined : activeUpgrade(world);
    if (lasts_ms === null || upgrade?.state.name !== 'running' || world.guests === SOUND) return;
    const server = servers.isReplicated ? replicaToCome(world, upgrade) : undefined;
    if (!server) return;
    world.tell(`somebody promotes ${server.name} by hand`);
    servers.promoteByHand(server);
    scheduler.after(lasts_ms, () => servers.mendPrimaries());
    lasts_ms = null;
  };
}

/** A replica before the switchover, while the upgrade works on another instance. */
function replicaToCome(world: World, { steps, to_version }: Upgrade): Server | undefined {
  const isUnderWay = steps.some(({ attempt }) => attempt > 0);
  if (!isUnderWay || steps.some(({ kind, attempt }) => kind === 'switchover' && attempt > 0))
    return undefined;
  const isBegun = (server: Server) =>
    steps.some(({ instance_id, attempt }) => instance_id === world.instanceOf(server).id && attempt > 0);
  return world.servers.all.find(
    (one) => one.isUp && !one.isPrimary && one.version !== to_version && !isBegun(one),
  );
}

function isAt({ state, steps }: Upgrade, moment: Moment): boolean {
  if (moment === 'window') return state.name === 'paused' && state.reason === 'window';
  return steps.some(({ phase }) => phase.name === moment);
}

function unlinkSuccessor(world: World, ms: number): void {
  const step = activeUpgrade(world)?.steps.find(({ phase }) => phase.name === 'demoting');
  const instance = world.cluster.instances.findIndex(({ id }) => id === step?.successor_id);
  if (instance >= 0) strike(world, { kind: 'unlinked', instance, ms });
}

/** The taskmanagers are down while the window that an upgrade waits for opens and closes. */
function missWindow(world: World, late_ms: number): void {
  const { state, policy } = activeUpgrade(world) ?? {};
  if (state?.name !== 'paused' || state.until === null || !policy?.window) return;
  const down_ms = state.until - world.scheduler.now + policy.window.duration_seconds * 1000 + late_ms;
  for (const name of TASKMANAGERS) world.processes.get(name)?.kill(down_ms);
}

/** A server that is well and not well in turn. */
function flap(world: World, instance: number, times: number, ms: number): void {
  const { scheduler, servers, guests } = world;
  const server = servers.all[instance];
  if (!server || times === 0 || guests === SOUND) return;
  world.tell(`${server.name} flaps`);
  server.sickUntil = scheduler.now + ms;
  scheduler.after(2 * ms, () => flap(world, instance, times - 1, ms));
}

/** A guest reports that another guest's attempt succeeded (G10): in its own name, or in a stranger's. */
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

/**
 * A plain Trove taskmanager sends every guest an order, and RabbitMQ delivers that message again and again. A
 * guest must not take an order once more that it took before the faults began (G4).
 */
export function orderPlainly(world: World, copies: number): void {
  const { scheduler, random, scenario, servers, broker, checks } = world;
  const context = { request_id: 'req-plain', tenant_id: null, user: null, is_admin: true };
  for (const server of servers.all) {
    const unique_id = random.uuid();
    const post = (deliveries: number) =>
      broker.route({
        ...{ topic: guestTopic(world.instanceOf(server).id), method: 'fence', args: {}, context, unique_id },
        ...{ reply_to: null, expires_at: scheduler.now + 1_000, deliveries },
      });
    post(0);
    for (let left = copies; left > 0; left--) {
      const again = () => {
        if (checks.guests.hasTaken(server, unique_id)) post(1);
      };
      scheduler.after(random.int(3_000, scenario.heal_ms), again);
    }
  }
}
