import { type ChannelModel, connect } from 'amqplib';
import type { TlsOptions } from '../config.ts';

const CONNECT_TIMEOUT_MS = 5_000;

/** How full a queue is, and how many take from it. */
export interface Depth {
  readonly messages: number;
  readonly consumers: number;
}

/**
 * How many messages wait in each of these queues, and for how many consumers. A queue that does not exist is left out: asking for it
 * costs its channel, so that each has one of its own. Over a connection of its own, since it is asked for
 * rarely and must not end what others use. Rejects if RabbitMQ is away.
 */
export async function depthsOf(
  { url, tls, name }: { readonly url: string; readonly tls: TlsOptions | undefined; readonly name: string },
  queues: readonly string[],
): Promise<ReadonlyMap<string, Depth>> {
  const connection: ChannelModel = await connect(url, {
    ...tls,
    timeout: CONNECT_TIMEOUT_MS,
    clientProperties: { connection_name: `${name}:depths` },
  });
  connection.on('error', () => undefined);
  try {
    const found = await Promise.all(queues.map((queue) => depthOf(connection, queue)));
    return new Map(found.flatMap((depth, index) => (depth === null ? [] : [[queues[index] ?? '', depth]])));
  } finally {
    await connection.close().catch(() => undefined);
  }
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
