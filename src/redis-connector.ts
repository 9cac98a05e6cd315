import { createConnection, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';

/**
 * Makes the sockets of a client of Redis, as its option `Connector`. ioredis's own does the same, and
 * listens for the first error of each: under TLS a second one may follow, which would end the process. And it
 * has a system call for each command.
 */
export class RedisConnector extends AbstractConnector {
  readonly #options: RedisOptions;
  /** The socket that has been told to end. */
  #ending: unknown;

  constructor(options: unknown) {
    const own = options as RedisOptions & { readonly disconnectTimeout: number };
    super(own.disconnectTimeout);
    // It would dial 127.0.0.1: ioredis asks Sentinels in a connector of its own.
    if (own.sentinels) throw new Error('Redis is reached by its address, and Sentinels were given');
    this.#options = own;
  }

  override async connect() {
    const { path, host = '127.0.0.1', port = 6379, family = 0, tls } = this.#options;
    const where = path ? { path } : { host, port, family };
    const stream = tls ? connectTls({ ...where, ...tls }) : createConnection(where);
    delete this.firstError;
    stream.on('error', (err: Error) => {
      this.firstError ??= err;
    });
    corkEachTurn(stream);
    this.connecting = true;
    this.stream = stream;
    return stream;
  }

  /**
   * Ends the socket, once: whatever waits on a Redis that hangs times out together, each says so, and
   * ioredis's own would add a timer and a listener to the socket each time.
   */
  override disconnect(): void {
    this.connecting = false;
    if (this.#ending === this.stream) return;
    this.#ending = this.stream;
    super.disconnect();
  }
}

/** What is written in one turn of the event loop goes out as one write, at its end. */
function corkEachTurn(stream: Socket): void {
  const write = stream.write;
  let isCorked = false;
  const uncork = () => {
    isCorked = false;
    stream.uncork();
  };
  stream.write = function corked(this: Socket, ...args: Parameters<typeof write>) {
    if (!isCorked) {
      isCorked = true;
      stream.cork();
      setImmediate(uncork);
    }
    return write.apply(this, args);
  } as typeof write;
}
