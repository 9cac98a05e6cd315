import type { Client } from 'pg';
import { type Endpoint, sameEndpoint } from '../../../src/core/domain.ts';
import { textOf } from '../../../src/log.ts';
import { type DriverDeps, PermanentError } from '../../driver.ts';
import type { Account } from '../account.ts';
import type { Binaries } from './binaries.ts';
import { formatLsn, readControl } from './control.ts';
import { HealthWatch } from './health.ts';
import type { Glance } from './replication.ts';
import { Server } from './server.ts';
import type { Places } from './settings.ts';
import type { Managed, Setup } from './setup.ts';
import { PATIENT, Session } from './sql.ts';
import { type Demoted, loadState, type Serving, type State, saveState } from './state.ts';

/** A start after an unclean end first replays up to `max_wal_size` of log. */
const START_MS = 600_000;

/**
 * One instance on this host: its places, its server, its intended state, and how it returns to that state
 * after a crash.
 */
export class Instance implements Managed {
  readonly deps: DriverDeps;
  readonly setup: Setup;
  readonly places: Places;
  readonly account: Account | null;
  readonly server: Server;
  /**
   * For orders, which come one at a time. The session is kept open, because urgent orders must not wait for a
   * login.
   */
  readonly #session: Session;
  readonly watch: HealthWatch;
  state: State | null = null;
  /** Ends long waits of `start` when the agent stops; while aborted, no server should run. */
  halt = new AbortController();

  constructor(deps: DriverDeps, setup: Setup) {
    this.deps = deps;
    this.setup = setup;
    this.places = setup.places;
    this.account = setup.account;
    this.server = new Server(this.places, setup.starter, deps.log);
    this.#session = new Session(setup.login, PATIENT);
    this.watch = new HealthWatch(deps.config, setup, this.server);
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
      const binaries = await this.setup.binaries(state.version);
      await this.writeSettings(state.primary);
      await this.startServer(binaries, state.primary, START_MS);
    } else {
      await this.server.untilReady(START_MS, this.halt.signal);
      await this.holdSessions();
      this.deps.log.info({ pid: running.pid }, 'found the server running');
    }
  }

  /** `primary` is the server that this one must follow, if it is a standby. */
  async startServer(binaries: Binaries, primary: Endpoint | null, timeoutMs: number): Promise<void> {
    await this.server.start(binaries, await this.setup.raised(primary), timeoutMs, this.halt.signal);
    await this.holdSessions();
  }

  /** Opens the sessions before an application takes all connections, if possible. */
  async holdSessions(): Promise<void> {
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
    if (state.phase === 'demoted') return state;
    if (state.phase === 'serving') {
      const current = await this.setup.current(state, () => this.glance());
      return current === state ? state : await this.save(current);
    }
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
    const on = (version: string): Serving => ({ phase: 'serving', version, primary: state.primary });
    const running = await this.server.find();
    try {
      if (running !== null && running.status !== 'stopping') {
        await this.server.untilReady(START_MS, this.halt.signal);
        if (await this.setup.runs(running.executable, state.from)) return await this.save(on(state.from));
      }
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
    const binaries = await this.setup.binaries(version);
    await this.setup.prove(binaries);
    return binaries;
  }

  async save<S extends State>(state: S): Promise<S> {
    await saveState(this.deps.stateDir, state);
    this.state = state;
    return state;
  }

  writeSettings(primary: Endpoint | null): Promise<void> {
    return this.setup.writeSettings(primary);
  }

  /** To be called before anything is stopped: rejects while something overrides what Coffer sets. */
  async requireOwnSettings(): Promise<void> {
    const words = await this.setup.overridden();
    if (words !== null) throw new PermanentError(words);
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
