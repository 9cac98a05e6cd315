import { type ChannelModel, connect } from 'amqplib';
import type { TlsOptions } from '../config.ts';

/** Where a broker is, and by which name it knows the connection. */
export interface Visitor {
  readonly url: string;
  readonly tls: TlsOptions | undefined;
  readonly name: string;
}

const CONNECT_TIMEOUT_MS = 5_000;

/**
 * A connection for what is done rarely, and must not end what others use: made for `work`, and closed after
 * it. Rejects if RabbitMQ is away.
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
