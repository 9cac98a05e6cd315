// @ts-check
// The floor of HTTP: a bare fastify. Forked by floor.mjs.
import { connect } from 'amqplib';
import Fastify from 'fastify';
import { Redis } from 'ioredis';

const [amqpUrl = '', redisUrl = ''] = process.argv.slice(2);
const QUEUE = `coffer.bench.floor.http.${process.pid}`;
const PREFIX = `bench:floor:http:${process.pid}`;
const RECORD_BYTES = 2_600;
const MESSAGE_BYTES = 1_000;
const PAGE = 20;

const BEGIN = `
redis.call('HSET', KEYS[1], 'revision', 1, 'doc', ARGV[1])
redis.call('XADD', KEYS[2], '*', 'event', ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], KEYS[1])
return 1`;

const redis = /** @type {Redis & { begin: (...args: unknown[]) => Promise<number> }} */ (
  // A broken connection ends the measurement: otherwise ioredis would send commands again over the next
  // connection.
  new Redis(redisUrl, { retryStrategy: () => null })
);
redis.defineCommand('begin', { numberOfKeys: 3, lua: BEGIN });
const connection = await connect(amqpUrl, { noDelay: true });
const channel = await connection.createConfirmChannel();
await channel.assertQueue(QUEUE, { durable: true, arguments: { 'x-queue-type': 'quorum' } });

const record = JSON.stringify({ filling: 'r'.repeat(RECORD_BYTES) });
const content = Buffer.from('m'.repeat(MESSAGE_BYTES));
for (let each = 0; each < PAGE; each++) await redis.hset(`${PREFIX}:cluster:${each}`, 'doc', record);

const app = Fastify();
let count = 0;
app.post('/', async (_request, reply) => {
  const id = `${PREFIX}:upgrade:${count++}`;
  await redis.begin(id, `${PREFIX}:events`, `${PREFIX}:due`, record, 'event', Date.now());
  await new Promise((done, fail) =>
    channel.sendToQueue(QUEUE, content, { persistent: true }, (error) =>
      error ? fail(error) : done(undefined),
    ),
  );
  return reply.code(202).send({ id });
});
app.get('/one', async () => {
  const { doc = 'null' } = await redis.hgetall(`${PREFIX}:cluster:0`);
  return JSON.parse(doc);
});
app.get('/page', async () => {
  const pipeline = redis.pipeline();
  for (let each = 0; each < PAGE; each++) pipeline.hgetall(`${PREFIX}:cluster:${each}`);
  const answers = (await pipeline.exec()) ?? [];
  return { clusters: answers.map(([, hash]) => JSON.parse(/** @type {{ doc: string }} */ (hash).doc)) };
});
process.send?.({ type: 'listening', url: await app.listen({ host: '127.0.0.1', port: 0 }) });

process.on('disconnect', async () => {
  await channel.deleteQueue(QUEUE);
  const keys = [`${PREFIX}:events`, `${PREFIX}:due`];
  for (let each = 0; each < PAGE; each++) keys.push(`${PREFIX}:cluster:${each}`);
  for (let each = 0; each < count; each++) keys.push(`${PREFIX}:upgrade:${each}`);
  await redis.unlink(...keys);
  process.exit();
});
