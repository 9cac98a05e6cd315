import type { ConfirmChannel, ConsumeMessage } from 'amqplib';
import { type Logger, textOf } from '../log.ts';
import { type CallOptions, RemoteError, unavailable } from './bus.ts';
import { decodeBody, newUniqueId, replyOf } from './envelope.ts';
import type { Protection } from './protection.ts';
import { declareReplyQueue } from './queues.ts';

interface Waiter {
  resolve(value: unknown): void;
  reject(err: Error): void;
  /** Called when the server reports that it is still working. */
  keepAlive(): void;
  /** The protection of the answer. */
  readonly protection: Protection | null;
}

interface Waiting {
  readonly answer: Promise<unknown>;
  readonly forget: () => void;
}

/** The answers to the calls of this process: they arrive in one queue, and each finds its caller. */
export class Replies {
  readonly queue = `reply_${newUniqueId()}`;
  readonly #log: Logger;
  readonly #waiters = new Map<string, Waiter>();

  constructor(log: Logger) {
    this.#log = log;
  }

  async consume(channel: ConfirmChannel, breakLink: () => void): Promise<void> {
    await declareReplyQueue(channel, this.queue);
    await channel.consume(this.queue, (message) => (message ? this.#take(message) : breakLink()), {
      noAck: true,
    });
  }

  /** Rejects all calls that still wait. */
  close(): void {
    for (const waiter of this.#waiters.values()) waiter.reject(unavailable('the bus was closed'));
    this.#waiters.clear();
  }

  /**
   * Sends the question, and resolves with the answer. The waiter is registered before the question is sent:
   * the answer may arrive before the confirm.
   */
  ask(msg_id: string, what: string, options: CallOptions, send: () => Promise<void>): Promise<unknown> {
    return answered(this.#await(msg_id, what, options), send());
  }

  #await(msg_id: string, what: string, options: CallOptions): Waiting {
    const { timeout_ms, monitor_ms = timeout_ms, protection = null } = options;
    const giveUp = (ms: number) => () =>
      this.#waiters.get(msg_id)?.reject(unavailable(`no answer to ${what} within ${ms} ms`));
    const timeout = setTimeout(giveUp(timeout_ms), timeout_ms);
    const silence = setTimeout(giveUp(monitor_ms), monitor_ms);
    const keepAlive = () => silence.refresh();
    const answer = new Promise<unknown>((resolve, reject) =>
      this.#waiters.set(msg_id, { resolve, reject, keepAlive, protection }),
    );
    const forget = () => {
      clearTimeout(timeout);
      clearTimeout(silence);
      this.#waiters.delete(msg_id);
    };
    return { answer, forget };
  }

  #take({ content }: ConsumeMessage): void {
    try {
      const body = decodeBody(content);
      const waiter = this.#waiters.get(String(body['_msg_id']));
      const isKeepAlive = body['ending'] === false;
      const opened = isKeepAlive ? body : (waiter?.protection?.openReply(body) ?? body);
      const { result, failure } = replyOf(opened);
      if (isKeepAlive) waiter?.keepAlive();
      else if (failure) waiter?.reject(new RemoteError(failure.class, failure.message));
      else waiter?.resolve(result);
    } catch (err) {
      this.#log.warn({ err: textOf(err) }, 'a reply that nobody can read was dropped');
    }
  }
}

/** Keeps no reference to the question: thousands of answers may be awaited at the same time. */
async function answered({ answer, forget }: Waiting, sent: Promise<void>): Promise<unknown> {
  try {
    return await Promise.race([answer, sent.then(() => answer)]);
  } finally {
    answer.catch(() => undefined);
    forget();
  }
}
