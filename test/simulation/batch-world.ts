/**
 * Batches in virtual time: the production code of two taskmanagers and of guest agents over the in-memory
 * broker and store. Requests to the store and messages get lost, and taskmanagers are killed at any await.
 * The checks derive everything from the store alone: see `batch-checks.ts`.
 */
import { Agent } from '../../guestagent/agent.ts';
import { type Driver, PermanentError, type Target } from '../../guestagent/driver.ts';
import { Journal } from '../../guestagent/journal.ts';
import { CONDUCTOR_TOPIC, type Request, TASKMANAGER_TOPIC } from '../../src/bus/bus.ts';
import type { BatchRequest } from '../../src/core/batch/admit.ts';
import { isBatchActive } from '../../src/core/batch/record.ts';
import { EMPTY_CATALOGUE, withBuiltIns } from '../../src/core/catalogue.ts';
import type { Cluster } from '../../src/core/domain.ts';
import { BUILT_IN_DATASTORES, BUILT_IN_VERSIONS } from '../../src/core/managers/index.ts';
import { beginBatch } from '../../src/store/begin-batch.ts';
import { beginUpgrade } from '../../src/store/begin-upgrade.ts';
import { Batches } from '../../taskmanager/batch-engine.ts';
import { Engine } from '../../taskmanager/engine.ts';
import { Provisioning } from '../../taskmanager/provisioning.ts';
import { handleConductorRequest, handleTaskmanagerRequest } from '../../taskmanager/requests.ts';
import { recover, startSweep } from '../../taskmanager/sweep.ts';
import { MemoryBroker } from '../twins/bus.ts';
import { MemoryStore } from '../twins/store.ts';
import { BatchChecks } from './batch-checks.ts';
import type { BatchScenario } from './batch-scenario.ts';
import { History } from './history.ts';
import { Network } from './network.ts';
import { Life, Process } from './process.ts';
import { Random } from './random.ts';
import { CALM } from './scenario.ts';
import { Scheduler, T0 } from './scheduler.ts';

const HEARTBEAT_MS = 2_000;
const TENANTS = ['tenant-1', 'tenant-2'] as const;
const FROM = '1.0';
const TO = '1.1';

/** A server that has a version and nothing else. */
class Server {
  version = FROM;
  isUp = true;
}

export class BatchWorld {
  readonly scenario: BatchScenario;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly history: History;
  readonly store: MemoryStore;
  readonly checks: BatchChecks;
  readonly clusters: readonly Cluster[];
  readonly servers = new Map<string, Server>();
  readonly taskmanagers: readonly Process[];
  readonly #broker: MemoryBroker;
  readonly #network: Network;
  /** Batches whose creation was answered. */
  readonly batch_ids: string[] = [];
  #fails: number;

  constructor(scenario: BatchScenario) {
    this.scenario = scenario;
    this.#fails = scenario.fails;
    this.random = new Random(scenario.seed + 1_000_003);
    this.scheduler = new Scheduler(new Random(scenario.seed + 2_000_003));
    this.history = new History(() => this.scheduler.now);
    this.store = new MemoryStore({ sleep: this.#life('store').sleep });
    void this.store.catalogue.put(withBuiltIns(EMPTY_CATALOGUE), []);
    this.#broker = new MemoryBroker({
      now: () => this.scheduler.now,
      after: (ms, run) => this.scheduler.after(ms, run),
      newId: () => this.random.uuid(),
      passage: (passage) => this.#network.passage(passage),
    });
    this.checks = new BatchChecks(this);
    const { scheduler, random, store } = this;
    const { weather } = scenario;
    this.#network = new Network({ weather, random, scheduler, store, watch: this.checks });
    this.clusters = Array.from({ length: scenario.clusters }, (_, index) => this.#newCluster(index));
    this.taskmanagers = ['taskmanager-1', 'taskmanager-2'].map(
      (name) => new Process(name, this, (life) => this.#taskmanager(life)),
    );
  }

  tell(text: string): void {
    this.history.tell(text);
  }

  start(): void {
    for (const process of this.taskmanagers) process.start();
    for (const cluster of this.clusters) void this.#guest(cluster);
    const { requests, troubles } = this.scenario;
    for (const { at_ms, request, tenant } of requests) {
      this.scheduler.after(at_ms, () => void this.#ask(TENANTS[tenant] ?? TENANTS[0], request));
    }
    for (const { at_ms, trouble } of troubles) this.scheduler.after(at_ms, () => this.#strike(trouble));
    this.scheduler.after(this.scenario.heal_ms, () => this.#heal());
  }

  get isHealed(): boolean {
    return this.scheduler.now > T0 + this.scenario.heal_ms;
  }

  get isOver(): boolean {
    const all = [...this.store.batches.data.batches.values()];
    return (
      this.isHealed && this.batch_ids.length === this.scenario.requests.length && !all.some(isBatchActive)
    );
  }

  // ---- requests

  /** Like the api: uses the same id in every try, until the request is done. */
  async #ask(tenant_id: string, request: Pick<BatchRequest, 'waves' | 'policy'>): Promise<void> {
    const life = this.#life('api');
    const deps = {
      store: this.#network.storeFor(life),
      now: () => this.scheduler.now,
      newId: () => this.random.uuid(),
    };
    const batch_id = this.random.uuid();
    const own = this.clusters.filter((cluster) => cluster.tenant_id === tenant_id).map(({ id }) => ({ id }));
    const wanted: BatchRequest = {
      ...{ tenant_id, name: null, selection: { clusters: own, all_tenants: false }, batch_id },
      ...{ datastore_version: TO, requested_by: { user: null, request_id: 'req-1', via: 'rest' } },
      ...request,
    };
    for (;;) {
      try {
        await beginBatch(deps, wanted);
        break;
      } catch {
        await life.sleep(1_000);
      }
    }
    this.tell(`a batch of ${own.length} is accepted`);
    this.batch_ids.push(batch_id);
  }

  #strike(trouble: BatchScenario['troubles'][number]['trouble']): void {
    const { random } = this;
    switch (trouble.kind) {
      case 'kill':
        return this.taskmanagers[trouble.who]?.killAfter(trouble.steps, trouble.down_ms);
      case 'store_away':
        this.#network.storeAwayUntil = this.scheduler.now + trouble.ms;
        return;
      case 'busy':
        return this.#upgradeAlone(trouble.cluster);
      case 'action': {
        const id = this.batch_ids[trouble.batch % Math.max(1, this.batch_ids.length)];
        if (id !== undefined) this.#order(id, trouble.action);
        return;
      }
      default:
        random.next();
        return trouble satisfies never;
    }
  }

  /** Another user upgrades one of the clusters. */
  #upgradeAlone(index: number): void {
    const cluster = this.clusters[index % this.clusters.length];
    if (!cluster) return;
    const deps = { store: this.store, now: () => this.scheduler.now, newId: () => this.random.uuid() };
    const request = {
      ...{ cluster_id: cluster.id, tenant_id: null, datastore_version: this.random.pick([TO, '2.0']) },
      requested_by: { user: null, request_id: 'req-2', via: 'rest' as const },
    };
    beginUpgrade(deps, { ...request, policy: { on_failure: 'fail' } }).catch(() => undefined);
  }

  #order(batch_id: string, action: string): void {
    this.#call('batch_action', { batch_id, action, by: 'ann' });
  }

  #call(method: string, args: Readonly<Record<string, unknown>>): void {
    this.tell(`somebody asks to ${String(args['action'])}`);
    const context = { request_id: 'req-3', tenant_id: null, user: null, is_admin: true };
    this.#broker
      .connect()

      .call(TASKMANAGER_TOPIC, method, args, { context, timeout_ms: 5_000 })
      .catch(() => undefined);
  }

  /** Stops all faults; a person lets every batch continue, and every upgrade that waits for a person. */
  #heal(): void {
    this.tell('the faults stop');
    this.#network.weather = CALM;
    this.#network.storeAwayUntil = 0;
    this.#fails = 0;
    for (const process of this.taskmanagers) process.spare();
    const goOn = () => {
      for (const { id, state } of this.store.batches.data.batches.values()) {
        if (state.name === 'paused') this.#order(id, state.reason === 'approval' ? 'approve' : 'resume');
      }
      for (const { id, state } of this.store.data.upgrades.values()) {
        if (state.name !== 'paused') continue;
        const action = state.reason === 'failure' ? 'retry' : 'resume';
        this.#call('upgrade_action', { upgrade_id: id, action, by: 'ann' });
      }
      this.scheduler.after(3_000, goOn);
    };
    goOn();
  }

  // ---- processes

  #life(name: string): Life {
    return new Life(name, this.scheduler, () => undefined);
  }

  async #taskmanager(life: Life): Promise<void> {
    const bus = life.busOn(this.#broker.connect());
    const common = {
      ...{ store: this.#network.storeFor(life), bus, log: this.history.logOf(life.name) },
      ...{ now: () => this.scheduler.now, sleep: life.sleep, newId: () => this.random.uuid() },
    };
    const provisioner = {
      ...{ provision: async () => undefined, remove: async () => true },
      ...{ unsettled: async () => [], settled: async () => undefined },
    };
    const engine = new Engine(common);
    const { max_concurrent_total } = this.scenario;
    const batches = new Batches({ ...common, engine, max_concurrent_total, wake: () => undefined });
    const provisioning = new Provisioning({ ...common, provisioner });
    const deps = { ...common, engine, provisioning, batches };
    const serve = (topic: string, handler: (request: Request) => Promise<unknown>) =>
      bus.serve({ topic, queue: 'shared', prefetch: 200, handler });
    await serve(TASKMANAGER_TOPIC, (request) => handleTaskmanagerRequest(deps, request));
    await serve(CONDUCTOR_TOPIC, (request) => handleConductorRequest(deps, request));
    startSweep(deps);
    await recover(deps);
  }

  async #guest(cluster: Cluster): Promise<void> {
    const life = this.#life(`guest of ${cluster.name}`);
    const [instance] = cluster.instances;
    if (!instance) return;
    const server = new Server();
    this.servers.set(cluster.id, server);
    let disk: string | null = null;
    const journal = new Journal({
      read: async () => disk,
      write: async (text) => {
        disk = text;
      },
    });
    await journal.load();
    const agent = new Agent({
      ...{ driver: this.#driver(life, server), journal, sleep: life.sleep, heartbeat_ms: () => HEARTBEAT_MS },
      ...{
        bus: life.busOn(this.#broker.connect()),
        log: this.history.logOf(life.name),
        now: () => this.scheduler.now,
      },
      config: {
        ...{ instance_id: instance.id, cluster_id: cluster.id, name: instance.name, manager: 'simulated' },
        ...{
          ordinal: 0,
          datastore_version: FROM,
          endpoint: { host: 'h', port: 1 },
          role: 'member',
          primary: null,
        },
        ...{ cluster_token: 'x', extended_properties: {}, databases: [], users: [] },
      },
    });
    await agent.start();
  }

  #driver(life: Life, server: Server): Driver {
    const mayFail = () => {
      if (!this.random.chance(this.#fails)) return;
      throw this.random.chance(0.5) ? new PermanentError('it can not be') : new Error('it went wrong');
    };
    const none = async () => {
      throw new PermanentError('there is no primary');
    };
    return {
      ...{ start: async () => undefined, stop: async () => undefined, destroy: async () => undefined },
      health: async () => ({
        ...{ service_status: server.isUp ? 'healthy' : 'shutdown', version: server.version, role: 'member' },
        ...{ lag_bytes: null, endpoint: null },
      }),
      preUpgrade: async () => ({ reversible: true, role: 'member' }),
      upgrade: async ({ datastore_version }: Target) => {
        server.isUp = false;
        await life.sleep(this.random.int(10, 3_000));
        server.isUp = true;
        mayFail();
        server.version = datastore_version;
      },
      postUpgrade: async () => undefined,
      ...{ demote: none, promote: none, follow: none },
    };
  }

  #newCluster(index: number): Cluster {
    const id = this.random.uuid();
    const tenant_id = TENANTS[index % 3 === 2 ? 1 : 0] ?? TENANTS[0];
    const datastore = BUILT_IN_DATASTORES.find(({ name }) => name === 'simulated');
    const version = BUILT_IN_VERSIONS.find((one) => one.datastore_id === datastore?.id && one.name === FROM);
    const created = this.scheduler.now - 1_000;
    const cluster: Cluster = {
      ...{
        id,
        tenant_id,
        name: `c-${index}`,
        manager: 'simulated',
        created,
        updated: created,
        task: 'BUILDING',
      },
      ...{ datastore_id: datastore?.id ?? '', datastore_name: 'simulated', upgrade_id: null },
      ...{ datastore_version_id: version?.id ?? '', datastore_version: FROM, extended_properties: {} },
      instances: [
        {
          ...{ id: this.random.uuid(), cluster_id: id, name: `c-${index}-1`, flavor_id: '1', volume_size: 1 },
          ...{ task: 'BUILDING', fault: null, in_doubt: false, report: null, heard: null },
        },
      ],
    };
    const cast = { id, topic: '', method: '', args: {}, request_id: '', tenant_id };
    void this.store.provisioning.create(cluster, { databases: [], users: [] }, cast);
    void this.store.outbox.castConfirmed(id);
    void this.store.provisioning.finishBuild(id, created);
    return cluster;
  }
}
