/**
 * Batches at the border: each wrong request with its clear error, each selector, who sees what, and the
 * command line. No taskmanager runs the batches here (that is `batches.test.ts`); its handlers answer actions.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../cli/program.ts';
import { createClient } from '../../client/index.ts';
import { ask, buildCluster, EVERYBODY, type Harness, startApi } from './api-harness.ts';

let api: Harness;
const ids = new Map<string, string>();
beforeAll(async () => {
  api = await startApi();
  api.answerCalls();
  for (const name of ['shop-1', 'shop-2', 'blog-1']) ids.set(name, await buildCluster(api, name));
  ids.set('foreign', await buildCluster(api, 'foreign', 't2'));
});
afterAll(() => api.close());

const client = () => createClient({ endpoint: api.url });
const post = (batch: object, headers = {}) =>
  ask(`${api.url}/upgrade-batches`, { method: 'POST', json: { batch }, headers });
const to = { datastore_version: '1.1' };
const all = { ...to, selector: { name: '*' } };
const namesOf = (body: { clusters: readonly { cluster_name: string }[] }) =>
  body.clusters.map((one) => one.cluster_name);

describe('a wrong request', () => {
  it.each<readonly [string, object, number, string, string]>([
    [
      'no version',
      { selector: { tag: 'x' } },
      400,
      'invalid_request',
      "batch 'datastore_version' is a required property",
    ],
    ['no selection', to, 400, 'invalid_request', "must say which clusters: 'clusters' or 'selector'"],
    [
      'two selections',
      { ...all, clusters: [randomUUID()] },
      400,
      'invalid_request',
      "either 'clusters' or 'selector', not both",
    ],
    [
      'an empty selector',
      { ...to, selector: {} },
      400,
      'invalid_request',
      'must hold at least one condition',
    ],
    [
      'a misspelt condition',
      { ...to, selector: { tags: 'x' } },
      400,
      'invalid_request',
      "('tags' was unexpected)",
    ],
    [
      'no range',
      { ...to, selector: { version: 'newest!' } },
      400,
      'invalid_request',
      "'newest!' is not a range of versions",
    ],
    ['an id of no form', { ...to, clusters: ['shop'] }, 400, 'invalid_request', 'must be an id such as'],
    ['no cluster', { ...to, clusters: [] }, 400, 'invalid_request', 'has too few items (at least 1)'],
    ['no wave', { ...all, waves: [] }, 400, 'invalid_request', 'has too few items (at least 1)'],
    [
      'an empty share',
      { ...all, waves: [{ share: 0 }] },
      400,
      'invalid_request',
      '0 is less than the minimum of 1',
    ],
    [
      'a share of nothing',
      { ...all, waves: [{ share: 'half' }] },
      400,
      'invalid_request',
      "batch['waves'][0]['share']",
    ],
    [
      'too large a percentage',
      { ...all, waves: [{ failure_budget: '101%' }] },
      400,
      'invalid_request',
      "['failure_budget']",
    ],
    [
      'no place',
      { ...all, waves: [{ max_concurrent: 0 }] },
      400,
      'invalid_request',
      "['max_concurrent'] 0 is less than",
    ],
    [
      'a soak back in time',
      { ...all, waves: [{ soak_seconds: -1 }] },
      400,
      'invalid_request',
      "['soak_seconds'] -1",
    ],
    [
      'a misspelt limit',
      { ...all, waves: [{ max_concurent: 5 }] },
      400,
      'invalid_request',
      "('max_concurent' was unexpected)",
    ],
    [
      'a wrong policy',
      { ...all, policy: { retries: -1 } },
      400,
      'invalid_request',
      "batch['policy']['retries'] -1 is less than",
    ],
    [
      'an unknown cluster',
      { ...to, clusters: [randomUUID()] },
      404,
      'cluster_not_found',
      '1 cluster cannot be found: ',
    ],
    [
      'nothing found',
      { ...to, selector: { tag: 'nowhere' } },
      422,
      'batch_empty',
      'The selector finds no cluster',
    ],
    [
      'an unknown version',
      { ...all, datastore_version: '9.9' },
      404,
      'datastore_version_not_found',
      "version '9.9' cannot be found",
    ],
    [
      'an unknown datastore',
      { ...to, selector: { datastore: 'oracle' } },
      422,
      'batch_empty',
      'finds no cluster',
    ],
    [
      'nothing to do',
      { ...all, datastore_version: '1.0' },
      422,
      'batch_empty',
      'None of the 3 clusters can be upgraded: upgrade_needed',
    ],
  ])('%s', async (_what, batch, status, code, message) => {
    const { status: got, body } = await post(batch);
    const [error] = Object.values(body) as { error: string; message: string }[];
    expect([got, error?.error]).toEqual([status, code]);
    expect(error?.message).toContain(message);
  });

  it('a cluster named twice', async () => {
    const id = ids.get('shop-1');
    expect((await post({ ...to, clusters: [id, { id }] })).body.badRequest.message).toContain(
      'holds a cluster twice',
    );
  });

  it("another tenant's cluster is none at all (G10)", async () => {
    const { status, body } = await post({ ...to, clusters: [ids.get('shop-1'), ids.get('foreign')] });
    expect([status, body.itemNotFound.message]).toEqual([
      404,
      `1 cluster cannot be found: ${ids.get('foreign')}.`,
    ]);
  });

  it('a batch that is not there, whatever is asked of it', async () => {
    for (const path of ['', '/clusters', '/events', '/report']) {
      const { status, body } = await ask(`${api.url}/upgrade-batches/${randomUUID()}${path}`);
      expect([status, body.itemNotFound.error]).toEqual([404, 'batch_not_found']);
    }
    expect(
      (await ask(`${api.url}/upgrade-batches/${randomUUID()}`, { method: 'POST', json: { pause: {} } }))
        .status,
    ).toBe(404);
  });
});

describe('a selection', () => {
  it.each<readonly [object, readonly string[]]>([
    [{ selector: { name: 'shop-?' } }, ['shop-1', 'shop-2']],
    [{ selector: { datastore: 'simulated' } }, ['blog-1', 'shop-1', 'shop-2']],
    [{ selector: { version: '1.x' } }, ['blog-1', 'shop-1', 'shop-2']],
    [{ selector: { version: '>=1.0 <1.1', name: 'blog*' } }, ['blog-1']],
  ])('%j', async (selection, names) => {
    const { status, body } = await post({ ...to, ...selection, dry_run: true });
    expect([status, namesOf(body)]).toEqual([200, names]);
  });

  it('of named clusters keeps their order, and the policies of their own', async () => {
    const clusters = [
      ids.get('shop-2'),
      { id: ids.get('blog-1'), policy: { not_before: '2030-01-01T00:00:00Z' } },
    ];
    const { body } = await post({ ...to, clusters, dry_run: true });
    expect(namesOf(body)).toEqual(['shop-2', 'blog-1']);
  });

  it('among all tenants is for administrators', async () => {
    const wanted = { ...to, selector: { name: '*' }, all_tenants: true, dry_run: true };
    expect(namesOf((await post(wanted)).body)).toEqual(['blog-1', 'foreign', 'shop-1', 'shop-2']);
    const member = await startApi({
      authenticate: async (request, project_id) => ({
        ...(await EVERYBODY.authenticate(request, project_id)),
        credentials: { user_id: 'ann', project_id, roles: ['member'] },
      }),
    });
    try {
      const { status, body } = await ask(`${member.url}/upgrade-batches`, {
        method: 'POST',
        json: { batch: wanted },
      });
      expect([status, body.forbidden.message]).toEqual([
        403,
        'Policy does not allow batch:all_tenants to be performed.',
      ]);
    } finally {
      await member.close();
    }
  });
});

describe('a batch', () => {
  it('begins once under one Idempotency-Key, and is listed, paged and followed', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const first = await post({ ...all, name: 'nightly' }, headers);
    const second = await post({ ...all, name: 'nightly' }, headers);
    expect([first.status, second.status, second.body]).toEqual([202, 202, first.body]);
    const { id } = first.body.batch;
    expect(first.headers.get('location')).toBe(`${api.url}/upgrade-batches/${id}`);
    const listed = [];
    for await (const batch of client().batches.list()) listed.push(batch);
    expect(listed.filter(({ name }) => name === 'nightly')).toHaveLength(1);
    const page = await ask(`${api.url}/upgrade-batches/${id}/clusters?limit=2&state=queued`);
    expect(namesOf(page.body)).toEqual(['blog-1', 'shop-1']);
    const next = await ask(page.body.links[0].href);
    expect([namesOf(next.body), next.body.links]).toEqual([['shop-2'], undefined]);
    expect((await client().batches.events(id)).map(({ type }) => type)).toEqual(['accepted']);
    expect((await ask(`${api.origin}/v1.0/t2/upgrade-batches/${id}`)).status).toBe(404);
  });

  it('is acted on, or refuses with the reason', async () => {
    const { batch } = await client().batches.create(all);
    await expect(client().batches.retry(batch.id)).rejects.toMatchObject({
      code: 'action_refused',
      message: expect.stringContaining("'retry' is refused: no cluster has failed"),
    });
    const wrong = await ask(`${api.url}/upgrade-batches/${batch.id}`, {
      method: 'POST',
      json: { pause: {}, resume: {} },
    });
    expect(wrong.status).toBe(400);
    expect(await client().batches.pause(batch.id)).toMatchObject({ state: 'paused', reason: 'requested' });
    expect(await client().batches.cancel(batch.id)).toMatchObject({
      state: 'cancelled',
      counts: { cancelled: 3 },
    });
    const watched = [];
    for await (const event of client().batches.watch(batch.id)) watched.push(event.type);
    expect(watched.at(-1)).toBe('cancelled');
  });
});

describe('the command line', () => {
  async function coffer(args: readonly string[], isTTY = false) {
    let [stdout, stderr] = ['', ''];
    const code = await run([...args, '--endpoint', api.origin, '--tenant', 't1'], {
      stdout: {
        write: (text) => {
          stdout += text;
        },
        isTTY,
        columns: 120,
        rows: 24,
      },
      stderr: {
        write: (text) => {
          stderr += text;
        },
      },
      env: { NO_COLOR: '1' },
      signal: new AbortController().signal,
      readFile: async () => Promise.reject(new Error('no such file')),
    });
    return { code, stdout, stderr };
  }

  it('shows what a batch would be, begins it, shows, watches, acts and reports', async () => {
    const waves = [
      '--wave',
      'share=1,failures=0,soak=60',
      '--wave',
      'name=shop-*,concurrent=2',
      '--wave',
      'approval',
    ];
    const dry = await coffer(['batch-create', '1.1', '--name-pattern', '*', ...waves, '--dry-run']);
    expect(dry.stdout).toMatch(
      /^3 clusters to simulated 1\.1; 0 left out\.\nWave 1: 1 cluster, of which 0 may fail\.\nWave 2: 2 clusters, of which 1 may fail \(5%\)\.\nWave 3: 0 clusters, of which 0 may fail \(5%\)\.\n/,
    );
    const begun = await coffer([
      'batch-create',
      '1.1',
      '--cluster',
      'shop-1',
      '--cluster',
      'blog-1',
      '--json',
    ]);
    const { id } = JSON.parse(begun.stdout).batch;
    expect((await coffer(['batch-list'])).stdout).toContain(id);
    expect((await coffer(['batch-show', id])).stdout).toContain('scheduled');
    expect((await coffer(['batch-pause', id])).stdout).toContain(`To go on: coffer batch-resume ${id}`);
    expect((await coffer(['batch-watch', id, '--wait'])).code).toBe(6);
    expect((await coffer(['batch-skip', id, '--cluster', 'blog-1'])).stdout).toContain('is paused');
    expect((await coffer(['batch-approve', id])).code).toBe(4);
    expect((await coffer(['batch-cancel', id])).stdout).toContain('is cancelled');
    const bars = await coffer(['batch-watch', id], true);
    expect([bars.code, bars.stdout]).toEqual([1, expect.stringMatching(/wave 1 .*█.* 1\/1 {2}1 cancelled/)]);
    const csv = (await coffer(['batch-report', id])).stdout.split('\r\n');
    expect(csv).toHaveLength(4);
    expect(csv[2]).toMatch(/,blog-1,t1,2,1\.0,1\.1,skipped,,0,0,,skipped by /);
    expect(JSON.parse((await coffer(['batch-report', id, '--json'])).stdout).clusters).toHaveLength(2);
  });

  it.each([
    [['batch-create', '1.1'], 'either --cluster, or --datastore'],
    [['batch-create', '1.1', '--cluster', 'shop-1', '--tag', 'x'], 'either --cluster, or --datastore'],
    [['batch-create', '1.1', '--tag', 'x', '--wave', 'half'], "'half' is not a part of a wave"],
    [['batch-create', '1.1', '--tag', 'x', '--wave', 'share=some'], 'must be a whole number'],
  ])('%j: says what is wrong', async (args, message) => {
    const { code, stderr } = await coffer(args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});
