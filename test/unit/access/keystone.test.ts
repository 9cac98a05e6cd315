/** What is said to whom when Keystone is not as it should be. With a real one: test/interop/keystone.test.ts. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { afterEach, expect, it } from 'vitest';
import { believeKeystone } from '../../../api/access/keystone.ts';
import { silentLog } from '../../support/services.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function serve(answer: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(answer ?? (() => undefined));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const TOKEN_LIFE_MS = 3_600_000;

/** Speaks as Keystone does, and answers no question whose a token is until it is told to. */
async function slowKeystone() {
  const held: { readonly token: string; readonly answer: () => void }[] = [];
  const url = await serve((request, response) => {
    const answer = (status: number, headers: Record<string, string> = {}) => {
      const user = { id: 'u', name: 'u', domain: { id: 'default' } };
      const project = { id: 'shop', name: 'shop', domain: { id: 'default' } };
      const expires_at = new Date(Date.now() + TOKEN_LIFE_MS).toISOString();
      response.writeHead(status, headers).end(JSON.stringify({ token: { expires_at, user, project } }));
    };
    if (request.method === 'POST') return answer(201, { 'x-subject-token': 'our-own' });
    const token = String(request.headers['x-subject-token']);
    held.push({ token, answer: () => answer(token.startsWith('real') ? 200 : 404) });
  });
  return {
    held,
    authenticate: believeKeystone({
      ...{ url, user: 'coffer', password: 'secret', project: 'service' },
      ...{ user_domain: 'Default', project_domain: 'Default', cache_ms: 60_000, timeout_ms: 60_000 },
      ...{ log: silentLog, now: Date.now },
    }),
    /** Answers the oldest question, once it is there. */
    async answerOne() {
      await expect.poll(() => held.length).toBeGreaterThan(0);
      const [oldest] = held.splice(0, 1);
      oldest?.answer();
      return oldest?.token;
    },
  };
}

const from = (ip: string, token: string) =>
  ({ ip, headers: { 'x-auth-token': token } }) as unknown as FastifyRequest;
const PLACES = 32;

it('lets a flood of made-up tokens delay nobody from elsewhere, and nobody who is known', async () => {
  const { held, authenticate, answerOne } = await slowKeystone();
  const known = authenticate(from('10.0.0.2', 'real-known'), 'shop');
  await answerOne();
  await known;

  const flood = Array.from({ length: 300 }, (_, at) =>
    authenticate(from('10.0.0.1', `made-up-${at}`), `t${at}`).catch((err: { code: string }) => err.code),
  );
  await expect.poll(() => held.length).toBe(PLACES);
  // Needs no place.
  expect(await authenticate(from('10.0.0.2', 'real-known'), 'shop')).toMatchObject({ project_id: 'shop' });

  // From elsewhere; and through the same proxy as the flood, for a tenant that is known.
  const others = [from('10.0.0.2', 'real-elsewhere'), from('10.0.0.1', 'real-behind')];
  const let_in = Promise.all(others.map((request) => authenticate(request, 'shop')));
  const answered: unknown[] = [];
  for (let i = 0; i < PLACES + 4; i++) answered.push(await answerOne());
  expect(answered).toEqual(expect.arrayContaining(['real-elsewhere', 'real-behind']));
  expect(await let_in).toMatchObject([{ project_id: 'shop' }, { project_id: 'shop' }]);

  while (answered.length < 302) answered.push(await answerOne());
  expect(new Set(await Promise.all(flood))).toEqual(new Set(['unauthorized']));
});

it.each([307, 301])(
  'follows no redirection (%d): neither our password nor a token goes elsewhere',
  async (status) => {
    const heard: string[] = [];
    const elsewhere = await serve((request, response) => {
      heard.push(String(request.url));
      response.end('{}');
    });
    const url = await serve((_request, response) => {
      response.writeHead(status, { location: `${elsewhere}/v3/auth/tokens` }).end();
    });
    const authenticate = believeKeystone({
      ...{ url, user: 'coffer', password: 'secret', project: 'service' },
      ...{ user_domain: 'Default', project_domain: 'Default', cache_ms: 0, timeout_ms: 30_000 },
      ...{ log: silentLog, now: Date.now },
    });
    const request = { headers: { 'x-auth-token': 'a-token' } } as unknown as FastifyRequest;
    await expect(authenticate(request, 't1')).rejects.toMatchObject({ code: 'identity_unavailable' });
    expect(heard).toEqual([]);
  },
);
