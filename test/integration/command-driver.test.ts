/**
 * The driver by hooks: real programs, run by a real agent that a test orders about over RabbitMQ. Not
 * covered: whole upgrades of a cluster, which `docs.test.ts` does with the example of `docs/drivers.md`.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type HookName, readHooksFile } from '../../guestagent/drivers/command/hooks-file.ts';
import { commandDriver } from '../../guestagent/drivers/command/index.ts';
import { Host } from '../../guestagent/host.ts';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import { type Bus, CONDUCTOR_TOPIC, guestTopic } from '../../src/bus/bus.ts';
import type { InstanceConfig } from '../../src/contract/guest-config.ts';
import { HeartbeatArgs, reportOf } from '../../src/contract/rpc.ts';
import type { GuestReport } from '../../src/core/domain.ts';
import { NO_TRACING } from '../../src/tracing.ts';
import { type Script, writeHooks } from '../support/hooks.ts';
import { silentLog as log, testUrls, uniqueName } from '../support/services.ts';
import { isRunning, RunningAgent, until } from '../support/stack.ts';

const exchange = uniqueName('hooks');
let home: string;
let bus: Bus;
/** What was reported of each instance, the last first. */
const reports = new Map<string, readonly GuestReport[]>();
const closing: (() => Promise<unknown>)[] = [];

const open = (name: string) =>
  openAmqpBus({ url: testUrls().amqp_url, name, log, control_exchange: exchange });

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'coffer-hooks-'));
  bus = await open('taskmanager');
  await bus.serve({
    topic: CONDUCTOR_TOPIC,
    queue: 'shared',
    prefetch: 100,
    handler: async ({ args }) => {
      const heartbeat = HeartbeatArgs.parse(args);
      const earlier = reports.get(heartbeat.instance_id) ?? [];
      reports.set(heartbeat.instance_id, [reportOf(heartbeat), ...earlier]);
      return null;
    },
  });
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(async () => {
  await bus?.close();
  await rm(home, { recursive: true, force: true });
});

/** Writes down what it was told, one line for each run. */
const NOTE = 'echo "$COFFER_HOOK $COFFER_FROM_VERSION>$COFFER_DATASTORE_VERSION" >> ../../../../../notes';
const HEALTHY = 'exit 0';

/** One instance at version 1.0 with these hooks, and what a test may do with it. */
async function instance(scripts: Partial<Record<HookName, Script>>, environment = {}) {
  const id = randomUUID();
  const upgrade_id = randomUUID();
  const dir = join(home, id);
  const guests = join(dir, 'guests');
  await mkdir(guests, { recursive: true });
  const file = await writeHooks(join(dir, 'bin'), { health: HEALTHY, ...scripts }, environment);
  const config = {
    ...{ instance_id: id, cluster_id: randomUUID(), name: 'kv-1', ordinal: 0, manager: 'kv' },
    ...{ datastore_version: '1.0', role: 'member', endpoint: { host: '127.0.0.1', port: 7001 } },
    ...{ primary: null, cluster_token: 'a secret', extended_properties: {}, databases: [], users: [] },
  } satisfies InstanceConfig;
  await writeFile(join(guests, `${id}.json`), JSON.stringify(config));
  let attempts = 0;
  const info = (datastore_version: string) => ({ upgrade_id, step: 0, attempt: attempts, datastore_version });
  const self = {
    id,
    dir,
    file,
    guests,
    /** In this process. */
    async start() {
      const hooks = readHooksFile(file, ['postgresql']);
      const drivers = Object.fromEntries(
        [...hooks].map(([name, each]) => [name, async () => commandDriver(each)]),
      );
      const own = await open('guest');
      const host = new Host({
        ...{ dir: guests, cacheDir: dir, serverUser: undefined, bus: own, log, heartbeat_ms: 100, drivers },
        ...{ observe: () => undefined, tracing: NO_TRACING },
      });
      const stop = async () => {
        await host.stop();
        await own.close();
      };
      closing.push(stop);
      await host.start();
      await self.heard('an agent', () => true);
      return stop;
    },
    heard: (what: string, fits: (report: GuestReport) => boolean) =>
      until(what, async () => {
        const report = reports.get(id)?.[0];
        return report && fits(report) && report;
      }),
    /** Casts `upgrade`, and does not wait. */
    async order(version: string) {
      attempts += 1;
      await bus.cast(guestTopic(id), 'upgrade', { upgrade_info: { ...info(version), fence: 1 } });
    },
    /** Casts `upgrade`; answers how it went. */
    async upgrade(version: string) {
      await self.order(version);
      const { attempt } = await self.heard('the attempt is over', (report) => {
        return report.attempt?.attempt === attempts && report.attempt.status !== 'running';
      });
      return attempt;
    },
    call: (action: 'pre_upgrade' | 'post_upgrade', version: string) =>
      bus.call(guestTopic(id), action, { upgrade_info: info(version) }, { timeout_ms: 20_000 }),
    notes: async () => (await readFile(join(dir, 'notes'), 'utf8').catch(() => '')).trim().split('\n'),
    state: async () => JSON.parse(await readFile(join(guests, 'state', id, 'server/state.json'), 'utf8')),
    pidIn: (name: string) =>
      until(`${name} is written`, async () => {
        return (
          Number(await readFile(join(guests, 'state', id, 'server/hooks', name), 'utf8').catch(() => 0)) ||
          false
        );
      }),
  };
  return self;
}

const WORKING = { pre_upgrade: NOTE, upgrade: NOTE, post_upgrade: NOTE, rollback: NOTE };

describe('an instance that is upgraded by hooks', () => {
  it('goes from version to version, and back', async () => {
    const kv = await instance(WORKING);
    await kv.start();
    await kv.heard('1.0', ({ version, service_status }) => version === '1.0' && service_status === 'healthy');
    expect(await kv.call('pre_upgrade', '2.0')).toMatchObject({ reversible: true });
    expect(await kv.upgrade('2.0')).toMatchObject({ status: 'succeeded' });
    await kv.call('post_upgrade', '2.0');
    await kv.heard('2.0', ({ version, role }) => version === '2.0' && role === 'member');
    // There already: nothing is run.
    expect(await kv.upgrade('2.0')).toMatchObject({ status: 'succeeded' });
    expect(await kv.upgrade('1.0')).toMatchObject({ status: 'succeeded' });
    await kv.heard('1.0 again', ({ version }) => version === '1.0');
    expect(await kv.notes()).toEqual([
      ...['pre_upgrade 1.0>2.0', 'upgrade 1.0>2.0', 'post_upgrade 2.0>2.0', 'rollback 2.0>1.0'],
    ]);
  });

  it('tells its hooks what they need, and no secret', async () => {
    const kv = await instance(
      { upgrade: 'env > "$COFFER_STATE_DIR/env"; pwd >> env; echo "$1" >> env' },
      { KV: 'a b' },
    );
    await kv.start();
    process.env['COFFER_AMQP_URL_OF_A_TEST'] = 'amqp://user:password@host';
    await kv.upgrade('2.0 $(touch injected); `touch injected`');
    delete process.env['COFFER_AMQP_URL_OF_A_TEST'];
    const hooksDir = join(kv.guests, 'state', kv.id, 'server/hooks');
    const env = (await readFile(join(hooksDir, 'env'), 'utf8')).trim().split('\n');
    expect(env).toEqual(
      expect.arrayContaining([
        ...['COFFER_HOOK=upgrade', 'COFFER_FROM_VERSION=1.0', 'KV=a b', hooksDir, 'an argument'],
        // Whatever the bus says is text in a variable: no shell of ours looks at it.
        'COFFER_DATASTORE_VERSION=2.0 $(touch injected); `touch injected`',
        ...[`COFFER_INSTANCE_ID=${kv.id}`, 'COFFER_INSTANCE_NAME=kv-1', 'COFFER_INSTANCE_NUMBER=0'],
        ...['COFFER_HOST=127.0.0.1', 'COFFER_PORT=7001', 'COFFER_ATTEMPT=1', `COFFER_STATE_DIR=${hooksDir}`],
      ]),
    );
    expect(env.join('\n')).not.toMatch(/password|a secret/);
    await expect(readFile(join(hooksDir, 'injected'))).rejects.toThrow('ENOENT');
  });

  it('tries again what can not be done now, and nothing has changed', async () => {
    const kv = await instance({ ...WORKING, upgrade: `${NOTE}; echo "apt is locked" >&2; exit 75` });
    await kv.start();
    expect(await kv.upgrade('2.0')).toMatchObject({
      ...{
        status: 'failed',
        permanent: false,
        error: 'the upgrade hook ended with exit code 75: apt is locked',
      },
    });
    expect(await kv.notes()).toEqual(['upgrade 1.0>2.0']);
    expect(await kv.state()).toMatchObject({ version: '1.0', moving_to: null, run: null });
  });

  it('is rolled back at once where an upgrade fails, and says what the hook has said last', async () => {
    const kv = await instance({
      ...WORKING,
      upgrade: `${NOTE}; echo one; echo "no such package" >&2; exit 1`,
    });
    await kv.start();
    expect(await kv.upgrade('2.0')).toMatchObject({
      ...{ status: 'failed', permanent: true },
      error: expect.stringMatching(/exit code 1: .*no such package.*; rolled back to 1\.0$/) as string,
    });
    expect(await kv.notes()).toEqual(['upgrade 1.0>2.0', 'rollback 2.0>1.0']);
    expect(await kv.state()).toMatchObject({ version: '1.0', came_from: [], moving_to: null });
    await kv.heard(
      'well',
      ({ version, service_status }) => version === '1.0' && service_status === 'healthy',
    );
  });

  it('says so when the way back fails too, and does not claim a version', async () => {
    const kv = await instance({ upgrade: 'exit 1', rollback: 'exit 3' });
    await kv.start();
    const attempt = await kv.upgrade('2.0');
    expect(attempt?.error).toContain(
      'and the way back to 1.0 fails: the rollback hook ended with exit code 3',
    );
    await kv.heard('neither', ({ version }) => version === null);
    expect(await kv.state()).toMatchObject({ version: '1.0', moving_to: '2.0' });
  });

  it('is irreversible without a rollback hook, or where pre_upgrade says so', async () => {
    const oneWay = await instance({ upgrade: NOTE });
    await oneWay.start();
    expect(await oneWay.call('pre_upgrade', '2.0')).toMatchObject({ reversible: false });
    await oneWay.upgrade('2.0');
    expect(await oneWay.upgrade('1.0')).toMatchObject({
      ...{ status: 'failed', permanent: true, error: 'there is no way back: no rollback hook is configured' },
    });
    expect(await oneWay.notes()).toEqual(['upgrade 1.0>2.0']);

    const major = await instance({ ...WORKING, pre_upgrade: `echo '{"reversible": false}'` });
    await major.start();
    expect(await major.call('pre_upgrade', '2.0')).toMatchObject({ reversible: false });
  });

  it('refuses an upgrade before anything is touched', async () => {
    const kv = await instance({ upgrade: NOTE, pre_upgrade: 'echo "disk full"; exit 1' });
    await kv.start();
    await expect(kv.call('pre_upgrade', '2.0')).rejects.toMatchObject({
      ...{ remote_class: 'PermanentError', message: expect.stringContaining('disk full') as string },
    });
  });
});

describe('a hook', () => {
  it('that takes too long is ended with all that it has started, and is tried again', async () => {
    const script = 'sleep 1000 & echo $! > child; echo $$ > own; echo "copying"; wait';
    const kv = await instance({ ...WORKING, upgrade: { script, timeout_seconds: 1 } });
    await kv.start();
    expect(await kv.upgrade('2.0')).toMatchObject({
      ...{ status: 'failed', permanent: false },
      error: 'the upgrade hook was ended after its 1 s: copying; rolled back to 1.0',
    });
    expect(isRunning(await kv.pidIn('own'))).toBe(false);
    expect(isAlive(await kv.pidIn('child'))).toBe(false);
  });

  it('that does not mind SIGTERM is killed all the same', async () => {
    const script = 'trap "" TERM; echo $$ > own; while true; do sleep 0.1; done';
    const kv = await instance({ upgrade: { script, timeout_seconds: 1 } });
    await kv.start();
    expect(await kv.upgrade('2.0')).toMatchObject({ status: 'failed', permanent: false });
    expect(isRunning(await kv.pidIn('own'))).toBe(false);
  });

  it('may leave a server running, which the agent outlives and leaves alone', async () => {
    const kv = await instance({ upgrade: 'sleep 1000 & echo $! > server' });
    const stop = await kv.start();
    expect(await kv.upgrade('2.0')).toMatchObject({ status: 'succeeded' });
    const server = await kv.pidIn('server');
    await stop();
    await kv.start();
    expect(isAlive(server)).toBe(true);
    process.kill(server, 'SIGKILL');
  });

  it('that is under way when the agent stops is ended, and run again by the next agent', async () => {
    const script = `${NOTE}; [ -e second ] && exit 0; touch second; echo $$ > own; sleep 1000`;
    const kv = await instance({ ...WORKING, upgrade: script });
    const stop = await kv.start();
    await kv.order('2.0');
    const first = await kv.pidIn('own');
    await stop();
    expect(isRunning(first)).toBe(false);
    await kv.start();
    await kv.heard('done', ({ attempt, version }) => attempt?.status === 'succeeded' && version === '2.0');
    // Cut off it has not failed: it is not rolled back.
    expect(await kv.notes()).toEqual(['upgrade 1.0>2.0', 'upgrade 1.0>2.0']);
  });

  it('that outlives an agent which was killed is ended before the next one runs it again', async () => {
    const script = `${NOTE}; [ -e second ] && exit 0; touch second; echo $$ > own; sleep 1000`;
    const kv = await instance({ ...WORKING, upgrade: script });
    const start = () => {
      const agent = new RunningAgent({
        ...{ COFFER_AMQP_URL: testUrls().amqp_url, COFFER_CONTROL_EXCHANGE: exchange },
        ...{ COFFER_GUEST_DIR: kv.guests, COFFER_CACHE_DIR: kv.dir, COFFER_HOOKS_FILE: kv.file },
        COFFER_HEARTBEAT_MS: '100',
      });
      closing.push(() => agent.end('SIGKILL'));
      return agent;
    };
    const killed = start();
    await kv.heard('the first', () => true);
    await kv.order('2.0');
    const first = await kv.pidIn('own');
    await killed.end('SIGKILL');
    expect(isAlive(first)).toBe(true);
    start();
    await kv.heard('done', ({ attempt, version }) => attempt?.status === 'succeeded' && version === '2.0');
    expect(isAlive(first)).toBe(false);
    expect(await kv.notes()).toEqual(['upgrade 1.0>2.0', 'upgrade 1.0>2.0']);
  });

  it('that can not be started, or says more than anybody reads, is no trouble', async () => {
    const kv = await instance({
      upgrade: 'head -c 3000000 /dev/zero | tr "\\0" x; echo; echo the end; exit 2',
    });
    await kv.start();
    const { error } = (await kv.upgrade('2.0')) ?? {};
    expect(error).toContain('the end');
    expect(error?.length).toBeLessThan(1000);
    await rm(join(kv.dir, 'bin/upgrade'));
    expect(await kv.upgrade('2.0')).toMatchObject({
      ...{
        status: 'failed',
        permanent: false,
        error: expect.stringContaining('could not be started') as string,
      },
    });
  });
});

describe('the health hook', () => {
  it('may say more than an exit code', async () => {
    const said = '{"status": "healthy", "version": "1.0.3", "placement": {"rack": "r1", "seed": true}}';
    const kv = await instance({ upgrade: NOTE, health: `echo '${said}'` });
    await kv.start();
    const report = await kv.heard('what it says', ({ version }) => version === '1.0.3');
    expect(report).toMatchObject({ service_status: 'healthy', placement: { rack: 'r1', seed: true } });
    // What runs has the last word.
    await kv.upgrade('2.0');
    await expect(kv.call('post_upgrade', '2.0')).rejects.toThrow('says that 1.0.3 runs, and not 2.0');
  });

  it.each([
    ['fails', 'echo "connection refused"; exit 1', 'ended with exit code 1: connection refused'],
    ['speaks nonsense', 'echo \'{"status": "fine"}\'', "can't be used"],
    ['says why', 'echo \'{"status": "failed", "message": "read-only"}\'', 'read-only'],
  ])('that %s makes the instance failed', async (_, health, message) => {
    const kv = await instance({ upgrade: NOTE, health });
    await kv.start();
    await kv.heard('why', (report) => {
      return report.service_status === 'failed' && report.message?.includes(message) === true;
    });
  });

  it('that hangs holds no heartbeat up, and is ended', async () => {
    const kv = await instance({ upgrade: NOTE, health: { script: 'sleep 1000', timeout_seconds: 2 } });
    await kv.start();
    await kv.heard('its end', ({ service_status, message }) => {
      return service_status === 'failed' && message?.includes('was ended after its 2 s') === true;
    });
    expect(reports.get(kv.id)?.map(({ service_status }) => service_status)).toContain('unknown');
  });
});

/** Unlike `isRunning`: a dead process that nobody has collected is dead. */
function isAlive(pid: number): boolean {
  if (!isRunning(pid)) return false;
  if (process.platform !== 'linux') return true;
  return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}
