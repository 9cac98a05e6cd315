/**
 * Messages that nobody could act on, from the consumer that buried them to the person who decides.
 * Not covered: which messages are buried (conformance of the bus).
 */
import { connect } from 'amqplib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildApp } from '../../api/app.ts';
import { run } from '../../cli/program.ts';
import { createClient } from '../../client/index.ts';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import type { Bus, DeadLetter, DeadLetters, Handler } from '../../src/bus/bus.ts';
import { DeadLetterAnswer, DeadLettersAnswer } from '../../src/contract/dead-letters.ts';
import { CofferError } from '../../src/core/errors.ts';
import { newInbox } from '../conformance/bus.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';
import { ask, EVERYBODY, type Harness, startApi } from './api-harness.ts';

const refuse: Handler = async () => {
  throw new CofferError('cluster_busy', 'the cluster is busy');
};

/** Waits for what is under way. */
async function eventually<T>(look: () => Promise<T | null | undefined | false>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What has come to lie in the queue, once there are `count` letters. */
function letters(deadLetters: DeadLetters, count: number): Promise<readonly DeadLetter[]> {
  return eventually(async () => {
    const { letters } = await deadLetters.list(100);
    return letters.length >= count && letters;
  });
}

/** A message as somebody else may send it. */
async function publish(exchange: string, topic: string, content: string, options = {}): Promise<void> {
  const stranger = await connect(testUrls().amqp_url);
  const channel = await stranger.createConfirmChannel();
  channel.publish(exchange, topic, Buffer.from(content), options);
  await channel.waitForConfirms();
  await stranger.close();
}

describe('the dead letters on RabbitMQ', () => {
  const control_exchange = uniqueName('trove');
  let dead_letters: string;
  let topic: string;
  let bus: Bus & { readonly deadLetters: DeadLetters };
  let other: typeof bus;
  const open = async (): Promise<typeof bus> => {
    const { amqp_url: url } = testUrls();
    const opened = await openAmqpBus({ url, name: 'test', log: silentLog, control_exchange, dead_letters });
    if (!opened.deadLetters) throw new Error('this bus has no dead letters');
    return { ...bound(opened), deadLetters: opened.deadLetters };
  };
  beforeEach(async () => {
    dead_letters = uniqueName('dead-letters');
    topic = uniqueName('topic');
    bus = await open();
    other = await open();
  });
  afterEach(async () => {
    await Promise.all([bus.close(), other.close()]);
    const operator = await connect(testUrls().amqp_url);
    const channel = await operator.createChannel();
    for (const queue of [dead_letters, topic]) await channel.deleteQueue(queue);
    await operator.close();
  });

  const serve = (handler: Handler) => bus.serve({ topic, queue: 'shared', prefetch: 10, handler });
  const buryRefused = async (count = 1) => {
    const served = await serve(refuse);
    for (let n = 0; n < count; n++) await bus.cast(topic, 'upgrade_cluster', { n });
    const buried = await letters(bus.deadLetters, count);
    await served.stop();
    return buried;
  };
  const idsOf = (found: readonly DeadLetter[]) => found.map(({ id }) => id).sort();

  it('tell what it was, where it was to go, why it was buried and when', async () => {
    const before = Date.now();
    await serve(refuse);
    await bus.cast(topic, 'upgrade_cluster', { cluster_id: 'c' });
    await letters(bus.deadLetters, 1);
    await publish(control_exchange, topic, 'not json');
    const [refused, malformed] = await letters(bus.deadLetters, 2);
    expect(refused).toMatchObject({ topic, method: 'upgrade_cluster', reason: 'the cluster is busy' });
    expect(malformed).toMatchObject({ topic, method: null, reason: 'the body is not JSON' });
    expect(Buffer.from(malformed?.content ?? []).toString()).toBe('not json');
    for (const { at } of [refused, malformed] as DeadLetter[]) {
      expect(at).toBeGreaterThanOrEqual(before);
      expect(at).toBeLessThanOrEqual(Date.now());
    }
    expect(await bus.deadLetters.get(refused?.id ?? '')).toEqual(refused);
  });

  it('are replayed once their cause is gone, as they came', async () => {
    const [letter] = await buryRefused();
    const inbox = newInbox();
    await serve(inbox.handler);
    expect(await bus.deadLetters.replay(letter?.id ?? '')).toEqual(letter);
    expect(await inbox.next()).toMatchObject({ method: 'upgrade_cluster', args: { n: 0 } });
    expect(await bus.deadLetters.list(100)).toEqual({ letters: [], total: 0 });
  });

  it('come back as new letters when they fail again', async () => {
    const [letter] = await buryRefused();
    await serve(refuse);
    await bus.deadLetters.replay(letter?.id ?? '');
    const [again] = await letters(bus.deadLetters, 1);
    expect(again?.content).toEqual(letter?.content);
    expect(again?.id).not.toBe(letter?.id);
  });

  it('stay when nobody serves their topic, and when they do not say one', async () => {
    await publish('', dead_letters, '{}', { headers: { 'coffer-id': 'gone', 'coffer-topic': 'nobody' } });
    await publish('', dead_letters, '{}', { messageId: 'old' });
    await expect(bus.deadLetters.replay('gone')).rejects.toMatchObject({
      code: 'bus_unavailable',
      message: 'nobody serves nobody yet',
    });
    await expect(bus.deadLetters.replay('old')).rejects.toMatchObject({ code: 'action_refused' });
    expect(idsOf(await letters(bus.deadLetters, 2))).toEqual(['gone', 'old']);
  });

  it('are discarded one by one; of two who want the same, one finds it gone', async () => {
    const [first, second, third] = await buryRefused(3);
    const id = second?.id ?? '';
    const both = await Promise.all([bus.deadLetters.discard(id), other.deadLetters.discard(id)]);
    expect(both.filter((letter) => letter !== null)).toEqual([second]);
    expect(idsOf(await letters(bus.deadLetters, 2))).toEqual(idsOf([first, third] as DeadLetter[]));
    expect(await bus.deadLetters.replay(id)).toBeNull();
    expect(await bus.deadLetters.get(id)).toBeNull();
  });

  it('are all seen by readers at once, and none is lost', async () => {
    const all = await buryRefused(7);
    const readers = Array.from({ length: 6 }, (_, n) => (n % 2 ? bus : other).deadLetters);
    for (const { letters: seen } of await Promise.all(readers.map((reader) => reader.list(100)))) {
      expect(idsOf(seen)).toEqual(idsOf(all));
    }
    expect(await bus.deadLetters.list(2)).toMatchObject({ letters: { length: 2 }, total: 7 });
  });

  it('outlast being looked at often: RabbitMQ drops what was put back too often', async () => {
    const all = await buryRefused(2);
    for (let n = 0; n < 13; n++) expect(idsOf(await letters(bus.deadLetters, 2))).toEqual(idsOf(all));
    const operator = await connect(testUrls().amqp_url);
    const channel = await operator.createChannel();
    const message = await channel.get(dead_letters);
    await operator.close();
    const returns = message ? message.properties.headers?.['x-delivery-count'] : null;
    expect(returns).toBeGreaterThan(0);
    expect(returns).toBeLessThan(10);
  });

  it('can not be looked at while RabbitMQ is away', async () => {
    const url = 'amqp://guest:guest@127.0.0.1:1';
    const lonely = await openAmqpBus({ url, name: 'test', log: silentLog, control_exchange });
    await expect(lonely.deadLetters?.list(1)).rejects.toMatchObject({ code: 'bus_unavailable' });
    await lonely.close();
  });
});

/** The functions of a bus, to be spread. */
function bound(bus: Bus): Bus {
  return {
    cast: (...args) => bus.cast(...args),
    call: (...args) => bus.call(...args),
    serve: (options) => bus.serve(options),
    notify: (notification) => bus.notify(notification),
    isConnected: () => bus.isConnected(),
    close: () => bus.close(),
  };
}

describe('over HTTP and on the command line', () => {
  let api: Harness;
  const topic = uniqueName('topic');
  beforeAll(async () => {
    api = await startApi();
    const served = await api.bus.serve({ topic, queue: 'own', prefetch: 10, handler: refuse });
    return () => served.stop();
  });
  afterAll(() => api.close());

  const buried = async (): Promise<string> => {
    const { length } = (await createClient({ endpoint: api.url }).deadLetters.list()).dead_letters;
    await api.bus.cast(topic, 'upgrade_cluster', { cluster_id: 'c' });
    return eventually(async () => {
      const { body } = await ask(`${api.url}/dead-letters`);
      return DeadLettersAnswer.parse(body).dead_letters[length]?.id;
    });
  };
  const coffer = async (...args: readonly string[]) => {
    let stdout = '';
    let stderr = '';
    const code = await run(['dead-letters', ...args, '--endpoint', api.origin, '--tenant', 't1'], {
      stdout: {
        write: (text) => {
          stdout += text;
        },
        isTTY: false,
        columns: 100,
        rows: 24,
      },
      stderr: {
        write: (text) => {
          stderr += text;
        },
      },
      env: {},
      signal: new AbortController().signal,
      readFile: () => Promise.reject(new Error('no such file')),
    });
    return { code, stdout, stderr };
  };

  it('are shown, and discarded', async () => {
    const id = await buried();
    const { body } = await ask(`${api.url}/dead-letters/${id}`);
    expect(DeadLetterAnswer.parse(body)).toEqual(body);
    expect(body.dead_letter).toMatchObject({ id, topic, reason: 'the cluster is busy' });
    expect(body.dead_letter.body).toContain('upgrade_cluster');
    const act = (json: unknown) => ask(`${api.url}/dead-letters/${id}`, { method: 'POST', json });
    expect((await act({ replay: {}, discard: {} })).status).toBe(400);
    expect((await act({ burn: {} })).status).toBe(400);
    expect(await act({ discard: {} })).toMatchObject({ status: 202, body });
    expect(await act({ discard: {} })).toMatchObject({
      status: 404,
      body: { itemNotFound: { error: 'dead_letter_not_found' } },
    });
    expect((await ask(`${api.url}/dead-letters/${id}`)).status).toBe(404);
  });

  it('show no token and no password of what other services sent, and go again as they came', async () => {
    const inner = {
      method: 'create_cluster',
      args: { users: [{ name: 'app', password: 'S3CRET-1' }], root_password: 'S3CRET-2' },
      _context_auth_token: 'S3CRET-3',
      _context_user: 'ann',
    };
    for (const content of [
      JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': JSON.stringify(inner) }),
      JSON.stringify(inner),
    ]) {
      const id = api.bury(content);
      const { dead_letter } = await eventually(async () => {
        const { status, body } = await ask(`${api.url}/dead-letters/${id}`);
        return status === 200 && body;
      });
      expect(dead_letter.body).not.toContain('S3CRET');
      expect(dead_letter.body).toContain('[secret]');
      expect(dead_letter.body).toContain('_context_user');
      expect((await api.bus.deadLetters?.discard(id))?.content.toString()).toBe(content);
    }
  });

  it('are listed, shown, replayed and discarded by command', async () => {
    const id = await buried();
    expect((await coffer('list')).stdout).toMatch(
      new RegExp(`^${id}\tthe cluster is busy\t${topic}\tupgrade_cluster\t\\S+$`, 'm'),
    );
    expect((await coffer('show', id)).stdout).toContain('reason\tthe cluster is busy\n');
    expect(await coffer('replay', id)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`Sent to ${topic} again`),
    });
    expect(await coffer('replay', id)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('coffer dead-letters list'),
    });
    const again = await eventually(async () => {
      const { stdout } = await coffer('list', '--json');
      return DeadLettersAnswer.parse(JSON.parse(stdout)).dead_letters[0]?.id;
    });
    expect((await coffer('discard', again)).stdout).toBe(`Dead letter ${again} is gone.\n`);
    expect(await coffer('bury')).toMatchObject({ code: 2 });
  });

  it('are for administrators only', async () => {
    const { bus, store } = api;
    const app = await buildApp({
      ...{ bus, store, log: silentLog, now: Date.now, newId: () => 'id', provisioner: 'local' },
      ...{ max_clusters: null, masterKey: null },
      wakeBatch: () => undefined,
      access: {
        ...EVERYBODY,
        authenticate: async (_request, project_id) => ({
          user: 'ann',
          project_id,
          credentials: { user_id: 'ann', project_id, roles: ['member'] },
          is_confined: false,
        }),
      },
    });
    for (const [method, url] of [
      ['GET', '/v1.0/t1/dead-letters'],
      ['GET', '/v1.0/t1/dead-letters/x'],
      ['POST', '/v1.0/t1/dead-letters/x'],
    ] as const) {
      const payload = method === 'POST' ? { discard: {} } : undefined;
      expect((await app.inject({ method, url, ...(payload && { payload }) })).statusCode).toBe(403);
    }
    expect((await app.inject('/v1.0/t1/datastores')).statusCode).toBe(200);
    await app.close();
  });
});
