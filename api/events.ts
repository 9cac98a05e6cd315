import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { type EventDocument, EventsAnswer } from '../src/contract/documents.ts';
import { parseAs } from '../src/contract/explain.ts';
import { EventsQuery, UpgradeParams } from '../src/contract/http.ts';
import type { Cluster } from '../src/core/domain.ts';
import { isActive, type UpgradeEventType } from '../src/core/record.ts';
import type { App, Deps } from './deps.ts';
import { findUpgrade } from './upgrades.ts';
import { eventView } from './views.ts';

/** One read of the store waits so long for news: a reader that left is noticed within it. */
const READ_WAIT_MS = 1000;
const READ_LIMIT = 500;
/** Proxies cut a connection on which nothing is said for long. */
const KEEP_ALIVE_MS = 15_000;
/** What a browser waits before it connects again. */
const RECONNECT_MS = 1000;

/** The last event of an upgrade is one of these. */
const TERMINAL: readonly UpgradeEventType[] = ['succeeded', 'failed', 'cancelled', 'rolled_back'];

/** `/upgrades/{id}/events`: server-sent events, or a list for who asks for JSON. */
export function eventRoutes(app: App, deps: Deps): void {
  const closing = new AbortController();
  app.addHook('preClose', async () => closing.abort());

  app.get(
    '/upgrades/:upgrade_id/events',
    {
      exposeHeadRoute: false,
      config: { rule: 'upgrade:show' },
      schema: {
        tags: ['upgrades'],
        summary: 'What happens in an upgrade, as it happens',
        description:
          'With `Accept: application/json`: up to 500 events after `last_event_id`, as a list. Else server-sent events, which end after the last one; a reader that comes back sends `Last-Event-ID` and misses none. 204 when there is nothing more to come.',
        params: UpgradeParams,
        querystring: EventsQuery,
        response: { 200: EventsAnswer, 204: z.null() },
      },
    },
    async (request, reply) => {
      const { upgrade, cluster } = await findUpgrade(deps, request.caller, request.params.upgrade_id);
      const after = lastEventId(request, request.query.last_event_id);
      if (wantsList(request)) {
        const events = await deps.store.events(upgrade.id, after, { limit: READ_LIMIT, wait_ms: 0 });
        return { events: events.map((event) => eventView(event, cluster)) };
      }
      // 204 is what tells a browser's EventSource not to come back.
      if (!isActive(upgrade) && after >= upgrade.seq) return reply.code(204).send(null);
      const stopped = AbortSignal.any([closing.signal, leaving(reply)]);
      return sendStream(reply, eventStream(deps, { upgrade_id: upgrade.id, cluster, after, stopped }));
    },
  );
}

function wantsList(request: FastifyRequest): boolean {
  const accept = request.headers.accept ?? '';
  return accept.includes('application/json') && !accept.includes('text/event-stream');
}

/** Where the reader left off. The header wins: it is newer than the URL with which the reader began. */
function lastEventId(request: FastifyRequest, fromQuery = 0): number {
  const header = request.headers['last-event-id'];
  if (header === undefined || header === '') return fromQuery;
  return parseAs(EventsQuery, { last_event_id: header }, 'Last-Event-ID').last_event_id ?? 0;
}

/** Aborts when the client hangs up. */
function leaving(reply: FastifyReply): AbortSignal {
  const left = new AbortController();
  reply.raw.once('close', () => left.abort());
  return left.signal;
}

function sendStream(reply: FastifyReply, chunks: AsyncGenerator<string>) {
  return (
    reply
      .header('content-type', 'text/event-stream; charset=utf-8')
      .header('cache-control', 'no-cache, no-transform')
      .header('x-accel-buffering', 'no')
      // Kept alive, the connection would hold up the server's stop until its idle time is over.
      .header('connection', 'close')
      .send(Readable.from(chunks))
  );
}

interface Reading {
  readonly upgrade_id: string;
  readonly cluster: Cluster | null;
  readonly after: number;
  readonly stopped: AbortSignal;
}

/** The text of an event stream, up to the last event or until the client leaves. */
async function* eventStream(
  deps: Deps,
  { upgrade_id, cluster, after, stopped }: Reading,
): AsyncGenerator<string> {
  yield `retry: ${RECONNECT_MS}\n\n`;
  let last = after;
  let said = deps.now();
  try {
    while (!stopped.aborted) {
      const events = await deps.store.events(upgrade_id, last, { limit: READ_LIMIT, wait_ms: READ_WAIT_MS });
      for (const event of events) {
        yield serverSentEvent(eventView(event, cluster));
        last = event.seq;
        if (TERMINAL.includes(event.type)) return;
      }
      if (events.length > 0) said = deps.now();
      if (deps.now() - said < KEEP_ALIVE_MS) continue;
      yield ': keep-alive\n\n';
      said = deps.now();
    }
  } catch (err) {
    // The stream ends here; the reader comes back with the last number it saw and misses nothing.
    deps.log.warn({ err, upgrade_id }, 'an event stream was cut short');
  }
}

function serverSentEvent(event: EventDocument): string {
  return `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}
