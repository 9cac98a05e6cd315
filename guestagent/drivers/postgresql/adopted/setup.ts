import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type AdoptedServer, type AdoptionReport, refusalWords } from '../../../../src/core/adoption.ts';
import { type Endpoint, sameEndpoint } from '../../../../src/core/domain.ts';
import { type DriverDeps, type Health, PermanentError } from '../../../driver.ts';
import { type Account, ownerOf } from '../../account.ts';
import type { Binaries } from '../binaries.ts';
import { streamName } from '../conninfo.ts';
import { majorIn } from '../control.ts';
import { LeftBehindWatch } from '../left-behind.ts';
import { RareCheck } from '../rare-check.ts';
import { type Glance, glance } from '../replication.ts';
import type { Places } from '../settings.ts';
import type { Managed, Setup } from '../setup.ts';
import { type Login, PATIENT, withClient } from '../sql.ts';
import type { Serving } from '../state.ts';
import { SYNCHRONOUS } from '../synchronous.ts';
import { AlterSystem } from './alter-system.ts';
import { Following } from './following.ts';
import { HostBinaries } from './host-binaries.ts';
import type { PostgresqlHost } from './host-file.ts';
import { hostLogin } from './host-login.ts';
import { HostStarter } from './host-starter.ts';
import { extensionsOf, look } from './look.ts';
import { recall, remember } from './memory.ts';
import { SynchronousNames } from './synchronous-names.ts';

/**
 * A server that Coffer did not make: everything about it is its operator's, who describes the host in a file
 * (`host-file.ts`).
 *
 * - `look.ts`           what the server is, and what is in the way: questions only
 * - `host-login.ts`     how the agent logs in
 * - `host-binaries.ts`  the binaries of each version, or the packages that bring them
 * - `host-starter.ts`   how the server is started and stopped (`host-command.ts`)
 * - `following.ts`      which server it follows, `synchronous-names.ts` for which standbys it waits: the only
 *                       settings that are made (`alter-system.ts`)
 * - `memory.ts`         what was there before, to be given back
 */
const LOOK_EVERY_MS = 15_000;
/** A server that an order has stopped is down, which is no reason not to go on. */
const PASSING = ['not_running', 'login_refused'];

export class AdoptedSetup implements Setup {
  readonly #deps: DriverDeps;
  readonly #host: PostgresqlHost;
  readonly #binaries: HostBinaries;
  readonly #settings: AlterSystem;
  readonly #following: Following;
  readonly #synchronous: SynchronousNames;
  readonly #leftBehind: LeftBehindWatch;
  readonly #extensions = new RareCheck(() => extensionsOf(this.login));
  #report: AdoptionReport | null = null;
  #nextAt = 0;
  readonly places: Places;
  readonly account: Account | null;
  readonly starter: HostStarter;
  readonly login: Login;
  readonly supervises = false;
  readonly ownsLog = false;
  readonly movesSlots = true;
  readonly rebuildAdvice = 'as its operator does it, e.g. with pg_basebackup';

  constructor(deps: DriverDeps, host: PostgresqlHost) {
    const { config, stateDir, log } = deps;
    this.#deps = deps;
    this.#host = host;
    this.places = {
      data: host.data_directory,
      // Here the agent keeps only `awaited_standbys`.
      conf: stateDir,
      logFile: host.log_file ?? join(stateDir, 'no.log'),
      standbySignal: join(host.data_directory, 'standby.signal'),
    };
    this.account = ownerOf(host.data_directory);
    const major = majorIn(host.data_directory);
    this.login = hostLogin(host.login, config.endpoint.port, major, this.account);
    this.#binaries = new HostBinaries(host, this.account);
    this.starter = new HostStarter(host, this.#binaries, this.account, log);
    const { places, login } = this;
    this.#settings = new AlterSystem({ places, login, isRunning: () => this.starter.isRunning() });
    const own = { places, stateDir, settings: this.#settings };
    this.#following = new Following({ ...own, replication: host.replication });
    this.#synchronous = new SynchronousNames(own);
    this.#leftBehind = new LeftBehindWatch({
      ...{ login: this.login, log, settings: null },
      overridden: async () => null,
    });
  }

  async begin(): Promise<void> {
    const { config, stateDir } = this.#deps;
    if (config.adopted === true) return void (await mkdir(stateDir, { recursive: true, mode: 0o700 }));
    throw new PermanentError(
      `this agent is for the server that ${this.#host.path} describes, and the instance is to be built: ` +
        'start an agent without COFFER_POSTGRESQL_HOST for it',
    );
  }

  async create(instance: Managed): Promise<Serving> {
    const report = await this.#look();
    const { server, conninfo, refusals } = report;
    if (server === null || conninfo === null || refusals.some(({ code }) => code === 'other_server')) {
      throw new Error(refusalWords(refusals));
    }
    const settings = new Map(server.settings.map(({ name, value }) => [name, value]));
    await remember(this.#deps.stateDir, {
      system_identifier: server.system_identifier,
      conninfo,
      in_auto_conf: await this.#following.inAutoConf(),
      cluster_name: settings.get('cluster_name') ?? '',
      slot: settings.get('primary_slot_name') ?? '',
      synchronous: await this.#settings.valueOf(SYNCHRONOUS),
    });
    await instance.holdSessions();
    const { version, upstream } = server;
    return await instance.save({ phase: 'serving', version, primary: upstream });
  }

  /** A server that is down was stopped by its operator: orders never leave it down in this state. */
  async resume(instance: Managed): Promise<void> {
    if (await this.starter.isRunning()) await instance.holdSessions();
  }

  async leave(instance: Managed): Promise<void> {
    instance.closeSessions();
  }

  async remove(instance: Managed): Promise<void> {
    instance.closeSessions();
    const { log } = this.#deps;
    if ((await this.#following.giveBack()) === 'kept') {
      log.warn({}, 'primary_conninfo stays: the server follows another server than at its adoption');
    }
    if ((await this.#synchronous.giveBack()) === 'kept') {
      log.warn({}, `${SYNCHRONOUS} stays: the server is the primary now, and would wait for no standby`);
    }
    this.#report = null;
  }

  requireKnown(version: string): void {
    this.#binaries.requireKnown(version);
  }

  binaries(version: string): Promise<Binaries> {
    return this.#binaries.fetch(version);
  }

  prove(binaries: Binaries): Promise<void> {
    return this.#binaries.prove(binaries);
  }

  async runs(executable: string, version: string): Promise<boolean> {
    if (await this.#binaries.runs(executable, version)) return true;
    return (await withClient(this.login, PATIENT, glance)).version === version;
  }

  async current(state: Serving, ask: () => Promise<Glance | null>): Promise<Serving> {
    const seen = await ask();
    if (seen === null) return state;
    const { version, upstream } = seen;
    const isSame =
      upstream === null || state.primary === null
        ? upstream === state.primary
        : sameEndpoint(upstream, state.primary);
    return isSame && version === state.version ? state : { ...state, version, primary: upstream };
  }

  async writeSettings(primary: Endpoint | null): Promise<void> {
    if (primary !== null) await this.#following.pointAt(primary);
  }

  async overridden(): Promise<string | null> {
    return standingWords((await this.#find()).refusals);
  }

  async explained(): Promise<string | null> {
    return standingWords(this.#report?.refusals ?? []);
  }

  setsSynchronous(names: string): Promise<void> {
    return this.#synchronous.note(names);
  }

  async raised() {
    return {};
  }

  async replicationLogin(): Promise<null> {
    return null;
  }

  async ownSlot(): Promise<string | null> {
    return (await recall(this.#deps.stateDir))?.slot || null;
  }

  async ownStreamName(): Promise<string> {
    const { conninfo = '', cluster_name = '' } = (await recall(this.#deps.stateDir)) ?? {};
    return streamName(conninfo || (this.#host.replication ?? ''), cluster_name);
  }

  orderEnded(): void {
    this.#nextAt = 0;
  }

  known(isPrimary: boolean | null, settled: boolean): Partial<Health> {
    // What is seen in the middle of an order is no reason to refuse the next one.
    if (settled && Date.now() >= this.#nextAt) void this.#look().catch(() => {});
    const findings = isPrimary === null ? {} : (this.#leftBehind.known(isPrimary) ?? {});
    return { ...findings, ...(this.#report && { adoption: this.#report }) };
  }

  check(isPrimary: boolean): ReturnType<Setup['check']> {
    return this.#leftBehind.check(isPrimary);
  }

  async #look(): ReturnType<typeof look> {
    this.#nextAt = Date.now() + LOOK_EVERY_MS;
    const found = await this.#find();
    const { conninfo: _, server, ...report } = found;
    this.#report = {
      ...report,
      server: server && { ...server, extensions: await this.#latestExtensions() },
    };
    return found;
  }

  /** Waits for the first check only: what a later one finds is in the next report. */
  async #latestExtensions(): Promise<AdoptedServer['extensions']> {
    const { latest, isDue } = this.#extensions;
    if (latest === null) return await this.#extensions.check();
    if (isDue) this.#extensions.check().catch(() => {});
    return latest;
  }

  #find(): ReturnType<typeof look> {
    return look({
      ...{ host: this.#host, login: this.login, endpoint: this.#deps.config.endpoint },
      isRunning: () => this.starter.isRunning(),
      recall: () => recall(this.#deps.stateDir),
      requireKnown: (version) => this.#binaries.requireKnown(version),
    });
  }
}

function standingWords(refusals: AdoptionReport['refusals']): string | null {
  const standing = refusals.filter(({ code }) => !PASSING.includes(code));
  return standing.length === 0 ? null : refusalWords(standing);
}
