/**
 * The stack from outside: real processes, real servers, killed and started again. What is not here:
 * the full fault matrix (chaos), each wrong request (api-requests).
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CofferClient, createClient } from '../../client/index.ts';
import {
  isRunning,
  newHome,
  RunningStack,
  removeHome,
  run,
  type StackFile,
  until,
} from '../support/stack.ts';

describe('npm start', () => {
  let home: string;
  let stack: RunningStack;
  let file: StackFile;
  let client: CofferClient;

  const connectTo = async (started: RunningStack) => {
    stack = started;
    file = await stack.file();
    client = createClient({ endpoint: `${file.api_url}/v1.0/demo` });
  };
  beforeAll(async () => {
    home = await newHome();
    await connectTo(await RunningStack.start(home));
  });
  afterAll(async () => {
    await stack?.stop();
    await removeHome(home);
  });

  const build = async (name: string, simulated: object = {}) => {
    await client.clusters.create({
      name,
      datastore: { type: 'simulated', version: '1.0' },
      instances: [{}, {}, {}],
      extended_properties: { simulated },
    });
    return client.clusters.waitFor(name, { intervalMs: 50, signal: AbortSignal.timeout(30_000) });
  };
  const ended = (upgrade_id: string) =>
    client.upgrades.waitFor(upgrade_id, { signal: AbortSignal.timeout(50_000) });
  const kill = async (name: string) => {
    const pid = (await stack.file()).pids[name] ?? 0;
    process.kill(pid, 'SIGKILL');
    return pid;
  };

  it('names every process in stack.json', () => {
    expect(Object.keys(file.pids)).toEqual(
      expect.arrayContaining(['api', 'taskmanager', 'rabbitmq', 'redis']),
    );
    expect(Object.values(file.pids).every(isRunning)).toBe(true);
  });

  it('refuses a second start, and says where the first one is', async () => {
    const second = await run(['scripts/start.mjs'], home);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain(file.api_url);
  });

  it('upgrades a cluster, and the record is true (G5)', async () => {
    await build('plain');
    const { upgrade_id } = await client.clusters.upgrade('plain', '1.1');
    const upgrade = await ended(upgrade_id ?? '');
    expect(upgrade.state).toBe('succeeded');
    const cluster = await client.clusters.get('plain');
    expect(cluster.datastore.version).toBe('1.1');
    expect(cluster.task.name).toBe('NONE');
    expect(cluster.instances.map((one) => one.version)).toEqual(['1.1', '1.1', '1.1']);
    const events = await client.upgrades.events(upgrade_id ?? '');
    expect(events.map((one) => one.seq)).toEqual(events.map((_, index) => index + 1));
  });

  it.each(['taskmanager', 'guest-simulated', 'api', 'rabbitmq', 'redis'])(
    'goes on by itself when %s is killed in the middle of an upgrade (G7)',
    async (name) => {
      const cluster = `killed-${name}`;
      await build(cluster, { pre_upgrade_ms: 100, upgrade_ms: 700, post_upgrade_ms: 100 });
      const { upgrade_id } = await client.clusters.upgrade(cluster, '1.1');
      await until('the first instance is at work', async () => {
        const [first] = (await client.upgrades.get(upgrade_id ?? '')).steps;
        return first?.phase === 'upgrading';
      });
      const pid = await kill(name);
      const after = await until('the process is started again', async () => {
        const now = (await stack.file()).pids[name];
        return now !== undefined && now !== pid && now;
      });
      expect(after).not.toBe(pid);
      const upgrade = await ended(upgrade_id ?? '');
      expect(upgrade.state).toBe('succeeded');
      expect((await client.clusters.get(cluster)).datastore.version).toBe('1.1');
    },
    90_000,
  );

  it('tells of itself in numbers, which Prometheus reads', async () => {
    await build('counted');
    const upgrading = await client.clusters.upgrade('counted', '1.1');
    await ended(upgrading.upgrade_id);
    const numbers = async (name: string) => {
      const answer = await fetch(file.metrics[name] ?? '');
      expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=/);
      return answer.text();
    };
    const taskmanager = await numbers('taskmanager');
    const numberIn = (line: RegExp) => Number(line.exec(taskmanager)?.[1]);
    expect(
      numberIn(/^coffer_upgrade_events_total\{type="succeeded",manager="simulated"\} (\d+)$/m),
    ).toBeGreaterThan(0);
    expect(
      numberIn(/^coffer_step_duration_seconds_count\{manager="simulated",kind="instance"\} (\d+)$/m),
    ).toBeGreaterThan(2);
    expect(numberIn(/^coffer_upgrades\{state="running"\} (\d+)$/m)).toBe(0);
    expect(numberIn(/^coffer_redis_up (\d)$/m)).toBe(1);
    expect(numberIn(/^coffer_rabbitmq_up (\d)$/m)).toBe(1);
    expect(numberIn(/^coffer_pending_casts (\d+)$/m)).toBe(0);
    expect(numberIn(/^coffer_dead_letters (\d+)$/m)).toBe(0);
    expect(taskmanager).toMatch(/^coffer_queue_messages\{queue="trove-conductor"\} \d+$/m);
    expect(await numbers('api')).toMatch(
      /^coffer_http_request_duration_seconds_count\{method="POST",route="\/v1.0\/:tenant_id\/clusters\/:cluster_id",status="202"\} [1-9]/m,
    );
    const elsewhere = await fetch((file.metrics['api'] ?? '').replace('/metrics', '/'));
    expect(elsewhere.status).toBe(404);
  });

  it('waits with a reason that names the next action when an instance keeps failing (G1)', async () => {
    await build('failing', {
      fail: [{ instance: 1, action: 'upgrade', times: 9, error: 'disk on fire', permanent: true }],
    });
    const { upgrade_id } = await client.clusters.upgrade('failing', '1.1');
    const upgrade = await client.upgrades.waitFor(upgrade_id ?? '', {
      until: 'settled',
      signal: AbortSignal.timeout(30_000),
    });
    expect(upgrade).toMatchObject({ state: 'paused', reason: 'failure' });
    expect(upgrade.message).toMatch(/failing-member-2: disk on fire: retry it, or cancel it/);
    const cluster = await client.clusters.get('failing');
    expect(cluster.datastore.version, 'not all instances have it').toBe('1.0');
    expect(cluster.instances.map((one) => one.version)).toEqual(['1.1', '1.0', '1.0']);
    const second = client.clusters.upgrade('failing', '1.1');
    await expect(second).rejects.toMatchObject({ code: 'cluster_busy', status: 422 });
  });

  it('deletes a cluster with everything of it', async () => {
    await client.clusters.delete('plain');
    await client.clusters.waitUntilGone('plain', { intervalMs: 50, signal: AbortSignal.timeout(30_000) });
    await expect(client.clusters.get('plain')).rejects.toMatchObject({ code: 'cluster_not_found' });
  });

  it('stops without leaving a process, and finds its clusters again', async () => {
    const { pids } = await stack.file();
    expect(await stack.stop()).toBe(0);
    expect(Object.entries(pids).filter(([, pid]) => isRunning(pid))).toEqual([]);
    expect(existsSync(join(home, 'stack.json'))).toBe(false);
    await connectTo(await RunningStack.start(home));
    expect((await client.clusters.get('killed-redis')).datastore.version).toBe('1.1');
  });

  it('cleans up after itself was killed', async () => {
    const before = (await stack.file()).pids;
    await stack.killHard();
    await connectTo(await RunningStack.start(home));
    const after = Object.values((await stack.file()).pids);
    expect(Object.entries(before).filter(([, pid]) => isRunning(pid) && !after.includes(pid))).toEqual([]);
    expect((await client.clusters.get('killed-redis')).task.name).toBe('NONE');
  });
});
