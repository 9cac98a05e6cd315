/** Two installations on one virtual host of RabbitMQ: the same queues, other exchanges and ids. */
import { randomUUID } from 'node:crypto';
import { connect } from 'amqplib';
import Fastify from 'fastify';
import { serializerCompiler } from 'fastify-type-provider-zod';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { App, Deps } from '../../api/deps.ts';
import { healthRoutes } from '../../api/health/probes.ts';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import type { Bus, Request } from '../../src/bus/bus.ts';
import { INSTALLATION } from '../../src/bus/installations.ts';
import { joinKeyOf, newAgentKey, newQuestion } from '../../src/bus/joining.ts';
import { newSecret, sealedProtection } from '../../src/bus/sealed.ts';
import { sleep } from '../../src/service.ts';
import { join } from '../../taskmanager/join.ts';
import { coffer } from '../support/cli.ts';
import { silentLog, testUrls, uniqueName } from '../support/services.ts';
import { until } from '../support/stack.ts';
import { MemoryStore } from '../twins/store.ts';

const CONTEXT = { tenant_id: null, user: null, is_admin: true };

describe('two installations on one virtual host', () => {
  const { amqp_url: url } = testUrls();
  let topic: string;
  let dead_letters: string;
  let exchange: string;
  let buses: Bus[];
  beforeEach(() => {
    topic = uniqueName('taskmanager');
    dead_letters = uniqueName('dead');
    exchange = uniqueName('exchange');
    buses = [];
  });
  afterEach(async () => {
    await Promise.all(buses.map((bus) => bus.close()));
    const connection = await connect(url);
    const channel = await connection.createChannel();
    for (const queue of [topic, dead_letters]) await channel.deleteQueue(queue);
    await connection.close();
  });

  const open = async (installation?: string, control_exchange = exchange) => {
    const bus = await openAmqpBus({
      ...{ url, name: 'test', log: silentLog, control_exchange, dead_letters },
      ...(installation !== undefined && { installation }),
    });
    buses.push(bus);
    return bus;
  };
  const serve = async (bus: Bus, foreign: 'buried' | 'dropped' = 'buried') => {
    const taken: Request[] = [];
    await bus.serve({
      ...{ topic, queue: 'shared', prefetch: 20, foreign },
      handler: async (request) => {
        taken.push(request);
        return bus === buses[0] ? 'a' : 'b';
      },
    });
    return taken;
  };

  it('take their own casts and calls, all of them, and none of the other', async () => {
    const [a, b] = [await open('a'), await open('b', uniqueName('theirs'))];
    const [by_a, by_b] = [await serve(a), await serve(b)];
    const said = Array.from({ length: 30 }, (_, index) => index);
    await Promise.all(said.flatMap((n) => [a.cast(topic, 'of-a', { n }), b.cast(topic, 'of-b', { n })]));
    const options = { timeout_ms: 60_000 };
    expect(
      await Promise.all([a.call(topic, 'call-a', {}, options), b.call(topic, 'call-b', {}, options)]),
    ).toEqual(['a', 'b']);
    await until('all are taken', async () => by_a.length + by_b.length === 62);
    expect(new Set(by_a.map(({ method }) => method))).toEqual(new Set(['of-a', 'call-a']));
    expect(new Set(by_b.map(({ method }) => method))).toEqual(new Set(['of-b', 'call-b']));
    expect(await a.deadLetters?.list(10)).toMatchObject({ total: 0 });
  });

  it('refuse in words what is of the other and finds nobody of its own', async () => {
    const [a, b] = [await open('a'), await open('b')];
    const by_a = await serve(a);
    await b.cast(topic, 'of-b', { n: 1 });
    const asked = b.call(topic, 'call-b', {}, { timeout_ms: 60_000 });
    await expect(asked).rejects.toThrow(/installation b.*this is a.*virtual host/);
    const letter = await until(
      'it is a dead letter',
      async () => (await a.deadLetters?.list(10))?.letters[0],
    );
    expect(letter).toMatchObject({ topic, method: 'of-b' });
    expect(letter.reason).toMatch(/installation b.*this is a.*virtual host/);
    expect(by_a).toEqual([]);
    // Its owner is there by now: whoever replays the letter loses nothing.
    const by_b = await serve(b);
    await a.deadLetters?.replay(letter.id);
    await until('it is taken', async () => by_b.length === 1);
    expect(by_b[0]?.args).toEqual({ n: 1 });
    expect(by_a).toEqual([]);
  });

  it('keep no letter of what is said again anyway', async () => {
    const [a, b] = [await open('a'), await open('b')];
    const by_a = await serve(a, 'dropped');
    await b.cast(topic, 'heartbeat', {});
    await a.cast(topic, 'own', {});
    await until('the queue is empty', async () => {
      const depth = (await a.depths?.([topic]))?.topics.get(topic);
      return by_a.length === 1 && depth?.messages === 0;
    });
    expect(by_a.map(({ method }) => method)).toEqual(['own']);
    expect(await a.deadLetters?.list(10)).toMatchObject({ total: 0 });
  });

  it('take what says nothing of an installation, as Trove’s services send it', async () => {
    const [a, plain] = [await open('a'), await open()];
    const by_a = await serve(a);
    await plain.cast(topic, 'upgrade_cluster', {});
    await until('it is taken', async () => by_a.length === 1);
    // And a peer without an id takes what has one.
    const other = uniqueName('peer');
    const taken: Request[] = [];
    const handler = async (request: Request) => void taken.push(request);
    await plain.serve({ topic: other, queue: 'own', prefetch: 1, handler });
    await a.cast(other, 'upgrade', { n: 1 });
    await until('it is taken', async () => taken.length === 1);
  });

  it('refuse no agent whose cluster may be of the other, and refuse one whose cluster nobody has', async () => {
    const question = newQuestion(
      { join_key: joinKeyOf('a token'), agent_key: newAgentKey() },
      { cluster_id: randomUUID(), endpoint: { host: '127.0.0.1', port: 5432 }, sent: Date.now() },
    ).question;
    const ask = (others: readonly string[]) =>
      join(
        {
          store: new MemoryStore({ sleep }),
          log: silentLog,
          now: Date.now,
          bus: { otherInstallations: () => others },
        },
        { args: { ...question } } as unknown as Request,
      );
    await expect(ask([])).resolves.toMatchObject({ verdict: 'refused' });
    await expect(ask(['b'])).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(/another installation \(b\).*virtual host/) as string,
    });
  });

  it('hear of each other while both serve', async () => {
    const [a, b, quiet] = [await open('a'), await open('b'), await open('c')];
    await serve(a);
    await serve(b);
    const heard = () => [a, b].map((bus) => bus.otherInstallations?.());
    await expect.poll(heard, { interval: 200 }).toEqual([['b'], ['a']]);
    // Whoever serves nothing takes nothing from anybody, and hears of both.
    expect(quiet.otherInstallations?.().toSorted()).toEqual(['a', 'b']);

    const app = Fastify() as unknown as App;
    app.setSerializerCompiler(serializerCompiler);
    healthRoutes(app, { store: new MemoryStore({ sleep }), bus: a } as unknown as Deps);
    const origin = await app.listen({ host: '127.0.0.1', port: 0 });
    const ready = await app.inject({ url: '/health/ready' });
    expect(ready.json()).toMatchObject({
      ...{ status: 'ready', other_installations: ['b'] },
      message: expect.stringMatching(/virtual host of its own/) as string,
    });
    const { stdout } = await coffer(`doctor --json --endpoint ${origin}`);
    const { findings } = JSON.parse(stdout) as { findings: readonly { check: string; state: string }[] };
    expect(findings).toContainEqual(
      expect.objectContaining({
        ...{ check: 'api.installations', state: 'bad' },
        found: expect.stringContaining('another installation (b)') as string,
      }),
    );
    await app.close();
  });
});

it('the installation of a sealed message is authenticated', () => {
  const options = { instance_id: randomUUID(), secret: newSecret(), now: () => 1 };
  const body = {
    ...{ method: 'upgrade', args: { n: 1 }, version: '1.0', _unique_id: randomUUID(), [INSTALLATION]: 'a' },
    ...{ _context_user: null, ...CONTEXT },
  };
  const sealed = sealedProtection(options).sealRequest(body, 't');
  expect(sealed[INSTALLATION]).toBe('a');
  const opening = sealedProtection(options);
  expect(() => opening.openRequest({ ...sealed, [INSTALLATION]: 'b' }, 't', false)).toThrow(/changed/);
  const { [INSTALLATION]: _, ...without } = sealed;
  expect(() => opening.openRequest(without, 't', false)).toThrow(/changed/);
  expect(opening.openRequest(sealed, 't', false)).toMatchObject({ args: { n: 1 } });
});
