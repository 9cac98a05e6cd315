import type { Channel, ChannelModel } from 'amqplib';
import type { QueueMode, TlsOptions } from '../config.ts';
import { textOf } from '../log.ts';
import { sleep } from '../service.ts';
import { shapeOf } from './queues.ts';
import { visit } from './visit.ts';

/** Compares an exchange or a queue with what our processes declare. */
interface Declared {
  readonly name: string;
  readonly state: 'as ours' | 'missing' | 'different';
  /** RabbitMQ's answer, if the state is `different`. */
  readonly detail: string | null;
}

export interface BrokerFacts {
  /** As the server reports it, e.g. `3.10.8`. */
  readonly version: string;
  /** Why RabbitMQ takes no message now, i.e. an alarm of memory or disk; null while it takes messages. */
  readonly blocked: string | null;
  readonly declared: readonly Declared[];
}

/** RabbitMQ reports an alarm only when a client publishes, and then immediately. */
const ALARM_WITHIN_MS = 500;
/** No queue has this name: RabbitMQ drops what is sent to it. */
const NOWHERE = 'coffer.doctor.nowhere';

/**
 * Inspects a broker without changing anything: missing queues are not created. Rejects if there is no
 * connection.
 */
export function inspectBroker(options: {
  readonly url: string;
  readonly tls: TlsOptions | undefined;
  readonly mode: QueueMode;
  readonly exchange: string;
  /** Shared queues, by name. */
  readonly queues: readonly string[];
}): Promise<BrokerFacts> {
  const { url, tls, mode, exchange, queues } = options;
  return visit({ url, tls, name: 'coffer-doctor' }, async (connection) => {
    const isDurable = mode !== 'transient';
    const exchangeLook = lookAt(connection, exchange, {
      check: (channel) => channel.checkExchange(exchange),
      declare: (channel) => channel.assertExchange(exchange, 'topic', { durable: isDurable }),
    });
    const looks = queues.map((name) =>
      lookAt(connection, name, {
        check: (channel) => channel.checkQueue(name),
        declare: (channel) => channel.assertQueue(name, shapeOf(mode, 'shared')),
      }),
    );
    const declared = await Promise.all([exchangeLook, ...looks]);
    return { version: versionOf(connection), blocked: await alarmOf(connection), declared };
  });
}

/**
 * Each check has a channel of its own, because RabbitMQ closes a channel after a refusal. An object that
 * exists is declared again, which changes nothing.
 */
async function lookAt(
  connection: ChannelModel,
  name: string,
  ask: {
    readonly check: (channel: Channel) => PromiseLike<unknown>;
    readonly declare: (channel: Channel) => PromiseLike<unknown>;
  },
): Promise<Declared> {
  const channel = await connection.createChannel();
  channel.on('error', () => undefined);
  try {
    await ask.check(channel);
  } catch {
    return { name, state: 'missing', detail: null };
  }
  try {
    await ask.declare(channel);
    return { name, state: 'as ours', detail: null };
  } catch (err) {
    return { name, state: 'different', detail: textOf(err) };
  }
}

function versionOf({ connection }: ChannelModel): string {
  return String(connection.serverProperties.version);
}

async function alarmOf(connection: ChannelModel): Promise<string | null> {
  let reason: string | null = null;
  connection.once('blocked', (why: string) => {
    reason = why;
  });
  const channel = await connection.createChannel();
  channel.on('error', () => undefined);
  channel.publish('', NOWHERE, Buffer.alloc(0));
  await sleep(ALARM_WITHIN_MS);
  return reason;
}
