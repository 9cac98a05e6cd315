import {
  type Bus,
  type CallOptions,
  type CastOptions,
  type Context,
  isFinal,
  isPassing,
  NOTIFICATION_TOPIC,
  type Notification,
  RemoteError,
  type Request,
  type Served,
  type ServeOptions,
  unavailable,
} from '../../src/bus/bus.ts';

/** As `amqp.ts` has them. */
const CONFIRM_TIMEOUT_MS = 5_000;
const REQUEUE_MS = 500;
const MAX_DELIVERIES = 4;

/** What is on its way: to the broker, back from it, to a consumer, and an answer to its caller. */
export type Passage = 'publish' | 'confirm' | 'delivery' | 'reply';

interface BrokerDeps {
  readonly now: () => number;
  /** Runs something later; answers how to call it off. */
  readonly after: (ms: number, run: () => void) => () => void;
  readonly newId: () => string;
  /** After how many milliseconds each copy arrives; none: it is lost. At once and once, if not given. */
  readonly passage?: (passage: Passage, topic: string) => readonly number[];
}

interface Message {
  readonly topic: string;
  readonly method: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly context: Context;
  readonly unique_id: string;
  readonly reply_to: { readonly bus: MemoryBus; readonly msg_id: string } | null;
  readonly expires_at: number;
  /** How often it was delivered before; of a light queue only whether. */
  readonly deliveries: number;
}

interface Queue {
  readonly kind: ServeOptions['queue'];
  messages: Message[];
  readonly consumers: Server[];
}

interface DeadLetter {
  readonly topic: string;
  readonly method: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly reason: string;
}

/**
 * RabbitMQ's in-memory twin, for the simulator: queues, confirms, redelivery, and every passage of a
 * message at the mercy of whoever gives `passage`.
 */
export class MemoryBroker {
  readonly deps: BrokerDeps;
  readonly deadLetters: DeadLetter[] = [];
  readonly notifications: Notification[] = [];
  readonly #queues = new Map<string, Queue>();

  constructor(deps: BrokerDeps) {
    this.deps = deps;
  }

  connect(): MemoryBus {
    return new MemoryBus(this);
  }

  /** After how long each copy of something on its way arrives. */
  passage(passage: Passage, topic: string): readonly number[] {
    return this.deps.passage?.(passage, topic) ?? [0];
  }

  declare(topic: string, kind: ServeOptions['queue']): Queue {
    const queue = this.#queues.get(topic) ?? { kind, messages: [], consumers: [] };
    this.#queues.set(topic, queue);
    return queue;
  }

  /** False if no queue takes it. */
  route(message: Message): boolean {
    const queue = this.#queues.get(message.topic);
    queue?.messages.push(message);
    this.pump(message.topic);
    return queue !== undefined;
  }

  /** Back to the head of its queue, if that is still there. */
  requeue(message: Message): void {
    const queue = this.#queues.get(message.topic);
    queue?.messages.unshift({ ...message, deliveries: message.deliveries + 1 });
    this.pump(message.topic);
  }

  /** Hands out what lies in a queue, in turn to all who can take more. */
  pump(topic: string): void {
    const queue = this.#queues.get(topic);
    if (!queue) return;
    const now = this.deps.now();
    queue.messages = queue.messages.filter(({ expires_at }) => expires_at > now);
    for (;;) {
      const ready = queue.consumers.findIndex((consumer) => consumer.hasRoom);
      const [consumer] = ready < 0 ? [] : queue.consumers.splice(ready, 1);
      if (!consumer) return;
      queue.consumers.push(consumer);
      const message = queue.messages.shift();
      if (!message) return;
      consumer.deliver(message);
    }
  }

  /** A light queue and what lies in it is gone, as after a restart of RabbitMQ; its consumers notice. */
  dropQueue(topic: string): readonly MemoryBus[] {
    const consumers = this.#queues.get(topic)?.consumers ?? [];
    this.#queues.delete(topic);
    return consumers.map(({ bus }) => bus);
  }
}

interface Waiter {
  resolve(value: unknown): void;
  reject(err: Error): void;
}

/** One process's connection to the broker. */
export class MemoryBus implements Bus {
  readonly broker: MemoryBroker;
  readonly #servers = new Set<Server>();
  readonly #waiters = new Map<string, Waiter>();
  /** Publishes that wait for their confirm. */
  readonly #unconfirmed = new Set<(err: Error) => void>();
  /** Answers that came while the connection was down: their queue keeps them. */
  #answers: (() => void)[] = [];
  #state: 'connected' | 'down' | 'severed' = 'connected';
  /** Counts the channels: a delivery of an earlier one can't be settled any more. */
  #channel = 1;

  constructor(broker: MemoryBroker) {
    this.broker = broker;
  }

  get channel(): number {
    return this.#channel;
  }

  isConnected(): boolean {
    return this.#state === 'connected';
  }

  /** The process died: nothing is settled any more, and what it had in work goes to others. */
  sever(): void {
    this.#state = 'severed';
    this.#hangUp();
  }

  get isSevered(): boolean {
    return this.#state === 'severed';
  }

  /** The connection breaks and comes back; the work in hand goes on, but can't be acknowledged any more. */
  cut(down_ms: number): void {
    if (this.#state !== 'connected') return;
    this.#state = 'down';
    this.#hangUp();
    for (const reject of [...this.#unconfirmed]) reject(unavailable('the connection broke'));
    this.broker.deps.after(down_ms, () => {
      if (this.#state !== 'down') return;
      this.#state = 'connected';
      for (const server of this.#servers) server.consume();
      for (const answer of this.#answers.splice(0)) answer();
    });
  }

  #hangUp(): void {
    this.#channel += 1;
    for (const server of this.#servers) server.hangUp();
  }

  async cast(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    { context, expires_ms }: CastOptions = {},
  ): Promise<void> {
    await this.#publish(this.#newMessage(topic, method, args, context, expires_ms, null));
  }

  async call(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    { timeout_ms, context }: CallOptions,
  ): Promise<unknown> {
    const msg_id = this.broker.deps.newId();
    const message = this.#newMessage(topic, method, args, context, timeout_ms, { bus: this, msg_id });
    const callOff = this.broker.deps.after(timeout_ms, () => {
      this.#waiters.get(msg_id)?.reject(unavailable(`no answer to ${method} within ${timeout_ms} ms`));
    });
    const answer = new Promise<unknown>((resolve, reject) => this.#waiters.set(msg_id, { resolve, reject }));
    try {
      return await Promise.race([answer, this.#publish(message).then(() => answer)]);
    } finally {
      answer.catch(() => undefined);
      callOff();
      this.#waiters.delete(msg_id);
    }
  }

  async notify(notification: Notification): Promise<void> {
    await this.#confirmed('publish', NOTIFICATION_TOPIC, () => {
      this.broker.notifications.push(notification);
      return true;
    });
  }

  async serve(options: ServeOptions): Promise<Served> {
    const server = new Server(this, options, () => this.#servers.delete(server));
    this.#servers.add(server);
    if (this.#state === 'connected') server.consume();
    return server;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#servers].map((server) => server.stop()));
    for (const waiter of this.#waiters.values()) waiter.reject(unavailable('the bus was closed'));
    this.#state = 'severed';
  }

  /** Resolves when the answer is in the caller's queue. */
  async reply(to: NonNullable<Message['reply_to']>, result: unknown, failure: Error | null): Promise<void> {
    await this.#confirmed('reply', '', () => {
      to.bus.#onReply(to.msg_id, asJson(result ?? null), failure);
      return true;
    });
  }

  #onReply(msg_id: string, result: unknown, failure: Error | null): void {
    const settle = () => {
      const waiter = this.#waiters.get(msg_id);
      const name = failure?.name === 'Error' ? 'GuestError' : (failure?.name ?? '');
      if (failure) waiter?.reject(new RemoteError(name, failure.message));
      else waiter?.resolve(result);
    };
    if (this.#state === 'connected') settle();
    else if (this.#state === 'down') this.#answers.push(settle);
  }

  #newMessage(
    topic: string,
    method: string,
    args: Readonly<Record<string, unknown>>,
    context: Context | undefined,
    expires_ms: number | undefined,
    reply_to: Message['reply_to'],
  ): Message {
    const { newId, now } = this.broker.deps;
    const unique_id = newId().replaceAll('-', '');
    const expires_at = expires_ms === undefined ? Number.POSITIVE_INFINITY : now() + expires_ms;
    const asker = context ?? { request_id: `req-${newId()}`, tenant_id: null, user: null, is_admin: true };
    const message = { topic, method, args: asJson(args), context: asker, unique_id, reply_to };
    return { ...message, expires_at, deliveries: 0 };
  }

  #publish(message: Message): Promise<void> {
    return this.#confirmed('publish', message.topic, () => this.broker.route(message));
  }

  /** Sends something; settles when the broker's confirm is back, or when it stays away too long. */
  #confirmed(passage: Passage, topic: string, arrive: () => boolean): Promise<void> {
    const { after } = this.broker.deps;
    return new Promise((resolve, reject) => {
      if (this.#state === 'severed') return;
      if (this.#state === 'down') return reject(unavailable('the broker is not connected'));
      const settle = (err: Error | null) => {
        callOff();
        this.#unconfirmed.delete(settle);
        if (this.#state === 'severed') return;
        if (err) reject(err);
        else resolve();
      };
      const callOff = after(CONFIRM_TIMEOUT_MS, () => settle(unavailable('not confirmed in time')));
      this.#unconfirmed.add(settle);
      const { channel } = this;
      for (const delay of this.broker.passage(passage, topic)) {
        after(delay, () => {
          const refusal = arrive() ? null : unavailable(`nobody serves ${topic} yet`);
          for (const back of this.broker.passage('confirm', topic)) {
            after(back, () => channel === this.channel && settle(refusal));
          }
        });
      }
    });
  }
}

interface Delivery {
  readonly message: Message;
  readonly channel: number;
}

/** One topic that is served. */
class Server implements Served {
  readonly bus: MemoryBus;
  readonly #options: ServeOptions;
  readonly #forget: () => void;
  readonly #unsettled = new Set<Delivery>();
  readonly #working = new Set<Promise<void>>();
  #queue: Queue | null = null;
  #isStopped = false;

  constructor(bus: MemoryBus, options: ServeOptions, forget: () => void) {
    this.bus = bus;
    this.#options = options;
    this.#forget = forget;
  }

  get hasRoom(): boolean {
    return this.#unsettled.size < this.#options.prefetch;
  }

  consume(): void {
    const { topic, queue } = this.#options;
    this.#queue = this.bus.broker.declare(topic, queue);
    this.#queue.consumers.push(this);
    this.bus.broker.pump(topic);
  }

  /** The channel is gone: what was not settled goes back, the last one first so that the order stays. */
  hangUp(): void {
    this.#leave();
    const back = [...this.#unsettled].reverse();
    this.#unsettled.clear();
    for (const { message } of back) this.bus.broker.requeue(message);
  }

  #leave(): void {
    const index = this.#queue?.consumers.indexOf(this) ?? -1;
    if (index >= 0) this.#queue?.consumers.splice(index, 1);
    this.#queue = null;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#forget();
    this.#leave();
    await Promise.all(this.#working);
  }

  deliver(message: Message): void {
    const { broker } = this.bus;
    const delivery = { message, channel: this.bus.channel };
    this.#unsettled.add(delivery);
    const [delay = 0] = broker.passage('delivery', message.topic);
    broker.deps.after(delay, () => {
      if (delivery.channel !== this.bus.channel) return;
      if (this.#isStopped) return this.#settle(delivery, 'requeue');
      const work = this.#handle(message).then((verdict) => this.#settle(delivery, verdict));
      this.#working.add(work);
      void work.finally(() => this.#working.delete(work));
    });
  }

  /** On a channel that is gone there is nothing to settle: the message has gone back already. */
  #settle(delivery: Delivery, verdict: 'ack' | 'requeue'): void {
    if (!this.#unsettled.delete(delivery)) return;
    if (verdict === 'requeue') this.bus.broker.requeue(delivery.message);
    else this.bus.broker.pump(delivery.message.topic);
  }

  async #handle(message: Message): Promise<'ack' | 'requeue'> {
    const { method, args, context, unique_id, reply_to, deliveries } = message;
    const request: Request = { method, args, context, unique_id, redelivered: deliveries > 0 };
    try {
      const result = await this.#options.handler(request);
      if (reply_to) await this.#reply(reply_to, result, null);
      return 'ack';
    } catch (err) {
      const error = err instanceof Error ? err : new Error(String(err));
      if (isPassing(error)) return this.#requeueLater();
      if (reply_to) {
        await this.#reply(reply_to, null, error);
        return 'ack';
      }
      const isLast = this.#options.queue === 'shared' && deliveries + 1 >= MAX_DELIVERIES;
      if (!isFinal(error) && !isLast) return this.#requeueLater();
      const { topic } = message;
      this.bus.broker.deadLetters.push({ topic, method, args, reason: error.message });
      return 'ack';
    }
  }

  async #reply(to: NonNullable<Message['reply_to']>, result: unknown, failure: Error | null): Promise<void> {
    // The caller is gone, or will ask again: calls are safe to repeat.
    await this.bus.reply(to, result, failure).catch(() => undefined);
  }

  async #requeueLater(): Promise<'requeue'> {
    await new Promise<void>((resolve) => this.bus.broker.deps.after(REQUEUE_MS, resolve));
    return 'requeue';
  }
}

/** As it comes over the wire. */
function asJson<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}
