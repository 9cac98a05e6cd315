import type { ConfirmChannel, Options } from 'amqplib';
import type { QueueMode } from '../config.ts';
import type { QueueKind } from './bus.ts';
import { newUniqueId } from './envelope.ts';

/** As oslo.messaging declares its reply and fanout queues: gone half an hour after their last consumer. */
const TRANSIENT_EXPIRES_MS = 1_800_000;
const LIGHT: Options.AssertQueue = { durable: false, expires: TRANSIENT_EXPIRES_MS };
const QUORUM: Options.AssertQueue = { durable: true, arguments: { 'x-queue-type': 'quorum' } };

/** A server of a topic: `server` is its name among those that serve the same topic. */
export interface Place {
  readonly topic: string;
  readonly server: string;
  readonly queue: QueueKind;
}

/** The exchange of all topics. Declared by whoever sends or serves, as oslo.messaging does. */
export async function declareExchange(
  channel: ConfirmChannel,
  mode: QueueMode,
  exchange: string,
): Promise<void> {
  await channel.assertExchange(exchange, 'topic', { durable: mode !== 'transient' });
}

/** The queue in which answers to this process come in; never bound. */
export async function declareReplyQueue(channel: ConfirmChannel, queue: string): Promise<void> {
  await channel.assertQueue(queue, LIGHT);
}

/** `notifications.info` piles up until somebody listens: declared and bound by whoever notifies. */
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
 * Declares and binds what a server consumes from; answers the queues. Those that others may declare
 * too (`T`, `T.H`, the exchange `T_fanout`) are declared word by word as oslo.messaging does in the
 * same mode: RabbitMQ refuses any difference. That is why no queue has a dead-letter exchange or a
 * delivery limit; what has to be buried is published by us.
 *
 * In the mode `coffer` a queue that is a guest's own comes alone: tens of thousands of guests would
 * have three each, and nobody asks a guest by another name than its topic.
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
