import type { ConfirmChannel, Options } from 'amqplib';
import type { QueueMode } from '../config.ts';
import type { QueueKind } from './bus.ts';
import { newUniqueId } from './envelope.ts';

/**
 * As oslo.messaging declares its reply and fanout queues: RabbitMQ deletes them half an hour after their last
 * consumer has gone.
 */
const TRANSIENT_EXPIRES_MS = 1_800_000;
const LIGHT: Options.AssertQueue = { durable: false, expires: TRANSIENT_EXPIRES_MS };
const QUORUM: Options.AssertQueue = { durable: true, arguments: { 'x-queue-type': 'quorum' } };

/** A server of a topic: `server` is its name among those that serve the same topic. */
interface Place {
  readonly topic: string;
  readonly server: string;
  readonly queue: QueueKind;
}

/** The exchange of all topics. Every sender and every server declares it, as in oslo.messaging. */
export async function declareExchange(
  channel: ConfirmChannel,
  mode: QueueMode,
  exchange: string,
): Promise<void> {
  await channel.assertExchange(exchange, 'topic', { durable: mode !== 'transient' });
}

/** The queue that receives the answers to this process; it is never bound. */
export async function declareReplyQueue(channel: ConfirmChannel, queue: string): Promise<void> {
  await channel.assertQueue(queue, LIGHT);
}

/**
 * `notifications.info` keeps messages until somebody listens: each process that notifies declares and binds
 * it.
 */
export async function declareNotifications(
  channel: ConfirmChannel,
  mode: QueueMode,
  exchange: string,
  topic: string,
): Promise<void> {
  await channel.assertQueue(topic, shapeOf(mode, 'shared'));
  await channel.bindQueue(topic, exchange, topic);
}

/**
 * Declares and binds the queues that a server consumes from, and returns them. Trove's services may declare
 * some of these too (`T`, `T.H`, the exchange `T_fanout`). We declare those exactly as oslo.messaging does in
 * the same mode, because RabbitMQ refuses any difference. For the same reason no queue has a dead-letter
 * exchange or a delivery limit; we publish to the dead letters ourselves.
 *
 * In the mode `coffer` a guest has only the queue of its topic: three queues for each of tens of thousands of
 * guests would be too many, and nobody addresses a guest by another name than its topic.
 */
export async function declareServer(
  channel: ConfirmChannel,
  mode: QueueMode,
  exchange: string,
  { topic, server, queue }: Place,
): Promise<readonly string[]> {
  await channel.assertQueue(topic, shapeOf(mode, queue));
  await channel.bindQueue(topic, exchange, topic);
  if (mode === 'coffer' && queue === 'own') return [topic];
  const direct = `${topic}.${server}`;
  await channel.assertQueue(direct, mode === 'coffer' ? LIGHT : shapeOf(mode, queue));
  await channel.bindQueue(direct, exchange, direct);
  const fanout = `${topic}_fanout`;
  const own = `${fanout}_${newUniqueId()}`;
  await channel.assertExchange(fanout, 'fanout', { durable: false, autoDelete: true });
  await channel.assertQueue(own, LIGHT);
  await channel.bindQueue(own, fanout, topic);
  return [topic, direct, own];
}

/** How the queue of a topic is declared. */
export function shapeOf(mode: QueueMode, queue: QueueKind): Options.AssertQueue {
  switch (mode) {
    case 'coffer':
      return queue === 'shared' ? QUORUM : LIGHT;
    case 'quorum':
      return QUORUM;
    case 'durable':
      return { durable: true };
    case 'transient':
      return { durable: false };
    default:
      return mode satisfies never;
  }
}
