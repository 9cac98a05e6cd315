/** Drives `peer.py`: one process in Python for a whole suite. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { QueueMode } from '../../src/config.ts';
import { startPython } from '../support/python.ts';
import { until } from '../support/stack.ts';

/** What a peer says of its own accord: `event` names it. */
export type PeerEvent = Readonly<Record<string, unknown>> & { readonly event: string };

/** The other side has failed: its class as Python names it. */
class PeerError extends Error {
  override readonly name = 'PeerError';
  readonly remote_class: string;

  constructor(remote_class: string, message: string) {
    super(message);
    this.remote_class = remote_class;
  }
}

type Said = { id: number; ok?: unknown; error?: { class: string; message: string } } | PeerEvent;

/** Options of oslo.messaging's driver, in the query of its URL. */
const DRIVER_OPTIONS: Readonly<Record<QueueMode, string>> = {
  coffer: '?rabbit_quorum_queue=true',
  quorum: '?rabbit_quorum_queue=true',
  durable: '?amqp_durable_queues=true',
  transient: '',
};

export class Peer {
  readonly events: PeerEvent[] = [];
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(err: Error): void }>();
  #orders = 0;
  #stderr = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the peer ended:\n${this.#stderr}`));
    });
    if (child.stdout) createInterface({ input: child.stdout }).on('line', (line) => this.#hear(line));
  }

  static async start(): Promise<Peer> {
    const peer = new Peer(startPython([join(import.meta.dirname, 'peer.py')]));
    await peer.event('ready');
    return peer;
  }

  #hear(line: string): void {
    const said = JSON.parse(line) as Said;
    if ('event' in said) return void this.events.push(said);
    const { id, ok, error } = said;
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) waiting?.reject(new PeerError(error.class, error.message));
    else waiting?.resolve(ok);
  }

  /** Has it do something; rejects with a `PeerError` if that fails. */
  do(what: string, order: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    this.#orders += 1;
    const id = this.#orders;
    const done = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#child.stdin?.write(`${JSON.stringify({ ...order, id, do: what })}\n`);
    return done;
  }

  /** From now on it speaks through this exchange. */
  async connect(amqp_url: string, exchange: string, mode: QueueMode = 'coffer'): Promise<void> {
    const url = new URL(amqp_url);
    const path = url.pathname.length > 1 ? url.pathname : '/';
    const address = `${url.username || 'guest'}:${url.password || 'guest'}@${url.host}${path}`;
    await this.do('transport', { exchange, url: `rabbit://${address}${DRIVER_OPTIONS[mode]}` });
  }

  /** The first thing of this kind that it has said, or will say, and that fits; it is said no more. */
  event(kind: string, fits: (event: PeerEvent) => boolean = () => true): Promise<PeerEvent> {
    return until(`the peer says ${kind}; it says ${this.#stderr}`, async () => {
      if (this.#child.exitCode !== null) throw new Error(`the peer ended:\n${this.#stderr}`);
      const at = this.events.findIndex((event) => event.event === kind && fits(event));
      return at < 0 ? false : this.events.splice(at, 1)[0];
    });
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
