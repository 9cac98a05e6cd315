/**
 * TLS to RabbitMQ, to Redis, and for those who ask us: with the right authority it works, with a wrong
 * one it is refused and the log says why. Certificates are made here, servers are private to this test.
 */

import { readFileSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadApiConfig } from '../../api/config.ts';
import { serveHttp } from '../../api/http/serve.ts';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import { amqpTls, redisTls } from '../../src/config.ts';
import { sleep } from '../../src/service.ts';
import { openRedisStore } from '../../src/store/redis.ts';
import { createRegistry } from '../../src/telemetry.ts';
import { makeAuthority, type Pair } from '../support/certificates.ts';
import { freePort } from '../support/ports.ts';
import { rabbitmqProgram, startRabbitmq } from '../support/rabbitmq.ts';
import { type PrivateRedis, redisProgram, startRedis } from '../support/redis.ts';
import { silentLog } from '../support/services.ts';
import { until } from '../support/stack.ts';
import { MemoryBroker } from '../twins/bus.ts';
import { MemoryStore } from '../twins/store.ts';
import { EVERYBODY } from './api-harness.ts';

let folder: string;
let ours: Awaited<ReturnType<typeof makeAuthority>>;
let wrong: Awaited<ReturnType<typeof makeAuthority>>;
let server: Pair;
let client: Pair;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'coffer-tls-'));
  ours = await makeAuthority(folder, 'ours');
  wrong = await makeAuthority(folder, 'wrong');
  server = await ours.issue('server', ['localhost', 'broker.example.org']);
  client = await ours.issue('client');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const urls = { COFFER_AMQP_URL: 'amqp://unused', COFFER_REDIS_URL: 'redis://unused' };

describe.skipIf(!redisProgram)('Redis under TLS', () => {
  let redis: PrivateRedis;
  let url: string;

  beforeAll(async () => {
    const port = await freePort();
    const files = [
      '--tls-cert-file',
      server.cert,
      '--tls-key-file',
      server.key,
      '--tls-ca-cert-file',
      ours.ca,
    ];
    redis = await startRedis(['--tls-port', String(port), ...files, '--requirepass', 'a-secret']);
    url = `rediss://:a-secret@127.0.0.1:${port}`;
  });
  afterAll(() => redis?.close());

  const open = (settings: Readonly<Record<string, string>>) => {
    const config = loadApiConfig({ ...urls, COFFER_REDIS_URL: url, ...settings });
    return openRedisStore({ url, tls: redisTls(config), log: silentLog });
  };

  it('is used with its authority and our certificate', async () => {
    const store = await open({
      COFFER_REDIS_CA_FILE: ours.ca,
      COFFER_REDIS_CERT_FILE: client.cert,
      COFFER_REDIS_KEY_FILE: client.key,
    });
    expect(await store.health()).toEqual({ status: 'ok' });
    await store.close();
  });

  it('is refused under another authority, by another name, and without our certificate', async () => {
    const ca = { COFFER_REDIS_CA_FILE: ours.ca };
    const own = { COFFER_REDIS_CERT_FILE: client.cert, COFFER_REDIS_KEY_FILE: client.key };
    await expect(open({ ...own, COFFER_REDIS_CA_FILE: wrong.ca })).rejects.toThrow(
      /Redis can't be reached: .*certificate/,
    );
    await expect(open({ ...own, ...ca, COFFER_REDIS_SERVER_NAME: 'other.example.org' })).rejects.toThrow(
      /does not match certificate/,
    );
    await expect(open(ca)).rejects.toThrow(/Redis can't be reached/);
  });
});

describe.skipIf(!rabbitmqProgram)('RabbitMQ under TLS', () => {
  let broker: Awaited<ReturnType<typeof startRabbitmq>>;
  let url: string;

  beforeAll(async () => {
    const port = await freePort();
    broker = await startRabbitmq(port, [
      `listeners.ssl.1 = 127.0.0.1:${port}`,
      `ssl_options.cacertfile = ${ours.ca}`,
      `ssl_options.certfile = ${server.cert}`,
      `ssl_options.keyfile = ${server.key}`,
      'ssl_options.verify = verify_peer',
      'ssl_options.fail_if_no_peer_cert = true',
    ]);
    url = `amqps://guest:guest@127.0.0.1:${port}`;
  }, 200_000);
  afterAll(() => broker?.close());

  /** Connects, or what the log says of why not. */
  async function connected(settings: Readonly<Record<string, string>>): Promise<true | string> {
    const lines: string[] = [];
    const log = pino({ level: 'debug' }, { write: (line: string) => lines.push(line) });
    const config = loadApiConfig({ ...urls, COFFER_AMQP_URL: url, ...settings });
    const bus = await openAmqpBus({ url, tls: amqpTls(config), name: 'tls', log, control_exchange: 'tls' });
    const said = () => lines.find((line) => line.includes('no connection'));
    const outcome = await until('it is connected, or says why not', async () => bus.isConnected() || said());
    // Its dead letters are read over a connection of their own.
    if (outcome === true) expect(await bus.deadLetters?.list(1)).toMatchObject({ total: 0 });
    await bus.close();
    return outcome;
  }

  it('is used with its authority and our certificate, by the name that its own bears', async () => {
    const own = { COFFER_AMQP_CERT_FILE: client.cert, COFFER_AMQP_KEY_FILE: client.key };
    expect(await connected({ ...own, COFFER_AMQP_CA_FILE: ours.ca })).toBe(true);
    const named = { COFFER_AMQP_CA_FILE: ours.ca, COFFER_AMQP_SERVER_NAME: 'broker.example.org' };
    expect(await connected({ ...own, ...named })).toBe(true);
  });

  it('is refused under another authority and by another name, and the log says why', async () => {
    const own = { COFFER_AMQP_CERT_FILE: client.cert, COFFER_AMQP_KEY_FILE: client.key };
    expect(await connected({ ...own, COFFER_AMQP_CA_FILE: wrong.ca })).toMatch(/certificate/);
    const named = { COFFER_AMQP_CA_FILE: ours.ca, COFFER_AMQP_SERVER_NAME: 'other.example.org' };
    expect(await connected({ ...own, ...named })).toMatch(/does not match certificate/);
    expect(await connected({ COFFER_AMQP_CA_FILE: ours.ca })).toMatch(/no connection/);
  });
});

describe('HTTP under TLS', () => {
  it('is served with the certificate, and with a renewed one as soon as it is there', async () => {
    const [cert, key] = [join(folder, 'served.crt'), join(folder, 'served.key')];
    const serve = async (pair: Pair) => {
      await copyFile(pair.key, key);
      await copyFile(pair.cert, cert);
    };
    await serve(server);
    const port = await freePort();
    const config = loadApiConfig({
      ...urls,
      COFFER_TLS_CERT: cert,
      COFFER_TLS_KEY: key,
      COFFER_API_PORT: String(port),
    });
    const store = new MemoryStore({ sleep });
    const newId = () => crypto.randomUUID();
    const bus = new MemoryBroker({ now: Date.now, newId, after: () => () => undefined }).connect();
    const wakeBatch = () => undefined;
    const common = { store, bus, log: silentLog, now: Date.now, newId, wakeBatch };
    const rest = { max_clusters: null, provisioner: 'local' as const, masterKey: null };
    const deps = { ...common, ...rest, access: EVERYBODY };
    const http = await serveHttp(deps, config, createRegistry());
    try {
      const first = await get(port, ours.ca);
      expect(first).toMatchObject({ status: 200, subject: 'server' });
      expect(first.body).toContain(`https://localhost:${port}/v1.0/`);
      expect(first.security).toBe('max-age=31536000');
      await expect(get(port, wrong.ca)).rejects.toThrow(/certificate/);
      await serve(await ours.issue('renewed'));
      await until(
        'the renewed certificate is served',
        async () => (await get(port, ours.ca)).subject === 'renewed',
      );
    } finally {
      await http.stop();
    }
  });
});

describe('a configuration of TLS', () => {
  it('is refused whole when its parts do not fit', () => {
    const wrongs = {
      COFFER_AMQP_URL: 'amqps://localhost',
      COFFER_AMQP_CA_FILE: '/nowhere',
      COFFER_AMQP_CERT_FILE: client.cert,
      COFFER_REDIS_URL: 'redis://localhost',
      COFFER_REDIS_CA_FILE: ours.ca,
      COFFER_TLS_CERT: server.cert,
      COFFER_TLS_KEY: client.key,
    };
    const reasons = [
      /COFFER_AMQP_CA_FILE: \/nowhere can't be read/,
      /COFFER_AMQP_KEY_FILE: is not set/,
      /COFFER_REDIS_CA_FILE: of use only if COFFER_REDIS_URL begins with rediss/,
      /COFFER_TLS_CERT: .* are not a certificate and its key/,
    ];
    for (const reason of reasons) expect(() => loadApiConfig(wrongs)).toThrow(reason);
  });
});

/** Over a connection of its own. */
function get(port: number, ca: string) {
  const options = { host: 'localhost', port, path: '/', ca: readFileSync(ca), agent: false } as const;
  return new Promise<{ status: number; body: string; subject: string; security: unknown }>(
    (resolve, reject) => {
      const asked = request(options, (response) => {
        const { CN } = (response.socket as import('node:tls').TLSSocket).getPeerCertificate().subject;
        let body = '';
        response.on('data', (chunk: Buffer) => {
          body += chunk.toString();
        });
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body,
            subject: String(CN),
            security: response.headers['strict-transport-security'],
          }),
        );
      });
      asked.on('error', reject);
      asked.end();
    },
  );
}
