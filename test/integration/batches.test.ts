/**
 * Batches with real processes: requests over HTTP and over BullMQ, every rule of waves and budgets once from
 * outside, and a fleet with failing guests, of which each cluster is accounted for. What the machine decides
 * in detail is in `test/unit/batch`. `COFFER_TEST_FLEET=2000` runs the fleet at that size.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type BatchDocument,
  type CofferClient,
  type CreateBatchInput,
  createClient,
} from '../../client/index.ts';
import { openQueue } from '../support/redis.ts';
import { newHome, RunningStack, removeHome, until } from '../support/stack.ts';

const FLEET = Number(process.env['COFFER_TEST_FLEET'] ?? 200);
const FAILS_ALWAYS = { fail: [{ instance: 0, action: 'upgrade' as const, times: 1000, permanent: true }] };

describe('batches', () => {
  let home: string;
  let stack: RunningStack;
  let redis_url: string;
  let client: CofferClient;
  beforeAll(async () => {
    home = await newHome();
    // Thousands of guests on one machine: heartbeats are not what is looked at here.
    stack = await RunningStack.start(home, FLEET > 500 ? { COFFER_HEARTBEAT_MS: '10000' } : {});
    const file = await stack.file();
    ({ redis_url } = file);
    client = createClient({ endpoint: `${file.api_url}/v1.0/demo` });
  });
  afterAll(async () => {
    await stack?.stop();
    await removeHome(home);
  }, 600_000);

  const build = async (name: string, simulated: object = {}, tags: readonly string[] = [], instances = 1) => {
    await client.clusters.create({
      name,
      datastore: { type: 'simulated', version: '1.0' },
      instances: Array.from({ length: instances }, () => ({})),
      extended_properties: { simulated, tags: [...tags] },
    });
  };
  const built = async (count: number, tag: string) => {
    for (let at = 0; at < count; at += 20) {
      const some = Array.from({ length: Math.min(20, count - at) }, (_, index) => `${tag}-${at + index + 1}`);
      await Promise.all(some.map((name) => build(name, {}, [tag])));
    }
    await ready(count, tag);
  };
  const ready = (count: number, tag: string) =>
    until(
      `${count} clusters are built`,
      async () => {
        let active = 0;
        for await (const { name, task } of client.clusters.list())
          if (name.startsWith(`${tag}-`) && task.name === 'NONE') active += 1;
        return active === count;
      },
      600_000,
    );
  const batchOf = async (tag: string, more: Partial<CreateBatchInput> = {}): Promise<string> => {
    const { batch } = await client.batches.create({ datastore_version: '1.1', selector: { tag }, ...more });
    return batch.id;
  };
  const settled = (id: string): Promise<BatchDocument> =>
    client.batches.waitFor(id, { until: 'settled', signal: AbortSignal.timeout(600_000) });
  const statesOf = async (id: string) => {
    const states: Record<string, string> = {};
    for await (const one of client.batches.clusters(id)) states[one.cluster_name] = one.state;
    return states;
  };

  it('shows what a request comes to, changes nothing, and then does just that', async () => {
    await built(3, 'plain');
    const wanted = {
      datastore_version: '1.1',
      selector: { name: 'plain-*', version: '<1.1', datastore: 'simulated' },
    };
    const { batch, clusters } = await client.batches.plan(wanted);
    expect(clusters.map(({ cluster_name }) => cluster_name)).toEqual(['plain-1', 'plain-2', 'plain-3']);
    expect(batch.waves.map(({ size }) => size)).toEqual([1, 1, 1]);
    await expect(client.batches.get(batch.id)).rejects.toMatchObject({ code: 'batch_not_found' });
    const begun = await client.batches.create(wanted);
    const done = await settled(begun.batch.id);
    expect(done).toMatchObject({ state: 'succeeded', counts: { succeeded: 3 } });
    for (const { cluster_name } of begun.clusters) {
      const cluster = await client.clusters.get(cluster_name);
      expect(cluster.datastore.version).toBe('1.1');
      const upgrade = await client.upgrades.get(cluster.upgrade_id ?? '');
      expect(upgrade).toMatchObject({ batch_id: done.id, requested_by: { via: 'queue' } });
    }
    await expect(client.batches.create(wanted)).rejects.toMatchObject({ code: 'batch_empty' });
  });

  it('pauses past its budget; a person skips, retries, rolls back', async () => {
    await build('over-1', FAILS_ALWAYS, ['over']);
    await build('over-2', {}, ['over']);
    await build('over-3', {}, ['over']);
    await ready(3, 'over');
    const waves = [{ max_concurrent: 1, failure_budget: 0 }];
    const id = await batchOf('over', { waves });
    expect(await settled(id)).toMatchObject({
      state: 'paused',
      reason: 'failures',
      actions: expect.arrayContaining(['retry', 'skip']),
    });
    expect(await statesOf(id)).toEqual({ 'over-1': 'failed', 'over-2': 'queued', 'over-3': 'queued' });
    await expect(client.batches.approve(id)).rejects.toMatchObject({ code: 'action_refused' });
    await client.batches.skip(id);
    expect(await settled(id)).toMatchObject({ state: 'succeeded', counts: { succeeded: 2, skipped: 1 } });

    const next = { datastore_version: '2.0', selector: { name: 'over-[23]' } };
    await expect(client.batches.create(next)).rejects.toMatchObject({ code: 'batch_empty' });
    const second = {
      ...next,
      selector: { name: 'over-?' },
      waves: [{ selector: { name: 'over-2' } }, { approval: true }],
    };
    const { batch } = await client.batches.create(second);
    await settled(batch.id);
    expect(await client.batches.get(batch.id)).toMatchObject({ state: 'paused', reason: 'approval' });
    await client.batches.rollback(batch.id);
    await until(
      'wave 1 is taken back',
      async () => (await client.batches.get(batch.id)).reason === 'rolled_back',
    );
    expect((await client.clusters.get('over-2')).datastore.version).toBe('1.1');
    expect((await statesOf(batch.id))['over-2']).toBe('cancelled');
    await client.batches.cancel(batch.id);
    expect(await client.batches.waitFor(batch.id)).toMatchObject({
      state: 'cancelled',
      counts: { cancelled: 3 },
    });
  });

  it('waits for a busy cluster without holding up others', async () => {
    await build('busy-1', { upgrade_ms: 4_000 }, ['busy']);
    await build('busy-2', {}, ['busy']);
    await ready(2, 'busy');
    await client.clusters.upgrade('busy-1', '1.1');
    const id = await batchOf('busy', { datastore_version: '2.0', waves: [{ max_concurrent: 1 }] });
    await until('the other one is done', async () => (await statesOf(id))['busy-2'] === 'succeeded');
    for await (const one of client.batches.clusters(id, 'waiting')) {
      expect(one).toMatchObject({
        cluster_name: 'busy-1',
        reason: expect.stringContaining('UPGRADING_CLUSTER'),
      });
      expect(one.until).not.toBeNull();
    }
    expect(await settled(id)).toMatchObject({ state: 'succeeded' });
  });

  it('takes requests of other services from its queue, and keeps those that are wrong with all their problems', async () => {
    await built(2, 'queued');
    const queue = openQueue('coffer-batches', redis_url);
    try {
      const data = {
        tenant_id: 'demo',
        user: 'deployer',
        datastore_version: '1.1',
        selector: { tag: 'queued' },
      };
      await queue.add('upgrade', data, { jobId: 'release-42' });
      const id = await until('the job is done', async () => {
        const job = await queue.getJob('release-42');
        return (job?.returnvalue as { batch_id: string } | null)?.batch_id;
      });
      expect(await settled(id)).toMatchObject({
        state: 'succeeded',
        requested_by: { user: 'deployer', via: 'queue' },
      });
      await (await queue.getJob('release-42'))?.remove();
      await queue.add('upgrade', data, { jobId: 'release-42' });
      await until(
        'it is done again',
        async () => (await (await queue.getJob('release-42'))?.isCompleted()) ?? false,
      );
      expect((await (await queue.getJob('release-42'))?.returnvalue) as unknown).toEqual({ batch_id: id });

      const wrong = {
        tenant_id: '',
        waves: [{ share: 0, failure_budget: 'all' }],
        policy: { retries: -1 },
        selector: {},
        typo: 1,
      };
      await queue.add('upgrade', wrong, { jobId: 'wrong-1' });
      const reason = await until(
        'the job has failed',
        async () => (await queue.getJob('wrong-1'))?.failedReason,
      );
      for (const what of [
        'tenant_id',
        'share',
        'failure_budget',
        'retries',
        'selector',
        'typo',
        'datastore_version',
      ]) {
        expect(reason).toContain(what);
      }
    } finally {
      await queue.close();
    }
  });

  it(`accounts for each of ${FLEET} clusters, 3 of 100 of which fail; a taskmanager is killed meanwhile (G7)`, async () => {
    const fails = (index: number) => index % 33 === 7;
    for (let at = 0; at < FLEET; at += 20) {
      const some = Array.from({ length: Math.min(20, FLEET - at) }, (_, index) => at + index);
      await Promise.all(
        some.map((index) => build(`fleet-${index}`, fails(index) ? FAILS_ALWAYS : {}, ['fleet'], 3)),
      );
    }
    await ready(FLEET, 'fleet');
    const failing = Array.from({ length: FLEET }, (_, index) => index).filter(fails).length;
    const began = Date.now();
    const id = await batchOf('fleet', {
      waves: [
        { share: 1 },
        { share: '10%', failure_budget: '20%', max_concurrent: 50 },
        { max_concurrent: 100 },
      ],
    });
    await until(
      'it is under way',
      async () => (await client.batches.get(id)).counts.succeeded > FLEET / 10,
      600_000,
    );
    process.kill((await stack.file()).pids['taskmanager'] ?? 0, 'SIGKILL');
    const done = await settled(id);
    const seconds = (Date.now() - began) / 1000;
    process.stdout.write(
      `${JSON.stringify({ clusters: FLEET, failing, seconds, per_second: FLEET / seconds })}\n`,
    );
    expect(done).toMatchObject({
      state: 'incomplete',
      counts: { succeeded: FLEET - failing, failed: failing },
    });
    const { clusters } = await client.batches.report(id);
    expect(clusters).toHaveLength(FLEET);
    expect(new Set(clusters.map(({ cluster_id }) => cluster_id)).size).toBe(FLEET);
    for (const one of clusters) {
      const index = Number(one.cluster_name.split('-')[1]);
      expect([one.cluster_name, one.state]).toEqual([
        one.cluster_name,
        fails(index) ? 'failed' : 'succeeded',
      ]);
      expect(one.duration_ms).toBeGreaterThan(0);
    }
    const csv = (await client.batches.reportAsCsv(id)).trim().split('\r\n');
    expect(csv).toHaveLength(FLEET + 1);
    expect(csv[0]).toContain('cluster_name,tenant_id,wave,from,to,state,duration_ms,write_outage_ms');
    const events = await client.batches.events(id);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
  }, 1_200_000);
});
