/**
 * bull-board as the api serves it: to administrators, to look at, with nothing from elsewhere. How it looks in a
 * browser is not tested here.
 */
import { Queue } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Authenticate } from '../../api/auth.ts';
import { QueueBoard } from '../../api/queue-board.ts';
import { CofferError } from '../../src/core/errors.ts';
import { openBoard, requestQueueName, serveRequests } from '../../src/queue.ts';
import type { Service } from '../../src/service.ts';
import { TcpProxy } from '../support/proxy.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';
import { until } from '../support/stack.ts';
import { type Harness, startApi } from './api-harness.ts';

const ROLES: Readonly<Record<string, readonly string[]>> = { root: ['admin'], ann: ['member'] };

const authenticate: Authenticate = async ({ headers }) => {
  const user = String(headers['x-auth-token']);
  const roles = ROLES[user];
  if (!roles) throw new CofferError('unauthorized', 'Who are you?');
  return { user, project_id: 't1', credentials: { roles, project_id: 't1' }, is_confined: false };
};

describe('the board of queues', () => {
  const prefix = uniqueName('board');
  let api: Harness;
  let proxy: TcpProxy;
  let boards: Service;

  const get = (path: string, headers: Record<string, string> = { 'x-auth-token': 'root' }) =>
    fetch(`${api.origin}/admin/queues${path}`, { headers });

  beforeAll(async () => {
    const { redis_url } = testUrls();
    proxy = await TcpProxy.inFrontOf(redis_url);
    const board = new QueueBoard();
    boards = await openBoard({ url: proxy.urlFor(redis_url), prefix, log: silentLog }, board);
    api = await startApi({ authenticate, board });
    const queue = new Queue(requestQueueName(prefix), { connection: { url: redis_url } });
    const worker = serveRequests({ url: redis_url, prefix, log: silentLog }, async () => {
      throw new CofferError('invalid_request', 'waves: there is none');
    });
    const job = await queue.add('upgrade', { tenant_id: 't1' }, { jobId: 'of-deployer' });
    await until('the job has failed', async () => (await job.getState()) === 'failed');
    await worker.stop();
    await queue.close();
  });
  afterAll(async () => {
    proxy.allow();
    await api.close();
    await boards.stop();
    await proxy.close();
  });

  it('is a page with everything that it needs, and nothing from elsewhere', async () => {
    const answer = await get('');
    expect((await get('/')).status, 'with a slash, too').toBe(200);
    const page = await answer.text();
    expect(page).toContain('<base href="/admin/queues/" />');
    expect(page).not.toMatch(/<%|https?:|style=|<style/);
    const policy = answer.headers.get('content-security-policy');
    expect(policy).toContain("script-src 'self';");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
    const files = [...page.matchAll(/(?:src|href)="(static\/[^"]+)"/g)].map(([, path]) => path ?? '');
    expect(files.length).toBeGreaterThan(3);
    for (const path of files) {
      const file = await get(`/${path}`);
      expect([path, file.status]).toEqual([path, 200]);
      expect(file.headers.get('content-type')).toMatch(/^(text\/(javascript|css)|image\/)/);
    }
    expect((await get(`/queue/${requestQueueName(prefix)}`)).headers.get('content-type')).toMatch(
      /^text\/html/,
    );
    expect((await get('/static/../index.ejs')).status).toBe(404);
  });

  it('shows both queues, and why a job has failed', async () => {
    const answer = await get(`/api/queues?activeQueue=${requestQueueName(prefix)}&status=failed&page=1`);
    const { queues } = (await answer.json()) as {
      queues: { name: string; readOnlyMode: boolean; jobs: { id: string; failedReason: string }[] }[];
    };
    expect(queues.map(({ name, readOnlyMode }) => [name, readOnlyMode])).toEqual([
      [`${prefix}-batches`, true],
      [`${prefix}-batch-looks`, true],
    ]);
    expect(queues[0]?.jobs).toMatchObject([
      { id: 'of-deployer', failedReason: 'invalid_request: waves: there is none' },
    ]);
  });

  it('changes nothing, whatever is asked of it', async () => {
    const at = `${api.origin}/admin/queues/api/queues/${requestQueueName(prefix)}`;
    const headers = { 'x-auth-token': 'root' };
    for (const path of ['/pause', '/of-deployer/retry/failed', '/of-deployer/clean', '/obliterate', '/add']) {
      const answers = ['PUT', 'POST'].map((method) => fetch(`${at}${path}`, { method, headers }));
      expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([404, 404]);
    }
  });

  it('is for administrators alone, who may say who they are as a browser does', async () => {
    const basic = (user: string) => ({ authorization: `Basic ${btoa(`me:${user}`)}` });
    for (const path of ['/', '/api/queues', '/static/favicon.ico']) {
      const nobody = await get(path, {});
      expect(nobody.status).toBe(401);
      expect(nobody.headers.get('www-authenticate')).toMatch(/^Basic realm=/);
      expect((await get(path, { 'x-auth-token': 'ann' })).status).toBe(403);
      expect((await get(path, basic('ann'))).status).toBe(403);
      expect((await get(path, basic('stranger'))).status).toBe(401);
    }
    expect((await get('/', basic('root'))).status).toBe(200);
    const refused = await get('/', { 'x-auth-token': 'ann' });
    expect(await refused.text()).toContain('Policy does not allow queue:show to be performed.');
  });

  it('says so when Redis is away', async () => {
    proxy.refuse();
    proxy.cut();
    const answer = await get('/api/queues');
    expect(answer.status).toBe(503);
    expect(await answer.text()).toContain("The queues can't be read");
    proxy.allow();
    await until('it is back', async () => (await get('/api/queues')).status === 200);
  });
});
