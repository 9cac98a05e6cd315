import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import type { TlsOptions } from '../config.ts';
import { type Logger, textOf } from '../log.ts';
import { sleep } from '../service.ts';

/** A peer that is silent for two of these is given up. */
const HEARTBEAT_SECONDS = 6;
const CONNECT_TIMEOUT_MS = 5_000;
/** `close()` can hang on a dead socket: it is given this long. */
const CLOSE_TIMEOUT_MS = 1_000;
const RETRY_MS = [50, 100, 200, 500, 1_000, 2_000] as const;

/** Called on every fresh channel, before anybody may use it: declares, binds and consumes. */
export type Setup = (channel: ConfirmChannel) => Promise<void>;

/**
 * Keeps one connection with one channel to RabbitMQ alive.
 *
 * The unit of failure is the whole link: a closed channel, a cancelled consumer, an error on the
 * socket all lead to a new connection with everything set up again. amqplib's own recovery leaves
 * consumers dead after a channel error, and a link that is half alive is worse than none.
 */
export class Link {
  readonly #url: string;
  readonly #tls: TlsOptions | undefined;
  readonly #name: string;
  readonly #log: Logger;
  readonly #setup: Setup;
  readonly #onReady: (channel: ConfirmChannel) => void;
  #connection: ChannelModel | undefined;
  #channel: ConfirmChannel | undefined;
  #running: Promise<void> | undefined;
  readonly #stopped = new AbortController();
  /** Ends the wait of the supervising loop: the link is broken. */
  #broken: (() => void) | undefined;
  #firstTry: (() => void) | undefined;
  #trouble: string | undefined;

  /** `onReady` runs in the very moment in which `channel` becomes visible: nothing can slip in between. */
  constructor(options: {
    url: string;
    tls?: TlsOptions | undefined;
    name: string;
    log: Logger;
    setup: Setup;
    onReady?: (channel: ConfirmChannel) => void;
  }) {
    this.#url = options.url;
    this.#tls = options.tls;
    this.#name = options.name;
    this.#log = options.log;
    this.#setup = options.setup;
    this.#onReady = options.onReady ?? (() => undefined);
  }

  /** The channel while the link is up. */
  get channel(): ConfirmChannel | undefined {
    return this.#channel;
  }

  /** Why the last try to connect failed; undefined when it did not. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Begins to connect; resolves after the first try, whether it succeeded or not. Reconnects from then on. */
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

  /** Drops the connection, so that it is made anew: what was in flight has an unknown outcome. */
  breakLink(): void {
    this.#channel = undefined;
    this.#broken?.();
  }

  async #supervise(): Promise<void> {
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
        this.#log[level](
          { err: this.#trouble, link: this.#name, wait_ms: wait },
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
      if (!this.#stopped.signal.aborted) this.#log.warn({ link: this.#name }, 'RabbitMQ: connection lost');
    }
  }

  /** Connects and sets up; `broken` resolves when the link breaks. In an object: a bare promise would be awaited. */
  async #open(): Promise<{ readonly broken: Promise<void> }> {
    let isBroken = false;
    const broken = new Promise<void>((resolve) => {
      this.#broken = () => {
        isBroken = true;
        this.#channel = undefined;
        resolve();
      };
    });
    const breakNow = () => this.#broken?.();
    const connection = await connect(withHeartbeat(this.#url), {
      ...this.#tls,
      timeout: CONNECT_TIMEOUT_MS,
      // Else a message that needs two writes waits for the peer's delayed acknowledgement: 40 ms.
      noDelay: true,
      clientProperties: { connection_name: this.#name },
    });
    this.#connection = connection;
    const note = (err: Error) =>
      this.#log.debug({ err: textOf(err), link: this.#name }, 'RabbitMQ: error event');
    // Before any await: an error event without a listener ends the process.
    connection.on('error', note);
    connection.on('handler-error', note);
    connection.on('close', breakNow);
    const channel = await connection.createConfirmChannel();
    channel.on('error', note);
    channel.on('handler-error', note);
    channel.on('close', breakNow);
    await this.#setup(channel);
    // The connection may have died during the set-up, before anybody could notice.
    if (isBroken || this.#stopped.signal.aborted)
      throw new Error('the connection was lost while it was set up');
    this.#channel = channel;
    this.#onReady(channel);
    this.#log.debug({ link: this.#name }, 'RabbitMQ: connected');
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

/** A queue or an exchange is there already, with other options. */
function isMismatch(err: unknown): boolean {
  return textOf(err).includes('PRECONDITION_FAILED');
}

function withHeartbeat(url: string): string {
  const parsed = new URL(url);
  if (!parsed.searchParams.has('heartbeat')) parsed.searchParams.set('heartbeat', String(HEARTBEAT_SECONDS));
  return parsed.toString();
}

/** In words that tell what to do. */
function troubleOf(err: unknown): string {
  const text = textOf(err);
  return /ACCESS.REFUSED|NOT.ALLOWED/.test(text)
    ? `RabbitMQ refuses the user, the password or the virtual host: correct COFFER_AMQP_URL (${text})`
    : text;
}
