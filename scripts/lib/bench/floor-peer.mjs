// @ts-check
// One side of the floor: a bare program over amqplib, with nothing of Coffer in it. Forked by floor.mjs, twice.

import { connect } from 'amqplib';
import { Redis } from 'ioredis';

/**
 * The conversation of one instance upgrade as six messages of the size of Coffer's: three times the manager
 * asks and the guest answers. Each message is published with a confirm on a quorum queue and acknowledged
 * afterwards. For every answer the manager first commits one Lua step to Redis, as large as Coffer's.
 */

const [role = '', amqpUrl = '', redisUrl = '', suffix = ''] = process.argv.slice(2);
const TO_GUEST = `coffer.bench.floor.guest.${suffix}`;
const TO_MANAGER = `coffer.bench.floor.manager.${suffix}`;
const ROUNDS = 3;
const INSTANCES = 3;
const PREFETCH = 200;
/** The size of Coffer's own messages and records, envelope included. */
const MESSAGE_BYTES = 1_400;
const RECORD_BYTES = 2_600;
const EVENT_BYTES = 180;

const COMMIT = `
if redis.call('HGET', KEYS[1], 'revision') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[1] + 1, 'doc', ARGV[2])
redis.call('XADD', KEYS[2], (ARGV[1] + 1) .. '-0', 'event', ARGV[3])
return 1`;

const connection = await connect(amqpUrl, { noDelay: true });
const channel = await connection.createConfirmChannel();
await channel.prefetch(PREFETCH);
for (const queue of [TO_GUEST, TO_MANAGER]) {
  await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
}

/**
 * @param {string} queue
 * @param {object} message
 */
function publish(queue, message) {
  const content = Buffer.from(JSON.stringify({ ...message, filling: 'x'.repeat(MESSAGE_BYTES) }));
  return new Promise((done, fail) =>
    channel.sendToQueue(queue, content, { persistent: true }, (error) =>
      error ? fail(error) : done(undefined),
    ),
  );
}

if (role === 'guest') await beGuest();
else await beManager();
process.send?.({ type: 'ready' });

async function beGuest() {
  await channel.consume(TO_GUEST, async (message) => {
    if (!message) return;
    await publish(TO_MANAGER, JSON.parse(message.content.toString()));
    channel.ack(message);
  });
}

async function beManager() {
  const redis = /** @type {Redis & { step: (...args: unknown[]) => Promise<number> }} */ (
    // A broken connection ends the measurement: otherwise ioredis would send commands again over the next
    // connection.
    new Redis(redisUrl, { retryStrategy: () => null })
  );
  redis.defineCommand('step', { numberOfKeys: 2, lua: COMMIT });
  const [record, event] = ['r'.repeat(RECORD_BYTES), 'e'.repeat(EVENT_BYTES)];
  let open = 0;
  let next = 0;
  let total = 0;
  const begin = async () => {
    const id = `bench:floor:${suffix}:${next++}`;
    await redis.hset(id, 'revision', 0);
    await publish(TO_GUEST, { id, at: 0 });
  };
  await channel.consume(TO_MANAGER, async (message) => {
    if (!message) return;
    const { id, at } = /** @type {{ id: string, at: number }} */ (JSON.parse(message.content.toString()));
    await redis.step(id, `${id}:events`, at, record, event);
    const isOver = at + 1 === ROUNDS * INSTANCES;
    if (!isOver) await publish(TO_GUEST, { id, at: at + 1 });
    channel.ack(message);
    if (!isOver) return;
    await redis.unlink(id, `${id}:events`);
    if (next < total) await begin();
    else if (--open === 0) process.send?.({ type: 'done' });
  });
  process.on('message', async (/** @type {{ clusters: number, inFlight: number }} */ order) => {
    next = 0;
    total = order.clusters;
    open = Math.min(order.inFlight, order.clusters);
    await Promise.all(Array.from({ length: open }, begin));
  });
}

process.on('disconnect', async () => {
  if (role === 'manager') for (const queue of [TO_GUEST, TO_MANAGER]) await channel.deleteQueue(queue);
  process.exit();
});
