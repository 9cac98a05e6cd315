/**
 * One upgrade seen from outside: what all real processes log of it goes by one request id, and their spans are
 * one trace, though a taskmanager is killed in the middle of it.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CofferClient, createClient } from '../../client/index.ts';
import { type SeenSpan, SpanReceiver } from '../support/otlp.ts';
import { newHome, RunningStack, removeHome, type StackFile, until } from '../support/stack.ts';

describe('an upgrade seen from outside', () => {
  let home: string;
  let stack: RunningStack;
  let file: StackFile;
  let client: CofferClient;
  /** The request that asked for the upgrade, as its answer names it. */
  let request_id: string;
  let upgrade_id: string;
  const receiver = new SpanReceiver();
  /** Of whoever asks us. */
  const caller = { trace: randomBytes(16).toString('hex'), span: randomBytes(8).toString('hex') };

  beforeAll(async () => {
    home = await newHome();
    stack = await RunningStack.start(home, {
      OTEL_EXPORTER_OTLP_ENDPOINT: await receiver.start(),
      OTEL_BSP_SCHEDULE_DELAY: '100',
    });
    file = await stack.file();
    client = createClient({ endpoint: `${file.api_url}/v1.0/demo` });
    await client.clusters.create({
      ...{ name: 'seen', datastore: { type: 'simulated', version: '1.0' }, instances: [{}, {}, {}] },
      extended_properties: { simulated: { pre_upgrade_ms: 50, upgrade_ms: 1_500, post_upgrade_ms: 50 } },
    });
    await client.clusters.waitFor('seen', { intervalMs: 50, signal: AbortSignal.timeout(30_000) });
    const answer = await fetch(`${file.api_url}/v1.0/demo/clusters/seen`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        traceparent: `00-${caller.trace}-${caller.span}-01`,
      },
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
    await receiver.stop();
    await removeHome(home);
  });

  /** What a process knows of the upgrade must not be in its memory alone. */
  async function restartInTheMiddle(name: string): Promise<void> {
    await until('the first instance is at work', async () => {
      const { steps } = await client.upgrades.get(upgrade_id);
      return steps[0]?.phase === 'upgrading';
    });
    // A process that is killed loses the spans that it has not sent yet.
    await until('the spans of its beginning are out', async () =>
      ['upgrade_cluster process', 'pre_upgrade call'].every((span) =>
        receiver.spans.some((one) => one.name === span && one.trace === caller.trace),
      ),
    );
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
    // A line is written after what it tells of is in the record.
    const events = await until('its end is logged', async () => {
      const lines = (await linesOf('taskmanager')).filter((line) => line['upgrade_id'] === upgrade_id);
      return lines.some(({ event }) => event === 'succeeded') && lines;
    });
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
    expect(shown.join('\n')).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} info {2}taskmanager {5}seen-member-1: done {2}/m,
    );
    expect(stack.output, 'and what is no line of ours is left out').not.toMatch(/"level":|rabbit/);
  });

  it('is one trace, from the caller through api, taskmanager and guest and back', async () => {
    const spans = () => receiver.spans.filter(({ trace }) => trace === caller.trace);
    await until('its end was told of', async () => spans().some(({ name }) => name === 'upgrade'));
    const told = await until('everything before it, too', async () => {
      const all = spans();
      const late = ['execute upgrade', 'heartbeat process', 'pre_upgrade process'];
      return late.every((name) => pathTo(all, name).length > 0) && all;
    });
    expect(new Set(told.map(({ service }) => service))).toEqual(
      new Set(['coffer-api', 'coffer-taskmanager', 'coffer-guestagent']),
    );
    const request = told.find(({ service, name }) => service === 'coffer-api' && name.startsWith('POST'));
    expect(request).toMatchObject({
      ...{ name: 'POST /v1.0/:tenant_id/clusters/:cluster_id', parent: caller.span, failed: false },
      attributes: { 'coffer.request_id': request_id },
    });
    const post = 'POST /v1.0/:tenant_id/clusters/:cluster_id';
    expect(pathTo(told, 'upgrade_cluster process')).toEqual([
      ...[post, 'upgrade_cluster publish', 'upgrade_cluster process'],
    ]);
    const order = [post, 'upgrade', 'step instance', 'upgrade publish', 'upgrade process', 'execute upgrade'];
    expect(pathTo(told, 'execute upgrade')).toEqual(order);
    expect(pathTo(told, 'heartbeat process')).toEqual([...order, 'heartbeat publish', 'heartbeat process']);
    expect(pathTo(told, 'pre_upgrade process')).toEqual([
      ...[post, 'upgrade', 'step instance', 'pre_upgrade', 'pre_upgrade call', 'pre_upgrade process'],
    ]);
    const steps = told.filter(({ name }) => name === 'step instance');
    expect(steps.map(({ attributes }) => Number(attributes['coffer.step'])).sort()).toEqual([0, 1, 2]);
    const lives = told.filter(({ service }) => service === 'coffer-taskmanager').map(({ pid }) => pid);
    expect(new Set(lives).size, 'before and after the kill').toBe(2);
  });

  it('begins a trace for what somebody asks, and none for what happens by itself', async () => {
    const first = receiver.spans.filter(({ parent }) => parent === '');
    expect(first.map(({ name }) => name)).toContain('GET /v1.0/:tenant_id/upgrades/:upgrade_id');
    expect(first.filter(({ name }) => !/^(GET|POST) \/v1\.0/.test(name))).toEqual([]);
  });
});

/** From the first span of a trace to the last one of that name whose way there is known. */
function pathTo(spans: readonly SeenSpan[], name: string): readonly string[] {
  const parentOf = ({ parent }: SeenSpan) => spans.find(({ span }) => span === parent);
  const wayTo = (last: SeenSpan): readonly SeenSpan[] => {
    const before = parentOf(last);
    return before ? [...wayTo(before), last] : [last];
  };
  const ways = spans.filter((span) => span.name === name).map(wayTo);
  const known = ways.filter(([first]) => first?.service === 'coffer-api');
  return (known.at(-1) ?? []).map((span) => span.name);
}
