import { randomUUID } from 'node:crypto';
import type { ConfirmChannel, Message, Options } from 'amqplib';
import { textOf } from '../log.ts';
import { unavailable } from './bus.ts';
import { Link, type LinkOptions } from './connection.ts';

/** If a confirm does not arrive within this time, the outcome of the publish is unknown. */
const CONFIRM_TIMEOUT_MS = 5_000;
/** How many publishes may wait for their confirm at the same time; further ones wait in line. */
const MAX_UNCONFIRMED = 512;

/** The properties that every captured message has; `delivery_mode` 2 costs nothing on a transient queue. */
const PROPERTIES: Options.Publish = {
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  persistent: true,
  priority: 0,
};

/** A link that only publishes: every message is confirmed by RabbitMQ and taken by a queue, or refused. */
export class Publisher {
  readonly #link: Link;
  /** Ids of messages that RabbitMQ returned because no queue takes them; the confirm follows. */
  readonly #returned = new Set<string>();
  #unconfirmed = 0;
  readonly #line: (() => void)[] = [];

  constructor(options: LinkOptions) {
    this.#link = new Link({
      ...options,
      setup: async (channel) => {
        channel.on('return', (message: Message) => this.#returned.add(String(message.properties.messageId)));
        await options.setup(channel);
      },
    });
  }

  get isConnected(): boolean {
    return this.#link.channel !== undefined;
  }

  start(): Promise<void> {
    return this.#link.start();
  }

  stop(): Promise<void> {
    return this.#link.stop();
  }

  /** Resolves with RabbitMQ's confirm; rejects with `bus_unavailable`. */
  async publish(
    exchange: string,
    key: string,
    content: Buffer,
    options: Options.Publish = {},
  ): Promise<void> {
    while (this.#unconfirmed >= MAX_UNCONFIRMED)
      await new Promise<void>((resolve) => this.#line.push(resolve));
    this.#unconfirmed += 1;
    try {
      const { channel } = this.#link;
      if (!channel) throw unavailable(`RabbitMQ is not connected: ${this.#link.trouble ?? 'connecting'}`);
      await this.#confirmed(channel, exchange, key, content, options);
    } finally {
      this.#unconfirmed -= 1;
      this.#line.shift()?.();
    }
  }

  #confirmed(
    channel: ConfirmChannel,
    exchange: string,
    key: string,
    content: Buffer,
    options: Options.Publish,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const messageId = randomUUID();
      const timeout = setTimeout(() => {
        reject(unavailable('RabbitMQ did not confirm in time'));
        // The peer may be gone: without this a half-open connection would be trusted for a long time.
        if (this.#link.channel === channel) this.#link.breakLink();
      }, CONFIRM_TIMEOUT_MS);
      const settle = (err: unknown) => {
        clearTimeout(timeout);
        const unroutable = this.#returned.delete(messageId);
        if (err) reject(unavailable(`RabbitMQ did not take the message: ${textOf(err)}`));
        else if (unroutable) reject(unavailable(`nobody serves ${key} yet`));
        else resolve();
      };
      const properties = { ...PROPERTIES, ...options, messageId, mandatory: true };
      try {
        channel.publish(exchange, key, content, properties, settle);
      } catch (err) {
        // A channel that has just died throws immediately.
        settle(err);
      }
    });
  }
}
