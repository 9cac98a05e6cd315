/** Event streams as server-sent events, or as a list for clients that ask for JSON. */
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { parseAs } from '../../src/contract/explain.ts';
import { EventsQuery } from '../../src/contract/http.ts';
import { CofferError } from '../../src/core/errors.ts';
import type { Numbered } from '../../src/store/events.ts';
import type { Caller } from '../access/caller.ts';
import type { App, Deps } from '../deps.ts';

/**
 * How long one read of the store waits for new events: within this time the departure of a reader is noticed.
 */
const READ_WAIT_MS = 1000;
const READ_LIMIT = 500;
/** Proxies close a connection on which nothing is sent for long. */
const KEEP_ALIVE_MS = 15_000;
/** Within this time a reader is cut off whose token was revoked, or who may no longer read the stream. */
const READMIT_MS = 15_000;
/** How long a browser waits before it connects again. */
const RECONNECT_MS = 1000;

/** For the description of a route that answers with `Streams`. */
export const STREAM_DESCRIPTION =
  'With `Accept: application/json`: up to 500 events after `last_event_id`, as a list. Else server-sent events, which end after the last one; a reader that comes back sends `Last-Event-ID` and misses none. 204 when there is nothing more to come.';

interface TypedEvent extends Numbered {
  readonly type: string;
}

/** Provides the events of one record. */
interface EventSource<Event extends TypedEvent> {
  readonly id: string;
  /** The last number that the reader has seen, according to the URL. */
  readonly after: number;
  /** Number of the record's last event, if there will be no more; null while there may be. */
  readonly last: number | null;
  /** Nothing follows an event of one of these types. */
  readonly terminal: readonly string[];
  readonly read: (after: number, options: { limit: number; wait_ms: number }) => Promise<readonly Event[]>;
  readonly view: (event: Event) => object;
  readonly isSeenBy: (caller: Caller) => boolean;
}

/** Answers requests for events, until the server closes. */
export class Streams {
  readonly #deps: Deps;
  readonly #closing = new AbortController();

  constructor(app: App, deps: Deps) {
    this.#deps = deps;
    app.addHook('preClose', async () => this.#closing.abort());
  }

  /** Answers with a list if the client asks for one, otherwise with the stream. */
  async answer<Event extends TypedEvent>(
    request: FastifyRequest,
    reply: FastifyReply,
    source: EventSource<Event>,
  ): Promise<FastifyReply> {
    const after = lastEventId(request, source.after);
    if (wantsList(request)) {
      const events = await source.read(after, { limit: READ_LIMIT, wait_ms: 0 });
      return reply.send({ events: events.map(source.view) });
    }
    // 204 tells a browser's EventSource not to connect again.
    if (source.last !== null && after >= source.last) return reply.code(204).send(null);
    const stopped = AbortSignal.any([this.#closing.signal, leaving(reply)]);
    const mayRead = async () => source.isSeenBy(await request.admitAgain());
    return sendStream(reply, this.#chunks(source, after, { stopped, mayRead }));
  }

  /**
   * The text of an event stream: up to the last event, or until the client leaves or may no longer read it.
   */
  async *#chunks<Event extends TypedEvent>(
    { id, read, view, terminal }: EventSource<Event>,
    after: number,
    { stopped, mayRead }: { readonly stopped: AbortSignal; readonly mayRead: () => Promise<boolean> },
  ): AsyncGenerator<string> {
    yield `retry: ${RECONNECT_MS}\n\n`;
    let last = after;
    let said = this.#deps.now();
    let admitted = said;
    try {
      while (!stopped.aborted) {
        if (this.#deps.now() - admitted >= READMIT_MS) {
          if (!(await mayRead())) return;
          admitted = this.#deps.now();
        }
        const events = await read(last, { limit: READ_LIMIT, wait_ms: READ_WAIT_MS });
        for (const event of events) {
          yield `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(view(event))}\n\n`;
          last = event.seq;
          if (terminal.includes(event.type)) return;
        }
        if (events.length > 0) said = this.#deps.now();
        if (this.#deps.now() - said < KEEP_ALIVE_MS) continue;
        yield ': keep-alive\n\n';
        said = this.#deps.now();
      }
    } catch (err) {
      // The stream ends here. The reader connects again with the last number that it saw: it misses nothing,
      // or is refused.
      const isRefusal = err instanceof CofferError && err.status < 500;
      this.#deps.log[isRefusal ? 'info' : 'warn']({ err, id }, 'an event stream was cut short');
    }
  }
}

function wantsList(request: FastifyRequest): boolean {
  const accept = request.headers.accept ?? '';
  return accept.includes('application/json') && !accept.includes('text/event-stream');
}

/**
 * The last number that the reader has seen. The header wins: it is newer than the URL with which the reader
 * began.
 */
function lastEventId({ headers }: FastifyRequest, fromQuery: number): number {
  const header = headers['last-event-id'];
  if (header === undefined || header === '') return fromQuery;
  return parseAs(EventsQuery, { last_event_id: header }, 'Last-Event-ID').last_event_id ?? 0;
}

/** Aborts when the client closes the connection. */
function leaving(reply: FastifyReply): AbortSignal {
  const left = new AbortController();
  reply.raw.once('close', () => left.abort());
  return left.signal;
}

function sendStream(reply: FastifyReply, chunks: AsyncGenerator<string>): FastifyReply {
  return (
    reply
      .header('content-type', 'text/event-stream; charset=utf-8')
      .header('cache-control', 'no-cache, no-transform')
      .header('x-accel-buffering', 'no')
      // If the connection were kept alive, it would delay the server's stop until its idle time is over.
      .header('connection', 'close')
      .send(Readable.from(chunks))
  );
}
