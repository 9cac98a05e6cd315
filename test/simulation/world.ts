/**
 * All of Coffer in one event loop: the production handlers of the API, two taskmanagers and the guest agents,
 * over the in-memory broker and store, in virtual time. One seed, one schedule.
 *
 * Files: `scenario.ts` what a seed stands for · `scheduler.ts` time and sequence · `process.ts` processes
 * that can be killed at any await · `network.ts` the network between them · `disk.ts` a guest's journal ·
 * `servers.ts` the databases · `driver.ts` their driver · `trove-guest.ts` Trove's guests · `human.ts` the
 * people who request and help · `checks/` the guarantees, derived independently of the product · `run.ts` one
 * seed, start to end.
 */
import { startRelay } from '../../api/casts.ts';
import { Agent } from '../../guestagent/agent.ts';
import { Journal } from '../../guestagent/journal.ts';
import { CONDUCTOR_TOPIC, guestTopic, type Request, TASKMANAGER_TOPIC } from '../../src/bus/bus.ts';
import { EMPTY_CATALOGUE, withBuiltIns } from '../../src/core/catalogue.ts';
import type { Cluster, Instance } from '../../src/core/domain.ts';
import { BUILT_IN_DATASTORES, BUILT_IN_VERSIONS } from '../../src/core/managers/index.ts';
import { Batches } from '../../taskmanager/batch-engine.ts';
import { Engine } from '../../taskmanager/engine.ts';
import { Provisioning } from '../../taskmanager/provisioning.ts';
import { handleConductorRequest, handleTaskmanagerRequest } from '../../taskmanager/requests.ts';
import { recover, startSweep } from '../../taskmanager/sweep.ts';
import { MemoryBroker, type MemoryBus } from '../twins/bus.ts';
import { MemoryStore } from '../twins/store.ts';
import { type Api, giveBack, takeApi } from './api.ts';
import { Checks } from './checks/checks.ts';
import { Disk } from './disk.ts';
import { SimulatedServerDriver } from './driver.ts';
import { History } from './history.ts';
import { Network } from './network.ts';
import { Life, Process } from './process.ts';
import { Random } from './random.ts';
import type { Guests, Scenario } from './scenario.ts';
import { Scheduler } from './scheduler.ts';
import { Server, Servers, skewOf } from './servers.ts';
import { TroveGuest } from './trove-guest.ts';

const PREFETCH = 200;
const HEARTBEAT_MS = 2_000;
const WRITE_MS = 500;

export const VERSIONS = {
  postgresql: { from: '17.6', to: '17.10', other: '17.8', older: '17.5' },
  simulated: { from: '1.1', to: '2.0', other: '2.0', older: '1.0' },
} as const;

export const TENANT = 'tenant-1';
export const TASKMANAGERS = ['taskmanager-1', 'taskmanager-2'] as const;

export class World {
  readonly scenario: Scenario;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly history: History;
  readonly store: MemoryStore;
  readonly broker: MemoryBroker;
  readonly network: Network;
  readonly servers: Servers;
  readonly checks: Checks;
  readonly cluster: Cluster;
  /** A cluster of another tenant; nobody requests anything there. */
  readonly stranger: Cluster;
  readonly processes = new Map<string, Process>();
  readonly disks: readonly Disk[];
  readonly #buses = new Map<string, MemoryBus>();
  guests: Guests;
  /** The API's code, while the process is up. */
  api: Api | null = null;
  /** How many users wait for the answer to a request that they send until there is one. */
  asking = 0;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    this.guests = scenario.guests;
    this.random = new Random(scenario.seed + 1_000_003);
    this.scheduler = new Scheduler(new Random(scenario.seed + 2_000_003));
    this.history = new History(() => this.scheduler.now);
    this.store = new MemoryStore({ sleep: new Life('store', this.scheduler, () => undefined).sleep });
    this.broker = new MemoryBroker({
      now: () => this.scheduler.now,
      after: (ms, run) => this.scheduler.after(ms, run),
      newId: () => this.random.uuid(),
      passage: (passage) => this.network.passage(passage),
    });
    void this.store.catalogue.put(withBuiltIns(EMPTY_CATALOGUE), []);
    this.servers = serversOf(scenario, () => this.scheduler.now);
    this.cluster = this.#newCluster(TENANT, scenario.instances);
    this.stranger = this.#newCluster('tenant-2', 1);
    this.checks = new Checks(this);
    const { scheduler, random, store } = this;
    this.network = new Network({
      weather: scenario.weather,
      random,
      scheduler,
      store,
      watch: this.checks.store,
    });
    this.disks = this.servers.all.map(
      (server) => new Disk((entry) => this.checks.guests.journalled(server, entry)),
    );
    this.#addProcesses();
  }

  tell(text: string): void {
    this.history.tell(text);
  }

  start(): void {
    for (const process of this.processes.values()) process.start();
    const write = () => {
      this.servers.tick();
      this.scheduler.after(WRITE_MS, write, 'nobody');
    };
    write();
  }

  /** Stops everything. */
  end(): void {
    for (const process of this.processes.values()) process.life?.end();
  }

  bus(name: string): MemoryBus | undefined {
    return this.#buses.get(name);
  }

  /** A guest's queue is gone with all its messages, as after a restart of RabbitMQ. */
  dropQueueOf(index: number): void {
    const instance = this.cluster.instances[index];
    if (!instance) return;
    for (const bus of this.broker.dropQueue(guestTopic(instance.id))) bus.cut(this.random.int(10, 1_000));
  }

  instanceOf(server: Server): Instance {
    const instance = this.cluster.instances[server.index];
    if (!instance) throw new Error(`no instance ${server.index}`);
    return instance;
  }

  // ---- processes

  #addProcesses(): void {
    const add = (name: string, boot: (life: Life) => Promise<void>) =>
      this.processes.set(name, new Process(name, this, boot));
    for (const name of TASKMANAGERS) add(name, (life) => this.#taskmanager(life));
    add('api', (life) => this.#api(life));
    add('reader', (life) => this.#reader(life));
    for (const server of this.servers.all) add(`guest-${server.index}`, (life) => this.#guest(life, server));
  }

  #connect(life: Life) {
    const bus = this.broker.connect();
    this.#buses.set(life.name, bus);
    return life.busOn(bus);
  }

  #common(life: Life) {
    const skew_ms = life.name === 'taskmanager-2' ? 150 : 0;
    return {
      store: this.network.storeFor(life),
      bus: this.#connect(life),
      log: this.history.logOf(life.name),
      now: () => this.scheduler.now + skew_ms,
      sleep: life.sleep,
    };
  }

  async #taskmanager(life: Life): Promise<void> {
    const common = this.#common(life);
    const provisioner = {
      provision: async () => undefined,
      remove: async () => true,
      unsettled: async () => [],
      settled: async () => undefined,
    };
    const provisioning = new Provisioning({ ...common, provisioner });
    // One cluster is no crowd: half of the seeds hold back even so.
    const engine = new Engine({ ...common, ...(this.scenario.seed % 2 === 0 && { crowd: 0 }) });
    const newId = () => this.random.uuid();
    const batches = new Batches({
      ...common,
      engine,
      newId,
      max_concurrent_total: 100,
      wake: () => undefined,
    });
    const deps = { ...common, engine, provisioning, batches, newId };
    const serve = (topic: string, handler: (request: Request) => Promise<unknown>) =>
      deps.bus.serve({ topic, queue: 'shared', prefetch: PREFETCH, handler });
    await serve(TASKMANAGER_TOPIC, async (request) => {
      const answer = await handleTaskmanagerRequest(deps, request);
      this.checks.requests.acknowledged(request);
      return answer;
    });
    await serve(CONDUCTOR_TOPIC, (request) => handleConductorRequest(deps, request));
    startSweep(deps);
    await recover(deps);
  }

  async #api(life: Life): Promise<void> {
    const deps = {
      ...{ ...this.#common(life), newId: () => this.random.uuid() },
      provisioner: 'external' as const,
      masterKey: null,
      // Nobody is woken here: every batch that has something to do becomes due.
      wakeBatch: () => undefined,
    };
    startRelay(deps);
    const api = takeApi(deps);
    this.api = api;
    life.onDeath(() => {
      this.api = null;
      giveBack(api);
    });
  }

  /** Follows the events of the upgrade that holds the cluster; after a kill the reader continues where it was. */
  async #reader(life: Life): Promise<void> {
    const store = this.network.storeFor(life);
    for (;;) {
      for (const id of this.store.data.upgrades.keys()) {
        const after = this.checks.events.readUpTo(id);
        await store.upgrades.events(id, after, { limit: 3, wait_ms: 1_000 }).then(
          (events) => this.checks.events.read(id, events),
          () => undefined,
        );
      }
      await life.sleep(1_000);
    }
  }

  get isTrove(): boolean {
    return this.scenario.trove_heartbeat_ms !== null;
  }

  async #guest(life: Life, server: Server): Promise<void> {
    const skew_ms = skewOf(server);
    const { trove_heartbeat_ms } = this.scenario;
    if (trove_heartbeat_ms !== null) return this.#troveGuest(life, server, trove_heartbeat_ms);
    const journal = new Journal(
      this.disks[server.index]?.fileFor(life, this.scheduler, this.random) ?? {
        read: nothing,
        write: nothing,
      },
    );
    const driver = new SimulatedServerDriver({
      ...{ server, life, servers: this.servers, random: this.random, watch: this.checks.guests },
      now: () => this.scheduler.now,
      guests: () => this.guests,
      isAdopted: this.scenario.adopted,
    });
    await journal.load();
    this.checks.guests.starts(server, journal.entry);
    const agent = new Agent({
      ...{ driver, journal, sleep: life.sleep, heartbeat_ms: () => HEARTBEAT_MS },
      config: this.#configOf(server),
      bus: this.#connect(life),
      log: this.history.logOf(life.name),
      now: () => this.scheduler.now + skew_ms,
    });
    await agent.start();
  }

  #troveGuest(life: Life, server: Server, heartbeat_ms: number): Promise<void> {
    const { servers, random, checks } = this;
    const guest = new TroveGuest({
      ...{ server, servers, life, random, heartbeat_ms, checks: checks.guests, skew_ms: skewOf(server) },
      ...{ instance_id: this.instanceOf(server).id, bus: this.#connect(life) },
      now: () => this.scheduler.now,
      guests: () => this.guests,
    });
    return guest.start();
  }

  #configOf(server: Server) {
    const { manager, id } = this.cluster;
    return {
      ...{ instance_id: this.instanceOf(server).id, cluster_id: id, name: server.name, manager },
      ...{ ordinal: server.index, datastore_version: server.version, endpoint: server.endpoint },
      ...{ role: 'member' as const, primary: null, cluster_token: 'x', extended_properties: {} },
      ...{ databases: [], users: [] },
    };
  }

  #newCluster(tenant_id: string, instances: number): Cluster {
    const id = this.random.uuid();
    const { manager } = this.scenario;
    const datastore = BUILT_IN_DATASTORES.find((one) => one.name === manager);
    const { from } = VERSIONS[manager];
    const version = BUILT_IN_VERSIONS.find((one) => one.datastore_id === datastore?.id && one.name === from);
    const created = this.scheduler.now - 1_000;
    const fresh = { task: 'BUILDING' as const, fault: null, in_doubt: false, report: null, heard: null };
    const cluster: Cluster = {
      ...{ id, tenant_id, name: 'shop', manager, created, updated: created, task: 'BUILDING' },
      ...{ datastore_id: datastore?.id ?? '', datastore_name: manager, upgrade_id: null },
      ...{ datastore_version_id: version?.id ?? '', datastore_version: from, extended_properties: {} },
      ...(this.scenario.adopted && tenant_id === TENANT && { adopted: true }),
      instances: Array.from({ length: instances }, (_, index) => ({
        ...{ id: this.random.uuid(), cluster_id: id, name: `db-${index}`, flavor_id: '1', volume_size: 1 },
        ...fresh,
        ...(this.scenario.trove_heartbeat_ms !== null && { told_version: from }),
      })),
    };
    const cast = { id, topic: '', method: '', args: {}, request_id: '', tenant_id };
    const order = { databases: [], users: [] };
    void this.store.provisioning.create(cluster, order, cast);
    void this.store.outbox.castConfirmed(id);
    const settlement = { version: { id: cluster.datastore_version_id, name: from }, system_identifier: '7' };
    if (cluster.adopted) void this.store.adoption.settle(cluster, settlement, created);
    else void this.store.provisioning.finishBuild(id, created);
    return cluster;
  }
}

async function nothing(): Promise<never> {
  throw new Error('no disk');
}

function serversOf(scenario: Scenario, now: () => number): Servers {
  const { manager, instances, broken } = scenario;
  const isReplicated = manager === 'postgresql';
  const all = Array.from(
    { length: instances },
    (_, index) => new Server(index, VERSIONS[manager].from, isReplicated && index === 0),
  );
  const servers = new Servers(all, isReplicated, now);
  for (const server of all.filter(({ index }) => broken.includes(index))) {
    servers.stop(server, 'fault');
    server.isBroken = true;
  }
  return servers;
}
