import { type ChannelModel, connect } from 'amqplib';
import type { TlsOptions } from '../config.ts';

/** Where a broker is, and the name that our connection has there. */
export interface Visitor {
  readonly url: string;
  readonly tls: TlsOptions | undefined;
  readonly name: string;
}

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Opens a connection for `work`, and closes it afterwards: for rare work that must not break the connections
 * in use. Rejects if RabbitMQ is away.
 */
export async function visit<T>(
  { url, tls, name }: Visitor,
  work: (connection: ChannelModel) => Promise<T>,
): Promise<T> {
  const connection = await connect(url, {
    ...tls,
    timeout: CONNECT_TIMEOUT_MS,
    clientProperties: { connection_name: name },
  });
  connection.on('error', () => undefined);
  try {
    return await work(connection);
  } finally {
    await connection.close().catch(() => undefined);
  }
}
