/** One upgrade seen from outside: what all real processes log of it goes by one request id. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CofferClient, createClient } from '../../client/index.ts';
import { newHome, RunningStack, removeHome, type StackFile, until } from '../support/stack.ts';

describe('an upgrade seen from outside', () => {
  let home: string;
  let stack: RunningStack;
  let file: StackFile;
  let client: CofferClient;
  /** The request that asked for the upgrade, as its answer names it. */
  let request_id: string;
  let upgrade_id: string;

  beforeAll(async () => {
    home = await newHome();
    stack = await RunningStack.start(home);
    file = await stack.file();
    client = createClient({ endpoint: `${file.api_url}/v1.0/demo` });
    await client.clusters.create({
      ...{ name: 'seen', datastore: { type: 'simulated', version: '1.0' }, instances: [{}, {}, {}] },
      extended_properties: { simulated: { pre_upgrade_ms: 50, upgrade_ms: 400, post_upgrade_ms: 50 } },
    });
    await client.clusters.waitFor('seen', { intervalMs: 50, signal: AbortSignal.timeout(30_000) });
    const answer = await fetch(`${file.api_url}/v1.0/demo/clusters/seen`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ upgrade: { datastore_version: '1.1' } }),
    });
    expect(answer.status).toBe(202);
    request_id = answer.headers.get('x-openstack-request-id') ?? '';
    upgrade_id = (await client.clusters.get('seen')).upgrade_id ?? '';
    await restartInTheMiddle('taskmanager');
    await client.upgrades.waitFor(upgrade_id, { signal: AbortSignal.timeout(60_000) });
  }, 300_000);
  afterAll(async () => {
    await stack?.stop();
    await removeHome(home);
  });

  /** What a process knows of the upgrade must not be in its memory alone. */
  async function restartInTheMiddle(name: string): Promise<void> {
    await until('the first instance is at work', async () => {
      const { steps } = await client.upgrades.get(upgrade_id);
      return steps[0]?.phase === 'upgrading';
    });
    const pid = (await stack.file()).pids[name] ?? 0;
    process.kill(pid, 'SIGKILL');
    await until('it runs again', async () => {
      const now = (await stack.file()).pids[name];
      return now !== undefined && now !== pid;
    });
  }

  async function linesOf(name: string): Promise<readonly Record<string, unknown>[]> {
    const text = await readFile(join(home, 'logs', `${name}.log`), 'utf8');
    const lines = text.split('\n').filter((line) => line.startsWith('{'));
    return lines
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((line) => line['request_id'] === request_id);
  }

  it('is logged under one request id, from HTTP to the guest and back, also after a restart', async () => {
    expect(request_id).toMatch(/^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(await linesOf('api')).toContainEqual(
      expect.objectContaining({ msg: 'answered', method: 'POST', status: 202 }),
    );
    const events = (await linesOf('taskmanager')).filter((line) => line['upgrade_id'] === upgrade_id);
    const told = new Set(events.map(({ event }) => event));
    expect([...told]).toEqual(expect.arrayContaining(['planned', 'step_started', 'step_done', 'succeeded']));
    expect(new Set(events.map(({ pid }) => pid)).size, 'two lives').toBe(2);
    const done = (await linesOf('guest-simulated')).filter(({ msg }) => msg === 'upgrade done');
    expect(new Set(done.map(({ instance_id }) => instance_id)).size).toBe(3);
  });

  it('is shown at the terminal in a form for people', async () => {
    const shown = await until('the last line is shown', async () => {
      const lines = stack.output.split('\n').filter((line) => line.includes(`request_id=${request_id}`));
      return lines.some((line) => line.includes('event=succeeded')) && lines;
    });
    expect(shown.join('\n')).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}guest-simulated upgrade done {2}/m);
    expect(shown.join('\n')).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}taskmanager seen-member-1: done {2}/m);
    expect(stack.output, 'and what is no line of ours is left out').not.toMatch(/"level":|rabbit/);
  });
});
