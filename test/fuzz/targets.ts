/**
 * What is fuzzed: the real HTTP server with real Redis and RabbitMQ behind it, the real handlers of a
 * taskmanager, and a real guest agent with the simulated driver.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent } from '../../guestagent/agent.ts';
import { simulatedDriver } from '../../guestagent/drivers/simulated.ts';
import { Journal } from '../../guestagent/journal.ts';
import type { Bus, Handler } from '../../src/bus/bus.ts';
import type { InstanceConfig } from '../../src/contract/guest-config.ts';
import type { BatchJobRequest } from '../../src/queue.ts';
import { sleep } from '../../src/service.ts';
import { Batches } from '../../taskmanager/batch-engine.ts';
import { beginRequestedBatch } from '../../taskmanager/batch-jobs.ts';
import { Engine } from '../../taskmanager/engine.ts';
import { Keyring } from '../../taskmanager/keyring.ts';
import { externalProvisioner } from '../../taskmanager/provisioner-external.ts';
import { Provisioning } from '../../taskmanager/provisioning.ts';
import { handleConductorRequest, handleTaskmanagerRequest } from '../../taskmanager/requests.ts';
import type { Harness } from '../integration/api-harness.ts';
import { silentLog } from '../support/services.ts';
import type { Dice } from './values.ts';
import type { Ids, Things } from './world.ts';

export interface Operation {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE' | 'PUT';
  readonly path: string;
  /** For people: what it answers need not be JSON. */
  readonly isPage?: true;
}

/** What an input is counted under. */
export function kindOf({ method, path }: Operation): string {
  return `${method} ${path}`;
}

/** Everything that the api offers: what it describes, and its pages. */
export function operationsOf({ app }: Harness): readonly Operation[] {
  const { paths = {} } = app.swagger();
  const described = Object.entries(paths).flatMap(([path, byMethod]) =>
    Object.keys(byMethod ?? {}).map((method) => ({
      method: method.toUpperCase() as Operation['method'],
      path,
    })),
  );
  return [...described, ...PAGES.map((path) => ({ method: 'GET', path, isPage: true }) as const)];
}

const PAGES = ['/openapi.json', '/dashboard', '/dashboard/{page}'];

/** What the paths of operations are filled with, as far as it means something. */
export function meaningsOf(things: Things) {
  const { cluster, idle, instance, upgrade, batch, letter, datastore, version } = things;
  return {
    ...{ cluster_id: [cluster, idle], instance_id: [instance], upgrade_id: [upgrade], batch_id: [batch] },
    ...{ letter_id: [letter], datastore: [datastore, 'simulated'], version: [version, '1.1'] },
    ...{
      version_id: [version],
      flavor: ['1'],
      page: ['favicon.ico', 'icon.svg'],
    },
  } satisfies Readonly<Record<string, readonly string[]>> as Readonly<Record<string, readonly string[]>>;
}

const CREATE = {
  cluster: {
    name: 'fuzzed',
    datastore: { type: 'simulated', version: '1.0' },
    instances: [{ flavorRef: '1', volume: { size: 1 } }, {}],
    extended_properties: {
      simulated: { upgrade_ms: 1, fail: [{ instance: 0, action: 'upgrade', times: 1 }] },
    },
    databases: [{ name: 'shop' }],
    users: [{ name: 'app', password: 'a password', databases: [{ name: 'shop' }] }],
  },
};

const UPGRADE = {
  datastore_version: '1.1',
  policy: {
    max_unavailable: '50%',
    canary: 1,
    retries: 1,
    on_failure: 'pause',
    not_before: '2026-11-23T02:00:00Z',
    window: { cron: '0 2 * * 6', duration_seconds: 3600, time_zone: 'UTC' },
    overrides: [{ gate: 'version_active', reason: 'because' }],
  },
  dry_run: true,
};

const ACTIONS = ['pause', 'resume', 'approve', 'confirm', 'retry', 'cancel', 'rollback'].map((action) => ({
  [action]: {},
}));
const VERSION = {
  ...{ name: '9.9', datastore_manager: 'simulated', active: true, upgrade_from: '>=1.0' },
  ...{ image: '', image_tags: ['a'], packages: ['p'], not_mixed_with: null },
};

/** Bodies that are right, by what the path ends with. */
const bodiesFor = (things: Things): Readonly<Record<string, readonly object[]>> => ({
  clusters: [CREATE],
  cluster_id: [
    { upgrade: UPGRADE },
    { cluster: UPGRADE },
    UPGRADE,
    { upgrade: { datastore_version: '1.1' } },
    { 'reset-status': {} },
    { grow: [{ flavorRef: '1', volume: { size: 1 } }] },
    { shrink: [{ id: things.instance }] },
  ],
  instance_id: [{ instance: UPGRADE }, { instance: { datastore_version: '1.1' } }],
  upgrade_id: [...ACTIONS, { retry: { datastore_version: '1.1' } }],
  batches: [
    {
      batch: {
        datastore_version: '1.1',
        selector: { datastore: 'simulated' },
        policy: UPGRADE.policy,
        waves: [
          { share: 1, approval: true },
          { max_concurrent: 2, failure_budget: '5%' },
        ],
      },
    },
    { batch: { datastore_version: '1.1', clusters: [things.idle], dry_run: true } },
    { batch: { datastore_version: '1.1', clusters: [things.idle], name: 'fuzzed' } },
  ],
  batch_id: [...ACTIONS, { skip: {} }, { retry: { clusters: [things.idle] } }, { rollback: { wave: 1 } }],
  versions: [
    {
      version: {
        ...VERSION,
        name: `9.${Number.parseInt(things.version.slice(0, 6), 16)}`,
        datastore_name: things.datastore,
      },
    },
  ],
  version_id: [{ active: false }, { active: true }, VERSION, { packages: [], image: 'x' }],
  letter_id: [{ replay: {} }, { discard: {} }],
});

/** A body that is right for the route, mostly; the fuzzer spoils it. */
export function bodyFor(dice: Dice, path: string, things: Things): unknown {
  const last = /(\w+)\}?$/.exec(path)?.[1] ?? '';
  const bodies = bodiesFor(things);
  const fitting = dice.chance(90) ? bodies[last] : undefined;
  return dice.pick(fitting ?? Object.values(bodies).flat());
}

type Call = readonly [topic: Topic, method: string, args: object];

/** For each method of each topic, arguments that are right. */
export function callsTo(ids: Ids & Partial<Things>): readonly Call[] {
  const attempt = { upgrade_id: ids.upgrade, step: 0, attempt: 1, fence: 1 };
  const report = { ...attempt, action: 'upgrade', status: 'succeeded', error: null, result: {} };
  const endpoint = { host: '127.0.0.1', port: 5432 };
  return [
    [
      'taskmanager',
      'upgrade_cluster',
      { cluster_id: ids.cluster, datastore_version_id: '1.1', policy: UPGRADE.policy },
    ],
    ['taskmanager', 'upgrade', { instance_id: ids.instance, datastore_version_id: '1.1' }],
    ['taskmanager', 'upgrade_action', { upgrade_id: ids.upgrade, action: 'pause', by: 'fuzz' }],
    ['taskmanager', 'reset_status', { cluster_id: ids.cluster, by: 'fuzz' }],
    ['taskmanager', 'batch_action', { batch_id: ids.batch ?? ids.upgrade, action: 'pause', by: 'fuzz' }],
    ['taskmanager', 'create_cluster', { cluster_id: ids.cluster }],
    ['taskmanager', 'grow_cluster', { cluster_id: ids.cluster }],
    ['taskmanager', 'shrink_cluster', { cluster_id: ids.idle ?? ids.cluster }],
    ['taskmanager', 'delete_cluster', { cluster_id: ids.idle ?? ids.cluster }],
    [
      'taskmanager',
      'join',
      {
        ...{ cluster_id: ids.cluster, endpoint, sent: Date.now() },
        ...{ agent_key: 'a'.repeat(43), exchange_key: 'a'.repeat(43) },
        ...{ proof: 'a'.repeat(64), signature: 'a'.repeat(128) },
      },
    ],
    [
      'conductor',
      'heartbeat',
      {
        instance_id: ids.instance,
        sent: Date.now() / 1000,
        payload: {
          service_status: 'healthy',
          version: '1.0',
          role: 'member',
          lag_bytes: 0,
          endpoint,
          attempt: report,
        },
      },
    ],
    ['guest', 'pre_upgrade', { upgrade_info: { ...attempt, datastore_version: '1.1' } }],
    ['guest', 'upgrade', { upgrade_info: { ...attempt, datastore_version: '1.1', primary: endpoint } }],
    ['guest', 'post_upgrade', { upgrade_info: attempt }],
    ['guest', 'demote', { upgrade_info: attempt }],
    ['guest', 'promote', { upgrade_info: { ...attempt, lsn: '0/1' } }],
    ['guest', 'fence', { upgrade_info: attempt }],
    ['guest', 'follow', { upgrade_info: { ...attempt, primary: endpoint } }],
  ];
}

/** What a job of another service may ask for. */
export function jobFor({ idle }: Things): object {
  const about = { tenant_id: 't1', user: 'fuzz', request_id: 'req-1' };
  return {
    ...about,
    datastore_version: '1.1',
    clusters: [idle],
    policy: UPGRADE.policy,
    waves: [{ share: '50%' }],
  };
}

export type Topic = 'taskmanager' | 'conductor' | 'guest';

export interface Taskmanager {
  readonly requests: Handler;
  readonly reports: Handler;
  /** What a job asks for. */
  readonly jobs: (job: BatchJobRequest) => Promise<unknown>;
}

/** A taskmanager's real handlers, behind the api's store. */
export function newTaskmanager({ store, bus, masterKey }: Harness): Taskmanager {
  const keyring = new Keyring({ store, master: masterKey, now: Date.now });
  const common = { store, bus, log: silentLog, now: Date.now, newId: randomUUID, keyring };
  const engine = new Engine(common);
  const batches = new Batches({ ...common, engine, max_concurrent_total: 100, wake: () => undefined });
  const provisioning = new Provisioning({ ...common, provisioner: externalProvisioner });
  const deps = { ...common, batches, engine, provisioning };
  return {
    requests: (request) => handleTaskmanagerRequest(deps, request),
    reports: (request) => handleConductorRequest(deps, request),
    jobs: (job) => beginRequestedBatch({ ...common, wake: () => undefined }, job),
  };
}

/** A guest agent as its host starts it, its orders in our hands and its heartbeats in nobody's. */
export async function startGuest(instance_id: string): Promise<{ handler: Handler; stop(): Promise<void> }> {
  let handler: Handler | undefined;
  const bus: Bus = {
    async serve(options) {
      handler = options.handler;
      return { stop: async () => undefined };
    },
    cast: async () => undefined,
    notify: async () => undefined,
    call: async () => undefined,
    isConnected: () => true,
    close: async () => undefined,
  };
  let written: string | null = null;
  const journal = new Journal({
    read: async () => written,
    write: async (text) => {
      written = text;
    },
  });
  await journal.load();
  const config: InstanceConfig = {
    ...{ instance_id, cluster_id: randomUUID(), name: 'fuzzed', ordinal: 0, manager: 'simulated' },
    ...{
      datastore_version: '1.0',
      role: 'member',
      endpoint: { host: '127.0.0.1', port: 5432 },
      primary: null,
    },
    ...{ cluster_token: 'x', extended_properties: {}, databases: [], users: [] },
  };
  const stateDir = await mkdtemp(join(tmpdir(), 'coffer-fuzz-'));
  const driver = simulatedDriver({ config, stateDir, cacheDir: stateDir, log: silentLog });
  const agent = new Agent({
    config,
    driver,
    journal,
    bus,
    log: silentLog,
    now: Date.now,
    sleep,
    heartbeat_ms: () => 60_000,
  });
  await agent.start();
  if (!handler) throw new Error('the agent serves nothing');
  return { handler, stop: () => agent.destroy() };
}
