/**
 * The closed set of errors that Coffer returns, each with its HTTP status, Trove's key for the JSON body, and
 * whether the same request may succeed later. Tests and clients rely on `code`.
 */
export const ERRORS = {
  invalid_request: { status: 400, key: 'badRequest', retryable: false },
  unauthorized: { status: 401, key: 'unauthorized', retryable: false },
  forbidden: { status: 403, key: 'forbidden', retryable: false },
  not_found: { status: 404, key: 'itemNotFound', retryable: false },
  cluster_not_found: { status: 404, key: 'itemNotFound', retryable: false },
  instance_not_found: { status: 404, key: 'itemNotFound', retryable: false },
  datastore_not_found: { status: 404, key: 'itemNotFound', retryable: false },
  datastore_version_not_found: { status: 404, key: 'itemNotFound', retryable: false },
  upgrade_not_found: { status: 404, key: 'itemNotFound', retryable: false },
  batch_not_found: { status: 404, key: 'itemNotFound', retryable: false },
  dead_letter_not_found: { status: 404, key: 'itemNotFound', retryable: false },
  conflict: { status: 409, key: 'conflict', retryable: false },
  request_in_flight: { status: 409, key: 'conflict', retryable: true },
  rate_limited: { status: 413, key: 'overLimit', retryable: true },
  quota_exceeded: { status: 413, key: 'overLimit', retryable: false },
  body_too_large: { status: 413, key: 'overLimit', retryable: false },
  unsupported_media_type: { status: 415, key: 'badMediaType', retryable: false },
  cluster_busy: { status: 422, key: 'unprocessableEntity', retryable: true },
  in_use: { status: 422, key: 'unprocessableEntity', retryable: true },
  gate_blocked: { status: 422, key: 'unprocessableEntity', retryable: true },
  batch_empty: { status: 422, key: 'unprocessableEntity', retryable: true },
  idempotency_key_reused: { status: 422, key: 'unprocessableEntity', retryable: false },
  action_refused: { status: 422, key: 'unprocessableEntity', retryable: false },
  internal: { status: 500, key: 'instanceFault', retryable: false },
  store_unavailable: { status: 503, key: 'serviceUnavailable', retryable: true },
  identity_unavailable: { status: 503, key: 'serviceUnavailable', retryable: true },
  bus_unavailable: { status: 503, key: 'serviceUnavailable', retryable: true },
} as const satisfies Record<string, ErrorKind>;

interface ErrorKind {
  readonly status: number;
  readonly key: string;
  readonly retryable: boolean;
}

export type ErrorCode = keyof typeof ERRORS;

/** An error that a caller is meant to see: its message says what is wrong and what to do. */
export class CofferError extends Error {
  override readonly name = 'CofferError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  /** Trove's name for the error: the one key of the JSON body. */
  get key(): string {
    return ERRORS[this.code].key;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}
