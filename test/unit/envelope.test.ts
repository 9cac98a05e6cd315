import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DispatchError, noSuchMethod } from '../../src/bus/bus.ts';
import {
  decodeReply,
  decodeRequest,
  encodeKeepAlive,
  encodeReply,
  encodeRequest,
  MalformedMessage,
} from '../../src/bus/envelope.ts';
import { HeartbeatArgs, reportOf } from '../../src/contract/rpc.ts';
import { CofferError } from '../../src/core/errors.ts';

const VECTORS = join(import.meta.dirname, '../vectors');

interface Captured {
  readonly body_raw: string;
  readonly oslo_message_parsed: Record<string, unknown>;
}

function captured(prefix: string): Captured {
  const name = readdirSync(VECTORS).find((each) => each.startsWith(prefix));
  if (!name) throw new Error(`no captured message ${prefix}`);
  return JSON.parse(readFileSync(join(VECTORS, name), 'utf8')) as Captured;
}

function innerOf(content: Buffer): Record<string, unknown> {
  const outer = JSON.parse(content.toString()) as Record<string, string>;
  expect(outer['oslo.version']).toBe('2.0');
  return JSON.parse(outer['oslo.message'] ?? '') as Record<string, unknown>;
}

describe('what Trove has sent', () => {
  it('is read: the cast of upgrade_cluster', () => {
    const { body_raw, oslo_message_parsed: inner } = captured('002');
    expect(decodeRequest(Buffer.from(body_raw))).toEqual({
      method: 'upgrade_cluster',
      args: inner['args'],
      version: '1.0',
      namespace: null,
      unique_id: inner['_unique_id'],
      context: {
        request_id: inner['_context_request_id'],
        tenant_id: inner['_context_project_id'],
        user: 'user-1',
        is_admin: false,
        notification: inner['_context_trove_notification'],
      },
      reply_to: null,
    });
  });

  it('is read: the call of pre_upgrade, and where its caller waits', () => {
    const { body_raw, oslo_message_parsed: inner } = captured('005');
    const request = decodeRequest(Buffer.from(body_raw));
    expect(request.method).toBe('pre_upgrade');
    expect(request.reply_to).toEqual({
      queue: inner['_reply_q'],
      msg_id: inner['_msg_id'],
      monitor_s: null,
    });
  });

  it('is read: a reply, and a failure', () => {
    const reply = captured('006');
    expect(decodeReply(Buffer.from(reply.body_raw))).toEqual({
      msg_id: reply.oslo_message_parsed['_msg_id'],
      result: reply.oslo_message_parsed['result'],
      failure: null,
      ending: true,
    });
    expect(decodeReply(Buffer.from(captured('014').body_raw)).failure).toEqual({
      class: 'GuestError',
      message: 'An error occurred communicating with the guest: disk on fire.',
    });
    expect(decodeReply(Buffer.from(captured('018').body_raw)).failure?.class).toBe('NoSuchMethod');
  });

  it('is read: the heartbeat of a Trove guest', () => {
    const { args } = decodeRequest(Buffer.from(captured('008').body_raw));
    const report = reportOf(HeartbeatArgs.parse(args));
    expect(report).toEqual({ service_status: 'healthy', sent: 1_795_366_080_611 });
  });
});

describe('what we send', () => {
  const context = {
    request_id: 'req-1',
    tenant_id: 'tenant',
    user: 'me',
    is_admin: false,
    notification: { cluster_id: 'c' },
  };
  const named = { version: '1.0', namespace: null, unique_id: 'u', context };

  it.each([
    ['002', null],
    ['005', { queue: 'reply_1', msg_id: '2', monitor_s: null }],
  ])('has the keys of the captured message %s', (prefix, reply_to) => {
    const ours = innerOf(encodeRequest({ ...named, method: 'm', args: {}, reply_to }));
    const theirs = Object.keys(captured(prefix).oslo_message_parsed);
    expect(Object.keys(ours).sort()).toEqual(theirs.sort());
  });

  it('has the keys of a captured reply and failure', () => {
    expect(Object.keys(innerOf(encodeReply('1', {}, null))).sort()).toEqual(
      Object.keys(captured('006').oslo_message_parsed).sort(),
    );
    const failure = innerOf(encodeReply('1', null, new Error('disk on fire')))['failure'];
    const theirs = JSON.parse(String(captured('014').oslo_message_parsed['failure'])) as object;
    expect(Object.keys(JSON.parse(String(failure)) as object).sort()).toEqual(Object.keys(theirs).sort());
  });

  it.each([
    ['a driver’s failure', new Error('disk on fire'), '014', 'GuestError'],
    ['an unknown method', noSuchMethod('no_such_thing'), '018', 'NoSuchMethod'],
    ['a version', new DispatchError('UnsupportedVersion', 'Endpoint …'), '020', 'UnsupportedVersion'],
    ['wrong arguments', new CofferError('invalid_request', 'no'), '022', 'TypeError'],
  ])('names the class, module and kind of arguments of a failure: %s', (_what, error, prefix, name) => {
    const failureIn = (inner: Record<string, unknown>) =>
      JSON.parse(String(inner['failure'])) as Record<string, readonly unknown[]>;
    const theirs = failureIn(captured(prefix).oslo_message_parsed);
    const ours = failureIn(innerOf(encodeReply('1', null, error)));
    expect(ours).toMatchObject({ class: name, message: error.message });
    expect(ours).toMatchObject({ class: theirs['class'], module: theirs['module'] });
    expect(ours['args']?.length).toBe(theirs['args']?.length);
  });

  it('has the keys of a captured keep-alive, and is read as one', () => {
    const ours = encodeKeepAlive('1');
    const theirs = captured('monitor-002').oslo_message_parsed;
    expect(innerOf(ours)).toMatchObject({ result: null, failure: null, ending: false });
    expect(Object.keys(innerOf(ours)).sort()).toEqual(Object.keys(theirs).sort());
    expect(decodeReply(ours).ending).toBe(false);
  });

  it('comes back as it was', () => {
    const request = {
      method: 'm',
      args: { text: 'ü"\\u0000', n: 1.5, deep: [{ a: null }] },
      ...named,
      reply_to: { queue: 'reply_1', msg_id: '2', monitor_s: 4 },
    };
    expect(decodeRequest(encodeRequest(request))).toEqual(request);
  });
});

describe('what nobody can read', () => {
  it.each([
    ['no JSON', 'nope'],
    ['no object', '[1]'],
    ['a null', 'null'],
    ['an inner text that is no JSON', '{"oslo.version":"2.0","oslo.message":"{"}'],
    ['an inner object in place of a text', '{"oslo.version":"2.0","oslo.message":{}}'],
    ['no method', '{"args":{}}'],
    ['args that are a list', '{"method":"m","args":[]}'],
  ])('is named as malformed: %s', (_what, text) => {
    expect(() => decodeRequest(Buffer.from(text))).toThrow(MalformedMessage);
  });

  it('takes a bare object, as oslo.messaging does', () => {
    expect(decodeRequest(Buffer.from('{"method":"m","args":{"a":1}}'))).toMatchObject({
      method: 'm',
      args: { a: 1 },
    });
  });
});
