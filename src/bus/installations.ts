/**
 * Every message between processes of Coffer carries the id of its installation. Two installations that share
 * a virtual host of RabbitMQ consume from the same queues, whatever their exchanges and Redis prefixes are,
 * because the queues have the names that Trove's services expect. A process passes a message of another
 * installation on, until a process of that installation takes it. Taskmanagers also announce themselves, so
 * that people learn of the other installation.
 */
import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import { type Body, isRecord } from './protection.ts';

/** The field of a message that carries the id. A peer that is plain oslo.messaging ignores it. */
export const INSTALLATION = 'coffer_installation';
/** Header: how often the message was passed on. */
export const PASSED_ON = 'coffer-passed-on';
/** A message that was passed on this often has no process of its own installation here. */
export const MAX_PASSED_ON = 20;

const EXCHANGE = 'coffer.installations';
const ANNOUNCE_MS = 5_000;
/** An installation counts as gone if three of its announcements in a row did not arrive. */
const HEARD_MS = 3 * ANNOUNCE_MS + 1_000;

/** Null for a message without the field: Trove's services and older guests send such messages. */
export function installationOf(body: Body): string | null {
  const id = body[INSTALLATION];
  return typeof id === 'string' ? id : null;
}

export function foreignWords(theirs: string, own: string): string {
  return `it is of the installation ${theirs}, and this is ${own}: give each installation a virtual host of RabbitMQ of its own`;
}

export function timesPassedOn({ properties }: ConsumeMessage): number {
  const count: unknown = properties.headers?.[PASSED_ON];
  return typeof count === 'number' && count > 0 ? count : 0;
}

/** Announces an installation to the others on the virtual host, and receives their announcements. */
export class Presence {
  readonly #own: string;
  readonly #now: () => number;
  readonly #heard = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(own: string, now: () => number = () => performance.now()) {
    this.#own = own;
    this.#now = now;
  }

  /** Ids of the other installations from which an announcement was received lately. */
  get others(): readonly string[] {
    const since = this.#now() - HEARD_MS;
    return [...this.#heard].filter(([, at]) => at >= since).map(([id]) => id);
  }

  /**
   * Runs on each new channel. Announces only while this process `serves` the shared queues: others need not
   * know of it otherwise.
   */
  async setUp(channel: ConfirmChannel, serves: () => boolean): Promise<void> {
    await channel.assertExchange(EXCHANGE, 'fanout', { durable: false });
    const { queue } = await channel.assertQueue('', { exclusive: true, durable: false });
    await channel.bindQueue(queue, EXCHANGE, '');
    await channel.consume(queue, (message) => this.#hear(message), { noAck: true });
    const announce = () => {
      try {
        if (serves())
          channel.publish(EXCHANGE, '', Buffer.from(JSON.stringify({ [INSTALLATION]: this.#own })));
      } catch {
        // The channel is gone: the announcement is made on the next one.
      }
    };
    this.stop();
    this.#timer = setInterval(announce, ANNOUNCE_MS);
    this.#timer.unref();
    announce();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #hear(message: ConsumeMessage | null): void {
    if (!message) return;
    try {
      const said: unknown = JSON.parse(message.content.toString());
      const id = isRecord(said) ? installationOf(said) : null;
      if (id !== null && id !== this.#own && id.length <= 64) this.#note(id);
    } catch {
      // Not a message of ours.
    }
  }

  /** A sender that announces invented installations must not fill the memory. */
  #note(id: string): void {
    if (this.#heard.size >= 100) this.#heard.clear();
    this.#heard.set(id, this.#now());
  }
}
