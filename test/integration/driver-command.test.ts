/** Hooks of a made-up key-value server. What is special about hooks: `command-driver.test.ts`. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { InstanceConfig } from '../../guestagent/driver.ts';
import type { Hooks } from '../../guestagent/drivers/command/hooks-file.ts';
import { commandDriver } from '../../guestagent/drivers/command/index.ts';
import { describeDriver, type Subject } from '../conformance/driver.ts';
import { freePort } from '../support/ports.ts';
import { silentLog as log } from '../support/services.ts';

const root = await mkdtemp(join(tmpdir(), 'coffer-kv-'));
const program = resolve(import.meta.dirname, '../support/kv/hook.mjs');
const hook = { command: [process.execPath, program], timeout_ms: 60_000 };
const hooks: Hooks = {
  hooks: { pre_upgrade: hook, upgrade: hook, rollback: hook, health: hook },
  environment: { KV_DIR: root },
};
/** An upgrade to a server that never answers ends with its hook. */
const impatient: Hooks = {
  ...hooks,
  hooks: { ...hooks.hooks, upgrade: { ...hook, timeout_ms: 5_000 } },
};
const running = new Set<Subject>();

async function open(own: Hooks): Promise<Subject> {
  const port = await freePort();
  const config: InstanceConfig = {
    ...{ instance_id: randomUUID(), cluster_id: randomUUID(), name: 'kv-1', ordinal: 0, manager: 'kv' },
    ...{ datastore_version: '1.0', role: 'member', primary: null, endpoint: { host: '127.0.0.1', port } },
    ...{ cluster_token: '', extended_properties: {}, databases: [], users: [] },
  };
  const subject = subjectOf(config, own);
  running.add(subject);
  // The operator starts the first release; here the hook knows how.
  const env = {
    COFFER_HOOK: 'upgrade',
    COFFER_DATASTORE_VERSION: '1.0',
    COFFER_PORT: `${port}`,
    KV_DIR: root,
  };
  const [code] = await once(spawn(process.execPath, [program], { env, stdio: 'ignore' }), 'exit');
  if (code !== 0) throw new Error('the server did not start');
  return subject;
}

function subjectOf(config: InstanceConfig, own: Hooks): Subject {
  const stateDir = join(root, config.instance_id);
  const { host, port } = config.endpoint;
  const url = `http://${host}:${port}/`;
  const answer = async () => {
    const response = await fetch(url).catch(() => null);
    return response && ((await response.json()) as { version: string; process: number; value: string });
  };
  return {
    driver: commandDriver(own)({ config, stateDir, cacheDir: root, log }),
    ...{ name: config.name, endpoint: config.endpoint, stateDir },
    ask: async () => {
      const said = await answer();
      return said && { version: said.version, process: said.process };
    },
    data: {
      write: async (value) => void (await fetch(url, { method: 'PUT', body: value })),
      read: async () => (await answer())?.value ?? '',
    },
    reopen: () => subjectOf(config, own),
  };
}

describeDriver('command, with hooks,', {
  versions: ['1.0', '1.1'],
  unknown: '9.9',
  broken: '1.9',
  endless: '1.8',
  serversBelongTo: 'operator',
  open: async (_count, options) => [await open(options?.isFor === 'endless' ? impatient : hooks)],
  close: async () => {
    for (const subject of running) {
      const server = await subject.ask();
      if (server) process.kill(server.process);
    }
    await rm(root, { recursive: true, force: true });
  },
});
