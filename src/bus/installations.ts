/**
 * Installations are told apart by an id, which every message between processes of Coffer carries. Two that share
 * a virtual host of RabbitMQ consume from the same queues, whatever their exchanges and Redis prefixes are, since
 * queues have the names that Trove's services expect. A message of another installation is passed on until one
 * of its own processes takes it, and taskmanagers announce themselves, so that people hear of the other one.
 */
import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import { type Body, isRecord } from './protection.ts';

/** What carries the id in a message. A peer that is plain oslo.messaging does not look at it. */
export const INSTALLATION = 'coffer_installation';
/** Header: how often the message was passed on. */
export const PASSED_ON = 'coffer-passed-on';
/** A message that was passed on so often has no process of its own here. */
export const MAX_PASSED_ON = 20;

const EXCHANGE = 'coffer.installations';
const ANNOUNCE_MS = 5_000;
/** Who was not heard for three announcements is gone. */
const HEARD_MS = 3 * ANNOUNCE_MS + 1_000;

/** Null for a message that says nothing: Trove's services and older guests send such. */
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

/** Announces an installation to the others of the virtual host, and hears of them. */
export class Presence {
  readonly #own: string;
  readonly #now: () => number;
  readonly #heard = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(own: string, now: () => number = () => performance.now()) {
    this.#own = own;
    this.#now = now;
  }

  /** Ids of the other installations whose taskmanagers were heard lately. */
  get others(): readonly string[] {
    const since = this.#now() - HEARD_MS;
    return [...this.#heard].filter(([, at]) => at >= since).map(([id]) => id);
  }

  /** On a fresh channel. Only who `serves` the shared queues is of interest to others. */
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
        // The channel is gone: the next one announces.
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
      // Not one of ours.
    }
  }

  /** Whoever announces made-up installations must not fill the memory. */
  #note(id: string): void {
    if (this.#heard.size >= 100) this.#heard.clear();
    this.#heard.set(id, this.#now());
  }
}
