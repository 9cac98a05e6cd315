import type { ErrorCode } from '../src/core/errors.ts';

/** `unreachable`: no server answered. `unexpected_answer`: a server answered, and it was not Coffer. */
export type ClientErrorCode = ErrorCode | 'unreachable' | 'unexpected_answer';

/**
 * A request that was refused, or that no server answered. Programs should check `code`, which is stable; the
 * message is for people.
 */
export class CofferApiError extends Error {
  override readonly name = 'CofferApiError';
  readonly code: ClientErrorCode;
  /** HTTP status; 0 when no server answered. */
  readonly status: number;
  /** Names the request in the server's log; null when no server answered. */
  readonly requestId: string | null;

  constructor(
    code: ClientErrorCode,
    message: string,
    details: { readonly status: number; readonly requestId: string | null; readonly cause?: unknown },
  ) {
    super(message, { cause: details.cause });
    this.code = code;
    this.status = details.status;
    this.requestId = details.requestId;
  }

  /** True if the same request may succeed in a moment, because the other side is unreachable or not ready. */
  get isTemporary(): boolean {
    const isAway = this.code === 'unreachable' || [502, 503, 504].includes(this.status);
    return isAway || this.code === 'request_in_flight';
  }
}

/** Reads Trove's form: `{"itemNotFound": {"code": 404, "message": "…", "error": "cluster_not_found"}}`. */
export async function errorFrom(response: Response): Promise<CofferApiError> {
  const body: unknown = await response.json().catch(() => null);
  const [error] = isObject(body) ? Object.values(body) : [];
  if (!isObject(error) || !('message' in error)) return notCoffer(response);
  const code = 'error' in error ? (String(error.error) as ErrorCode) : 'unexpected_answer';
  return new CofferApiError(code, String(error.message), detailsOf(response));
}

/** The answer came from something other than Coffer: a proxy, or another service on that port. */
export function notCoffer(response: Response): CofferApiError {
  const message = `${response.url} answered HTTP ${response.status}, and not in Coffer's form.`;
  return new CofferApiError('unexpected_answer', message, detailsOf(response));
}

function detailsOf({ status, headers }: Response) {
  return { status, requestId: headers.get('x-openstack-request-id') };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
