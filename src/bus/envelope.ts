/**
 * oslo.messaging's wire format, as captured from Trove 18: a JSON object whose `oslo.message` is a *string*
 * of JSON. A bare object is accepted too.
 */
import { randomUUID } from 'node:crypto';
import { CofferError } from '../core/errors.ts';
import { type Context, DispatchError, type Notification } from './bus.ts';
import { type Body, isRecord } from './protection.ts';

export interface WireRequest {
  readonly method: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly version: string;
  /** Null where methods have no namespace, as in all of Trove. */
  readonly namespace: string | null;
  readonly unique_id: string;
  readonly context: Context;
  /** The queue on which the caller waits, and the id of its call; null for a cast. */
  readonly reply_to: ReplyTo | null;
}

export interface ReplyTo {
  readonly queue: string;
  readonly msg_id: string;
  /** The caller gives up after so many seconds without a message; null if it sets no such limit. */
  readonly monitor_s: number | null;
}

interface WireReply {
  readonly msg_id: string;
  readonly result: unknown;
  readonly failure: { readonly class: string; readonly message: string } | null;
  /** False for a keep-alive: the server is still working. */
  readonly ending: boolean;
}

/** A message that does not follow the format: nobody can act on it. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage';
}

export function newUniqueId(): string {
  return randomUUID().replaceAll('-', '');
}

export function encodeRequest(request: WireRequest): Buffer {
  return encodeBody(requestBody(request));
}

export function requestBody(request: WireRequest): Body {
  const { method, args, version, namespace, unique_id, context, reply_to } = request;
  const call = reply_to && {
    _msg_id: reply_to.msg_id,
    _reply_q: reply_to.queue,
    _timeout: reply_to.monitor_s,
  };
  const named = { method, args, version, ...(namespace !== null && { namespace }) };
  return { ...named, ...call, _unique_id: unique_id, ...encodeContext(context) };
}

export function encodeReply(msg_id: string, result: unknown, failure: Error | null): Buffer {
  return encodeBody(replyBody(msg_id, result, failure));
}

export function replyBody(msg_id: string, result: unknown, failure: Error | null): Body {
  return {
    result: failure ? null : (result ?? null),
    failure: failure && encodeFailure(failure),
    ending: true,
    _msg_id: msg_id,
    _unique_id: newUniqueId(),
  };
}

export function encodeNotification({ at, context, ...said }: Notification): Buffer {
  // `2026-11-22 16:48:00.428350`: the format has microseconds, and we know only milliseconds.
  const timestamp = `${new Date(at).toISOString().slice(0, -1).replace('T', ' ')}000`;
  const body = { ...said, priority: 'INFO', timestamp, _unique_id: newUniqueId() };
  return encodeBody({ ...body, ...encodeContext(context) });
}

/** Reports that the server is still working on a call. */
export function encodeKeepAlive(msg_id: string): Buffer {
  return encodeBody({
    result: null,
    failure: null,
    ending: false,
    _msg_id: msg_id,
    _unique_id: newUniqueId(),
  });
}

/**
 * The caller rebuilds the exception if its class is in `builtins` or `trove.common.exception`. For a class
 * that it does not know, it raises its own `RemoteError`, which keeps the name.
 */
function encodeFailure(err: Error): string {
  const { message } = err;
  return JSON.stringify({ ...kindOf(err), message, tb: [], kwargs: {} });
}

function kindOf(err: Error): { class: string; module: string; args: readonly string[] } {
  if (err instanceof DispatchError) {
    return { class: err.remote_class, module: 'oslo_messaging.rpc.dispatcher', args: [err.message] };
  }
  if (err instanceof CofferError && err.code === 'invalid_request') {
    return { class: 'TypeError', module: 'builtins', args: [err.message] };
  }
  const isPlain = err.name === 'Error' || err instanceof CofferError;
  return { class: isPlain ? 'GuestError' : err.name, module: 'trove.common.exception', args: [] };
}

/** Throws `MalformedMessage`. */
export function decodeRequest(content: Buffer): WireRequest {
  return requestOf(decodeBody(content));
}

/** Throws `MalformedMessage`. */
export function requestOf(body: Body): WireRequest {
  const { method, args, version, namespace, _unique_id, _msg_id, _reply_q, _timeout } = body;
  if (typeof method !== 'string') throw new MalformedMessage('the message names no method');
  if (!isRecord(args)) throw new MalformedMessage('args is not an object');
  const isCall = typeof _msg_id === 'string' && typeof _reply_q === 'string';
  return {
    method,
    args,
    version: typeof version === 'string' ? version : '1.0',
    namespace: typeof namespace === 'string' ? namespace : null,
    unique_id: typeof _unique_id === 'string' ? _unique_id : newUniqueId(),
    context: decodeContext(body),
    reply_to: isCall ? { queue: _reply_q, msg_id: _msg_id, monitor_s: positive(_timeout) } : null,
  };
}

/** Throws `MalformedMessage`. */
export function decodeReply(content: Buffer): WireReply {
  return replyOf(decodeBody(content));
}

/** Throws `MalformedMessage`. */
export function replyOf({ _msg_id, result, failure, ending }: Body): WireReply {
  if (typeof _msg_id !== 'string') throw new MalformedMessage('a reply without the id of its call');
  return { msg_id: _msg_id, result, failure: decodeFailure(failure), ending: ending !== false };
}

function decodeFailure(failure: unknown): WireReply['failure'] {
  if (typeof failure !== 'string') return null;
  const parsed = parseJson(failure);
  const { class: name, message } = isRecord(parsed) ? parsed : {};
  return {
    class: typeof name === 'string' ? name : 'RemoteError',
    message: typeof message === 'string' ? message : failure,
  };
}

export function encodeBody(inner: Body): Buffer {
  return Buffer.from(JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': JSON.stringify(inner) }));
}

/** Throws `MalformedMessage`. */
export function decodeBody(content: Buffer): Record<string, unknown> {
  const outer = parseJson(content.toString('utf8'));
  if (!isRecord(outer)) throw new MalformedMessage('the body is not a JSON object');
  const text = outer['oslo.message'];
  if (text === undefined) return outer;
  const inner = typeof text === 'string' ? parseJson(text) : undefined;
  if (!isRecord(inner)) throw new MalformedMessage('oslo.message does not hold a JSON object');
  return inner;
}

function positive(value: unknown): number | null {
  return typeof value === 'number' && value > 0 ? value : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new MalformedMessage('the body is not JSON');
  }
}

/** All keys that a receiver of Trove's kind looks for; unused ones are null. */
function encodeContext(context: Context): Record<string, unknown> {
  const { request_id, tenant_id, user, is_admin, notification } = context;
  const project = tenant_id;
  return {
    _context_user: user,
    _context_project_id: project,
    _context_system_scope: null,
    _context_project: project,
    _context_domain: null,
    _context_user_domain: null,
    _context_project_domain: null,
    _context_is_admin: is_admin,
    _context_read_only: false,
    _context_show_deleted: false,
    _context_auth_token: null,
    _context_request_id: request_id,
    _context_global_request_id: null,
    _context_resource_uuid: null,
    _context_roles: is_admin ? ['admin'] : [],
    _context_user_identity: `${user ?? '-'} ${project ?? '-'} - - -`,
    _context_is_admin_project: true,
    _context_limit: null,
    _context_marker: null,
    _context_service_catalog: null,
    ...(notification && { _context_trove_notification: notification }),
  };
}

function decodeContext(body: Readonly<Record<string, unknown>>): Context {
  const text = (key: string) => (typeof body[key] === 'string' ? (body[key] as string) : null);
  const { _context_trove_notification: notification } = body;
  return {
    request_id: text('_context_request_id') ?? `req-${randomUUID()}`,
    tenant_id: text('_context_project_id'),
    user: text('_context_user'),
    is_admin: body['_context_is_admin'] === true,
    ...(isRecord(notification) && { notification }),
  };
}
