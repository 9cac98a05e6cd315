import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP proxy in front of a server, for tests of what happens to connections. */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Those of them towards the server. */
  readonly #upstreams = new Set<Socket>();
  readonly #stranded: Socket[] = [];
  #mode: 'open' | 'refuse' | 'hang' = 'open';

  private constructor(server: Server) {
    this.#server = server;
  }

  static async inFrontOf(url: string): Promise<TcpProxy> {
    const { hostname, port } = new URL(url);
    const server = createServer();
    const proxy = new TcpProxy(server);
    server.on('connection', (client) => proxy.#onConnection(client, hostname, Number(port)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  /** The proxied server's URL, through this proxy. */
  urlFor(url: string): string {
    const through = new URL(url);
    through.hostname = '127.0.0.1';
    through.port = String((this.#server.address() as AddressInfo).port);
    return through.toString();
  }

  /** Cuts every connection; new ones are taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Cuts every connection, and refuses new ones until `allow`. */
  refuse(): void {
    this.#mode = 'refuse';
    this.cut();
  }

  /** Keeps every connection, and lets nothing through until `allow`: a server that hangs. */
  hang(): void {
    this.#mode = 'hang';
    for (const socket of this.#sockets) socket.pause();
  }

  /** Lets through what is asked, and no answer, until `cut`. */
  loseAnswers(): void {
    for (const socket of this.#upstreams) socket.pause();
  }

  /** Keeps every connection, and lets nothing through on it ever again: its peer has vanished. New ones are taken. */
  strand(): void {
    for (const socket of this.#sockets) socket.unpipe();
    this.#stranded.push(...this.#sockets);
    this.#sockets.clear();
  }

  allow(): void {
    this.#mode = 'open';
    for (const socket of this.#sockets) socket.resume();
  }

  async close(): Promise<void> {
    this.refuse();
    for (const socket of this.#stranded) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #onConnection(client: Socket, host: string, port: number): void {
    if (this.#mode === 'refuse') return void client.destroy();
    const upstream = connect(port, host);
    this.#upstreams.add(upstream);
    upstream.on('close', () => this.#upstreams.delete(upstream));
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
      if (this.#mode === 'hang') from.pause();
    }
  }
}
