import { chmod, chown, mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Client } from 'pg';
import { hasPackage } from '../../../src/core/built-in.ts';
import type { Endpoint, ServiceStatus, UpgradeInfo } from '../../../src/core/domain.ts';
import {
  type Driver,
  type DriverDeps,
  type DriverFactory,
  type Health,
  PermanentError,
  type Target,
} from '../../driver.ts';
import { messageOf, removeIfThere, sleep, writeFileAtomic } from '../../files.ts';
import { type Account, requireReachable, serverAccount } from './account.ts';
import {
  type Binaries,
  type BinariesDeps,
  binariesFolder,
  ensureBinaries,
  probeBinaries,
  unknownVersion,
} from './binaries.ts';
import { buildPrimary, buildReplica } from './build.ts';
import { formatLsn, isLsn, readControl } from './control.ts';
import { type Activity, HealthWatch, notStreaming, STREAM_GRACE_MS } from './health.ts';
import {
  type Glance,
  glance,
  majorOf,
  promoteNow,
  sameEndpoint,
  standbysOf,
  untilReplayed,
  untilStreaming,
} from './replication.ts';
import { Server } from './server.ts';
import { derivePassword, type Places, placesIn, SUPERUSER, writeSettings } from './settings.ts';
import { type Login, PATIENT, QUICK, withClient } from './sql.ts';
import { loadState, type State, saveState } from './state.ts';

/**
 * PostgreSQL: one server, its data directory, its place in streaming replication.
 *
 * - `build.ts`        the first data directory: initdb, or a copy of the primary (`basebackup.ts`, `tar.ts`)
 * - `server.ts`       the server's process: find, start, stop
 * - `settings.ts`     its configuration, and the passwords derived from the cluster's token
 * - `binaries.ts`     its binaries by version, fetched and checked
 * - `replication.ts`  what it is asked over SQL (`sql.ts`)
 * - `health.ts`       how it finds the server, for heartbeats
 * - `control.ts`      where its log ends once it is stopped
 * - `state.ts`        what must survive a crash of the agent
 * - `account.ts`    the user that it runs as
 *
 * What it keeps to:
 *
 * - P1  A demoted primary stays down until it is told what to be: two primaries would lose a write.
 * - P2  The intent is on disk before the server is touched, and an order is answered after its result is.
 * - P3  A standby is promoted only when it has replayed everything that the demoted primary wrote.
 * - P4  A server that does not start on the new version runs on the old one again.
 */
export const postgresqlDriver: DriverFactory = (deps) => new PostgresqlDriver(deps);

/** A start after an unclean end replays up to `max_wal_size` of log first. */
const START_MS = 600_000;
const UPGRADE_START_MS = 180_000;
const STREAM_MS = 10_000;
const REPLAY_MS = 3_000;
const PROMOTE_MS = 60_000;
const PROMOTE_AGAIN_MS = 200;
const DEMOTE_STOP_MS = 15_000;
/** A standby this near gets the rest within the fast shutdown, which sends it. */
const NEAR_BYTES = 16 * 1024 * 1024;
const NEAR_MS = 3_000;
const REVIVE_EVERY_MS = 5_000;
const POLL_MS = 2;

type Serving = Extract<State, { phase: 'serving' }>;
type Demoted = Extract<State, { phase: 'demoted' }>;

class PostgresqlDriver implements Driver {
  readonly #deps: DriverDeps;
  readonly #places: Places;
  readonly #account: Account | null;
  readonly #server: Server;
  readonly #login: Login;
  readonly #binariesDeps: BinariesDeps;
  readonly #watch: HealthWatch;
  #state: State | null = null;
  #activity: Activity | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  /** Ends long waits of `start` when the agent stops; aborted also means that no server is wanted. */
  #halt = new AbortController();
  #look: Promise<Health> | null = null;
  #revivedAt = 0;
  #trouble: string | null = null;

  constructor({ stateDir, cacheDir, ...rest }: DriverDeps) {
    // The server does not run where the agent does: only absolute paths mean the same to both.
    const deps = { ...rest, stateDir: resolve(stateDir), cacheDir: resolve(cacheDir) };
    this.#deps = deps;
    this.#places = placesIn(deps.stateDir);
    this.#account = serverAccount(deps.serverUser);
    this.#server = new Server(this.#places, this.#account, deps.log);
    this.#login = {
      endpoint: deps.config.endpoint,
      user: SUPERUSER,
      password: derivePassword(deps.config, SUPERUSER),
    };
    this.#binariesDeps = { cacheDir: deps.cacheDir, account: this.#account, log: deps.log };
    this.#watch = new HealthWatch(deps.config, this.#places, this.#server, this.#login);
    this.#halt.abort();
  }

  start(): Promise<void> {
    this.#halt = new AbortController();
    return this.#order('shutdown', 'the server is starting', () => this.#start());
  }

  stop(): Promise<void> {
    this.#halt.abort(new Error('the agent is stopping'));
    return this.#order('shutdown', 'the server is stopping', () => this.#stopServer());
  }

  destroy(): Promise<void> {
    this.#halt.abort(new Error('the instance is being removed'));
    return this.#order('shutdown', 'the instance is being removed', async () => {
      this.#watch.close();
      await this.#server.stopAtOnce();
      await rm(this.#deps.stateDir, { recursive: true, force: true, maxRetries: 5 });
      this.#state = null;
    });
  }

  health(): Promise<Health> {
    this.#look ??= this.#lookAtHealth().finally(() => {
      this.#look = null;
    });
    return this.#look;
  }

  async preUpgrade(target: Target): Promise<UpgradeInfo> {
    const state = this.#state ?? (await loadState(this.#deps.stateDir));
    this.#checkTarget(target, state);
    await this.#fetch(target.datastore_version);
    const { role, lag_bytes, service_status } = await this.health();
    // Minor versions of one major share the format of the data: the way back is the same way.
    return { reversible: true, role: role ?? null, lag_bytes: lag_bytes ?? null, service_status };
  }

  upgrade(target: Target): Promise<void> {
    return this.#order('upgrading', `upgrading to ${target.datastore_version}`, async () => {
      this.#checkTarget(target, await loadState(this.#deps.stateDir));
      const binaries = await this.#fetch(target.datastore_version);
      const state = await this.#settle();
      if (state.phase === 'demoted') await this.#returnAsStandby(state, binaries, target.primary);
      else await this.#upgradeServing(state, binaries, target.primary);
    });
  }

  async postUpgrade(target: Target): Promise<void> {
    await withClient(this.#login, PATIENT, async (client) => {
      const { version, standby } = await glance(client);
      if (version !== target.datastore_version) {
        throw new Error(`the server runs ${version}, not ${target.datastore_version}`);
      }
      if (standby && !(await untilStreaming(client, null, STREAM_GRACE_MS))) {
        throw new Error(await notStreaming(this.#server, null));
      }
    });
    // Nothing to tidy up: the old version's binaries are the cache's, which other instances share.
  }

  demote(): Promise<{ readonly lsn: string }> {
    return this.#order('shutdown', 'being stopped for a switchover', async () => {
      const state = await this.#settle();
      return { lsn: state.phase === 'demoted' ? state.lsn : await this.#demote(state) };
    });
  }

  promote(order: { readonly lsn: string }): Promise<void> {
    return this.#order('shutdown', 'becoming the primary', async () => {
      if (!isLsn(order.lsn)) throw new PermanentError(`not a log position: ${order.lsn}`);
      const state = await this.#settle();
      if (state.phase === 'demoted') await this.#undoDemotion(state);
      else await this.#promote(state, order.lsn);
    });
  }

  follow(order: { readonly primary: Endpoint }): Promise<void> {
    return this.#order('shutdown', 'changing its primary', async () => {
      const state = await this.#settle();
      if (state.phase === 'demoted') {
        await this.#returnAsStandby(state, await this.#fetch(state.version), order.primary);
      } else {
        await this.#follow(state, order.primary);
      }
    });
  }

  // ---- start and stop

  async #start(): Promise<void> {
    const { stateDir } = this.#deps;
    await mkdir(stateDir, { recursive: true });
    // The server's user must pass through; what is inside has modes of its own.
    await chmod(stateDir, this.#account === null ? 0o700 : 0o711);
    await requireReachable(stateDir, this.#account);
    const state = await loadState(stateDir);
    this.#state = state;
    if (state === null || state.phase === 'building') {
      await this.#build();
    } else {
      const settled = await this.#settle();
      if (settled.phase === 'serving') await this.#bringUp(settled);
      else await this.#server.stop();
    }
    this.#watch.forgive();
  }

  async #build(): Promise<void> {
    const { config, log } = this.#deps;
    const activity: Activity = { status: 'building', message: 'fetching the binaries' };
    this.#activity = activity;
    const started = Date.now();
    const version = config.datastore_version;
    await this.#save({ phase: 'building', version });
    await this.#server.stopAtOnce();
    const binaries = await ensureBinaries(this.#binariesDeps, version);
    const deps = {
      ...{ config, log, places: this.#places, account: this.#account, server: this.#server },
      abort: this.#halt.signal,
      progress: (message: string) => {
        activity.message = message;
      },
    };
    if (config.role === 'replica') {
      await buildReplica(deps, version);
      const state: Serving = { phase: 'serving', version, primary: config.primary };
      await this.#save(state);
      activity.message = 'starting the server';
      await this.#bringUp(state);
      await this.#withServer((client) => untilStreaming(client, config.primary, STREAM_GRACE_MS));
    } else {
      await buildPrimary(deps, binaries);
      await this.#save({ phase: 'serving', version, primary: null });
    }
    log.info({ version, role: config.role, duration_ms: Date.now() - started }, 'built the instance');
  }

  /** Starts the server, or adopts one that outlived its agent. */
  async #bringUp(state: Serving): Promise<void> {
    let running = await this.#server.find();
    if (running?.status === 'stopping') {
      await this.#server.stop();
      running = null;
    }
    if (running === null) {
      const binaries = await ensureBinaries(this.#binariesDeps, state.version);
      await this.#writeSettings(state.primary);
      await this.#server.start(binaries, START_MS, this.#halt.signal);
    } else {
      await this.#server.untilReady(START_MS, this.#halt.signal);
      this.#deps.log.info({ pid: running.pid }, 'found the server running');
    }
  }

  async #stopServer(): Promise<void> {
    this.#watch.close();
    await this.#server.stop();
  }

  /**
   * Finishes or undoes what a crash, or a failure to go back, left half done. Afterwards the server
   * is to be as the answered state says.
   */
  async #settle(): Promise<Serving | Demoted> {
    const state = await loadState(this.#deps.stateDir);
    this.#state = state;
    if (state === null || state.phase === 'building') throw new Error('the instance is not built yet');
    if (state.phase === 'serving' || state.phase === 'demoted') return state;
    if (state.phase === 'demoting') return await this.#settleDemotion(state.version);
    return await this.#settleUpgrade(state);
  }

  /**
   * The position is told to others only once `pg_control` has it. A server that runs, or that ended in
   * another way, was therefore not reported as demoted, and serves on; one that ended cleanly may have
   * been: another may be primary by now (P1).
   */
  async #settleDemotion(version: string): Promise<Serving | Demoted> {
    const running = await this.#server.find();
    if (running === null || running.status === 'stopping') {
      await this.#server.stop();
      const control = await readControl(this.#places.data);
      if (control?.shutDown === true) {
        return await this.#save({ phase: 'demoted', version, lsn: formatLsn(control.checkpoint) });
      }
    }
    const serving: Serving = { phase: 'serving', version, primary: null };
    await this.#bringUp(serving);
    return await this.#save(serving);
  }

  async #settleUpgrade(state: Extract<State, { phase: 'upgrading' }>): Promise<Serving> {
    const from = binariesFolder(this.#deps.cacheDir, state.from);
    const on = (version: string): Serving => ({ phase: 'serving', version, primary: state.primary });
    const running = await this.#server.find();
    if (running?.executable.startsWith(`${from}/`) && running.status !== 'stopping') {
      await this.#server.untilReady(START_MS, this.#halt.signal);
      return await this.#save(on(state.from));
    }
    try {
      await this.#bringUp(on(state.to));
      return await this.#save(on(state.to));
    } catch (error) {
      this.#halt.signal.throwIfAborted();
      this.#deps.log.error({ error: messageOf(error), version: state.to }, 'the new version does not start');
      await this.#server.stop();
      await this.#bringUp(on(state.from));
      return await this.#save(on(state.from));
    }
  }

  // ---- upgrade

  #checkTarget(target: Target, state: State | null): void {
    const to = target.datastore_version;
    if (!hasPackage('postgresql', to)) throw unknownVersion(to);
    const from =
      state === null
        ? this.#deps.config.datastore_version
        : state.phase === 'upgrading'
          ? state.from
          : state.version;
    if (majorOf(from) !== majorOf(to)) {
      throw new PermanentError(
        `PostgreSQL ${from} can't be upgraded to ${to}: another major version needs pg_upgrade, which is not done here`,
      );
    }
  }

  async #fetch(version: string): Promise<Binaries> {
    const binaries = await ensureBinaries(this.#binariesDeps, version);
    await probeBinaries(this.#binariesDeps, binaries);
    return binaries;
  }

  async #upgradeServing(state: Serving, to: Binaries, named: Endpoint | null): Promise<void> {
    const primary = named === null || this.#isSelf(named) ? state.primary : named;
    const before = await this.#glance();
    if (before?.version === to.version && state.version === to.version) {
      if (before.standby && primary !== null) await this.#follow(state, primary);
      return;
    }
    if (before !== null) await this.#checkpoint();
    // A standby that was cut off before can't be asked to stream afterwards.
    await this.#swap(state.version, to, primary, {
      mustStream: before !== null && before.streamsFrom !== null,
    });
  }

  /** A demoted primary comes back as a standby of its successor; its log ends where the other's begins. */
  async #returnAsStandby(state: Demoted, binaries: Binaries, primary: Endpoint | null): Promise<void> {
    if (primary === null || this.#isSelf(primary)) {
      throw new Error(
        'this instance was demoted: it can come back only as the standby of another primary, and none is named: promote a standby by hand, then retry',
      );
    }
    await this.#server.stop();
    await writeFileAtomic(this.#standbySignal, '', { mode: 0o600, owner: this.#account });
    await this.#swap(state.version, binaries, primary, { mustStream: true });
  }

  async #swap(
    from: string,
    to: Binaries,
    primary: Endpoint | null,
    { mustStream }: { readonly mustStream: boolean },
  ): Promise<void> {
    const old = await ensureBinaries(this.#binariesDeps, from);
    await this.#save({ phase: 'upgrading', from, to: to.version, primary });
    await this.#writeSettings(primary);
    const began = performance.now();
    let stopped = began;
    let started = began;
    try {
      await this.#stopServer();
      stopped = performance.now();
      await this.#server.start(to, UPGRADE_START_MS);
      started = performance.now();
      await this.#withServer(async (client) => {
        const { version, standby } = await glance(client);
        if (version !== to.version) throw new Error(`the server answers that it is ${version}`);
        if (!standby || (await untilStreaming(client, primary, mustStream ? STREAM_MS : STREAM_GRACE_MS)))
          return;
        if (mustStream) throw new Error(await notStreaming(this.#server, primary));
      });
    } catch (error) {
      await this.#goBack(old, primary, `PostgreSQL ${to.version} does not serve: ${messageOf(error)}`);
    }
    this.#watch.forgive();
    await this.#save({ phase: 'serving', version: to.version, primary });
    this.#deps.log.info(
      {
        ...{ from, to: to.version },
        stop_ms: Math.round(stopped - began),
        start_ms: Math.round(started - stopped),
        stream_ms: Math.round(performance.now() - started),
      },
      'restarted on another version',
    );
  }

  async #goBack(old: Binaries, primary: Endpoint | null, reason: string): Promise<never> {
    this.#deps.log.error({ reason, version: old.version }, 'going back to the old version');
    let outcome = `the server is back on ${old.version}`;
    try {
      await this.#stopServer();
      await this.#server.start(old, UPGRADE_START_MS);
      await this.#withServer((client) => untilStreamingIfStandby(client, primary));
    } catch (error) {
      outcome = `and it does not come back on ${old.version} either: ${messageOf(error)}`;
    }
    await this.#save({ phase: 'serving', version: old.version, primary });
    throw new Error(`${reason}; ${outcome}`);
  }

  // ---- roles

  async #demote(state: Serving): Promise<string> {
    const began = performance.now();
    await this.#withServer(async (client) => {
      if ((await glance(client)).standby)
        throw new PermanentError('this instance is a standby: it can not be demoted');
      await this.#requireSuccessor(client);
      // What is flushed now need not be flushed while clients wait. The second has what came in meanwhile.
      await client.query('CHECKPOINT');
      await client.query('CHECKPOINT');
      await this.#requireSuccessor(client);
    });
    if ((await readControl(this.#places.data))?.shutDown === true)
      throw new Error("pg_control is not this server's");
    await this.#save({ phase: 'demoting', version: state.version });
    const stopping = performance.now();
    this.#watch.close();
    const lsn = (await this.#server.beginStop()) ? await this.#shutdownPosition() : null;
    if (lsn === null) {
      await this.#server.stopAtOnce();
      const serving: Serving = { phase: 'serving', version: state.version, primary: null };
      await this.#bringUp(serving);
      await this.#save(serving);
      throw new Error('the server did not shut down cleanly in time; it serves as primary again');
    }
    // On disk it stays `demoting`, which says as much together with `pg_control`: clients wait meanwhile.
    this.#state = { phase: 'demoted', version: state.version, lsn };
    this.#deps.log.info(
      {
        lsn,
        checkpoint_ms: Math.round(stopping - began),
        stop_ms: Math.round(performance.now() - stopping),
      },
      'demoted',
    );
    return lsn;
  }

  /** A shutdown without a standby that gets everything would end in a loss, or in a long outage. */
  async #requireSuccessor(client: Client): Promise<void> {
    for (const deadline = Date.now() + NEAR_MS; ; await sleep(20)) {
      const { streaming, nearestBytes } = await standbysOf(client);
      if (nearestBytes !== null && nearestBytes <= NEAR_BYTES) return;
      if (Date.now() <= deadline) continue;
      throw new Error(
        streaming === 0
          ? 'no standby streams from this primary: there is nobody to take over'
          : `the nearest standby lacks ${nearestBytes ?? 'unknown'} bytes: too far behind to take over`,
      );
    }
  }

  /**
   * Waits for the shutdown checkpoint, the last record that this primary writes, and no longer: the
   * process itself still sends it to the standbys, and a standby that hangs may hold it for seconds.
   */
  async #shutdownPosition(): Promise<string | null> {
    for (const deadline = Date.now() + DEMOTE_STOP_MS; Date.now() < deadline; await sleep(POLL_MS)) {
      const running = await this.#server.find();
      const control = await readControl(this.#places.data);
      if (control?.shutDown === true) return formatLsn(control.checkpoint);
      if (running === null && control !== null) return null;
    }
    return null;
  }

  async #undoDemotion(state: Demoted): Promise<void> {
    const serving: Serving = { phase: 'serving', version: state.version, primary: null };
    await this.#server.stop();
    await removeIfThere(this.#standbySignal);
    await this.#save(serving);
    await this.#bringUp(serving);
  }

  async #promote(state: Serving, lsn: string): Promise<void> {
    const began = performance.now();
    const isStandby = await this.#withServer(async (client) => {
      if (!(await glance(client)).standby) return false;
      if (await untilReplayed(client, lsn, REPLAY_MS)) return true;
      throw new Error(`this standby has not replayed everything up to ${lsn}: it stays a standby`);
    });
    const replayed = performance.now();
    if (isStandby) await this.#becomePrimary(state);
    const [replay_ms, promote_ms] = [replayed - began, performance.now() - replayed].map(Math.round);
    this.#deps.log.info({ lsn, replay_ms, promote_ms }, 'promoted');
  }

  /**
   * Once PostgreSQL was told to promote itself it may do so at any moment, whatever becomes of the
   * connection: "not done" would be believed, and make the old primary serve again beside this one.
   * So nothing is answered until the server itself says that it is the primary.
   */
  async #becomePrimary(state: Serving): Promise<void> {
    for (;;) {
      this.#halt.signal.throwIfAborted();
      try {
        if ((await this.#server.find()) === null) await this.#bringUp(state);
        if (await this.#withServer((client) => promoteNow(client, PROMOTE_MS))) return;
        this.#deps.log.warn({}, 'the promotion takes long; asking again');
      } catch (error) {
        this.#deps.log.warn({ error: messageOf(error) }, 'the promotion was cut off; asking again');
        await sleep(PROMOTE_AGAIN_MS);
      }
    }
  }

  async #follow(state: Serving, primary: Endpoint): Promise<void> {
    if (this.#isSelf(primary)) throw new PermanentError('an instance can not follow itself');
    await this.#withServer(async (client) => {
      if (!(await glance(client)).standby)
        throw new PermanentError('this instance is a primary: it can not follow another');
      await this.#save({ ...state, primary });
      if (await untilStreaming(client, primary, 0)) return;
      await this.#writeSettings(primary);
      await this.#server.reload();
      if (await untilStreaming(client, primary, STREAM_MS)) return;
      const reason = await notStreaming(this.#server, primary);
      await this.#save(state);
      await this.#writeSettings(state.primary);
      await this.#server.reload();
      throw new Error(reason);
    });
    this.#watch.forgive();
  }

  // ---- health

  async #lookAtHealth(): Promise<Health> {
    this.#state ??= await loadState(this.#deps.stateDir).catch(() => null);
    return this.#watch.look({
      state: this.#state,
      activity: this.#activity,
      wanted: !this.#halt.signal.aborted,
      trouble: this.#trouble,
      ended: () => this.#revive(),
    });
  }

  /** The agent is the server's keeper: one that was killed is started again, but not in a tight loop. */
  #revive(): void {
    if (Date.now() - this.#revivedAt < REVIVE_EVERY_MS) return;
    this.#revivedAt = Date.now();
    this.#deps.log.warn({}, 'the server has ended by itself');
    this.#order('shutdown', 'the server is starting', async () => {
      if (this.#halt.signal.aborted) return;
      const state = await this.#settle();
      if (state.phase === 'serving') await this.#bringUp(state);
      this.#trouble = null;
    }).catch((error: unknown) => {
      this.#trouble = `the server has ended by itself and does not start: ${messageOf(error)}`;
      this.#deps.log.error({ error: messageOf(error) }, 'the server does not start');
    });
  }

  // ---- small things

  /** One order at a time: what `health` starts by itself must not meet an order of the taskmanager. */
  #order<T>(status: ServiceStatus, message: string, work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(async () => {
      this.#activity = { status, message };
      try {
        return await work();
      } finally {
        this.#activity = null;
      }
    });
    this.#turn = mine.catch(() => {});
    return mine;
  }

  async #save<S extends State>(state: S): Promise<S> {
    await saveState(this.#deps.stateDir, state);
    this.#state = state;
    return state;
  }

  async #writeSettings(primary: Endpoint | null): Promise<void> {
    const { config } = this.#deps;
    await writeSettings(config, this.#places, this.#account, primary);
    if (this.#account !== null) await chown(this.#places.conf, this.#account.uid, this.#account.gid);
  }

  #withServer<T>(work: (client: Client) => Promise<T>): Promise<T> {
    return withClient(this.#login, PATIENT, work);
  }

  /** Null when the server can't be asked. */
  async #glance(): Promise<Glance | null> {
    return withClient(this.#login, QUICK, glance).catch(() => null);
  }

  async #checkpoint(): Promise<void> {
    await this.#withServer((client) => client.query('CHECKPOINT')).catch((error: unknown) => {
      this.#deps.log.warn({ error: messageOf(error) }, 'no checkpoint before the stop: it will take longer');
    });
  }

  #isSelf(endpoint: Endpoint): boolean {
    return sameEndpoint(endpoint, this.#deps.config.endpoint);
  }

  get #standbySignal(): string {
    return join(this.#places.data, 'standby.signal');
  }
}

async function untilStreamingIfStandby(client: Client, primary: Endpoint | null): Promise<void> {
  if ((await glance(client)).standby) await untilStreaming(client, primary, STREAM_GRACE_MS);
}
