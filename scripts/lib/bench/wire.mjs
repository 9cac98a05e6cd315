// @ts-check
import { connect } from 'amqplib';
import { percentile } from './figures.mjs';

/** Measurements of the messages themselves: a confirmed publish, and the pause between two instances. */

const PUBLISHES = 300;
const MESSAGE_BYTES = 1_400;

/**
 * One publish after the other to a quorum queue, each confirmed.
 * @param {string} amqpUrl
 * @returns {Promise<number>} milliseconds, the median
 */
export async function confirmedPublishMs(amqpUrl) {
  const connection = await connect(amqpUrl, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  const queue = `coffer.bench.confirm.${process.pid}`;
  await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  const content = Buffer.from('m'.repeat(MESSAGE_BYTES));
  const times = [];
  for (let each = 0; each < PUBLISHES; each++) {
    const began = performance.now();
    await new Promise((done, fail) =>
      channel.sendToQueue(queue, content, { persistent: true }, (error) =>
        error ? fail(error) : done(undefined),
      ),
    );
    times.push(performance.now() - began);
  }
  await channel.deleteQueue(queue);
  await connection.close();
  return percentile(times, 0.5);
}

/**
 * Receives every message that passes the exchange. The dead time of a cluster is the time between the last
 * order to one instance (`post_upgrade`) and the first order to the next (`pre_upgrade`). It includes the
 * answer of a guest that does no work, so it is an upper bound.
 * @param {string} amqpUrl
 * @param {string} exchange
 */
export async function openTap(amqpUrl, exchange) {
  const connection = await connect(amqpUrl, { noDelay: true });
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, exchange, 'guestagent.#');
  /** @type {{ method: string, at: number }[]} */
  let orders = [];
  await channel.consume(
    queue,
    (message) => {
      if (!message) return;
      const { method } = JSON.parse(JSON.parse(message.content.toString())['oslo.message']);
      orders.push({ method, at: performance.now() });
    },
    { noAck: true },
  );
  return {
    forget() {
      orders = [];
    },
    /** The dead times since the last reset, of one cluster that was upgraded alone. */
    deadTimes() {
      return orders.flatMap(({ method, at }, index) => {
        const before = orders[index - 1];
        return method === 'pre_upgrade' && before?.method === 'post_upgrade' ? [at - before.at] : [];
      });
    },
    close: () => connection.close(),
  };
}
