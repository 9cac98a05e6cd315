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
