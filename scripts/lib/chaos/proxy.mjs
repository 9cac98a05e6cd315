// @ts-check
import { connect, createServer } from 'node:net';

/**
 * A TCP proxy between one process and one server, which can imitate faults of a network.
 *
 * @typedef {import('node:net').Socket} Socket
 * @typedef {'client' | 'server'} Side
 */
export class TcpProxy {
  #server = createServer({ noDelay: true }, (client) => this.#accept(client));
  /** @type {Set<Pipe>} */
  #pipes = new Set();
  #target = { host: '', port: 0 };
  #isRefusing = false;
  #isStalled = false;
  #delayMs = 0;

  static async open() {
    const proxy = new TcpProxy();
    await new Promise((resolve) => proxy.#server.listen(0, '127.0.0.1', () => resolve(undefined)));
    return proxy;
  }

  /**
   * The URL through this proxy to the server that `url` names.
   * @param {string} url
   */
  through(url) {
    const parsed = new URL(url);
    this.#target = { host: parsed.hostname, port: Number(parsed.port) };
    parsed.hostname = '127.0.0.1';
    parsed.port = String(/** @type {import('node:net').AddressInfo} */ (this.#server.address()).port);
    return parsed.toString().replace(/\/$/, '');
  }

  /** Cuts every connection and refuses new ones, until `heal`. */
  refuse() {
    this.#isRefusing = true;
    for (const pipe of this.#pipes) pipe.end();
  }

  /** Keeps every connection and passes nothing on, until `heal`: then all data arrive, late. */
  stall() {
    this.#isStalled = true;
    for (const pipe of this.#pipes) pipe.pause();
  }

  /** @param {number} ms the additional delay of data in each direction, until `heal` */
  delay(ms) {
    this.#delayMs = ms;
  }

  /**
   * One side loses every connection and the other side does not learn of it: it may send for ever, and
   * receives nothing. New connections work.
   * @param {Side} unaware the side that does not learn of it
   */
  halfOpen(unaware) {
    for (const pipe of this.#pipes) pipe.halve(unaware);
  }

  /** The network works again. Connections that are half open stay so. */
  heal() {
    this.#isRefusing = false;
    this.#isStalled = false;
    this.#delayMs = 0;
    for (const pipe of this.#pipes) pipe.resume();
  }

  async close() {
    this.refuse();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** @param {Socket} client */
  #accept(client) {
    if (this.#isRefusing) return void client.destroy();
    const upstream = connect({ ...this.#target, noDelay: true });
    const pipe = new Pipe(client, upstream, {
      delayMs: () => this.#delayMs,
      onEnd: () => this.#pipes.delete(pipe),
    });
    this.#pipes.add(pipe);
    if (this.#isStalled) pipe.pause();
  }
}

/** A client's connection, and the proxy's connection to the server in its place. */
class Pipe {
  #client;
  #upstream;
  #isHalved = false;

  /**
   * @param {Socket} client
   * @param {Socket} upstream
   * @param {{ delayMs: () => number, onEnd: () => void }} options
   */
  constructor(client, upstream, { delayMs, onEnd }) {
    this.#client = client;
    this.#upstream = upstream;
    for (const [from, to] of /** @type {const} */ ([
      [client, upstream],
      [upstream, client],
    ])) {
      const forward = inOrder((chunk) => {
        if (!this.#isHalved) to.write(chunk);
      }, delayMs);
      from.on('data', forward);
      from.on('error', () => {});
      from.on('close', () => {
        if (!this.#isHalved) to.destroy();
        if (client.destroyed && upstream.destroyed) onEnd();
      });
    }
  }

  /** @param {Side} unaware */
  halve(unaware) {
    this.#isHalved = true;
    (unaware === 'client' ? this.#upstream : this.#client).destroy();
  }

  end() {
    this.#client.destroy();
    this.#upstream.destroy();
  }

  pause() {
    this.#client.pause();
    this.#upstream.pause();
  }

  resume() {
    this.#client.resume();
    this.#upstream.resume();
  }
}

/**
 * Delays data without changing the order.
 * @param {(chunk: Buffer) => void} deliver
 * @param {() => number} delayMs
 * @returns {(chunk: Buffer) => void}
 */
function inOrder(deliver, delayMs) {
  /** @type {Buffer[]} */
  const waiting = [];
  return (chunk) => {
    const ms = delayMs();
    if (ms === 0 && waiting.length === 0) return deliver(chunk);
    waiting.push(chunk);
    // Each timer delivers the oldest chunk: timers of different lengths may overtake each other.
    setTimeout(() => deliver(/** @type {Buffer} */ (waiting.shift())), ms);
  };
}
