import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Endpoint, ServiceStatus, UpgradeInfo } from '../../../src/core/domain.ts';
import { textOf } from '../../../src/log.ts';
import {
  type Driver,
  type DriverDeps,
  type Health,
  PermanentError,
  type Roles,
  type Target,
} from '../../driver.ts';
import type { PostgresqlHost } from './adopted/host-file.ts';
import { AdoptedSetup } from './adopted/setup.ts';
import { BuiltSetup } from './built.ts';
import { isLsn } from './control.ts';
import { type Activity, STREAM_GRACE_MS } from './health.ts';
import { Instance } from './instance.ts';
import { notStreaming, withWayOut } from './not-streaming.ts';
import { glance, untilStreaming } from './replication.ts';
import type { Setup } from './setup.ts';
import { loadState, type Serving } from './state.ts';
import { Swap } from './swap.ts';
import { Switchover } from './switchover.ts';
import { handoverIn } from './synchronous.ts';

/**
 * PostgreSQL: one server, its data directory, and its place in streaming replication.
 *
 * - `instance.ts`     what the instance has on this host, and its way back to its state after a crash
 * - `swap.ts`         moves the server between versions
 * - `switchover.ts`   changes the roles of servers
 * - `build.ts`        the first data directory: initdb, or a copy of the primary (`basebackup.ts`, `tar.ts`, `manifest.ts`)
 * - `setup.ts`        what differs between a server that Coffer built (`built.ts`) and an adopted one
 * - `server.ts`       the server's process: find, start, stop (`own-starter.ts`, `process.ts`)
 * - `settings.ts`     its configuration, and the passwords derived from the cluster's token
 * - `auto-conf.ts`    what operators have set with ALTER SYSTEM, which wins
 * - `conninfo.ts`     where a standby connects to its primary
 * - `binaries.ts`     its binaries by version, fetched and checked
 * - `replication.ts`  the questions that are asked over SQL (`sql.ts`)
 * - `health.ts`       the state of the server, for heartbeats
 * - `left-behind.ts`  what a switchover would leave behind on the server (`rare-check.ts`)
 * - `synchronous.ts`  the standbys that a primary waits for: handed over in a switchover
 * - `physical-slots.ts`  the slots of standbys, which move with the primary
 * - `control.ts`      where the log of a stopped server ends
 * - `state.ts`        what must survive a crash of the agent
 *
 * The rules of the driver:
 *
 * - P1  A demoted primary stays down until it is told its role: with two primaries a write would be lost.
 * - P2  The intent is on disk before the server is touched, and the result before an order is answered.
 * - P3  A standby is promoted only when it has replayed everything that the demoted primary wrote.
 * - P4  A server that does not start on the new version runs on the old one again.
 */
export const postgresqlDriver: PostgresqlFactory = (deps) => driverOf(deps, (own) => new BuiltSetup(own));

/** The driver for the server of this host that Coffer did not make. */
export const adoptingDriver =
  (host: PostgresqlHost): PostgresqlFactory =>
  (deps) =>
    driverOf(deps, (own) => new AdoptedSetup(own, host));

type PostgresqlFactory = (deps: DriverDeps) => Driver & Roles;

function driverOf(
  { stateDir, cacheDir, ...rest }: DriverDeps,
  setupOf: (deps: DriverDeps) => Setup,
): Driver & Roles {
  // The server's working directory is not the agent's: only absolute paths mean the same to both.
  const deps = { ...rest, stateDir: resolve(stateDir), cacheDir: resolve(cacheDir) };
  return new PostgresqlDriver(deps, setupOf(deps));
}

const REVIVE_EVERY_MS = 5_000;

class PostgresqlDriver implements Driver, Roles {
  readonly #setup: Setup;
  readonly #instance: Instance;
  readonly #switchover: Switchover;
  readonly #swap: Swap;
  #activity: Activity | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #checking: Promise<Health> | null = null;
  /** The last check that began before the end of an order. */
  #outdated: Promise<unknown> = Promise.resolve();
  /** Names of synchronous standbys are being put into force: orders wait for the end of that. */
  #awaiting: Promise<void> | null = null;
  #revivedAt = 0;
  #trouble: string | null = null;

  constructor(deps: DriverDeps, setup: Setup) {
    this.#setup = setup;
    this.#instance = new Instance(deps, setup);
    this.#switchover = new Switchover(this.#instance);
    this.#swap = new Swap(this.#instance, this.#switchover);
  }

  start(): Promise<void> {
    this.#instance.halt = new AbortController();
    return this.#inTurn('shutdown', 'the server is starting', () => this.#start());
  }

  stop(): Promise<void> {
    this.#instance.halt.abort(new Error('the agent is stopping'));
    return this.#inTurn('shutdown', 'the server is stopping', () => this.#setup.leave(this.#instance));
  }

  destroy(): Promise<void> {
    this.#instance.halt.abort(new Error('the instance is being removed'));
    return this.#inTurn('shutdown', 'the instance is being removed', async () => {
      await this.#setup.remove(this.#instance);
      await rm(this.#instance.deps.stateDir, { recursive: true, force: true, maxRetries: 5 });
      this.#instance.state = null;
    });
  }

  /** Several callers share a check, but none gets one that began before the end of the last order. */
  health(): Promise<Health> {
    if (this.#checking === null) {
      const check = this.#outdated.then(() => this.#checkHealth());
      this.#checking = check;
      void check.finally(() => {
        if (this.#checking === check) this.#checking = null;
      });
    }
    return this.#checking;
  }

  async preUpgrade(target: Target): Promise<UpgradeInfo> {
    const state = this.#instance.state ?? (await loadState(this.#instance.deps.stateDir));
    this.#swap.checkTarget(target, state);
    await this.#instance.fetch(target.datastore_version);
    await this.#instance.requireOwnSettings();
    const { role = null, lag_bytes = null, service_status } = await this.health();
    // A server that is down can't be asked, and is not switched over.
    const isUp = service_status === 'healthy';
    const { findings } = isUp ? await this.#setup.check(role === 'primary') : { findings: [] };
    // Minor versions of one major share the format of the data, so the way back is the same as the way there.
    return { reversible: true, role, lag_bytes, service_status, findings };
  }

  upgrade(target: Target): Promise<void> {
    return this.#inTurn('upgrading', `upgrading to ${target.datastore_version}`, async () => {
      this.#swap.checkTarget(target, await loadState(this.#instance.deps.stateDir));
      const binaries = await this.#instance.fetch(target.datastore_version);
      await this.#instance.requireOwnSettings();
      const state = await this.#instance.settle();
      if (state.phase === 'demoted') await this.#swap.returnAsStandby(state, binaries, target.primary);
      else await this.#swap.upgradeServing(state, binaries, target.primary);
    });
  }

  async postUpgrade(target: Target): Promise<void> {
    await this.#instance.withServer(async (client) => {
      const { version, standby } = await glance(client);
      if (version !== target.datastore_version) {
        throw new Error(`the server runs ${version}, not ${target.datastore_version}`);
      }
      if (standby && !(await untilStreaming(client, null, STREAM_GRACE_MS))) {
        throw new Error(await notStreaming(this.#instance.server, this.#setup, null));
      }
    });
    // Nothing to remove: the old version's binaries belong to the cache, which other instances share.
  }

  demote(order: Parameters<Roles['demote']>[0]): ReturnType<Roles['demote']> {
    return this.#inTurn('shutdown', 'being stopped for a switchover', async () => {
      const state = await this.#instance.settle();
      if (state.phase === 'serving') await this.#instance.requireOwnSettings();
      return state.phase === 'demoted'
        ? await this.#switchover.demotedBefore(state)
        : await this.#switchover.demote(state, order.successor);
    });
  }

  promote(order: Parameters<Roles['promote']>[0]): Promise<void> {
    return this.#inTurn('shutdown', 'becoming the primary', async () => {
      if (!isLsn(order.lsn)) throw new PermanentError(`not a log position: ${order.lsn}`);
      const state = await this.#instance.settle();
      if (state.phase === 'demoted') await this.#switchover.undoDemotion(state);
      else await this.#switchover.promote(state, order.lsn, handoverIn(order.handover));
    });
  }

  follow(order: { readonly primary: Endpoint }): Promise<void> {
    return this.#inTurn('shutdown', 'changing its primary', async () => {
      await this.#instance.requireOwnSettings();
      const state = await this.#instance.settle();
      if (state.phase === 'demoted') {
        await this.#swap.returnAsStandby(state, await this.#instance.fetch(state.version), order.primary);
      } else {
        await this.#switchover.follow(state, order.primary);
      }
    });
  }

  // ---- start and stop

  async #start(): Promise<void> {
    const { stateDir } = this.#instance.deps;
    await this.#setup.begin();
    const state = await loadState(stateDir);
    this.#instance.state = state;
    if (state === null || state.phase === 'building') {
      await this.#create();
    } else {
      const settled = await this.#instance.settle();
      if (settled.phase === 'demoted') await this.#instance.server.stop();
      else await this.#setup.resume(this.#instance, settled);
    }
    this.#instance.watch.forgive();
  }

  async #create(): Promise<void> {
    const activity: Activity = { status: 'building', message: 'the instance is being built' };
    this.#activity = activity;
    const started = Date.now();
    const { version, primary } = await this.#setup.create(this.#instance, (message) => {
      activity.message = message;
    });
    this.#instance.deps.log.info(
      { version, primary, duration_ms: Date.now() - started },
      'the instance is there',
    );
  }

  // ---- health

  async #checkHealth(): Promise<Health> {
    this.#instance.state ??= await loadState(this.#instance.deps.stateDir).catch(() => null);
    const health = await this.#instance.watch.check({
      state: this.#instance.state,
      activity: this.#activity,
      wanted: !this.#instance.halt.signal.aborted,
      trouble: this.#trouble,
      ended: () =>
        this.#revive('the server has ended by itself', async (state) => {
          await this.#instance.bringUp(state);
        }),
      tooSmall: () =>
        this.#revive('the standby has less than its primary', async (state) => {
          await this.#instance.stopServer();
          await this.#instance.bringUp(state);
          this.#instance.watch.forgive();
        }),
    });
    if (health.service_status !== 'healthy' || this.#activity !== null) {
      const { state } = this.#instance;
      const isSettled = this.#activity === null && (state === null || state.phase === 'serving');
      return { ...health, ...this.#setup.known(null, isSettled) };
    }
    this.#instance.holdSession();
    const isPrimary = health.role === 'primary';
    if (isPrimary) {
      this.#awaiting ??= this.#awaitStandbys().finally(() => {
        this.#awaiting = null;
      });
    }
    return { ...health, ...this.#setup.known(isPrimary, true) };
  }

  async #awaitStandbys(): Promise<void> {
    try {
      await this.#switchover.awaitStandbys();
    } catch (error) {
      const { log } = this.#instance.deps;
      log.warn({ error: textOf(error) }, 'the names of synchronous standbys are not taken on yet');
    }
  }

  /** The agent supervises the server: a server that was killed is started again, but not in a tight loop. */
  #revive(what: string, start: (state: Serving) => Promise<void>): void {
    if (Date.now() - this.#revivedAt < REVIVE_EVERY_MS) return;
    this.#revivedAt = Date.now();
    const { deps, halt } = this.#instance;
    deps.log.warn({}, what);
    this.#inTurn('shutdown', 'the server is starting', async () => {
      if (halt.signal.aborted) return;
      const state = await this.#instance.settle();
      if (state.phase === 'serving') await start(state);
      this.#trouble = null;
    }).catch((error: unknown) => {
      this.#trouble = withWayOut(`${what} and does not start: ${textOf(error)}`, this.#setup);
      deps.log.error({ error: textOf(error) }, 'the server does not start');
    });
  }

  // ---- small things

  /**
   * One thing at a time: a start by `health` must not run at the same time as an order of the taskmanager.
   */
  #inTurn<T>(status: ServiceStatus, message: string, work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(async () => {
      this.#activity = { status, message };
      try {
        await this.#awaiting;
        return await work();
      } finally {
        this.#activity = null;
        this.#outdated = this.#checking ?? this.#outdated;
        this.#checking = null;
        this.#setup.orderEnded();
      }
    });
    this.#turn = mine.catch(() => {});
    return mine;
  }
}
