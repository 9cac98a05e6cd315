import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import type { TlsOptions } from '../config.ts';
import { type Logger, textOf } from '../log.ts';
import { sleep } from '../service.ts';

/** After a silence of two such intervals the peer is considered dead. */
const HEARTBEAT_SECONDS = 6;
const CONNECT_TIMEOUT_MS = 5_000;
/** `close()` can hang on a dead socket: we wait for it no longer than this. */
const CLOSE_TIMEOUT_MS = 1_000;
const RETRY_MS = [50, 100, 200, 500, 1_000, 2_000] as const;

export interface LinkOptions {
  readonly url: string;
  readonly tls?: TlsOptions | undefined;
  /** Shown in RabbitMQ's list of connections. */
  readonly name: string;
  readonly log: Logger;
  /** Called on every new channel before anything else uses it: declares, binds and consumes. */
  readonly setup: (channel: ConfirmChannel) => Promise<void>;
  /** Runs synchronously when `channel` becomes visible: nothing can happen in between. */
  readonly onReady?: (channel: ConfirmChannel) => void;
}

/**
 * Keeps one connection to RabbitMQ, with one channel, alive.
 *
 * The unit of failure is the whole link: a closed channel, a cancelled consumer or an error on the socket
 * leads to a new connection, on which everything is set up again. amqplib's own recovery leaves consumers
 * dead after a channel error, and a link of which only a part works is worse than none.
 */
export class Link {
  readonly #options: LinkOptions;
  #connection: ChannelModel | undefined;
  #channel: ConfirmChannel | undefined;
  #running: Promise<void> | undefined;
  readonly #stopped = new AbortController();
  /** Ends the wait of the supervising loop: the link is broken. */
  #broken: (() => void) | undefined;
  #firstTry: (() => void) | undefined;
  #trouble: string | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** The channel while the link is up. */
  get channel(): ConfirmChannel | undefined {
    return this.#channel;
  }

  /** Why the last try to connect failed; undefined when it did not. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /**
   * Begins to connect; resolves after the first try, whether it succeeded or not. From then on the link
   * reconnects by itself.
   */
  start(): Promise<void> {
    const tried = new Promise<void>((resolve) => {
      this.#firstTry = resolve;
    });
    this.#running ??= this.#supervise();
    return tried;
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.breakLink();
    await this.#running;
  }

  /** Drops the connection, so that a new one is made: the outcome of everything in flight is unknown. */
  breakLink(): void {
    this.#channel = undefined;
    this.#broken?.();
  }

  async #supervise(): Promise<void> {
    const { log, name: link } = this.#options;
    let failures = 0;
    while (!this.#stopped.signal.aborted) {
      try {
        const { broken } = await this.#open();
        failures = 0;
        this.#trouble = undefined;
        this.#firstTry?.();
        await broken;
      } catch (err) {
        const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] ?? 1_000;
        const level = failures === 0 ? 'warn' : 'debug';
        this.#trouble = troubleOf(err);
        log[level](
          { err: this.#trouble, link, wait_ms: wait },
          isMismatch(err)
            ? 'RabbitMQ: others have declared this in another way: set COFFER_AMQP_QUEUES as theirs are, or delete it'
            : 'RabbitMQ: no connection; trying again',
        );
        failures += 1;
        this.#firstTry?.();
        await this.#discard();
        await sleep(wait, this.#stopped.signal);
        continue;
      }
      await this.#discard();
      if (!this.#stopped.signal.aborted) log.warn({ link }, 'RabbitMQ: connection lost');
    }
  }

  /**
   * Connects and sets up; `broken` resolves when the link breaks. It is returned inside an object because a
   * bare promise would be awaited.
   */
  async #open(): Promise<{ readonly broken: Promise<void> }> {
    const { url, tls, name, log, setup, onReady } = this.#options;
    let isBroken = false;
    const broken = new Promise<void>((resolve) => {
      this.#broken = () => {
        isBroken = true;
        this.#channel = undefined;
        resolve();
      };
    });
    const breakNow = () => this.#broken?.();
    const connection = await connect(withHeartbeat(url), {
      ...tls,
      timeout: CONNECT_TIMEOUT_MS,
      // Without this, a message that needs two writes waits for the peer's delayed acknowledgement: 40 ms.
      noDelay: true,
      clientProperties: { connection_name: name },
    });
    this.#connection = connection;
    const note = (err: Error) => log.debug({ err: textOf(err), link: name }, 'RabbitMQ: error event');
    // Before any await: an error event without a listener ends the process.
    connection.on('error', note);
    connection.on('handler-error', note);
    connection.on('close', breakNow);
    const channel = await connection.createConfirmChannel();
    channel.on('error', note);
    channel.on('handler-error', note);
    channel.on('close', breakNow);
    await setup(channel);
    // The connection may have died during the set-up, when nothing was watching it yet.
    if (isBroken || this.#stopped.signal.aborted)
      throw new Error('the connection was lost while it was set up');
    this.#channel = channel;
    onReady?.(channel);
    log.debug({ link: name }, 'RabbitMQ: connected');
    return { broken };
  }

  async #discard(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#channel = undefined;
    if (!connection) return;
    await Promise.race([connection.close().catch(() => undefined), sleep(CLOSE_TIMEOUT_MS)]);
  }
}

/** The queue or the exchange exists already, with other options. */
function isMismatch(err: unknown): boolean {
  return textOf(err).includes('PRECONDITION_FAILED');
}

function withHeartbeat(url: string): string {
  const parsed = new URL(url);
  if (!parsed.searchParams.has('heartbeat')) parsed.searchParams.set('heartbeat', String(HEARTBEAT_SECONDS));
  return parsed.toString();
}

/** The error's text, with advice on what to do. */
function troubleOf(err: unknown): string {
  const text = textOf(err);
  return /ACCESS.REFUSED|NOT.ALLOWED/.test(text)
    ? `RabbitMQ refuses the user, the password or the virtual host: correct COFFER_AMQP_URL (${text})`
    : text;
}
