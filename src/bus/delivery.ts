/** A message as RabbitMQ delivers it: how often it came, and how to settle or return it. */
import type { ConfirmChannel, ConsumeMessage } from 'amqplib';

/**
 * Header of a message that was sent again because its work could not be done. Anybody may set it: nothing is
 * decided by it.
 */
export const AGAIN = 'coffer-again';
/** Header in which a quorum queue counts deliveries that came back. */
const DELIVERIES = 'x-delivery-count';

/** Acknowledges the message, or puts it back where it was. */
export function settleDelivery(
  channel: ConfirmChannel,
  message: ConsumeMessage,
  verdict: 'ack' | 'requeue',
): void {
  try {
    if (verdict === 'ack') channel.ack(message);
    else channel.nack(message, false, true);
  } catch {
    // The channel is gone: RabbitMQ delivers the message again, to a new channel.
  }
}

/**
 * How often the message was delivered before and came back. Only quorum queues count; on the first delivery
 * the header says whatever the sender has set.
 */
export function deliveriesOf({ properties }: Pick<ConsumeMessage, 'properties'>): number {
  const count: unknown = properties.headers?.[DELIVERIES];
  return typeof count === 'number' && count > 0 ? count : 0;
}

/** True if the message, or one that was sent in its place, was delivered before. */
export function wasDelivered({ fields, properties }: ConsumeMessage): boolean {
  return fields.redelivered || properties.headers?.[AGAIN] === true;
}

/** A message that expires is not delivered forever. */
export function hasExpiry({ properties }: ConsumeMessage): boolean {
  return properties.expiration !== undefined;
}

/** The headers with which the message is sent again, as if it had never been delivered. */
export function headersAgain({
  properties,
}: Pick<ConsumeMessage, 'properties'>): Readonly<Record<string, unknown>> {
  const { [DELIVERIES]: _, ...rest } = properties.headers ?? {};
  return rest;
}
