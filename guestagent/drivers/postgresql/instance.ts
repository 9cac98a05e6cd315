import { chown } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Client } from 'pg';
import { type Endpoint, sameEndpoint } from '../../../src/core/domain.ts';
import { textOf } from '../../../src/log.ts';
import type { DriverDeps } from '../../driver.ts';
import { type Account, serverAccount } from './account.ts';
import { requireOwnSettings } from './auto-conf.ts';
import {
  type Binaries,
  type BinariesDeps,
  binariesFolder,
  ensureBinaries,
  probeBinaries,
} from './binaries.ts';
import { formatLsn, readControl } from './control.ts';
import { raisedSettings } from './demands.ts';
import { HealthWatch } from './health.ts';
import type { Glance } from './replication.ts';
import { Server } from './server.ts';
import { type Places, placesIn, writeSettings } from './settings.ts';
import { PATIENT, Session, superuserLogin } from './sql.ts';
import { loadState, type State, saveState } from './state.ts';

/** A start after an unclean end first replays up to `max_wal_size` of log. */
const START_MS = 600_000;

export type Serving = Extract<State, { phase: 'serving' }>;
export type Demoted = Extract<State, { phase: 'demoted' }>;

/**
 * One instance on this host: its places, its server, its intended state, and how it returns to that state
 * after a crash.
 */
export class Instance {
  readonly deps: DriverDeps;
  readonly places: Places;
  readonly account: Account | null;
  readonly server: Server;
  /**
   * For orders, which come one at a time. The session is kept open, because urgent orders must not wait for a
   * login.
   */
  readonly #session: Session;
  readonly binariesDeps: BinariesDeps;
  readonly watch: HealthWatch;
  state: State | null = null;
  /** Ends long waits of `start` when the agent stops; while aborted, no server should run. */
  halt = new AbortController();

  constructor({ stateDir, cacheDir, ...rest }: DriverDeps) {
    // The server's working directory is not the agent's: only absolute paths mean the same to both.
    const deps = { ...rest, stateDir: resolve(stateDir), cacheDir: resolve(cacheDir) };
    this.deps = deps;
    this.places = placesIn(deps.stateDir);
    this.account = serverAccount(deps.serverUser);
    this.server = new Server(this.places, this.account, deps.log);
    const login = superuserLogin(deps.config);
    this.#session = new Session(login, PATIENT);
    this.binariesDeps = { cacheDir: deps.cacheDir, account: this.account, log: deps.log };
    this.watch = new HealthWatch(deps.config, this.places, this.server, login);
    this.halt.abort();
  }

  /** Starts the server, or adopts one that outlived its agent. */
  async bringUp(state: Serving): Promise<void> {
    let running = await this.server.find();
    if (running?.status === 'stopping') {
      await this.server.stop();
      running = null;
    }
    if (running === null) {
      const binaries = await ensureBinaries(this.binariesDeps, state.version);
      await this.writeSettings(state.primary);
      await this.startServer(binaries, state.primary, START_MS, this.halt.signal);
    } else {
      await this.server.untilReady(START_MS, this.halt.signal);
      await this.#holdSessions();
      this.deps.log.info({ pid: running.pid }, 'found the server running');
    }
  }

  /** `primary` is the server that this one must follow, if it is a standby. */
  async startServer(
    binaries: Binaries,
    primary: Endpoint | null,
    timeoutMs: number,
    abort?: AbortSignal,
  ): Promise<void> {
    const raised = await raisedSettings(this.deps.config, this.places, primary);
    if (Object.keys(raised).length > 0) {
      this.deps.log.info(raised, 'starting the standby with as much as its primary has');
    }
    await this.server.start(binaries, raised, timeoutMs, abort);
    await this.#holdSessions();
  }

  /** Opens the sessions before an application takes all connections, if possible. */
  async #holdSessions(): Promise<void> {
    const sessions = await Promise.allSettled([this.#session.open(), this.watch.holdSession()]);
    for (const session of sessions) {
      if (session.status === 'fulfilled') continue;
      this.deps.log.warn({ error: textOf(session.reason) }, 'can not log in to the server that was started');
    }
  }

  async stopServer(): Promise<void> {
    this.closeSessions();
    await this.server.stop();
  }

  /**
   * Finishes or undoes what was left half done, by a crash or by a failure to go back. Afterwards the server
   * must be brought to the state that is returned.
   */
  async settle(): Promise<Serving | Demoted> {
    const state = await loadState(this.deps.stateDir);
    this.state = state;
    if (state === null || state.phase === 'building') throw new Error('the instance is not built yet');
    if (state.phase === 'serving' || state.phase === 'demoted') return state;
    if (state.phase === 'demoting') return await this.#settleDemotion(state.version);
    return await this.#settleUpgrade(state);
  }

  /**
   * The position is reported to others only once it is in `pg_control`. So a server that runs, or that ended
   * in another way, was not reported as demoted, and serves again. A server that ended cleanly may have been
   * reported: another server may be the primary by now (P1).
   */
  async #settleDemotion(version: string): Promise<Serving | Demoted> {
    const running = await this.server.find();
    if (running === null || running.status === 'stopping') {
      await this.server.stop();
      const control = await readControl(this.places.data);
      if (control?.shutDown === true) {
        return await this.save({ phase: 'demoted', version, lsn: formatLsn(control.checkpoint) });
      }
    }
    const serving: Serving = { phase: 'serving', version, primary: null };
    await this.bringUp(serving);
    return await this.save(serving);
  }

  async #settleUpgrade(state: Extract<State, { phase: 'upgrading' }>): Promise<Serving> {
    const from = binariesFolder(this.deps.cacheDir, state.from);
    const on = (version: string): Serving => ({ phase: 'serving', version, primary: state.primary });
    const running = await this.server.find();
    if (running?.executable.startsWith(`${from}/`) && running.status !== 'stopping') {
      await this.server.untilReady(START_MS, this.halt.signal);
      return await this.save(on(state.from));
    }
    try {
      await this.bringUp(on(state.to));
      return await this.save(on(state.to));
    } catch (error) {
      this.halt.signal.throwIfAborted();
      this.deps.log.error({ error: textOf(error), version: state.to }, 'the new version does not start');
      await this.server.stop();
      await this.bringUp(on(state.from));
      return await this.save(on(state.from));
    }
  }

  async fetch(version: string): Promise<Binaries> {
    const binaries = await ensureBinaries(this.binariesDeps, version);
    await probeBinaries(this.binariesDeps, binaries);
    return binaries;
  }

  async save<S extends State>(state: S): Promise<S> {
    await saveState(this.deps.stateDir, state);
    this.state = state;
    return state;
  }

  async writeSettings(primary: Endpoint | null): Promise<void> {
    const { config } = this.deps;
    await writeSettings(config, this.places, this.account, primary);
    if (this.account !== null) await chown(this.places.conf, this.account.uid, this.account.gid);
  }

  /**
   * To be called before anything is stopped: rejects while `postgresql.auto.conf` overrides what Coffer sets.
   */
  requireOwnSettings(): Promise<void> {
    return requireOwnSettings(this.deps.config, this.places);
  }

  withServer<T>(work: (client: Client) => Promise<T>): Promise<T> {
    return this.#session.use(work);
  }

  /** Null if the server can't be asked. */
  async glance(): Promise<Glance | null> {
    return this.watch.glance().catch(() => null);
  }

  /** Logs in for the next order, while nothing is urgent. */
  holdSession(): void {
    this.#session.open().catch((error: unknown) => {
      this.deps.log.debug({ error: textOf(error) }, 'no session is held for the next order');
    });
  }

  closeSessions(): void {
    this.watch.close();
    this.#session.close();
  }

  isSelf(endpoint: Endpoint): boolean {
    return sameEndpoint(endpoint, this.deps.config.endpoint);
  }
}
