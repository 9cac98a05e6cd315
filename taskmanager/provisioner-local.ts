import { createHmac, randomBytes } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import type { InstanceConfig } from '../src/contract/guest-config.ts';
import type { Cluster, Endpoint, Instance } from '../src/core/domain.ts';
import { managerOf } from '../src/core/managers/index.ts';
import { exists, readIfThere, readJsonIfThere } from '../src/files.ts';
import type { BuildOrder } from '../src/store/provisioning.ts';
import { instanceConfig } from './instance-config.ts';
import type { Keyring } from './keyring.ts';
import type { Provisioner } from './provisioning.ts';

/** Instances without servers share one guest agent process, so that there can be thousands of them. */
const SHARED_PROCESS = 'simulated';
const HOST = '127.0.0.1';
/**
 * Prefix of the files that note which clusters are being provisioned. No folder of an instance begins with
 * it.
 */
const NOTE = '.provisioning-';
/** Prefix of files that have not been moved into place yet. The id of the owner follows it. */
const DRAFT = '.draft-';

/**
 * Instances on this machine. Writes the configuration of each guest agent to
 * `<dir>/<process>/<instance>.json`. A supervisor runs one guest agent process for each folder. When a file
 * is removed, its agent removes the instance. The folder holds the truth, so the restart of any process
 * changes nothing.
 */
export class LocalProvisioner implements Provisioner {
  readonly #dir: string;
  readonly #keyring: Pick<Keyring, 'secretOf'> | undefined;
  readonly #installation: string | undefined;

  /** With a keyring, each instance is given the key that the keyring has for it. */
  constructor(dir: string, keyring?: Pick<Keyring, 'secretOf'>, installation?: string) {
    this.#dir = dir;
    this.#keyring = keyring;
    this.#installation = installation;
  }

  async provision(cluster: Cluster, order: BuildOrder): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o755 });
    await rename(await writeDraft(this.#dir, cluster.id, JSON.stringify(cluster)), this.#noteOf(cluster));
    // Two taskmanagers may do this at the same time. The one that comes second starts again, and keeps the
    // ports that the first has written down.
    while (!(await this.#provision(cluster, order)));
  }

  /**
   * False if another process has written one of the files in the meantime: that file may name another port
   * than the one chosen here.
   */
  async #provision(cluster: Cluster, order: BuildOrder): Promise<boolean> {
    const existing = new Map<string, InstanceConfig>();
    for (const { id } of cluster.instances) {
      const config = await readJsonIfThere<InstanceConfig>(this.#pathOf(cluster, id));
      if (config) existing.set(id, config);
    }
    const cluster_token = await this.#tokenOf(cluster.id);
    const endpoints = new Map<string, Endpoint>();
    for (const { id } of cluster.instances) {
      endpoints.set(id, existing.get(id)?.endpoint ?? (await this.#newEndpoint(cluster)));
    }
    for (const instance of cluster.instances) {
      if (existing.has(instance.id)) continue;
      const rpc_key = (await this.#keyring?.secretOf(instance.id)) ?? null;
      const secrets = { cluster_token, ...(rpc_key !== null && { rpc_key }) };
      const planned = instanceConfig(cluster, instance, order, endpoints, this.#installation);
      const config = { ...planned, ...secrets };
      if (!(await this.#write(cluster, config))) return false;
    }
    return true;
  }

  async remove(cluster: Cluster, instances: readonly Instance[]): Promise<boolean> {
    for (const { id } of instances) await rm(this.#pathOf(cluster, id), { force: true });
    await this.#dropDrafts([cluster, ...instances]);
    const left = await Promise.all(
      instances.map(({ id }) => exists(join(this.#folderOf(cluster, id), 'state', id))),
    );
    return !left.includes(true);
  }

  async unsettled(): Promise<readonly Cluster[]> {
    const names = await readdir(this.#dir).catch(() => []);
    const notes = names.filter((name) => name.startsWith(NOTE));
    const texts = await Promise.all(notes.map((name) => readIfThere(join(this.#dir, name))));
    return texts.flatMap((text) => (text === null ? [] : [JSON.parse(text) as Cluster]));
  }

  async settled(cluster: Cluster): Promise<void> {
    await rm(this.#noteOf(cluster), { force: true });
  }

  #noteOf({ id }: Cluster): string {
    return join(this.#dir, `${NOTE}${id}`);
  }

  #folderOf(cluster: Cluster, instance_id: string): string {
    return join(this.#dir, managerOf(cluster.manager).hasServers ? instance_id : SHARED_PROCESS);
  }

  #pathOf(cluster: Cluster, instance_id: string): string {
    return join(this.#folderOf(cluster, instance_id), `${instance_id}.json`);
  }

  /**
   * Writes the file whole or not at all, because the agent watches the folder. False if the file is there
   * already.
   */
  async #write(cluster: Cluster, config: InstanceConfig): Promise<boolean> {
    const path = this.#pathOf(cluster, config.instance_id);
    await mkdir(this.#folderOf(cluster, config.instance_id), { recursive: true, mode: 0o755 });
    return this.#writeOnce(path, config.instance_id, JSON.stringify(config, null, 2));
  }

  /** When several processes try at the same moment, only the first one writes the file. */
  async #writeOnce(path: string, owner: string, text: string): Promise<boolean> {
    const draft = await writeDraft(this.#dir, owner, text);
    try {
      await link(draft, path);
      return true;
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw err;
    } finally {
      await rm(draft, { force: true });
    }
  }

  /** A taskmanager that was killed may have left drafts with the cluster's secret in them. */
  async #dropDrafts(owners: readonly { readonly id: string }[]): Promise<void> {
    const names = await readdir(this.#dir).catch(() => []);
    const own = names.filter((name) => owners.some(({ id }) => name.startsWith(`${DRAFT}${id}-`)));
    for (const name of own) await rm(join(this.#dir, name), { force: true });
  }

  async #newEndpoint(cluster: Cluster): Promise<Endpoint> {
    if (!managerOf(cluster.manager).hasServers) return { host: HOST, port: 0 };
    const taken = await this.#takenPorts();
    for (;;) {
      const port = await freePort();
      if (!taken.has(port)) return { host: HOST, port };
    }
  }

  /** The ports of all instances, including instances that are down right now. */
  async #takenPorts(): Promise<Set<number>> {
    const folders = await readdir(this.#dir, { withFileTypes: true }).catch(() => []);
    const ports = new Set<number>();
    for (const folder of folders) {
      if (!folder.isDirectory() || folder.name === SHARED_PROCESS) continue;
      const config = await readJsonIfThere<InstanceConfig>(
        join(this.#dir, folder.name, `${folder.name}.json`),
      );
      if (config) ports.add(config.endpoint.port);
    }
    return ports;
  }

  /**
   * Returns the same token for the same cluster at every call. It is derived from a secret that never leaves
   * this machine.
   */
  async #tokenOf(cluster_id: string): Promise<string> {
    const path = join(this.#dir, '.secret');
    if (!(await exists(path))) await this.#writeOnce(path, 'secret', randomBytes(32).toString('hex'));
    const secret = await readFile(path, 'utf8');
    return createHmac('sha256', secret).update(cluster_id).digest('hex');
  }
}

/**
 * Gives an instance on this machine another key. Its agent notices the change. False if there is no such
 * instance.
 */
export async function replaceRpcKey(dir: string, instance_id: string, rpc_key: string): Promise<boolean> {
  for (const folder of [SHARED_PROCESS, instance_id]) {
    const path = join(dir, folder, `${instance_id}.json`);
    const config = await readJsonIfThere<InstanceConfig>(path);
    if (!config) continue;
    await rename(await writeDraft(dir, instance_id, JSON.stringify({ ...config, rpc_key }, null, 2)), path);
    return true;
  }
  return false;
}

/**
 * Writes a file that the caller then moves into place in one step. Its name is unique, because another
 * process may be writing the same file.
 */
async function writeDraft(dir: string, owner: string, text: string): Promise<string> {
  const draft = join(dir, `${DRAFT}${owner}-${randomBytes(6).toString('hex')}`);
  await writeFile(draft, text, { mode: 0o600 });
  return draft;
}

/** A port that is free now, chosen by the operating system. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, HOST, () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
