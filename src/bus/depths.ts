import type { ChannelModel } from 'amqplib';
import { type Visitor, visit } from './visit.ts';

/** How many messages a queue holds, and how many consumers it has. */
export interface Depth {
  readonly messages: number;
  readonly consumers: number;
}

/**
 * How many messages wait in each of these queues, and how many consumers each has. A queue that does not
 * exist is left out: RabbitMQ closes the channel that asks for one, so each queue is checked on a channel of
 * its own. Rejects if RabbitMQ is away.
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
