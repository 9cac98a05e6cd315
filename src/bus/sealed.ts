import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { installationOf } from './installations.ts';
import { type Body, isRecord, MessageRefused, type Protection } from './protection.ts';

/**
 * How long a message is valid, by the clocks of both sides: a later replay is refused. The window is shorter
 * than the step by which a guest's clock may go back, so that no old report is taken for a new one.
 */
const WINDOW_MS = 30_000;
/** Name of the only argument of a request, and of the only key of a result. */
const SEALED = 'coffer_sealed';

/** A seal: its text is encrypted, the other fields are readable. All of it is authenticated. */
interface Seal {
  readonly instance_id: string;
  readonly key_id: string;
  readonly sent: number;
  readonly nonce: string;
  readonly text: string;
}

/** The instance that a message names as its sender or receiver; null if the message is not sealed. */
export function sealOf(body: Body): Pick<Seal, 'instance_id' | 'key_id'> | null {
  return findSeal(body['args']);
}

/** An id for a key, from which the key cannot be derived. */
function keyId(secret: string): string {
  return createHash('sha256').update(`coffer key ${secret}`).digest('hex').slice(0, 8);
}

export function newSecret(): string {
  return randomBytes(32).toString('base64');
}

/**
 * AES-256-GCM under the key of one instance. Arguments, context, result and failure are encrypted. Instance,
 * key, time, topic, method and all ids of the message are authenticated with them, so that no part of one
 * message fits another.
 */
export function sealedProtection(options: {
  readonly instance_id: string;
  /** 32 bytes in base64. */
  readonly secret: string;
  readonly now: () => number;
}): Protection {
  const { instance_id, secret, now } = options;
  const key = createSecretKey(secret, 'base64');
  const key_id = keyId(secret);
  /** Ids of the requests that were opened, and when: a second request with the same id is a replay. */
  const seen = new Map<string, number>();

  const seal = (plain: unknown, about: readonly unknown[]): Seal => {
    const head = { instance_id, key_id, sent: now() };
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(aadOf(head, about));
    const text = Buffer.concat([cipher.update(JSON.stringify(plain)), cipher.final(), cipher.getAuthTag()]);
    return { ...head, nonce: nonce.toString('base64'), text: text.toString('base64') };
  };

  const open = (found: Seal | null, about: readonly unknown[]): Body => {
    if (!found) throw new MessageRefused('it is not sealed, and must be');
    if (found.instance_id !== instance_id || found.key_id !== key_id)
      throw new MessageRefused('it is sealed with another key');
    if (Math.abs(now() - found.sent) > WINDOW_MS) {
      const off_s = Math.round((now() - found.sent) / 1000);
      throw new MessageRefused(
        `it was sent ${off_s} s ago: it is a replay, was held up, or a clock is wrong`,
      );
    }
    return decrypted(key, found, about);
  };

  const once = (id: unknown) => {
    for (const [old, at] of seen) {
      if (now() - at <= 2 * WINDOW_MS) break;
      seen.delete(old);
    }
    if (typeof id !== 'string' || seen.has(id)) throw new MessageRefused('it came before: it is a replay');
    seen.set(id, now());
  };

  return {
    instance_id,
    sealRequest: (body, topic) => {
      const { clear, hidden } = split(body);
      return { ...clear, args: { [SEALED]: seal(hidden, requestAbout(body, topic)) } };
    },
    openRequest: (body, topic, redelivered) => {
      const hidden = open(findSeal(body['args']), requestAbout(body, topic));
      if (!redelivered) once(body['_unique_id']);
      return { ...split(body).clear, ...hidden };
    },
    release: ({ _unique_id }) => void seen.delete(String(_unique_id)),
    sealReply: ({ result, failure, ...clear }) => ({
      ...clear,
      failure: null,
      result: { [SEALED]: seal({ result, failure }, replyAbout(clear)) },
    }),
    openReply: ({ result, failure: _, ...clear }) => ({
      ...clear,
      ...open(findSeal(result), replyAbout(clear)),
    }),
  };
}

function decrypted(key: KeyObject, { nonce, text, ...head }: Seal, about: readonly unknown[]): Body {
  try {
    const bytes = Buffer.from(text, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64'))
      .setAAD(aadOf(head, about))
      .setAuthTag(bytes.subarray(-16));
    const plain = Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]);
    return JSON.parse(plain.toString()) as Body;
  } catch {
    throw new MessageRefused('it was sealed otherwise, or changed on its way');
  }
}

function aadOf(
  { instance_id, key_id, sent }: Omit<Seal, 'nonce' | 'text'>,
  about: readonly unknown[],
): Buffer {
  return Buffer.from(JSON.stringify(['coffer-sealed-1', instance_id, key_id, sent, ...about]));
}

function requestAbout(body: Body, topic: string): readonly unknown[] {
  const { method, version, namespace = null, _unique_id, _msg_id = null, _reply_q = null } = body;
  const installation = installationOf(body);
  const about = ['request', topic, method, version, namespace, _unique_id, _msg_id, _reply_q];
  return installation === null ? about : [...about, installation];
}

function replyAbout({ _msg_id, ending }: Body): readonly unknown[] {
  return ['reply', _msg_id, ending];
}

/**
 * Separates what a broker or an eavesdropper need not know. Null values are left out of `hidden`: a missing
 * value counts as null.
 */
function split(body: Body): { readonly clear: Body; readonly hidden: Body } {
  const clear: Record<string, unknown> = {};
  const hidden: Record<string, unknown> = {};
  for (const name of Object.keys(body)) {
    const value = body[name];
    if (name !== 'args' && !name.startsWith('_context_')) clear[name] = value;
    else if (value !== null) hidden[name] = value;
  }
  return { clear, hidden };
}

function findSeal(holder: unknown): Seal | null {
  const seal = isRecord(holder) ? holder[SEALED] : undefined;
  if (!isRecord(seal)) return null;
  const { instance_id, key_id, sent, nonce, text } = seal;
  const isWhole = [instance_id, key_id, nonce, text].every((one) => typeof one === 'string');
  return isWhole && typeof sent === 'number' ? (seal as unknown as Seal) : null;
}
