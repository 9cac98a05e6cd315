/**
 * The secure modes: Trove's, held against captured messages and what they hold, and our own, held
 * against everything that somebody on the same broker could try.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeBody, newUniqueId, replyBody, requestBody, requestOf } from '../../src/bus/envelope.ts';
import { newInstanceKey, sealKey } from '../../src/bus/instance-key.ts';
import { type Body, MessageRefused } from '../../src/bus/protection.ts';
import { newSecret, sealedProtection } from '../../src/bus/sealed.ts';
import {
  isTroveSecure,
  TROVE_TASKMANAGER_KEY,
  troveProtection,
  troveSpeakerOf,
} from '../../src/bus/trove-secure.ts';
import { MasterKey } from '../../src/master-key.ts';
import { Keyring, taskmanagerGuard } from '../../taskmanager/keyring.ts';

const VECTORS = join(import.meta.dirname, '../vectors');
const A1 = 'a1000000-0000-4000-8000-000000000000';
const A1_KEY = '5d3dc65cc19bb84945a18ad6a168f0f5';

interface Decrypted {
  readonly file: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly context: Readonly<Record<string, unknown>>;
  readonly result: unknown;
}

const decrypted = JSON.parse(readFileSync(join(VECTORS, 'secure-decrypted.json'), 'utf8')) as Decrypted[];
const plainOf = (number: string) => {
  const found = decrypted.find(({ file }) => file.startsWith(number));
  if (!found) throw new Error(`nothing decrypted of ${number}`);
  return found;
};
const captured = (name: string): Body => {
  const { body_raw } = JSON.parse(readFileSync(join(VECTORS, `secure-${name}.json`), 'utf8')) as {
    body_raw: string;
  };
  return decodeBody(Buffer.from(body_raw));
};
const contextIn = (body: Body) =>
  Object.fromEntries(
    Object.entries(body)
      .filter(([name]) => name.startsWith('_context_'))
      .map(([name, value]) => [name.slice('_context_'.length), value]),
  );

describe('Trove’s secure mode', () => {
  const own = troveProtection({ instance_id: A1, key: A1_KEY });
  const toConductor = troveProtection({ instance_id: A1, key: A1_KEY, is_to_conductor: true });

  it.each([
    ['005-pre_upgrade', own],
    ['007-upgrade', own],
    ['002-upgrade_cluster', troveProtection({ instance_id: '', key: TROVE_TASKMANAGER_KEY })],
  ])('is read: %s', (name, protection) => {
    const opened = protection.openRequest(captured(name), 'any', false);
    const plain = plainOf(name.slice(0, 3));
    expect(opened['args']).toEqual(plain.args);
    expect(contextIn(opened)).toEqual(plain.context);
  });

  it('is read: a guest’s heartbeat to the conductor, each argument in its own wrapping', () => {
    const body = captured('008-heartbeat');
    expect(isTroveSecure(body)).toBe(true);
    expect(troveSpeakerOf(body)).toBe(A1);
    expect(toConductor.openRequest(body, 'trove-conductor', false)['args']).toEqual({
      instance_id: A1,
      sent: 1_795_366_118.824406,
      payload: { service_status: 'healthy' },
    });
  });

  it('is read: a guest’s answer', () => {
    expect(own.openReply(captured('006-reply'))['result']).toEqual(plainOf('006').result);
  });

  it('is written as it is read, with the keys that are captured on the wire', () => {
    const opened = own.openRequest(captured('007-upgrade'), 'any', false);
    const sealed = own.sealRequest(opened, 'any');
    expect(Object.keys(sealed).sort()).toEqual(Object.keys(captured('007-upgrade')).sort());
    expect(own.openRequest(sealed, 'any', false)).toEqual(opened);
    const reply = replyBody('1', null, null);
    expect(typeof own.sealReply(reply)['result']).toBe('string');
    expect(own.openReply(own.sealReply(reply))['result']).toBeNull();
    const failure = replyBody('1', null, new Error('disk on fire'));
    expect(own.sealReply(failure)).toEqual(failure);
  });

  it('is not read with another key, nor in another’s name', () => {
    const other = troveProtection({ instance_id: A1, key: 'other', is_to_conductor: true });
    expect(() => other.openRequest(captured('008-heartbeat'), 'any', false)).toThrow(MessageRefused);
    const stranger = troveProtection({ instance_id: 'a2', key: A1_KEY, is_to_conductor: true });
    expect(() => stranger.openRequest(captured('008-heartbeat'), 'any', false)).toThrow(MessageRefused);
  });

  it('is understood by the taskmanager beside messages in clear', async () => {
    const guard = taskmanagerGuard(TROVE_TASKMANAGER_KEY);
    expect(await guard(captured('002-upgrade_cluster'))).not.toBeNull();
    expect(await guard({ method: 'upgrade_cluster', args: {}, _context_user: 'u' })).toBeNull();
  });
});

const TOPIC = `guestagent.${A1}`;
const newRequest = (args: Readonly<Record<string, unknown>> = { upgrade_info: { text: 'größer' } }) =>
  requestBody({
    ...{ method: 'upgrade', args, version: '1.0', namespace: null, unique_id: newUniqueId() },
    context: { request_id: 'req-1', tenant_id: 't', user: 'u', is_admin: true },
    reply_to: { queue: 'reply_1', msg_id: 'm1', monitor_s: null },
  });

describe('our own secure mode', () => {
  let time = 1_800_000_000_000;
  const now = () => time;
  const secret = newSecret();
  const sender = sealedProtection({ instance_id: A1, secret, now });
  const receiver = () => sealedProtection({ instance_id: A1, secret, now });

  it('brings a request and its answer through, and shows neither what nor for whom', () => {
    const request = newRequest();
    const sealed = sender.sealRequest(request, TOPIC);
    expect(JSON.stringify(sealed)).not.toMatch(/größer|req-1|_context/);
    // What is null in a context is taken for null if it is missing.
    const opened = receiver().openRequest(sealed, TOPIC, false);
    const said = Object.entries(request).filter(
      ([name, value]) => value !== null || !name.startsWith('_context_'),
    );
    expect(opened).toEqual(Object.fromEntries(said));
    expect(requestOf(opened)).toEqual(requestOf(request));
    for (const reply of [
      replyBody('m1', { lag: 1 }, null),
      replyBody('m1', null, new Error('disk on fire')),
    ]) {
      const answer = sender.sealReply(reply);
      expect(JSON.stringify(answer)).not.toMatch(/lag|disk/);
      expect(receiver().openReply(answer)).toEqual(reply);
    }
  });

  it.each([
    ['another topic', (sealed: Body) => [sealed, 'guestagent.other'] as const],
    ['another method', (sealed: Body) => [{ ...sealed, method: 'demote' }, TOPIC] as const],
    ['another message id', (sealed: Body) => [{ ...sealed, _unique_id: newUniqueId() }, TOPIC] as const],
    ['another place for the answer', (sealed: Body) => [{ ...sealed, _reply_q: 'mine' }, TOPIC] as const],
    ['another time', (sealed: Body) => [withSeal(sealed, { sent: time + 1 }), TOPIC] as const],
    ['another instance', (sealed: Body) => [withSeal(sealed, { instance_id: 'a2' }), TOPIC] as const],
    [
      'a changed text',
      (sealed: Body) => [withSeal(sealed, { text: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAA' }), TOPIC] as const,
    ],
    ['no seal at all', () => [newRequest(), TOPIC] as const],
    ['an empty seal', (sealed: Body) => [{ ...sealed, args: { coffer_sealed: {} } }, TOPIC] as const],
  ])('refuses %s', (_what, forge) => {
    const [body, topic] = forge(sender.sealRequest(newRequest(), TOPIC));
    expect(() => receiver().openRequest(body, topic, false)).toThrow(MessageRefused);
  });

  it('refuses what another key has sealed, also an answer, and an answer to another question', () => {
    const other = sealedProtection({ instance_id: A1, secret: newSecret(), now });
    expect(() => receiver().openRequest(other.sealRequest(newRequest(), TOPIC), TOPIC, false)).toThrow(
      MessageRefused,
    );
    const answer = sender.sealReply(replyBody('m1', {}, null));
    expect(() => other.openReply(answer)).toThrow(MessageRefused);
    expect(() => receiver().openReply({ ...answer, _msg_id: 'm2' })).toThrow(MessageRefused);
    expect(() => receiver().openReply(replyBody('m1', {}, null))).toThrow(MessageRefused);
  });

  it('takes a message once within its window, and not after it; what the broker brings again is no replay', () => {
    const one = receiver();
    const sealed = sender.sealRequest(newRequest(), TOPIC);
    one.openRequest(sealed, TOPIC, false);
    expect(() => one.openRequest(sealed, TOPIC, false)).toThrow(/replay/);
    one.openRequest(sealed, TOPIC, true);
    one.release(sealed);
    one.openRequest(sealed, TOPIC, false);
    expect(() => one.openRequest(sealed, TOPIC, false)).toThrow(/replay/);
    const late = sender.sealRequest(newRequest(), TOPIC);
    time += 30_000;
    receiver().openRequest(late, TOPIC, false);
    time += 1;
    expect(() => receiver().openRequest(late, TOPIC, false)).toThrow(/30 s ago/);
  });
});

/** The message with another value in the clear part of its seal. */
function withSeal(body: Body, fields: Readonly<Record<string, unknown>>): Body {
  const { coffer_sealed } = body['args'] as { coffer_sealed: Readonly<Record<string, unknown>> };
  return { ...body, args: { coffer_sealed: { ...coffer_sealed, ...fields } } };
}

describe('keys', () => {
  const master = new MasterKey(randomBytes(32));
  const [a, b] = ['a1', 'a2'];

  it('are kept encrypted, each for one instance, and survive a change of the master key', () => {
    const sealed = master.seal('secret text', a);
    expect(sealed).not.toContain('secret');
    expect(master.open(sealed, a)).toBe('secret text');
    expect(() => master.open(sealed, b)).toThrow();
    const [old, next] = [randomBytes(32), randomBytes(32)];
    const before = new MasterKey(old).seal('secret text', a);
    const during = new MasterKey(next, old);
    expect(during.open(before, a)).toBe('secret text');
    const after = during.seal(during.open(before, a), a);
    expect(new MasterKey(next).open(after, a)).toBe('secret text');
    expect(() => new MasterKey(next).open(before, a)).toThrow(/not among those given/);
  });

  it('let a guest speak for itself, and nobody else for it (G10)', async () => {
    const kept = new Map([a, b].map((id) => [id, sealKey(master, id, newInstanceKey())]));
    const store = { keys: { get: async (id: string) => kept.get(id) ?? null } };
    const keyring = new Keyring({ store, master, now: Date.now });
    const [mine, theirs] = [await keyring.secretOf(a), await keyring.secretOf(b)];
    expect(mine).not.toBe(theirs);
    const heartbeat = (instance_id: string) => newRequest({ instance_id, sent: 1, payload: {} });
    const say = async (body: Body) =>
      (await keyring.conductorGuard(body))?.openRequest(body, 'trove-conductor', false);
    const speaker = sealedProtection({ instance_id: a, secret: mine ?? '', now: Date.now });
    const sealed = speaker.sealRequest(heartbeat(a), 'trove-conductor');
    expect((await say(sealed))?.['args']).toMatchObject({ instance_id: a });
    await expect(say(heartbeat(a))).rejects.toThrow(/came without/);
    const forged = sealedProtection({ instance_id: b, secret: mine ?? '', now: Date.now });
    await expect(say(forged.sealRequest(heartbeat(b), 'trove-conductor'))).rejects.toThrow(MessageRefused);
    await expect(say(withSeal(sealed, { instance_id: 'a3' }))).rejects.toThrow(/no key here/);
    expect(await keyring.conductorGuard(heartbeat('a3'))).toBeNull();
  });

  it('are of no use to a taskmanager without the master key: it hears nobody in their place', async () => {
    const store = { keys: { get: async () => sealKey(master, a, newInstanceKey()) } };
    const keyring = new Keyring({ store, master: null, now: Date.now });
    const heartbeat = newRequest({ instance_id: a, sent: 1, payload: {} });
    await expect(keyring.conductorGuard(heartbeat)).rejects.toThrow(/COFFER_MASTER_KEY is not set/);
  });
});
