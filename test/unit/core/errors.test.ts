/** What a client can rely on: each code with its status, Trove's key for it, and whether to try again. */
import { describe, expect, it } from 'vitest';
import { CofferError, ERRORS, type ErrorCode } from '../../../src/core/errors.ts';

const CODES = Object.keys(ERRORS) as ErrorCode[];
/** Trove's: one key for each status. */
const KEYS: Readonly<Record<number, string>> = {
  400: 'badRequest',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'itemNotFound',
  409: 'conflict',
  413: 'overLimit',
  415: 'badMediaType',
  422: 'unprocessableEntity',
  500: 'instanceFault',
  503: 'serviceUnavailable',
};

describe('an error', () => {
  it.each(CODES)('%s has the key that Trove has for its status', (code) => {
    const error = new CofferError(code, 'what is wrong and what to do');
    expect(error.key).toBe(KEYS[error.status]);
  });

  it.each([
    ['invalid_request', 400, 'as it is'],
    ['unauthorized', 401, 'as it is'],
    ['forbidden', 403, 'as it is'],
    ['conflict', 409, 'as it is'],
    ['unsupported_media_type', 415, 'as it is'],
    ['idempotency_key_reused', 422, 'as it is'],
    ['action_refused', 422, 'as it is'],
    ['internal', 500, 'as it is'],
    ['cluster_busy', 422, 'later'],
    ['gate_blocked', 422, 'later'],
  ] as const)('%s has status %i; the same request may succeed %s', (code, status, when) => {
    const error = new CofferError(code, 'no');
    expect([error.status, error.retryable]).toEqual([status, when === 'later']);
  });

  it('of something that can not be found is a 404, for ever', () => {
    const codes = CODES.filter((code) => code.endsWith('not_found'));
    expect(codes).toEqual(expect.arrayContaining(['not_found', 'cluster_not_found', 'upgrade_not_found']));
    for (const code of codes) expect(ERRORS[code], code).toMatchObject({ status: 404, retryable: false });
  });

  it('of a body or a number that is too large is a 413', () => {
    const codes = CODES.filter((code) => ERRORS[code].key === 'overLimit');
    expect(codes).toContain('body_too_large');
    for (const code of codes) expect(ERRORS[code].status, code).toBe(413);
    expect(ERRORS.body_too_large.retryable).toBe(false);
  });

  it('of a service that is away is a 503, and may be over soon', () => {
    const codes = CODES.filter((code) => code.endsWith('_unavailable'));
    expect(codes).toEqual(expect.arrayContaining(['store_unavailable', 'bus_unavailable']));
    for (const code of codes) expect(ERRORS[code], code).toMatchObject({ status: 503, retryable: true });
  });

  it('keeps its message, its cause and a name of its own for the log', () => {
    const cause = new Error('connection refused');
    const error = new CofferError('store_unavailable', 'Redis can not be reached', { cause });
    expect(error).toMatchObject({ name: 'CofferError', code: 'store_unavailable', cause });
    expect(error.message).toBe('Redis can not be reached');
  });
});
