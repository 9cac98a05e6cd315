import { chmod, chown, mkdir } from 'node:fs/promises';
import type { Endpoint } from '../../../src/core/domain.ts';
import { hasPackage } from '../../../src/core/managers/postgresql.ts';
import type { DriverDeps, Health } from '../../driver.ts';
import { type Account, requireReachable, serverAccount } from '../account.ts';
import { beatenWords } from './auto-conf.ts';
import {
  type Binaries,
  type BinariesDeps,
  binariesFolder,
  ensureBinaries,
  probeBinaries,
  unknownVersion,
} from './binaries.ts';
import { buildPrimary, buildReplica } from './build.ts';
import { raisedSettings } from './demands.ts';
import { STREAM_GRACE_MS } from './health.ts';
import { LeftBehindWatch } from './left-behind.ts';
import { buildAnew } from './not-streaming.ts';
import { OwnStarter } from './own-starter.ts';
import { untilStreaming } from './replication.ts';
import { type Places, placesIn, writeSettings } from './settings.ts';
import type { Managed, Setup } from './setup.ts';
import { type Login, replicationLogin, superuserLogin } from './sql.ts';
import type { Serving } from './state.ts';

/** A server that Coffer builds, from binaries that Coffer fetches, with a configuration of Coffer's. */
export class BuiltSetup implements Setup {
  readonly #deps: DriverDeps;
  readonly #binariesDeps: BinariesDeps;
  readonly #leftBehind: LeftBehindWatch;
  readonly places: Places;
  readonly account: Account | null;
  readonly starter: OwnStarter;
  readonly login: Login;
  readonly supervises = true;
  readonly ownsLog = true;
  /** Standbys of ours use none: see `wal_keep_size`. */
  readonly movesSlots = false;
  readonly rebuildAdvice: string;

  constructor(deps: DriverDeps) {
    const { config, stateDir, cacheDir, log } = deps;
    this.#deps = deps;
    this.places = placesIn(stateDir);
    this.account = serverAccount(deps.serverUser);
    this.starter = new OwnStarter(this.places, this.account, log);
    this.login = superuserLogin(config);
    this.rebuildAdvice = buildAnew(config);
    this.#binariesDeps = { cacheDir, account: this.account, log };
    this.#leftBehind = new LeftBehindWatch({
      ...{ login: this.login, log },
      overridden: () => this.overridden(),
      settings: { config, places: this.places },
    });
  }

  async begin(): Promise<void> {
    const { stateDir } = this.#deps;
    await mkdir(stateDir, { recursive: true });
    // The server's user must pass through this folder; its contents have modes of their own.
    await chmod(stateDir, this.account === null ? 0o700 : 0o711);
    await requireReachable(stateDir, this.account);
  }

  async create(instance: Managed, progress: (message: string) => void): Promise<Serving> {
    const { config, log } = this.#deps;
    const { places, account } = this;
    progress('fetching the binaries');
    const version = config.datastore_version;
    await instance.save({ phase: 'building', version });
    await instance.server.stopAtOnce();
    const binaries = await this.binaries(version);
    const deps = {
      config,
      log,
      places,
      account,
      server: instance.server,
      abort: instance.halt.signal,
      progress,
    };
    if (config.role !== 'replica') {
      await buildPrimary(deps, binaries);
      return await instance.save({ phase: 'serving', version, primary: null });
    }
    await buildReplica(deps, version);
    const state = await instance.save<Serving>({ phase: 'serving', version, primary: config.primary });
    progress('starting the server');
    await instance.bringUp(state);
    await instance.withServer((client) => untilStreaming(client, config.primary, STREAM_GRACE_MS));
    return state;
  }

  resume(instance: Managed, state: Serving): Promise<void> {
    return instance.bringUp(state);
  }

  leave(instance: Managed): Promise<void> {
    return instance.stopServer();
  }

  async remove(instance: Managed): Promise<void> {
    instance.closeSessions();
    await instance.server.stopAtOnce();
  }

  requireKnown(version: string): void {
    if (!hasPackage(version)) throw unknownVersion(version);
  }

  binaries(version: string): Promise<Binaries> {
    return ensureBinaries(this.#binariesDeps, version);
  }

  prove(binaries: Binaries): Promise<void> {
    return probeBinaries(this.#binariesDeps, binaries);
  }

  async runs(executable: string, version: string): Promise<boolean> {
    return executable.startsWith(`${binariesFolder(this.#deps.cacheDir, version)}/`);
  }

  async current(state: Serving): Promise<Serving> {
    return state;
  }

  async writeSettings(primary: Endpoint | null): Promise<void> {
    const { places, account } = this;
    await writeSettings(this.#deps.config, places, account, primary);
    if (account !== null) await chown(places.conf, account.uid, account.gid);
  }

  orderEnded(): void {}

  async setsSynchronous(): Promise<void> {}

  overridden(): Promise<string | null> {
    return beatenWords(this.#deps.config, this.places);
  }

  explained(): Promise<string | null> {
    return this.overridden();
  }

  async raised(primary: Endpoint | null) {
    const login = primary === null ? null : await this.replicationLogin(primary);
    const raised = await raisedSettings(this.places, login);
    if (Object.keys(raised).length > 0) {
      this.#deps.log.info(raised, 'starting the standby with as much as its primary has');
    }
    return raised;
  }

  async replicationLogin(endpoint: Endpoint): Promise<Login> {
    return replicationLogin(this.#deps.config, endpoint);
  }

  async ownSlot(): Promise<null> {
    return null;
  }

  async ownStreamName(): Promise<string> {
    return this.#deps.config.name;
  }

  known(isPrimary: boolean | null): Partial<Health> {
    return isPrimary === null ? {} : (this.#leftBehind.known(isPrimary) ?? {});
  }

  check(isPrimary: boolean): ReturnType<Setup['check']> {
    return this.#leftBehind.check(isPrimary);
  }
}
