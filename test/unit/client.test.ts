import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { CofferApiError, createClient, type EventDocument } from '../../client/index.ts';

/** The client against a server that misbehaves. Against the real api: test/integration/cli.test.ts. */
let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function serve(handler: Handler, options: { readonly timeoutMs?: number } = {}) {
  server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return createClient({ endpoint: `http://127.0.0.1:${port}/v1.0/t/`, ...options });
}

const eventText = (seq: number, type = 'step_phase') =>
  `id: ${seq}\ndata: ${JSON.stringify({ seq, type })}\n\n`;

async function collect(events: AsyncIterable<EventDocument>): Promise<number[]> {
  const seen: number[] = [];
  for await (const { seq } of events) seen.push(seq);
  return seen;
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'fine',
    (error: CofferApiError) => error.code,
  );

describe('watching', () => {
  it('goes on after the last number seen when a connection breaks, in the middle of an event too', async () => {
    const asked: (string | undefined)[] = [];
    const parts = [
      `retry: 1\n\n${eventText(1)}${eventText(2)}id: 3\nda`,
      `: hi\n\n${eventText(3)}`,
      eventText(4, 'succeeded'),
    ];
    const client = await serve((request, response) => {
      asked.push(request.headers['last-event-id']?.toString());
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(parts[asked.length - 1], () => setTimeout(() => response.destroy(), 20));
    });
    const lost: unknown[] = [];
    expect(await collect(client.upgrades.watch('u', { onDisconnect: (error) => lost.push(error) }))).toEqual([
      1, 2, 3, 4,
    ]);
    expect(asked).toEqual(['0', '2', '3']);
    expect(lost).toHaveLength(2);
  });

  it('drops what a server says twice, and reads characters cut in two', async () => {
    const text = Buffer.from(
      `${eventText(1)}${eventText(1)}${eventText(2, 'succeeded').replace('"seq"', '"message":"ü","seq"')}`,
    );
    const client = await serve((_request, response) => {
      const middle = text.indexOf(0xc3) + 1;
      response.write(text.subarray(0, middle), () =>
        setTimeout(() => response.end(text.subarray(middle)), 20),
      );
    });
    const events: EventDocument[] = [];
    for await (const event of client.upgrades.watch('u')) events.push(event);
    expect(events.map(({ seq, message }) => [seq, message])).toEqual([
      [1, undefined],
      [2, 'ü'],
    ]);
  });

  it('waits while the server is away, and ends when it has nothing more', async () => {
    let count = 0;
    const client = await serve((_request, response) => {
      count += 1;
      if (count < 3) return void response.writeHead(503).end('{}');
      response.writeHead(204).end();
    });
    expect(await collect(client.upgrades.watch('u', { after: 9 }))).toEqual([]);
    expect(count).toBe(3);
  });

  it('outlives a server that is away just when a pause is to be looked at', async () => {
    let asked = 0;
    const client = await serve((request, response) => {
      if (request.url?.endsWith('/events')) return void response.end(eventText(1, 'paused'));
      asked += 1;
      response.writeHead(asked < 6 ? 503 : 200).end('{"upgrade": {"state": "paused"}}');
    });
    expect((await client.upgrades.waitFor('u', { until: 'settled' })).state).toBe('paused');
    expect(asked).toBe(7);
  });

  it('gives up on what waiting does not mend', async () => {
    const client = await serve((_request, response) => {
      response.writeHead(404, { 'x-openstack-request-id': 'req-1' });
      response.end('{"itemNotFound": {"code": 404, "message": "gone", "error": "upgrade_not_found"}}');
    });
    const error = await collect(client.upgrades.watch('u')).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(CofferApiError);
    expect(error).toMatchObject({
      code: 'upgrade_not_found',
      status: 404,
      requestId: 'req-1',
      message: 'gone',
    });
  });

  it('ends with the reason of its signal', async () => {
    const client = await serve((_request, response) => response.write(eventText(1)));
    const stop = new AbortController();
    const reason = new Error('enough');
    const watching = (async () => {
      for await (const _ of client.upgrades.watch('u', { signal: stop.signal })) stop.abort(reason);
    })();
    await expect(watching).rejects.toBe(reason);
  });

  it('leaves no stream open when the loop is left', async () => {
    let isClosed = false;
    const client = await serve((_request, response) => {
      response.write(eventText(1));
      response.on('close', () => {
        isClosed = true;
      });
    });
    for await (const _ of client.upgrades.watch('u')) break;
    await expect.poll(() => isClosed).toBe(true);
  });
});

describe('a request', () => {
  it('that only reads is tried again when nobody answers; one that changes once more, under the same key; a deletion never', async () => {
    let count = 0;
    const keys: unknown[] = [];
    const client = await serve((request, response) => {
      count += 1;
      keys.push(request.headers['idempotency-key']);
      response.destroy();
    });
    expect(await codeOf(client.clusters.get('c'))).toBe('unreachable');
    expect(count).toBe(3);
    expect(await codeOf(client.clusters.upgrade('c', '1'))).toBe('unreachable');
    expect(count).toBe(5);
    expect(keys.slice(0, 3)).toEqual([undefined, undefined, undefined]);
    expect(keys[3]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[4]).toBe(keys[3]);
    expect(await codeOf(client.clusters.delete('c'))).toBe('unreachable');
    expect(count).toBe(6);
  });

  it('that changes is sent again after a 503, and each has a key of its own', async () => {
    const keys = new Set<unknown>();
    let count = 0;
    const client = await serve((request, response) => {
      keys.add(request.headers['idempotency-key']);
      count += 1;
      response.writeHead(count === 1 ? 503 : 200).end('{"cluster": {"id": "x"}}');
    });
    await client.clusters.upgrade('c', '1');
    await client.clusters.upgrade('c', '1');
    expect(count).toBe(3);
    expect(keys.size).toBe(2);
  });

  it('that the server is still at work on is waited for, under its key', async () => {
    const keys: unknown[] = [];
    const client = await serve((request, response) => {
      keys.push(request.headers['idempotency-key']);
      if (keys.length === 1) return void response.writeHead(503).end('{}');
      if (keys.length < 4) {
        response.writeHead(409);
        response.end('{"conflict": {"code": 409, "message": "wait", "error": "request_in_flight"}}');
        return;
      }
      response.writeHead(202).end('{"cluster": {"id": "x"}}');
    });
    await client.clusters.upgrade('c', '1');
    expect(keys).toEqual(Array.from({ length: 4 }, () => keys[0]));
  });

  it('answered by something else than Coffer says so', async () => {
    const client = await serve((request, response) => {
      response.writeHead(request.url?.endsWith('ok') ? 200 : 502).end('<html>');
    });
    expect(await codeOf(client.clusters.get('ok'))).toBe('unexpected_answer');
    expect(await codeOf(client.clusters.get('bad'))).toBe('unexpected_answer');
  });

  it('takes documents, ids and names, whatever signs are in them', async () => {
    const seen: string[] = [];
    const client = await serve((request, response) => {
      let body = '';
      request.on('data', (data) => {
        body += data;
      });
      request.on('end', () => {
        seen.push(`${request.method} ${request.url} ${body}`);
        response.end('{"cluster": {"id": "x"}}');
      });
    });
    await client.clusters.get({ id: 'a-b' });
    await client.clusters.get('my shop/1');
    await client.clusters.upgrade({ id: 'a-b' }, { id: 'v' }, { canary: 1 });
    await client.upgrades.retry({ id: 'a-b' });
    expect(seen).toEqual([
      'GET /v1.0/t/clusters/a-b ',
      'GET /v1.0/t/clusters/my%20shop%2F1 ',
      'POST /v1.0/t/clusters/a-b {"upgrade":{"datastore_version":"v","policy":{"canary":1}}}',
      'POST /v1.0/t/upgrades/a-b {"retry":{}}',
    ]);
  });

  it('takes too long at most for so long', async () => {
    const client = await serve(() => undefined, { timeoutMs: 50 });
    expect(await codeOf(client.clusters.delete('c'))).toBe('unreachable');
  });
});
