/**
 * A guest's driver on a simulated server: stops, swaps, starts and switches roles as PostgreSQL's driver
 * does, with the same promises (P1 to P4 there), and with failures on demand.
 */
import { type Driver, type Health, PermanentError, type Target } from '../../guestagent/driver.ts';
import type { Endpoint, GuestAction, Instant, UpgradeInfo } from '../../src/core/domain.ts';
import { adoptionReport } from '../unit/core/adopted.ts';
import type { Life } from './process.ts';
import type { Random } from './random.ts';
import type { Guests } from './scenario.ts';
import { formatLsn, parseLsn, type Server, type Servers, WRITE_BYTES } from './servers.ts';

const STREAM_GRACE_MS = 5_000;
const NEAR_MS = 3_000;
const REPLAY_MS = 3_000;
const STREAM_MS = 10_000;
const REVIVE_MS = 2_000;
const POLL_MS = 250;

interface DriverDeps {
  readonly server: Server;
  readonly servers: Servers;
  readonly life: Life;
  readonly random: Random;
  readonly now: () => Instant;
  /** The present behaviour of the guests. */
  readonly guests: () => Guests;
  readonly watch: Watch;
  readonly isAdopted: boolean;
}

/** Observes what the driver does. */
export interface Watch {
  executes(server: Server, action: GuestAction): void;
  executed(server: Server, action: GuestAction, outcome: 'done' | 'failed'): void;
  takenDown(server: Server, action: GuestAction): void;
  promoted(server: Server): void;
}

type Fate = 'well' | 'fails' | 'fails_for_good' | 'leaves_down';

export class SimulatedServerDriver implements Driver {
  readonly #deps: DriverDeps;
  #isBusy = false;
  #isReviving = false;

  constructor(deps: DriverDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    await this.#work(50);
    await this.#settle();
    if (this.#deps.server.state.phase === 'serving') await this.#bringUp();
  }

  async stop(): Promise<void> {
    await this.#work(10);
  }

  destroy(): Promise<void> {
    return this.stop();
  }

  async health(): Promise<Health> {
    const { server, servers, now } = this.#deps;
    await this.#work(this.#deps.random.int(0, 40));
    const common = { endpoint: server.endpoint, synchronous: false, ...this.#adoption() };
    if (!server.isUp) {
      this.#reviveIfWanted();
      const service_status = server.state.phase === 'serving' ? 'failed' : 'shutdown';
      const role = server.state.phase === 'demoted' ? null : this.#role();
      return { ...common, service_status, version: null, role, lag_bytes: null };
    }
    const isCutOff = this.#isStandby() && now() - server.streamedAt > STREAM_GRACE_MS;
    const lag = servers.isStreaming(server) ? (server.received - server.replayed) * WRITE_BYTES : null;
    return {
      ...common,
      service_status: isCutOff || now() < server.sickUntil ? 'failed' : 'healthy',
      version: server.version,
      role: this.#role(),
      lag_bytes: this.#isStandby() ? lag : null,
    };
  }

  /** An adopted server that is down is no reason to refuse: its operator may have stopped it, or an order. */
  #adoption(): Pick<Health, 'adoption'> {
    const { server, isAdopted } = this.#deps;
    if (!isAdopted) return {};
    const role = this.#isStandby() ? 'replica' : 'primary';
    return { adoption: adoptionReport(server.isUp ? { version: server.version, role } : null) };
  }

  preUpgrade(): Promise<UpgradeInfo> {
    return this.#order('pre_upgrade', async () => {
      await this.#take(100);
      this.#throwIfFated(this.#fate());
      const { role, lag_bytes, service_status } = await this.health();
      return { reversible: true, role: role ?? null, lag_bytes: lag_bytes ?? null, service_status };
    });
  }

  upgrade(target: Target): Promise<void> {
    return this.#order('upgrade', async () => {
      const { server, servers } = this.#deps;
      await this.#settle();
      const primary = servers.at(target.primary);
      if (server.state.phase === 'demoted') {
        if (!primary || primary === server) throw new Error('demoted, and no primary is named');
        servers.follow(server, primary);
      } else {
        if (server.version === target.datastore_version && server.isUp) return;
        if (primary && primary !== server && this.#isStandby()) servers.follow(server, primary);
      }
      await this.#swap(target.datastore_version);
    });
  }

  async #swap(to: string): Promise<void> {
    const { server, servers, watch } = this.#deps;
    const from = server.version;
    const fate = this.#fate();
    servers.setState(server, { phase: 'upgrading', from, to });
    if (server.isUp) watch.takenDown(server, 'upgrade');
    servers.stop(server, 'upgrade');
    await this.#take();
    if (fate === 'well') {
      servers.setVersion(server, to);
      server.isBroken = false;
    }
    if (fate === 'leaves_down') server.isBroken = true;
    if (!server.isBroken) servers.start(server);
    servers.setState(server, { phase: 'serving' });
    this.#throwIfFated(fate);
  }

  async postUpgrade(target: Target): Promise<void> {
    return this.#order('post_upgrade', async () => {
      await this.#take(50);
      this.#throwIfFated(this.#fate());
      const { server, servers } = this.#deps;
      if (!server.isUp || server.version !== target.datastore_version) throw new Error('not on the version');
      if (this.#isStandby() && !servers.isStreaming(server)) throw new Error('does not stream');
    });
  }

  demote(): Promise<{ readonly lsn: string }> {
    return this.#order('demote', async () => {
      const { server, servers, watch } = this.#deps;
      await this.#settle();
      if (server.state.phase === 'demoted') return { lsn: formatLsn(server.state.lsn) };
      if (this.#isStandby()) throw new PermanentError('a standby can not be demoted');
      if (!server.isUp) throw new Error('the server is down');
      await this.#until(NEAR_MS, () => servers.hasNearStandby(server), 'nobody to take over');
      this.#throwIfFated(this.#fate());
      servers.setState(server, { phase: 'demoting' });
      await this.#work(20);
      if (server.isUp) {
        watch.takenDown(server, 'demote');
        servers.stopCleanly(server);
      }
      const lsn = server.received;
      await this.#take(100);
      servers.setState(server, { phase: 'demoted', lsn });
      return { lsn: formatLsn(lsn) };
    });
  }

  promote(order: { readonly lsn: string }): Promise<void> {
    return this.#order('promote', async () => {
      const { server, servers, watch } = this.#deps;
      await this.#settle();
      if (server.state.phase === 'demoted') {
        await this.#take(100);
        servers.setState(server, { phase: 'serving' });
        return this.#bringUp();
      }
      if (!server.isUp) throw new Error('the server is down');
      if (!this.#isStandby()) return;
      const lsn = parseLsn(order.lsn);
      await this.#until(REPLAY_MS, () => server.replayed >= lsn, `has not replayed up to ${order.lsn}`);
      this.#throwIfFated(this.#fate());
      if (!server.isUp) throw new Error('the server is down');
      servers.promote(server);
      watch.promoted(server);
      await this.#take(100);
    });
  }

  follow(order: { readonly primary: Endpoint }): Promise<void> {
    return this.#order('follow', async () => {
      const { server, servers } = this.#deps;
      await this.#settle();
      const primary = servers.at(order.primary);
      if (!primary || primary === server) throw new PermanentError('nobody to follow');
      if (!this.#isStandby()) throw new PermanentError('a primary can not follow');
      const before = server.upstream;
      servers.follow(server, primary);
      await this.#take(50);
      this.#throwIfFated(this.#fate());
      await this.#until(STREAM_MS, () => servers.isStreaming(server), 'does not stream').catch(
        (err: unknown) => {
          if (before) servers.follow(server, before);
          throw err;
        },
      );
    });
  }

  hears(): boolean {
    return !this.#deps.random.chance(this.#deps.guests().deaf);
  }

  // ---- recovery of work that a crash interrupted

  async #settle(): Promise<void> {
    const { server, servers } = this.#deps;
    const { state } = server;
    if (state.phase === 'demoting') {
      if (server.isUp) servers.setState(server, { phase: 'serving' });
      else servers.setState(server, { phase: 'demoted', lsn: server.received });
    } else if (state.phase === 'upgrading') {
      await this.#work(200);
      const goesBack = server.version === state.from && this.#fate() !== 'well';
      if (!goesBack) {
        servers.setVersion(server, state.to);
        server.isBroken = false;
      }
      if (!server.isBroken) servers.start(server);
      servers.setState(server, { phase: 'serving' });
    }
  }

  async #bringUp(): Promise<void> {
    const { server, servers } = this.#deps;
    await this.#work(server.isUp ? 10 : 300);
    if (server.isBroken) throw new Error('the server does not start');
    servers.start(server);
  }

  /** The agent keeps the server running. */
  #reviveIfWanted(): void {
    const { server, servers, life } = this.#deps;
    if (this.#isBusy || this.#isReviving || server.state.phase !== 'serving' || server.isBroken) return;
    this.#isReviving = true;
    void life.sleep(REVIVE_MS).then(() => {
      this.#isReviving = false;
      if (!this.#isBusy && server.state.phase === 'serving' && !server.isBroken) servers.start(server);
    });
  }

  // ---- small things

  async #order<T>(action: GuestAction, work: () => Promise<T>): Promise<T> {
    const { server, watch } = this.#deps;
    this.#isBusy = true;
    watch.executes(server, action);
    try {
      const result = await work();
      watch.executed(server, action, 'done');
      return result;
    } catch (err) {
      watch.executed(server, action, 'failed');
      throw err;
    } finally {
      this.#isBusy = false;
    }
  }

  #role() {
    if (!this.#deps.servers.isReplicated) return 'member' as const;
    return this.#deps.server.isPrimary ? ('primary' as const) : ('replica' as const);
  }

  #isStandby(): boolean {
    return this.#deps.servers.isReplicated && !this.#deps.server.isPrimary;
  }

  #fate(): Fate {
    const { random } = this.#deps;
    const guests = this.#deps.guests();
    if (random.chance(guests.fails_for_good)) return 'fails_for_good';
    if (random.chance(guests.leaves_down)) return 'leaves_down';
    return random.chance(guests.fails) ? 'fails' : 'well';
  }

  #throwIfFated(fate: Fate): void {
    if (fate === 'fails_for_good') throw new PermanentError('it can not be');
    if (fate !== 'well') throw new Error('it went wrong');
  }

  /** The time that the action itself takes. */
  async #take(usual_ms = this.#deps.guests().usual_ms): Promise<void> {
    const { random } = this.#deps;
    const guests = this.#deps.guests();
    let ms = random.int(1, usual_ms);
    if (random.chance(guests.slow)) ms += random.int(1_000, 12_000);
    if (random.chance(guests.hangs)) ms += 45_000;
    await this.#work(ms);
  }

  #work(ms: number): Promise<void> {
    return this.#deps.life.sleep(ms);
  }

  async #until(ms: number, holds: () => boolean, reason: string): Promise<void> {
    const { now } = this.#deps;
    for (const deadline = now() + ms; !holds(); ) {
      if (now() > deadline) throw new Error(reason);
      await this.#work(POLL_MS);
    }
  }
}
