/** A guest agent that was killed in the middle of a switchover and starts again, with RabbitMQ away or not. */
import { randomUUID } from 'node:crypto';
import { afterEach, expect, it } from 'vitest';
import { Agent } from '../../guestagent/agent.ts';
import type { Driver, InstanceConfig } from '../../guestagent/driver.ts';
import { Journal, type JournalFile } from '../../guestagent/journal.ts';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import type { Bus } from '../../src/bus/bus.ts';
import { CONDUCTOR_TOPIC, guestTopic } from '../../src/bus/bus.ts';
import type { AttemptId } from '../../src/core/domain.ts';
import { sleep } from '../../src/service.ts';
import { newInbox } from '../conformance/bus.ts';
import { silentLog as log, testUrls, uniqueName } from '../support/services.ts';
import { until } from '../support/stack.ts';

const NOBODY_THERE = 'amqp://guest:guest@127.0.0.1:1';
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const control_exchange = uniqueName('agent');
async function open(url: string): Promise<Bus> {
  const bus = await openAmqpBus({ url, name: 'agent', log, control_exchange });
  closing.push(() => bus.close());
  return bus;
}

/** Somebody hears what agents say. */
async function listen() {
  const inbox = newInbox();
  const conductor = await open(testUrls().amqp_url);
  await conductor.serve({
    topic: CONDUCTOR_TOPIC,
    queue: 'shared',
    prefetch: 10,
    handler: inbox.handler,
  });
  return inbox;
}

const DEMOTE = { upgrade_id: 'u1', step: 2, attempt: 1, action: 'demote' } as const;

/** An agent whose predecessor had taken the order to demote, and was killed before it had carried it out. */
async function startAgain(bus: Bus) {
  const attempt = { ...DEMOTE, status: 'running' } as const;
  return start(bus, JSON.stringify({ attempt, info: {}, fence: 1, request_id: 'req-7' }));
}

/** An agent with this in its journal. */
async function start(bus: Bus, text: string | null) {
  const done: string[] = [];
  const file: JournalFile = {
    read: async () => text,
    write: async (next) => {
      text = next;
    },
  };
  const journal = new Journal(file);
  await journal.load();
  const nothing = async () => undefined;
  const driver: Driver = {
    ...{ start: nothing, stop: nothing, destroy: nothing, upgrade: nothing },
    ...{ postUpgrade: nothing, promote: nothing, follow: nothing },
    preUpgrade: async () => ({}),
    health: async () => ({
      ...{ service_status: 'healthy', version: '17.5', role: 'primary', lag_bytes: null, endpoint: null },
    }),
    demote: async () => {
      done.push('demote');
      return { lsn: '0/1' };
    },
  };
  const config = { instance_id: randomUUID(), name: 'db-1' } as InstanceConfig;
  const agent = new Agent({
    config,
    driver,
    journal,
    bus,
    log,
    now: Date.now,
    sleep,
    heartbeat_ms: () => 100,
  });
  closing.push(() => agent.stop());
  await agent.start();
  return { done, journal, topic: guestTopic(config.instance_id) };
}

it('stops no primary while nobody would hear of it, and says so in its journal', async () => {
  const { done, journal } = await startAgain(await open(NOBODY_THERE));
  await until('the attempt is over', async () => journal.entry?.attempt.status === 'failed');
  expect(journal.entry?.attempt).toMatchObject({
    action: 'demote',
    permanent: false,
    error: expect.stringContaining('RabbitMQ takes no message now'),
  });
  expect(done).toEqual([]);
});

it('takes the order up when it is heard, and reports from its journal', async () => {
  const inbox = await listen();
  const { done, journal } = await startAgain(await open(testUrls().amqp_url));
  await until('the attempt is over', async () => journal.entry?.attempt.status === 'succeeded');
  expect(done).toEqual(['demote']);
  const report = await until('it has said so', async () => {
    const { args, context } = await inbox.next();
    return JSON.stringify(args).includes('succeeded') && { args, context };
  });
  expect(report.context.request_id, 'on whose request').toBe('req-7');
  expect(JSON.stringify(report.args)).toContain('"lsn":"0/1"');
});

it('refuses every older order once it is fenced', async () => {
  await listen();
  const taskmanager = await open(testUrls().amqp_url);
  const { done, journal, topic } = await start(await open(testUrls().amqp_url), null);
  const order = ({ action, ...id }: AttemptId, fence: number) =>
    taskmanager.cast(topic, action, { upgrade_info: { ...id, fence } });
  const [older, newer] = [randomUUID(), randomUUID()];
  await order({ upgrade_id: newer, step: 0, attempt: 1, action: 'fence' }, 2);
  await until('it is fenced', async () => journal.entry?.attempt.status === 'succeeded');
  await order({ ...DEMOTE, upgrade_id: older }, 1);
  // Orders are taken in their turn: once this one is done, the one before was refused.
  await order({ ...DEMOTE, upgrade_id: newer }, 2);
  await until(
    'the newer order is done',
    async () => journal.entry?.attempt.status === 'succeeded' && done.length > 0,
  );
  expect(done).toEqual(['demote']);
  expect(journal.entry?.attempt).toMatchObject({ ...DEMOTE, upgrade_id: newer });
});
