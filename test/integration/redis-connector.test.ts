/** The sockets to Redis: however often one is lost or given up, nothing is left behind on it. */
import { createServer, type Server, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RedisConnector } from '../../src/redis-connector.ts';
import { openRedisStore } from '../../src/store/redis.ts';
import { TcpProxy } from '../support/proxy.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';

let warnings: string[];
const note = ({ message }: Error) => warnings.push(message);
beforeEach(() => {
  warnings = [];
  process.on('warning', note);
});
afterEach(() => {
  process.off('warning', note);
});

/** A server that takes connections and says nothing. */
async function silentServer(): Promise<{ server: Server; port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    sockets.push(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, port: (server.address() as { port: number }).port, sockets };
}

it('is told a hundred times that its socket is to end, and listens once', async () => {
  const { server, port, sockets } = await silentServer();
  const connector = new RedisConnector({ host: '127.0.0.1', port, disconnectTimeout: 20 });
  for (let round = 0; round < 3; round++) {
    const stream = await connector.connect();
    await new Promise((resolve) => stream.once('connect', resolve));
    const before = stream.listenerCount('close');
    for (let i = 0; i < 100; i++) connector.disconnect();
    expect(stream.listenerCount('close')).toBe(before + 1);
    // The peer never ends it: after the time for that it is destroyed, whoever asked and how often.
    await new Promise((resolve) => stream.once('close', resolve));
    expect(stream.destroyed).toBe(true);
  }
  for (const socket of sockets) socket.destroy();
  server.close();
  expect(warnings).toEqual([]);
});

it('survives a Redis that hangs while much is asked, again and again, without a warning', async () => {
  const { redis_url } = testUrls();
  const proxy = await TcpProxy.inFrontOf(redis_url);
  const prefix = uniqueName('connector');
  const store = await openRedisStore({ url: proxy.urlFor(redis_url), prefix, log: silentLog });
  for (let round = 0; round < 3; round++) {
    proxy.hang();
    const asked = await Promise.allSettled(Array.from({ length: 50 }, () => store.clusters.get('nobody')));
    expect(asked.map(({ status }) => status)).toEqual(Array(50).fill('rejected'));
    proxy.allow();
    await expect.poll(() => store.clusters.get('nobody').catch(() => 'away')).toBeNull();
  }
  await store.close();
  await proxy.close();
  expect(warnings).toEqual([]);
});

it('reconnects fifty times, and leaves no listener behind', async () => {
  const { redis_url } = testUrls();
  const proxy = await TcpProxy.inFrontOf(redis_url);
  const redis = new Redis(proxy.urlFor(redis_url), {
    Connector: RedisConnector,
    retryStrategy: () => 1,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
  });
  redis.on('error', () => undefined);
  const counts = () => redis.eventNames().map((name) => `${String(name)}: ${redis.listenerCount(name)}`);
  const answers = () => expect.poll(() => redis.ping().catch(() => 'away'), { interval: 2 }).toBe('PONG');
  await answers();
  const first = counts();
  for (let round = 0; round < 50; round++) {
    const closed = new Promise((resolve) => redis.once('close', resolve));
    proxy.cut();
    await closed;
    await answers();
  }
  expect(counts()).toEqual(first);
  redis.disconnect();
  await proxy.close();
  expect(warnings).toEqual([]);
});
