/**
 * A guest agent and its journal: killed in the middle of a switchover and started again, with RabbitMQ away or not; told the
 * same twice, with Coffer's fence and without; on a disk that is full.
 */
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { connect } from 'amqplib';
import { afterEach, describe, expect, it } from 'vitest';
import { Agent } from '../../guestagent/agent.ts';
import type { Driver, InstanceConfig } from '../../guestagent/driver.ts';
import { Journal, type JournalFile } from '../../guestagent/journal.ts';
import { openAmqpBus } from '../../src/bus/amqp.ts';
import { type Bus, CONDUCTOR_TOPIC, guestTopic } from '../../src/bus/bus.ts';
import { encodeRequest, newUniqueId } from '../../src/bus/envelope.ts';
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

/** A disk that outlives the agent. While `isFull` nothing can be written. */
class Disk implements JournalFile {
  text: string | null;
  isFull = false;
  refused = 0;

  constructor(text: string | null = null) {
    this.text = text;
  }

  async read() {
    return this.text;
  }

  async write(next: string) {
    if (this.isFull) {
      this.refused += 1;
      throw new Error('ENOSPC: no space left on device');
    }
    this.text = next;
  }
}

/** An agent with this in its journal. */
async function start(bus: Bus, text: string | null) {
  return startOn(bus, new Disk(text));
}

async function startOn(
  bus: Bus,
  disk: Disk,
  instance_id: string = randomUUID(),
  look: () => Promise<void> = async () => undefined,
) {
  const done: string[] = [];
  const journal = new Journal(disk);
  await journal.load();
  const nothing = async () => undefined;
  const driver: Driver = {
    ...{ start: nothing, stop: nothing, destroy: nothing },
    upgrade: async ({ datastore_version }) => void done.push(datastore_version),
    ...{ postUpgrade: nothing, promote: nothing, follow: async () => void done.push('follow') },
    preUpgrade: async () => ({}),
    health: async () => {
      const role = done.includes('follow') ? 'replica' : 'primary';
      await look();
      return { service_status: 'healthy', version: '17.5', role, lag_bytes: null, endpoint: null };
    },
    demote: async () => {
      done.push('demote');
      return { lsn: '0/1' };
    },
  };
  const config = { instance_id, name: 'db-1' } as InstanceConfig;
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
  return { agent, done, journal, topic: guestTopic(config.instance_id) };
}

/** Puts a cast into a guest's queue, as RabbitMQ does again with one that was not acknowledged. */
async function newPost(topic: string) {
  const connection = await connect(testUrls().amqp_url);
  closing.push(() => connection.close());
  const channel = await connection.createConfirmChannel();
  return async (method: string, upgrade_info: object, unique_id = newUniqueId()) => {
    const context = { request_id: 'req-8', tenant_id: null, user: null, is_admin: true };
    const request = { method, args: { upgrade_info }, version: '1.0', namespace: null, unique_id, context };
    channel.sendToQueue(topic, encodeRequest({ ...request, reply_to: null }));
    await channel.waitForConfirms();
  };
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

it('reports the end of an order only with a look at the server that began after the end', async () => {
  const inbox = await listen();
  const taskmanager = await open(testUrls().amqp_url);
  const over = new EventEmitter();
  const isOver = once(over, 'over');
  let isSlow = false;
  let begun = 0;
  const look = async () => {
    if (!isSlow) return;
    begun += 1;
    await isOver;
  };
  const { journal, topic } = await startOn(await open(testUrls().amqp_url), new Disk(), randomUUID(), look);
  // The agent begins with a heartbeat of its own; these are of those that follow.
  for (let heard = 0; heard < 3; heard++) await inbox.next();
  isSlow = true;
  await until('a look at the server has begun', async () => begun > 0);
  await taskmanager.cast(topic, 'follow', {
    upgrade_info: {
      ...DEMOTE,
      upgrade_id: randomUUID(),
      action: 'follow',
      fence: 1,
      primary: { host: '127.0.0.1', port: 5432 },
    },
  });
  await until(
    'the order is over',
    async () => journal.entry !== null && journal.entry.attempt.status !== 'running',
  ).finally(() => over.emit('over'));
  expect(journal.entry?.attempt).toMatchObject({ status: 'succeeded' });
  const report = await until('the agent has reported the end', async () => {
    const { args } = await inbox.next();
    const { payload } = args as { payload: { role: string; attempt: { status: string } | null } };
    return payload.attempt?.status === 'succeeded' && payload;
  });
  expect(report.role).toBe('replica');
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

describe('An order of a plain Trove taskmanager, which names no attempt', () => {
  it('is carried out once, however often it is delivered, and a new one of the same kind again (G4)', async () => {
    await listen();
    const disk = new Disk();
    const { done, topic } = await startOn(await open(testUrls().amqp_url), disk);
    const post = await newPost(topic);
    await post('upgrade', { datastore_version: '1.1' }, 'first');
    await post('upgrade', { datastore_version: '1.1' }, 'first');
    await until('it is done', async () => done.length > 0 && disk.text?.includes('succeeded'));
    await post('upgrade', { datastore_version: '1.2' }, 'second');
    await until('the next is done', async () => done.includes('1.2') && disk.text?.includes('succeeded'));
    await post('upgrade', { datastore_version: '1.1' }, 'first');
    await post('upgrade', { datastore_version: '1.2' }, 'second');
    await post('upgrade', { datastore_version: '1.2' }, 'third');
    await until('the last is done', async () => done.length >= 3 && disk.text?.includes('succeeded'));
    expect(done).toEqual(['1.1', '1.2', '1.2']);
  });

  it('is not carried out again by the next agent, by whatever clock, nor after orders of Coffer', async () => {
    await listen();
    const [disk, instance_id] = [new Disk(), randomUUID()];
    const first = await startOn(await open(testUrls().amqp_url), disk, instance_id);
    const post = await newPost(first.topic);
    await post('upgrade', { datastore_version: '1.1' }, 'first');
    await until('it is done', async () => first.done.length > 0 && disk.text?.includes('succeeded'));
    await first.agent.stop();
    const next = await startOn(await open(testUrls().amqp_url), disk, instance_id);
    const attempt = { upgrade_id: randomUUID(), step: 0, attempt: 1, fence: 7, datastore_version: '1.2' };
    await post('upgrade', { datastore_version: '1.1' }, 'first');
    await post('upgrade', attempt);
    await until(
      'the order of Coffer is done',
      async () => next.done.length > 0 && disk.text?.includes('succeeded'),
    );
    await post('upgrade', { datastore_version: '1.1' }, 'first');
    await post('upgrade', { datastore_version: '1.3' }, 'second');
    await until('the new one is done', async () => next.done.includes('1.3'));
    expect(next.done).toEqual(['1.2', '1.3']);
  });
});

describe('A journal that cannot be written', () => {
  const ATTEMPT = { upgrade_id: randomUUID(), step: 0, attempt: 1, fence: 7, datastore_version: '1.1' };

  it('once, at the end of an order: the result is written again, and told when it is on disk', async () => {
    const inbox = await listen();
    const disk = new Disk();
    const { done, topic, journal } = await startOn(await open(testUrls().amqp_url), disk);
    const post = await newPost(topic);
    const write = disk.write.bind(disk);
    disk.write = async (text) => {
      disk.isFull ||= text.includes('succeeded') && disk.refused === 0;
      return write(text);
    };
    await post('upgrade', ATTEMPT);
    await until('it was refused', async () => disk.refused > 1);
    const said = await until('it is said why', async () => {
      const { args } = await inbox.next();
      const { attempt, message, service_status } = args['payload'] as Record<string, unknown>;
      return message !== undefined && { attempt, message, service_status };
    });
    expect(said).toMatchObject({ attempt: { status: 'running' }, service_status: 'healthy' });
    expect(said.message).toContain('ENOSPC: no space left on device');
    // The same again meanwhile is the same (G4).
    await post('upgrade', ATTEMPT);
    disk.isFull = false;
    await until('the result is told', async () => {
      const { args } = await inbox.next();
      return JSON.stringify(args).includes('succeeded') && !JSON.stringify(args).includes('ENOSPC');
    });
    expect(done).toEqual(['1.1']);
    expect(journal.entry?.attempt.status).toBe('succeeded');
  });

  it('when an order comes: it is not taken, comes again, and is carried out once there is room', async () => {
    await listen();
    const disk = new Disk();
    const { done, topic } = await startOn(await open(testUrls().amqp_url), disk);
    disk.isFull = true;
    const post = await newPost(topic);
    await post('upgrade', { datastore_version: '1.1' }, 'first');
    // More often than a message that fails for reasons of its own would be tried.
    await until('it came many times', async () => disk.refused > 5);
    expect(done).toEqual([]);
    disk.isFull = false;
    await until('it is done', async () => done.length > 0);
    expect(done).toEqual(['1.1']);
  });

  it('lets the agent stop, and the next one take the order up', async () => {
    await listen();
    const [disk, instance_id] = [new Disk(), randomUUID()];
    const { agent, topic, done } = await startOn(await open(testUrls().amqp_url), disk, instance_id);
    const write = disk.write.bind(disk);
    disk.write = async (text) => {
      disk.isFull = text.includes('succeeded') && done.length === 1;
      return write(text);
    };
    await (await newPost(topic))('upgrade', ATTEMPT);
    await until('it was refused', async () => disk.refused > 0);
    await agent.stop();
    disk.write = write;
    disk.isFull = false;
    const next = await startOn(await open(testUrls().amqp_url), disk, instance_id);
    await until('the result is known', async () => next.journal.entry?.attempt.status === 'succeeded');
    expect(next.done).toEqual(['1.1']);
  });
});
