/**
 * `COFFER_AUTH=keystone` with a real Keystone: whose tokens are believed, for how long, what happens
 * while Keystone is away, and the OpenStack command line through the catalogue.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openAccess } from '../../api/access/open.ts';
import { loadApiConfig } from '../../api/config.ts';
import { ask, buildCluster, type Harness, startApi } from '../integration/api-harness.ts';
import { blocksOf, runScript } from '../support/docs.ts';
import { ADMIN, Keystone, type SignIn } from '../support/keystone.ts';
import { describeInterop, openstack } from '../support/python.ts';
import { silentLog } from '../support/services.ts';

const SERVICE = { user: 'coffer', password: "coffer's own secret", project: 'service' };
const ANN = { user: 'ann', password: 'anns secret', project: 'shop' };
const BOB = { user: 'bob', password: 'bobs secret', project: 'bank' };
const CACHE_SECONDS = 60;

describeInterop('with a real Keystone', () => {
  let keystone: Keystone;
  let counter: Awaited<ReturnType<typeof countRequests>>;
  let api: Harness;
  let shop: string;
  let bank: string;
  /** Moves the api's clock on: what it has cached grows old. */
  let later_ms = 0;

  beforeAll(async () => {
    keystone = await Keystone.start();
    counter = await countRequests(keystone.port);
    await keystone.createProject('service');
    shop = await keystone.createProject('shop');
    bank = await keystone.createProject('bank');
    await keystone.createUser(SERVICE, 'service');
    await keystone.createUser(ANN, 'member');
    await keystone.createUser(BOB, 'member');
    const config = loadApiConfig({
      COFFER_AMQP_URL: 'amqp://unused',
      COFFER_REDIS_URL: 'redis://unused',
      COFFER_AUTH: 'keystone',
      COFFER_KEYSTONE_URL: counter.url,
      COFFER_KEYSTONE_PUBLIC_URL: keystone.url,
      COFFER_KEYSTONE_USER: SERVICE.user,
      COFFER_KEYSTONE_PASSWORD: SERVICE.password,
      COFFER_KEYSTONE_CACHE_SECONDS: String(CACHE_SECONDS),
      // A loaded machine must be waited for.
      COFFER_KEYSTONE_TIMEOUT_SECONDS: '60',
    });
    const add = () => undefined;
    api = await startApi(openAccess(config, { log: silentLog, now: () => Date.now() + later_ms, add }));
  }, 300_000);

  afterAll(async () => {
    await api?.close();
    await counter?.close();
    await keystone?.stop();
  });

  const list = (token: string | undefined, tenant = shop) =>
    ask(`${api.origin}/v1.0/${tenant}/clusters`, {
      headers: token === undefined ? {} : { 'x-auth-token': token },
    });
  const tokenFor = async (who: SignIn) => (await keystone.token(who)).token;
  const growOld = () => {
    later_ms += CACHE_SECONDS * 1000 + 1;
  };

  it('lets a member of a project at its clusters, and at no others', async () => {
    const [ann, bob] = [await tokenFor(ANN), await tokenFor(BOB)];
    const id = await buildCluster(api, 'anns', shop, { 'x-auth-token': ann });
    expect((await list(ann)).body.clusters).toMatchObject([{ name: 'anns' }]);
    expect((await list(bob, bank)).body.clusters).toEqual([]);
    const foreign = await list(bob, shop);
    expect([foreign.status, foreign.body.forbidden.error]).toEqual([403, 'forbidden']);
    const hidden = await ask(`${api.origin}/v1.0/${bank}/clusters/${id}`, {
      headers: { 'x-auth-token': bob },
    });
    expect([hidden.status, hidden.body.itemNotFound.error]).toEqual([404, 'cluster_not_found']);
  });

  it('lets an administrator at all of them, and keeps the rest to them', async () => {
    const [ann, admin] = [await tokenFor(ANN), await tokenFor(ADMIN)];
    expect((await list(admin, shop)).body.clusters).toMatchObject([{ name: 'anns' }]);
    const letters = (token: string, tenant: string) =>
      ask(`${api.origin}/v1.0/${tenant}/dead-letters`, { headers: { 'x-auth-token': token } });
    expect((await letters(ann, shop)).status).toBe(403);
    expect((await letters(admin, shop)).status).toBe(200);
  });

  it('refuses forged, expired and missing tokens, and says where to sign in', async () => {
    const real = await tokenFor(ANN);
    const forged = `${real.slice(0, -8)}AAAAAAAA`;
    for (const token of [
      undefined,
      'x',
      forged,
      await keystone.expiredToken(ANN),
      'two words',
      'a'.repeat(5000),
    ]) {
      const { status, headers, body } = await list(token);
      expect([status, body.unauthorized.error]).toEqual([401, 'unauthorized']);
      expect(headers.get('www-authenticate')).toBe(`Keystone uri="${keystone.url}"`);
      expect(JSON.stringify(body)).not.toContain(forged);
    }
  });

  it('does not ask again about a token that Keystone does not know', async () => {
    await list('made-up');
    const asked = counter.validations();
    for (let i = 0; i < 5; i++) expect((await list('made-up')).status).toBe(401);
    expect(counter.validations()).toBe(asked);
  });

  it('asks about a token once, however many requests come with it', async () => {
    const token = await tokenFor(ANN);
    const asked = counter.validations();
    const answers = await Promise.all(Array.from({ length: 100 }, () => list(token)));
    expect(answers.map(({ status }) => status)).toEqual(Array(100).fill(200));
    expect(counter.validations() - asked).toBe(1);
    growOld();
    expect((await list(token)).status).toBe(200);
    expect(counter.validations() - asked).toBe(2);
  });

  it('lets a flood of made-up tokens delay nobody from another address', async () => {
    const token = await tokenFor(BOB);
    const before = counter.validations();
    const flood = Array.from({ length: 60 }, (_, at) => list(`made-up-${at}`));
    const since = () => counter.asked.slice(before);
    await expect.poll(() => since().length, { interval: 5 }).toBeGreaterThanOrEqual(32);
    const url = `${api.origin}/v1.0/${bank}/clusters`;
    expect(await statusFrom('127.0.0.2', url, token)).toBe(200);
    expect(new Set((await Promise.all(flood)).map(({ status }) => status))).toEqual(new Set([401]));
    // One by one as they came, all of the flood would have been asked about before.
    expect(since()).toHaveLength(61);
    expect(since().indexOf(token)).toBeLessThan(60);
  });

  it('refuses a revoked token as soon as what it knows of it is old', async () => {
    const token = await tokenFor(ANN);
    expect((await list(token)).status).toBe(200);
    await keystone.revoke(token);
    growOld();
    expect((await list(token)).status).toBe(401);
  });

  it('signs in again when its own token is no longer valid', async () => {
    await keystone.replaceKeys();
    expect((await list(await tokenFor(ANN))).status).toBe(200);
  });

  it('lets known callers go on while Keystone is away, and asks others to come again', async () => {
    const known = await tokenFor(ANN);
    const unknown = await tokenFor(BOB);
    expect((await list(known)).status).toBe(200);
    await keystone.kill();
    expect((await list(known)).status).toBe(200);
    const { status, headers, body } = await list(unknown, bank);
    expect([status, headers.get('retry-after'), body.serviceUnavailable.error]).toEqual([
      503,
      '2',
      'identity_unavailable',
    ]);
    await keystone.serve();
    expect((await list(unknown, bank)).status).toBe(200);
  });

  it('takes what docs/security.md says to type, as its administrator', async () => {
    const block = blocksOf('docs/security.md').find(({ text }) => text.startsWith('openstack user create'));
    const signIn = {
      ...{ OS_AUTH_TYPE: 'v3password', OS_AUTH_URL: keystone.url, OS_REGION_NAME: 'RegionOne' },
      ...{ OS_USERNAME: ADMIN.user, OS_PASSWORD: ADMIN.password, OS_PROJECT_NAME: ADMIN.project },
      ...{ OS_USER_DOMAIN_NAME: 'Default', OS_PROJECT_DOMAIN_NAME: 'Default' },
    };
    // One whose name is free yet, and a password where nobody is there to be asked.
    const script = block?.text
      .replaceAll(' coffer', ' coffer-of-docs')
      .replace('--password-prompt', "--password 'a secret'");
    const folder = await mkdtemp(join(tmpdir(), 'coffer-docs-'));
    const typed = [
      'role assignment list --user coffer-of-docs --names -f value -c Role',
      'endpoint list -f value',
      // A second service of this type makes the catalogue ambiguous for what comes after it.
      'service delete coffer-of-docs',
    ];
    const looks = typed.map((command) => `openstack ${command}`);
    const said = await runScript('docs/security.md', [script, ...looks].join('\n'), folder, signIn);
    await rm(folder, { recursive: true });
    expect(said).toContain('\nservice\n');
    expect(said).toContain('http://coffer.example.org:8779/v1.0/%(tenant_id)s');
  });

  it('is found by the OpenStack command line through the catalogue', async () => {
    await keystone.register(`${api.origin}/v1.0/%(tenant_id)s`);
    const database = (who: SignIn, ...command: readonly string[]) =>
      openstack([
        ...['--os-auth-type', 'v3password', '--os-auth-url', keystone.url, '--os-region-name', 'RegionOne'],
        ...['--os-username', who.user, '--os-password', who.password, '--os-project-name', who.project],
        ...['--os-user-domain-name', 'Default', '--os-project-domain-name', 'Default'],
        ...['database', ...command],
      ]);
    const anns = await database(ANN, 'cluster', 'list', '-f', 'json');
    expect(anns).toMatchObject({ code: 0 });
    expect(JSON.parse(anns.stdout)).toMatchObject([{ Name: 'anns', Datastore: 'simulated' }]);
    const bobs = await database(BOB, 'cluster', 'show', 'anns');
    expect(bobs.code).not.toBe(0);

    const reset = (who: SignIn) => database(who, 'cluster', 'reset', 'status', JSON.parse(anns.stdout)[0].ID);
    expect(await reset(ANN)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        'Policy does not allow cluster:reset-status to be performed. (HTTP 403)',
      ),
    });
    expect(await reset(BOB)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^No cluster with a name or ID/),
    });
    // They may; no taskmanager is there to do it, and the command shows what is said of that.
    expect(await reset(ADMIN)).toMatchObject({ code: 1, stderr: expect.stringContaining('(HTTP 503)') });
  }, 180_000);
});

/** Asks from an address of this machine that is not the usual one. */
function statusFrom(localAddress: string, url: string, token: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asking = request(url, { localAddress, headers: { 'x-auth-token': token } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    asking.on('error', reject).end();
  });
}

/** Stands in front of Keystone and notes the tokens about which it is asked. */
async function countRequests(port: number) {
  const asked: string[] = [];
  let before: Promise<unknown> = Promise.resolve();
  const server: Server = createServer((request, response) => {
    if (request.method === 'GET' && request.url?.startsWith('/v3/auth/tokens'))
      asked.push(String(request.headers['x-subject-token']));
    // Keystone's own small server serves one at a time, and drops connections where many wait.
    const answered = before.then(() => forward(request, port));
    before = answered.catch(() => undefined);
    answered.then(
      async (answer) => {
        response.writeHead(answer.status, Object.fromEntries(answer.headers));
        response.end(Buffer.from(await answer.arrayBuffer()));
      },
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    validations: () => asked.length,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

async function forward(request: IncomingMessage, port: number): Promise<Response> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const headers = Object.entries(request.headers).flatMap(([name, value]) =>
    typeof value === 'string' && !['host', 'connection', 'content-length'].includes(name)
      ? [[name, value] as [string, string]]
      : [],
  );
  const body = Buffer.concat(chunks);
  const url = `http://127.0.0.1:${port}${request.url}`;
  return fetch(url, { method: request.method ?? 'GET', headers, ...(body.length > 0 && { body }) });
}
