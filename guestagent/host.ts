import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bus } from '../src/bus/bus.ts';
import type { Logger } from '../src/log.ts';
import { every, type Service } from '../src/service.ts';
import { Agent } from './agent.ts';
import type { DriverFactory, InstanceConfig } from './driver.ts';
import { Journal } from './journal.ts';

export interface HostDeps {
  /** The folder with one `<instance_id>.json` for each instance; `state/<instance_id>` below is ours. */
  readonly dir: string;
  readonly cacheDir: string;
  readonly bus: Bus;
  readonly log: Logger;
  readonly heartbeat_ms: number;
  readonly drivers: Readonly<Record<string, DriverFactory>>;
}

/** Watching files is lossy, so they are looked at now and then all the same. */
const RESCAN_MS = 1_000;
/** Agents that are started side by side. */
const START_AT_ONCE = 50;

/** Runs an agent for each instance of a folder, as their files come and go. */
export class Host implements Service {
  readonly name = 'host';
  readonly #deps: HostDeps;
  readonly #agents = new Map<string, Agent>();
  readonly #unusable = new Set<string>();
  #rescan: Service | undefined;
  #watcher: FSWatcher | undefined;
  #scanning: Promise<void> = Promise.resolve();

  constructor(deps: HostDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    await mkdir(this.#deps.dir, { recursive: true });
    const scan = () => this.#scanSoon();
    this.#watcher = watch(this.#deps.dir, () => void scan());
    this.#watcher.on('error', (err) =>
      this.#deps.log.debug({ err }, 'watching the folder failed; looking now and then'),
    );
    this.#rescan = every('rescan', RESCAN_MS, this.#deps.log, scan);
  }

  async stop(): Promise<void> {
    this.#watcher?.close();
    await this.#rescan?.stop();
    await this.#scanning;
    await Promise.all([...this.#agents.values()].map((agent) => agent.stop()));
    this.#agents.clear();
  }

  #scanSoon(): Promise<void> {
    const next = this.#scanning.then(() => this.#scan());
    this.#scanning = next.catch((err) =>
      this.#deps.log.warn({ err }, 'the folder could not be read; trying again'),
    );
    return this.#scanning;
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
    const { dir, cacheDir, bus, log, heartbeat_ms, drivers } = this.#deps;
    const config = JSON.parse(await readFile(join(dir, `${id}.json`), 'utf8')) as InstanceConfig;
    const create = Object.hasOwn(drivers, config.manager) ? drivers[config.manager] : undefined;
    if (!create) {
      this.#unusable.add(id);
      return log.error(
        { instance_id: id, manager: config.manager },
        'no driver for this manager in this agent',
      );
    }
    const stateDir = join(dir, 'state', id);
    await mkdir(stateDir, { recursive: true });
    // Kept beside the data: should the file vanish while no agent runs, the next one knows what to remove.
    await writeFile(join(stateDir, 'config.json'), JSON.stringify(config), { mode: 0o600 });
    const journal = new Journal(stateDir);
    await journal.load();
    const driver = create({
      config,
      stateDir: join(stateDir, 'server'),
      cacheDir,
      log: log.child({ instance_id: id }),
    });
    const agent = new Agent({ config, driver, journal, bus, log, heartbeat_ms, now: Date.now });
    this.#agents.set(id, agent);
    await agent.start();
    log.info({ instance_id: id, cluster_id: config.cluster_id }, `agent of ${config.name} started`);
  }

  /** Of an instance whose file is gone nothing may stay, whether or not its agent was ever started here. */
  async #remove(id: string): Promise<void> {
    const { dir, cacheDir, log, drivers } = this.#deps;
    const agent = this.#agents.get(id);
    this.#agents.delete(id);
    if (agent) await agent.destroy();
    else await destroyLeftover(join(dir, 'state', id, 'server'), { cacheDir, log, drivers });
    await rm(join(dir, 'state', id), { recursive: true, force: true });
    log.info({ instance_id: id }, 'instance removed');
  }
}

async function destroyLeftover(
  stateDir: string,
  { cacheDir, log, drivers }: Pick<HostDeps, 'cacheDir' | 'log' | 'drivers'>,
): Promise<void> {
  const config = await readFile(join(stateDir, '..', 'config.json'), 'utf8').then(
    (text) => JSON.parse(text) as InstanceConfig,
    () => null,
  );
  const create = config && Object.hasOwn(drivers, config.manager) ? drivers[config.manager] : undefined;
  if (config && create) await create({ config, stateDir, cacheDir, log }).destroy();
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
