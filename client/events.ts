import { CofferApiError } from './errors.ts';
import type { Http } from './http.ts';
import { pause } from './time.ts';

export interface WatchOptions {
  /** Number of the last event already seen. Default 0: from the beginning. */
  readonly after?: number;
  /** Ends the watching; the iterator rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called each time the connection was lost, before a new one is made. */
  readonly onDisconnect?: ((error: unknown) => void) | undefined;
  /** Called each time a connection was made: from now on events arrive as they happen. */
  readonly onConnect?: (() => void) | undefined;
}

interface Numbered {
  readonly seq: number;
  readonly type: string;
}

/** The server sends something every 15 s; when it is silent for longer than this, the connection is dead. */
const SILENT_MS = 40_000;
const RECONNECT_MS = [100, 250, 500, 1000, 2000, 5000] as const;

/**
 * The events of an upgrade or a batch, each once and in order, up to the last one. Survives lost connections
 * and restarts of the server: it continues after the last number seen, for as long as the server is away.
 */
export async function* watchEvents<Event extends Numbered>(
  http: Http,
  path: string,
  /** The last event is of one of these types. */
  terminal: readonly string[],
  { after = 0, signal, onDisconnect, onConnect }: WatchOptions = {},
): AsyncGenerator<Event, void> {
  let last = after;
  let failures = 0;
  for (;;) {
    const connection = new Connection(signal);
    try {
      const response = await http.stream(path, last, connection.signal);
      if (response === null) return;
      onConnect?.();
      for await (const event of connection.events<Event>(response)) {
        if (event.seq <= last) continue;
        last = event.seq;
        failures = 0;
        yield event;
        if (terminal.includes(event.type)) return;
      }
    } catch (error) {
      disconnected(error, signal, onDisconnect);
    } finally {
      connection.end();
    }
    await pause(reconnectMs(failures), signal);
    failures += 1;
  }
}

/** A read beside the events of a watch: as patient as the watch itself. */
export async function lookUp<Answer>(
  look: () => Promise<Answer>,
  { signal, onDisconnect }: Pick<WatchOptions, 'signal' | 'onDisconnect'>,
): Promise<Answer> {
  for (let failures = 0; ; failures++) {
    try {
      return await look();
    } catch (error) {
      disconnected(error, signal, onDisconnect);
    }
    await pause(reconnectMs(failures), signal);
  }
}

/** Throws the errors that waiting cannot cure. */
function disconnected(
  error: unknown,
  signal: AbortSignal | undefined,
  onDisconnect: WatchOptions['onDisconnect'],
): void {
  if (signal?.aborted || (error instanceof CofferApiError && !error.isTemporary)) throw error;
  onDisconnect?.(error);
}

function reconnectMs(failures: number): number {
  return RECONNECT_MS[Math.min(failures, RECONNECT_MS.length - 1)] ?? 0;
}

/** One HTTP connection of a watch; it is given up when the server is silent for too long. */
class Connection {
  readonly signal: AbortSignal;
  readonly #over = new AbortController();
  #watchdog: ReturnType<typeof setTimeout> | undefined;

  constructor(outer: AbortSignal | undefined) {
    this.signal = outer === undefined ? this.#over.signal : AbortSignal.any([outer, this.#over.signal]);
    this.#feed();
  }

  async *events<Event>(response: Response): AsyncGenerator<Event, void> {
    if (response.body === null) return;
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#feed();
      const blocks = (rest + decoder.decode(value, { stream: true })).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) yield* eventIn<Event>(block);
    }
  }

  end(): void {
    clearTimeout(this.#watchdog);
    this.#over.abort();
  }

  #feed(): void {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#over.abort(new Error('the event stream fell silent')), SILENT_MS);
  }
}

/** The event of one block of an event stream; comments and `retry` hold none. */
function* eventIn<Event>(block: string): Generator<Event, void> {
  const data = block
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice('data:'.length).trimStart())
    .join('\n');
  if (data !== '') yield JSON.parse(data) as Event;
}
