/** What administrators hear of jobs that asked for a batch and failed: in the health report, and from the doctor. */
import type { Queue } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reportFindings } from '../../cli/doctor/findings.ts';
import type { HealthReportAnswer } from '../../src/contract/health.ts';
import { CofferError } from '../../src/core/errors.ts';
import { type BatchRequestWatch, requestQueueName, serveRequests, watchRequests } from '../../src/queue.ts';
import { TcpProxy } from '../support/proxy.ts';
import { openQueue } from '../support/redis.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';
import { until } from '../support/stack.ts';
import { ask, type Harness, startApi } from './api-harness.ts';

describe('jobs that ask for batches', () => {
  const prefix = uniqueName('requests');
  let api: Harness;
  let proxy: TcpProxy;
  let watch: BatchRequestWatch;
  let queue: Queue;

  beforeAll(async () => {
    const { redis_url } = testUrls();
    proxy = await TcpProxy.inFrontOf(redis_url);
    watch = watchRequests({ url: proxy.urlFor(redis_url), prefix, log: silentLog });
    api = await startApi({ batchRequests: watch.outcomes });
    queue = openQueue(requestQueueName(prefix), redis_url);
  });
  afterAll(async () => {
    proxy.allow();
    await api.close();
    await watch.stop();
    await queue.close();
    await proxy.close();
  });

  const report = async () => ((await ask(`${api.url}/health`)).body as HealthReportAnswer).health;
  const finding = async () =>
    reportFindings(await report()).find(({ check }) => check === 'batches.requests');

  it('are counted while they wait, and none has failed', async () => {
    await queue.add('upgrade', { tenant_id: 't1' }, { jobId: 'of-deployer' });
    expect((await report()).batch_requests).toEqual({ waiting: 1, failed: 0, latest: [] });
    expect(await finding()).toMatchObject({ state: 'ok' });
  });

  it('are named with the reason once they have failed', async () => {
    const worker = serveRequests({ url: testUrls().redis_url, prefix, log: silentLog }, async () => {
      throw new CofferError('invalid_request', 'waves: there is none');
    });
    await until('the job has failed', async () => (await report()).batch_requests?.failed === 1);
    await worker.stop();
    expect((await report()).batch_requests).toEqual({
      waiting: 0,
      failed: 1,
      latest: [
        {
          job_id: 'of-deployer',
          reason: 'invalid_request: waves: there is none',
          at: expect.stringMatching(/Z$/) as string,
        },
      ],
    });
    const found = await finding();
    expect(found?.state).toBe('warning');
    expect(found?.found).toMatch(
      /^1 job .* failed\. job of-deployer at .*: invalid_request: waves: there is none$/,
    );
    expect(found?.repair).toMatch(/add a new one/);
  });

  it('are unknown while Redis is away, and the rest of the report is there', async () => {
    proxy.refuse();
    expect((await report()).batch_requests).toBeNull();
    expect((await report()).redis.status).toBe('ok');
    proxy.allow();
    await until('Redis answers again', async () => (await report()).batch_requests?.failed === 1);
  });
});
