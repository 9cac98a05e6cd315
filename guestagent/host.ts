import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bus } from '../src/bus/bus.ts';
import { readJsonIfThere } from '../src/files.ts';
import type { Logger } from '../src/log.ts';
import { every, type Service, sleep } from '../src/service.ts';
import type { Tracing } from '../src/tracing.ts';
import { Agent } from './agent.ts';
import type { Driver, DriverLoader, DriverLog, InstanceConfig } from './driver.ts';
import { fileIn, Journal } from './journal.ts';
import type { ObserveOrder } from './metrics.ts';

interface HostDeps {
  /** The folder with one `<instance_id>.json` for each instance; `state/<instance_id>` below it is ours. */
  readonly dir: string;
  readonly cacheDir: string;
  /** The user that database servers run as when the agent itself is root. */
  readonly serverUser: string | undefined;
  readonly bus: Bus;
  readonly log: Logger;
  readonly heartbeat_ms: number;
  readonly drivers: Readonly<Record<string, DriverLoader>>;
  readonly observe: ObserveOrder;
  readonly tracing: Tracing;
}

/** Events of watched files can get lost, so the folder is also read at intervals. */
const RESCAN_MS = 1_000;
/** How many agents are started at the same time. */
const START_AT_ONCE = 50;
/** The many agents of one process share a limit, since the taskmanagers must process all heartbeats … */
const HEARTBEATS_PER_SECOND = 200;
/** … but no agent sends heartbeats less often than Trove's guests. */
const SLOWEST_HEARTBEAT_MS = 30_000;

/** Runs an agent for each instance file of a folder, as the files are added and removed. */
export class Host implements Service {
  readonly name = 'host';
  readonly #deps: HostDeps;
  readonly #agents = new Map<string, Agent>();
  readonly #unusable = new Set<string>();
  #rescan: Service | undefined;
  #watcher: FSWatcher | undefined;
  #scanning: Promise<void> = Promise.resolve();
  /** A scan that is due waits for the one under way. */
  #isScanDue = false;

  constructor(deps: HostDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    await mkdir(this.#deps.dir, { recursive: true });
    const scan = () => this.#scanSoon();
    this.#watcher = watch(this.#deps.dir, (_, name) => {
      void scan();
      if (name?.endsWith('.json')) void this.#rekey(name.slice(0, -'.json'.length));
    });
    this.#watcher.on('error', (err) =>
      this.#deps.log.debug({ err }, 'watching the folder failed; looking now and then'),
    );
    this.#rescan = every('rescan', RESCAN_MS, { log: this.#deps.log, sleep }, scan);
  }

  async stop(): Promise<void> {
    this.#watcher?.close();
    await this.#rescan?.stop();
    await this.#scanning;
    await Promise.all([...this.#agents.values()].map((agent) => agent.stop()));
    this.#agents.clear();
  }

  /** A thousand files that appear at once cause one scan, not a thousand. */
  #scanSoon(): Promise<void> {
    if (this.#isScanDue) return this.#scanning;
    this.#isScanDue = true;
    const next = this.#scanning.then(() => {
      this.#isScanDue = false;
      return this.#scan();
    });
    this.#scanning = next.catch((err) =>
      this.#deps.log.warn({ err }, 'the folder could not be read; trying again'),
    );
    return this.#scanning;
  }

  /**
   * When a file changes while its agent runs, only the key takes effect; everything else is read at the start
   * only.
   */
  async #rekey(id: string): Promise<void> {
    try {
      const config = await readJsonIfThere<InstanceConfig>(join(this.#deps.dir, `${id}.json`));
      if (config) this.#agents.get(id)?.rekey(config.rpc_key);
    } catch (err) {
      this.#deps.log.warn({ err, instance_id: id }, 'the file of an instance could not be read');
    }
  }

  async #scan(): Promise<void> {
    const wanted = await idsIn(this.#deps.dir, (name) => (name.endsWith('.json') ? name.slice(0, -5) : null));
    const existing = await idsIn(join(this.#deps.dir, 'state'), (name) => name);
    const gone = [...existing].filter((id) => !wanted.has(id));
    await Promise.all(gone.map((id) => this.#remove(id)));
    const fresh = [...wanted].filter((id) => !this.#agents.has(id) && !this.#unusable.has(id));
    for (let at = 0; at < fresh.length; at += START_AT_ONCE) {
      await Promise.all(fresh.slice(at, at + START_AT_ONCE).map((id) => this.#add(id)));
    }
    // The last instance has gone: leave the folder as empty as it was found.
    if (wanted.size === 0) await rmdir(join(this.#deps.dir, 'state')).catch(() => undefined);
  }

  async #add(id: string): Promise<void> {
    const { dir, bus, log, observe, tracing } = this.#deps;
    const config = await readJsonIfThere<InstanceConfig>(join(dir, `${id}.json`));
    const stateDir = join(dir, 'state', id);
    const driver = config && (await this.#driverFor(config, stateDir));
    if (!driver) {
      this.#unusable.add(id);
      return log.error(
        { instance_id: id, manager: config?.manager },
        'no driver for this manager in this agent: COFFER_HOOKS_FILE names commands for others',
      );
    }
    await mkdir(stateDir, { recursive: true });
    // Kept beside the data: if the file disappears while no agent runs, the next agent knows what to remove.
    await writeFile(join(stateDir, 'config.json'), JSON.stringify(config), { mode: 0o600 });
    const journal = new Journal(fileIn(stateDir));
    await journal.load();
    const agent = new Agent({
      config,
      driver,
      journal,
      bus,
      log,
      heartbeat_ms: () => this.#heartbeatMs(),
      observe,
      tracing,
      now: Date.now,
      sleep,
    });
    this.#agents.set(id, agent);
    await agent.start();
    log.info({ instance_id: id, cluster_id: config.cluster_id }, `agent of ${config.name} started`);
  }

  #heartbeatMs(): number {
    const shared_ms = (this.#agents.size * 1_000) / HEARTBEATS_PER_SECOND;
    return Math.max(this.#deps.heartbeat_ms, Math.min(shared_ms, SLOWEST_HEARTBEAT_MS));
  }

  /**
   * Nothing of an instance may stay once its file is gone, whether or not its agent was ever started here.
   */
  async #remove(id: string): Promise<void> {
    const stateDir = join(this.#deps.dir, 'state', id);
    const agent = this.#agents.get(id);
    this.#agents.delete(id);
    if (agent) {
      await agent.destroy();
    } else {
      const config = await readJsonIfThere<InstanceConfig>(join(stateDir, 'config.json'));
      if (config) await (await this.#driverFor(config, stateDir))?.destroy();
    }
    await rm(stateDir, { recursive: true, force: true });
    this.#deps.log.info({ instance_id: id }, 'instance removed');
  }

  async #driverFor(config: InstanceConfig, stateDir: string): Promise<Driver | null> {
    const { cacheDir, serverUser, log, drivers } = this.#deps;
    const load = Object.hasOwn(drivers, config.manager) ? drivers[config.manager] : undefined;
    const { instance_id } = config;
    const ownLog = onBehalfOf(log.child({ instance_id }), () => this.#agents.get(instance_id)?.request_id);
    if (load === undefined) return null;
    const create = await load();
    return create({ config, stateDir: join(stateDir, 'server'), cacheDir, serverUser, log: ownLog });
  }
}

/** Adds to each line the request that is being worked on. */
function onBehalfOf(log: Logger, current: () => string | null | undefined): DriverLog {
  const about = (fields: object) => {
    const request_id = current();
    return request_id ? { request_id, ...fields } : fields;
  };
  return {
    debug: (fields, message) => log.debug(about(fields), message),
    info: (fields, message) => log.info(about(fields), message),
    warn: (fields, message) => log.warn(about(fields), message),
    error: (fields, message) => log.error(about(fields), message),
  };
}

async function idsIn(dir: string, idOf: (name: string) => string | null): Promise<Set<string>> {
  const names = await readdir(dir).catch((err: NodeJS.ErrnoException) => {
    if (err.code === 'ENOENT') return [];
    throw err;
  });
  return new Set(
    names
      .filter((name) => !name.startsWith('.'))
      .map(idOf)
      .filter((id) => id !== null),
  );
}
