import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { ErrorAnswer } from '../../src/contract/documents.ts';
import { CofferError, type ErrorCode } from '../../src/core/errors.ts';

/** When a caller may try again after a 503. */
const RETRY_AFTER_SECONDS = 2;

/** `{"itemNotFound": {"code": 404, "message": "…", "error": "cluster_not_found"}}` */
function errorAnswer(error: CofferError): ErrorAnswer {
  return { [error.key]: { code: error.status, message: error.message, error: error.code } };
}

/** Answers any error, thrown by a handler or by fastify itself, in Trove's form. */
export function answerError(
  thrown: FastifyError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const error = toCofferError(thrown, request);
  if (error.status === 503) {
    request.log.warn({ err: thrown }, 'answered 503');
    if (!isTroveClient(request)) reply.header('retry-after', RETRY_AFTER_SECONDS);
  }
  // A bad URL is refused before any hook has set the id.
  reply.header('x-openstack-request-id', request.id);
  reply
    .code(error.status)
    .type('application/json')
    .send(JSON.stringify(errorAnswer(error)));
}

/**
 * python-troveclient accepts `Retry-After` only with a 413: with other answers it hides the answer behind a
 * TypeError of its own.
 */
function isTroveClient({ headers }: FastifyRequest): boolean {
  return /keystoneauth1|python-troveclient/.test(headers['user-agent'] ?? '');
}

export function answerNotFound(request: FastifyRequest, reply: FastifyReply): void {
  answerError(new CofferError('not_found', 'The resource could not be found.'), request, reply);
}

/** The faults that fastify finds before any handler runs, by their code. */
const FRAMEWORK_ERRORS: ReadonlyMap<string, { readonly code: ErrorCode; readonly message: string }> = new Map(
  [
    [
      'FST_ERR_CTP_INVALID_JSON_BODY',
      {
        code: 'invalid_request',
        message: 'Malformed request body: it is not valid JSON, or has a forbidden key such as __proto__.',
      },
    ],
    [
      'FST_ERR_CTP_INVALID_CONTENT_LENGTH',
      { code: 'invalid_request', message: 'The body is not as long as Content-Length says.' },
    ],
    ['FST_ERR_CTP_BODY_TOO_LARGE', { code: 'body_too_large', message: 'The request body is too large.' }],
    [
      'FST_ERR_BAD_URL',
      { code: 'invalid_request', message: 'The path of the request is not a valid URL path.' },
    ],
    ['FST_ERR_MAX_PARAM_LENGTH', { code: 'invalid_request', message: 'A part of the path is too long.' }],
  ],
);

function toCofferError(thrown: FastifyError | Error, request: FastifyRequest): CofferError {
  if (thrown instanceof CofferError) return thrown;
  const code = 'code' in thrown ? thrown.code : '';
  if (code === 'FST_ERR_VALIDATION') return new CofferError('invalid_request', thrown.message);
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    const type = request.headers['content-type'] ?? 'none';
    const message = `The request media type ${type} is not supported by this server: send application/json.`;
    return new CofferError('unsupported_media_type', message);
  }
  const known = FRAMEWORK_ERRORS.get(code);
  if (known !== undefined) return new CofferError(known.code, known.message);
  return internalError(thrown, request);
}

/** The caller gets a number, and the log has the error under the same number. */
function internalError(thrown: Error, request: FastifyRequest): CofferError {
  const error_id = randomUUID();
  request.log.error({ err: thrown, error_id }, 'a handler failed');
  const message = `Internal Server Error. Please keep this ID to help us figure out what went wrong: (${error_id}).`;
  return new CofferError('internal', message);
}

/** Answers data that is not HTTP, or has too long headers, and closes the connection. */
export function answerClientError(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const message = 'The request is not valid HTTP, or its headers are too large.';
  const body = JSON.stringify(errorAnswer(new CofferError('invalid_request', message)));
  const head = [
    'HTTP/1.1 400 Bad Request',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Openstack-Request-Id: req-${randomUUID()}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
