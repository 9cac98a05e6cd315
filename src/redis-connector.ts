import { createConnection, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AbstractConnector, type RedisOptions } from 'ioredis';

/**
 * Makes the sockets of a Redis client, as its option `Connector`. The connector of ioredis does the same, but
 * listens only for the first error of each socket: under TLS a second error may follow, which would end the
 * process. It also needs a system call for each command (docs/decisions/0020).
 */
export class RedisConnector extends AbstractConnector {
  readonly #options: RedisOptions;
  #ending: unknown;

  constructor(options: unknown) {
    const own = options as RedisOptions & { readonly disconnectTimeout: number };
    super(own.disconnectTimeout);
    // This connector would connect to 127.0.0.1: ioredis asks Sentinels in another connector.
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
   * Ends the socket, once. All commands that wait for a hanging Redis time out together, and each of them
   * calls this method. The method of ioredis would add a timer and a listener to the socket each time.
   */
  override disconnect(): void {
    this.connecting = false;
    if (this.#ending === this.stream) return;
    this.#ending = this.stream;
    super.disconnect();
  }
}

/** Sends everything that is written in one turn of the event loop as one write, at the end of the turn. */
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
