import type { ChannelModel } from 'amqplib';
import { type Visitor, visit } from './visit.ts';

/** How full a queue is, and how many take from it. */
export interface Depth {
  readonly messages: number;
  readonly consumers: number;
}

/**
 * How many messages wait in each of these queues, and for how many consumers. A queue that does not exist is
 * left out: asking for it costs its channel, so that each has one of its own. Rejects if RabbitMQ is away.
 */
export function depthsOf(
  { name, ...broker }: Visitor,
  queues: readonly string[],
): Promise<ReadonlyMap<string, Depth>> {
  return visit({ ...broker, name: `${name}:depths` }, async (connection) => {
    const found = await Promise.all(queues.map((queue) => depthOf(connection, queue)));
    return new Map(found.flatMap((depth, index) => (depth === null ? [] : [[queues[index] ?? '', depth]])));
  });
}

async function depthOf(connection: ChannelModel, queue: string): Promise<Depth | null> {
  const channel = await connection.createChannel();
  channel.on('error', () => undefined);
  try {
    const { messageCount: messages, consumerCount: consumers } = await channel.checkQueue(queue);
    return { messages, consumers };
  } catch {
    return null;
  }
}
