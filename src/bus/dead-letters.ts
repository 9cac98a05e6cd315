import { createHash, randomUUID } from 'node:crypto';
import type { Channel, ChannelModel, GetMessage } from 'amqplib';
import type { TlsOptions } from '../config.ts';
import { CofferError } from '../core/errors.ts';
import { textOf } from '../log.ts';
import { sleep } from '../service.ts';
import { type DeadLetter, type DeadLetters, unavailable } from './bus.ts';
import { deliveriesOf, headersAgain } from './delivery.ts';
import { decodeRequest } from './envelope.ts';
import { visit } from './visit.ts';

/** How long a reader waits for its turn. */
const TURN_TIMEOUT_MS = 5_000;
const RETRY_MS = 50;
/** How many letters are read in search of one: all that were read stay in memory until they are put back. */
const MAX_READ = 10_000;
/**
 * RabbitMQ 4 drops a message that was put back 20 times: before that, the letter is written again as a new
 * message.
 */
const MAX_RETURNS = 10;

interface AmqpDeadLettersOptions {
  readonly url: string;
  readonly tls: TlsOptions | undefined;
  readonly queue: string;
  /** Shown in RabbitMQ's list of connections. */
  readonly name: string;
  /** Publishes the message to the topic; rejects if nobody serves the topic. */
  readonly replay: (topic: string, content: Buffer) => Promise<void>;
  /** Writes a letter to the end of the queue. */
  readonly bury: (content: Buffer, headers: Readonly<Record<string, unknown>>) => Promise<void>;
}

/** Headers of a letter: the content of the message stays as it was received. */
export function headersOfLetter(topic: string, reason: string): Readonly<Record<string, unknown>> {
  return {
    'coffer-id': randomUUID(),
    'coffer-reason': reason.slice(0, 1_000),
    'coffer-topic': topic,
    'coffer-at': Date.now(),
  };
}

/**
 * Reads the queue of the dead letters. RabbitMQ can't show a message without handing it out, so a reader
 * takes the letters that it reads and puts them back. A reader that dies loses nothing, since RabbitMQ then
 * puts them back itself. Readers take turns: otherwise one reader would find the queue empty while another
 * holds its letters. Each reader has a connection of its own: people read dead letters rarely.
 */
export class AmqpDeadLetters implements DeadLetters {
  readonly #options: AmqpDeadLettersOptions;

  constructor(options: AmqpDeadLettersOptions) {
    this.#options = options;
  }

  list(limit: number): Promise<{ readonly letters: readonly DeadLetter[]; readonly total: number }> {
    return this.#read(async (reader) => {
      const { messageCount } = await reader.channel.checkQueue(this.#options.queue);
      while (reader.held.length < limit && (await reader.next()));
      // Letters that were put back come in any order.
      const letters = reader.held.map(letterOf).sort((a, b) => (a.at ?? 0) - (b.at ?? 0));
      return { letters, total: Math.max(messageCount, letters.length) };
    });
  }

  get(id: string): Promise<DeadLetter | null> {
    return this.#read(async (reader) => {
      const message = await reader.find(id);
      return message && letterOf(message);
    });
  }

  replay(id: string): Promise<DeadLetter | null> {
    return this.#take(id, async (message, { topic }) => {
      if (topic === null) {
        throw new CofferError('action_refused', `Dead letter ${id} does not say where it was to go.`);
      }
      await this.#options.replay(topic, message.content);
    });
  }

  discard(id: string): Promise<DeadLetter | null> {
    return this.#take(id, async () => undefined);
  }

  /**
   * Removes the letter only after `act` has succeeded. If two callers want the same letter at the same time,
   * the second finds none.
   */
  #take(
    id: string,
    act: (message: GetMessage, letter: DeadLetter) => Promise<void>,
  ): Promise<DeadLetter | null> {
    return this.#read(async (reader) => {
      const message = await reader.find(id);
      if (!message) return null;
      const letter = letterOf(message);
      await act(message, letter);
      reader.remove(message);
      return letter;
    });
  }

  async #read<Result>(look: (reader: Reader) => Promise<Result>): Promise<Result> {
    const { url, tls, queue, name } = this.#options;
    try {
      return await visit({ url, tls, name: `${name}:dead-letters` }, async (connection) => {
        await awaitTurn(connection, `${queue}.reader`);
        const reader = new Reader(await openChannel(connection), queue);
        try {
          return await look(reader);
        } finally {
          await this.#putBack(reader);
        }
      });
    } catch (err) {
      if (err instanceof CofferError) throw err;
      throw unavailable(`the dead letters can't be read: ${textOf(err)}`);
    }
  }

  /** Returns when the queue has all letters back: the next reader must see all of them. */
  async #putBack(reader: Reader): Promise<void> {
    const { channel, held, queue } = reader;
    await Promise.all(
      held.filter((each) => deliveriesOf(each) >= MAX_RETURNS).map((each) => this.#renew(reader, each)),
    );
    for (const message of held) channel.nack(message, false, true);
    for (let tries = 0; tries < 20; tries++) {
      const { messageCount } = await channel.checkQueue(queue);
      if (messageCount >= held.length) return;
      await sleep(RETRY_MS);
    }
  }

  /**
   * Writes the same letter again, with no record of earlier readings. In between the queue holds it twice,
   * but is never without it.
   */
  async #renew(reader: Reader, message: GetMessage): Promise<void> {
    try {
      await this.#options.bury(message.content, { ...headersAgain(message), 'coffer-id': idOf(message) });
      reader.remove(message);
    } catch {
      // The publisher's connection is gone: the next reader will renew the letter.
    }
  }
}

/** Reads the queue alone, and holds the letters that it has taken out. */
class Reader {
  readonly channel: Channel;
  readonly queue: string;
  readonly held: GetMessage[] = [];

  constructor(channel: Channel, queue: string) {
    this.channel = channel;
    this.queue = queue;
  }

  /** Null at the end of the queue, or when `MAX_READ` letters were read. */
  async next(): Promise<GetMessage | null> {
    if (this.held.length >= MAX_READ) return null;
    const message = await this.channel.get(this.queue);
    if (!message) return null;
    this.held.push(message);
    return message;
  }

  async find(id: string): Promise<GetMessage | null> {
    for (;;) {
      const message = await this.next();
      if (!message || idOf(message) === id) return message;
    }
  }

  remove(message: GetMessage): void {
    this.channel.ack(message);
    this.held.splice(this.held.indexOf(message), 1);
  }
}

/** Uses a queue that only one connection may have: RabbitMQ takes it away from a connection that is gone. */
async function awaitTurn(connection: ChannelModel, name: string): Promise<void> {
  const end = Date.now() + TURN_TIMEOUT_MS;
  for (;;) {
    const channel = await openChannel(connection);
    try {
      await channel.assertQueue(name, { exclusive: true, durable: false });
      return;
    } catch (err) {
      if (!textOf(err).includes('RESOURCE_LOCKED')) throw err;
      if (Date.now() > end) throw unavailable('somebody else looks through the dead letters: ask again');
      await sleep(RETRY_MS);
    }
  }
}

async function openChannel(connection: ChannelModel): Promise<Channel> {
  const channel = await connection.createChannel();
  channel.on('error', () => undefined);
  return channel;
}

function letterOf(message: GetMessage): DeadLetter {
  const headers = message.properties.headers ?? {};
  const text = (key: string) => (typeof headers[key] === 'string' ? (headers[key] as string) : null);
  const at: unknown = headers['coffer-at'];
  return {
    id: idOf(message),
    topic: text('coffer-topic'),
    reason: text('coffer-reason'),
    at: typeof at === 'number' ? at : null,
    method: methodOf(message.content),
    content: message.content,
  };
}

/**
 * Letters that were buried before letters had ids have the id of their message; letters that others wrote,
 * the digest of their content.
 */
function idOf({ properties, content }: GetMessage): string {
  const id: unknown = properties.headers?.['coffer-id'] ?? properties.messageId;
  if (typeof id === 'string') return id;
  return createHash('sha256').update(content).digest('hex').slice(0, 32);
}

function methodOf(content: Buffer): string | null {
  try {
    return decodeRequest(content).method;
  } catch {
    return null;
  }
}
