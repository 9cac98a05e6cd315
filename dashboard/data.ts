/** The data of the screens, and how they stay current: by polling, or by watching events. */
import { useCallback, useEffect, useRef, useState } from 'react';
import { type ClusterDocument, CofferApiError, type CofferClient } from '../client/index.ts';
import { useSession } from './session.tsx';

interface Polled<T> {
  /** The last data that were read; undefined before the first read. */
  readonly data: T | undefined;
  /** Why the last try failed; undefined if it succeeded. The data stay after a failure. */
  readonly error: unknown;
  readonly reload: () => void;
}

interface PollOptions {
  /** Another key stands for other data: the data that were read under the old key are dropped. */
  readonly key: string;
  /** Time between two reads; null: read once. */
  readonly everyMs: number | null;
}

/** A slow listing is read less often, so that polling does not keep the server busy. */
const REST_FACTOR = 10;

/** Reads once, and then again and again while the page is visible. */
export function usePolled<T>(
  load: (client: CofferClient) => Promise<T>,
  { key, everyMs }: PollOptions,
): Polled<T> {
  const { client, isExpired } = useSession();
  const [state, setState] = useState<{ key: string; data: T | undefined; error: unknown }>();
  const [tries, setTries] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another key, or another try, is read anew
  useEffect(() => {
    if (isExpired) return;
    const stopped = new AbortController();
    const round = async () => {
      const begun = performance.now();
      try {
        const data = await latest.current(client);
        if (!stopped.signal.aborted) setState({ key, data, error: undefined });
      } catch (error) {
        if (stopped.signal.aborted || isExpiry(error)) return null;
        setState((before) => ({ key, data: before?.key === key ? before.data : undefined, error }));
        if (!isPassing(error)) return null;
      }
      return performance.now() - begun;
    };
    void repeat(round, everyMs, stopped.signal);
    return () => stopped.abort();
  }, [client, key, everyMs, isExpired, tries]);
  const reload = useCallback(() => setTries((before) => before + 1), []);
  const current = state?.key === key ? state : undefined;
  return { data: current?.data, error: current?.error, reload };
}

async function repeat(
  round: () => Promise<number | null>,
  everyMs: number | null,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const took = await round();
    if (took === null || everyMs === null) return;
    await pause(Math.max(everyMs, took * REST_FACTOR), signal);
    await untilVisible(signal);
  }
}

/** The session itself reports an expired token, and repeats all requests once there is another token. */
function isExpiry(error: unknown): boolean {
  return error instanceof CofferApiError && error.code === 'unauthorized';
}

/** Whether the same request may succeed in a moment: then it is sent again. */
function isPassing(error: unknown): boolean {
  return error instanceof CofferApiError && (error.isTemporary || error.code === 'rate_limited');
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** A hidden page needs no data. */
function untilVisible(signal: AbortSignal): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener('visibilitychange', look);
      resolve();
    };
    document.addEventListener('visibilitychange', look);
    signal.addEventListener('abort', look);
  });
}

export type Connection = 'connecting' | 'live' | 'lost' | 'over';

interface Watched<Document, Event> {
  readonly document: Document | undefined;
  /** Each event once and in order, however often the connection was lost. */
  readonly events: readonly Event[];
  readonly connection: Connection;
  readonly error: unknown;
  /** Inserts the answer of an action before the action's events arrive. */
  readonly put: (document: Document) => void;
}

interface Numbered {
  readonly seq: number;
}

interface WatchHooks {
  /** Number of the last event that was received. */
  readonly after: number;
  readonly signal: AbortSignal;
  readonly onConnect: () => void;
  readonly onDisconnect: () => void;
}

interface WatchOptions<Document, Event extends Numbered> {
  readonly key: string;
  readonly get: (client: CofferClient) => Promise<Document>;
  readonly watch: (client: CofferClient, hooks: WatchHooks) => AsyncIterable<Event>;
  readonly isOver: (document: Document) => boolean;
}

/** The sentence of the status counts seconds. */
const REFRESH_MS = 1_000;

/**
 * A document with its events as they happen. The document is read again after each event, and every second
 * while the upgrade or batch is at work. The hook serves one document: for another document use another
 * component (`key`).
 */
export function useWatched<Document, Event extends Numbered>(
  options: WatchOptions<Document, Event>,
): Watched<Document, Event> {
  const latest = useRef(options);
  latest.current = options;
  const [own, setOwn] = useState<Document>();
  const isAtWork = useRef(true);
  const everyMs = isAtWork.current ? REFRESH_MS : null;
  const polled = usePolled((client) => latest.current.get(client), { key: options.key, everyMs });
  const { data, reload } = polled;
  isAtWork.current = data === undefined || !options.isOver(data);
  const { events, connection, error } = useEvents(latest);
  const last = events.at(-1)?.seq ?? 0;
  useEffect(() => {
    if (last > 0) reload();
  }, [last, reload]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: data that are read later are newer than an answer
  useEffect(() => setOwn(undefined), [data]);
  return { document: own ?? data, events, connection, error: error ?? polled.error, put: setOwn };
}

/** After a new sign-in it continues where it was. */
function useEvents<Document, Event extends Numbered>(latest: {
  readonly current: WatchOptions<Document, Event>;
}) {
  const { client, isExpired } = useSession();
  const [events, setEvents] = useState<readonly Event[]>([]);
  const [connection, setConnection] = useState<Connection>('connecting');
  const [error, setError] = useState<unknown>();
  const after = useRef(0);
  useEffect(() => {
    if (isExpired) return;
    const { signal, abort } = stopper();
    setError(undefined);
    setConnection('connecting');
    const heard = latest.current.watch(client, {
      after: after.current,
      signal,
      onConnect: () => setConnection('live'),
      onDisconnect: () => setConnection('lost'),
    });
    const onEvents = (news: readonly Event[]) => {
      after.current = news.at(-1)?.seq ?? after.current;
      setEvents((before) => [...before, ...news]);
    };
    void readAll(heard, signal, { onEvents, onError: setError }).then(
      () => signal.aborted || setConnection('over'),
    );
    return abort;
  }, [client, isExpired, latest]);
  return { events, connection, error };
}

function stopper(): { readonly signal: AbortSignal; readonly abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

/**
 * Passes received events on. Events that arrive together are passed on together, so that a long history is
 * drawn once.
 */
async function readAll<Event>(
  heard: AsyncIterable<Event>,
  signal: AbortSignal,
  { onEvents, onError }: { onEvents: (events: readonly Event[]) => void; onError: (error: unknown) => void },
): Promise<void> {
  let held: Event[] = [];
  let isDue = false;
  const hand = () => {
    isDue = false;
    const news = held;
    held = [];
    if (!signal.aborted && news.length > 0) onEvents(news);
  };
  try {
    for await (const event of heard) {
      held.push(event);
      if (isDue) continue;
      isDue = true;
      setTimeout(hand, 30);
    }
  } catch (error) {
    if (!signal.aborted && !isExpiry(error)) onError(error);
  }
}

interface Doing<Args extends readonly unknown[]> {
  readonly isBusy: boolean;
  readonly error: unknown;
  /** Resolves with whether the action succeeded. */
  readonly run: (...args: Args) => Promise<boolean>;
  readonly forget: () => void;
}

/** An action that the user has asked for: it runs only once at a time, and keeps its error. */
export function useDoing<Args extends readonly unknown[]>(
  work: (client: CofferClient, ...args: Args) => Promise<void>,
): Doing<Args> {
  const { client } = useSession();
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const run = async (...args: Args) => {
    if (isBusy) return false;
    setBusy(true);
    setError(undefined);
    try {
      await work(client, ...args);
      return true;
    } catch (reason) {
      setError(reason);
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { isBusy, error, run, forget: () => setError(undefined) };
}

/** Every cluster of the tenant, page after page. */
export async function allClusters(client: CofferClient): Promise<readonly ClusterDocument[]> {
  const found: ClusterDocument[] = [];
  for await (const cluster of client.clusters.list()) found.push(cluster);
  return found;
}

/**
 * The first items of a listing, and whether there are more: the rest is fetched only when the user asks for
 * it.
 */
export async function firstOf<T>(
  listing: AsyncIterable<T>,
  limit: number,
): Promise<{ readonly items: readonly T[]; readonly hasMore: boolean }> {
  const items: T[] = [];
  for await (const item of listing) {
    if (items.length === limit) return { items, hasMore: true };
    items.push(item);
  }
  return { items, hasMore: false };
}
