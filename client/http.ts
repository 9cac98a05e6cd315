import { CofferApiError, errorFrom, notCoffer } from './errors.ts';
import { deadlineOf, pause } from './time.ts';

export interface ClientOptions {
  /** The address of the API, version and tenant included: `http://127.0.0.1:8779/v1.0/<tenant>`. */
  readonly endpoint: string;
  /** Sent as `X-Auth-Token`. */
  readonly token?: string;
  /** Used in place of the global `fetch`. */
  readonly fetch?: typeof fetch;
  /** The timeout of one request; it does not apply to event streams. */
  readonly timeoutMs?: number;
}

interface RequestOptions {
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

const TIMEOUT_MS = 30_000;
/** A read that no server could answer is tried again after these delays: the server may just be restarting. */
const READ_RETRIES_MS = [100, 400] as const;
/** A change that no server answered, or that the server could not take, is sent once more after this delay. */
const CHANGE_RETRY_MS = 500;
/** The server holds a key for at most 15 s after the process that had the request has died. */
const IN_FLIGHT_RETRY_MS = 1_000;
const IN_FLIGHT_RETRIES = 20;

/** Speaks HTTP with one endpoint. Rejects with `CofferApiError`, or with the signal's reason. */
export class Http {
  readonly #endpoint: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #fetch: typeof fetch;
  readonly #timeoutMs: number;

  constructor({ endpoint, token, fetch: ownFetch, timeoutMs = TIMEOUT_MS }: ClientOptions) {
    this.#endpoint = endpoint.replace(/\/+$/, '');
    this.#headers = token === undefined ? {} : { 'x-auth-token': token };
    // Called without a receiver: a browser's fetch refuses any other receiver.
    this.#fetch = ownFetch ?? ((input, init) => fetch(input, init));
    this.#timeoutMs = timeoutMs;
  }

  /** Reads a document. A read is safe to repeat, so it is repeated when no server could answer. */
  async get<Answer>(path: string, { signal }: RequestOptions = {}): Promise<Answer> {
    for (const delay of READ_RETRIES_MS) {
      try {
        return await this.#json<Answer>(path, signal);
      } catch (error) {
        if (!isTemporary(error)) throw error;
        await pause(delay, signal);
      }
    }
    return this.#json<Answer>(path, signal);
  }

  /**
   * Sends a change. If the server did not answer, nobody can know whether the change has arrived. So a POST
   * or PATCH is sent once more under the same key, and the server carries out each key only once. While the
   * server says that it still works on that key, the client waits for the answer. A DELETE is never repeated.
   */
  async send<Answer>(
    method: 'POST' | 'PATCH' | 'DELETE',
    path: string,
    options: RequestOptions = {},
  ): Promise<Answer> {
    return this.#send(method, path, options, (response, signal) => this.#read<Answer>(response, signal));
  }

  /** Like `send`, for requests whose answer is only a location: resolves with the id in the header Location. */
  async begin(method: 'POST' | 'PATCH', path: string, options: RequestOptions): Promise<string> {
    return this.#send(method, path, options, async (response) => {
      const id = response.headers.get('location')?.split('/').at(-1);
      if (id === undefined) throw notCoffer(response);
      return id;
    });
  }

  async #send<Answer>(
    method: string,
    path: string,
    options: RequestOptions,
    read: (response: Response, signal: AbortSignal) => Promise<Answer>,
  ): Promise<Answer> {
    if (method === 'DELETE') return this.#request(method, path, options, read);
    const keyed = { ...options, headers: { 'idempotency-key': randomKey() } };
    const left = { away: 1, in_flight: IN_FLIGHT_RETRIES };
    for (;;) {
      try {
        return await this.#request(method, path, keyed, read);
      } catch (error) {
        if (!isTemporary(error)) throw error;
        const why = error.code === 'request_in_flight' ? 'in_flight' : 'away';
        if (left[why]-- === 0) throw error;
        await pause(why === 'away' ? CHANGE_RETRY_MS : IN_FLIGHT_RETRY_MS, options.signal);
      }
    }
  }

  /** Reads an answer that is not a document, as plain text. */
  async text(path: string): Promise<string> {
    const { signal, clear } = deadlineOf(this.#timeoutMs, undefined);
    try {
      const response = await this.#ask(path, { signal });
      return await response.text();
    } catch (cause) {
      throw cause instanceof CofferApiError ? cause : this.#broken(cause, signal);
    } finally {
      clear();
    }
  }

  /** Opens an event stream; null when there are no more events to come. */
  async stream(path: string, lastEventId: number, signal: AbortSignal): Promise<Response | null> {
    const headers = { accept: 'text/event-stream', 'last-event-id': String(lastEventId) };
    const response = await this.#ask(path, { headers, signal });
    return response.status === 204 ? null : response;
  }

  #json<Answer>(path: string, signal: AbortSignal | undefined): Promise<Answer> {
    return this.#request('GET', path, { signal }, (response, until) => this.#read<Answer>(response, until));
  }

  async #request<Answer>(
    method: string,
    path: string,
    { body, signal: outer, headers }: RequestOptions,
    read: (response: Response, signal: AbortSignal) => Promise<Answer>,
  ): Promise<Answer> {
    const { signal, clear } = deadlineOf(this.#timeoutMs, outer);
    const init = {
      method,
      headers: {
        accept: 'application/json',
        ...headers,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal,
    };
    try {
      const response = await this.#ask(path, init);
      return await read(response, signal);
    } finally {
      clear();
    }
  }

  async #read<Answer>(response: Response, signal: AbortSignal): Promise<Answer> {
    try {
      const text = await response.text();
      // The server guarantees this type: both sides are compiled against one contract.
      return (text === '' ? {} : JSON.parse(text)) as Answer;
    } catch (cause) {
      if (cause instanceof SyntaxError) throw notCoffer(response);
      throw this.#broken(cause, signal);
    }
  }

  async #ask(path: string, init: RequestInit & { readonly signal: AbortSignal }): Promise<Response> {
    let response: Response;
    try {
      const headers = { ...init.headers, ...this.#headers };
      response = await this.#fetch(`${this.#endpoint}${path}`, { ...init, headers });
    } catch (cause) {
      throw this.#broken(cause, init.signal);
    }
    if (!response.ok) throw await errorFrom(response);
    return response;
  }

  /** A caller that aborts expects its own reason; every other error means that the server does not answer. */
  #broken(cause: unknown, signal: AbortSignal): unknown {
    if (signal.aborted && !isTimeout(signal.reason)) return signal.reason;
    const message = `No answer from ${this.#endpoint}: ${reasonOf(cause)}`;
    return new CofferApiError('unreachable', message, { status: 0, requestId: null, cause });
  }
}

function isTemporary(error: unknown): error is CofferApiError {
  return error instanceof CofferApiError && error.isTemporary;
}

/** 128 random bits. Not `randomUUID`: browsers have it on secure pages only. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function isTimeout(reason: unknown): boolean {
  return reason instanceof DOMException && reason.name === 'TimeoutError';
}

/** `fetch failed` gives no reason: the reason is one or two causes deeper. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : reasonOf(error.cause);
}
