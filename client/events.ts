import type { EventDocument } from '../src/contract/documents.ts';
import { CofferApiError } from './errors.ts';
import type { Http } from './http.ts';
import { pause } from './time.ts';

export interface WatchOptions {
  /** Number of the last event already seen. Default 0: from the beginning. */
  readonly after?: number;
  /** Ends the watching; the iterator rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called each time the connection was lost and is about to be made anew. */
  readonly onDisconnect?: ((error: unknown) => void) | undefined;
}

const TERMINAL: readonly string[] = ['succeeded', 'failed', 'cancelled'];
/** The server says something every 15 s; when it is silent for longer, the connection is dead. */
const SILENT_MS = 40_000;
const RECONNECT_MS = [100, 250, 500, 1000, 2000, 5000] as const;

/**
 * The events of an upgrade, each once and in order, up to the last one. Survives lost connections
 * and restarts of the server: it goes on after the last number seen, for as long as it takes.
 */
export async function* watchEvents(
  http: Http,
  path: string,
  { after = 0, signal, onDisconnect }: WatchOptions,
): AsyncGenerator<EventDocument, void> {
  let last = after;
  let failures = 0;
  for (;;) {
    try {
      for await (const event of connection(http, path, last, signal)) {
        if (event.seq <= last) continue;
        last = event.seq;
        failures = 0;
        yield event;
        if (TERMINAL.includes(event.type)) return;
      }
      if (await hasNothingMore(http, path, last, signal)) return;
    } catch (error) {
      if (signal?.aborted || (error instanceof CofferApiError && !error.isTemporary)) throw error;
      onDisconnect?.(error);
    }
    await pause(RECONNECT_MS[Math.min(failures, RECONNECT_MS.length - 1)] ?? 0, signal);
    failures += 1;
  }
}
