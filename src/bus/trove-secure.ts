import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { type Body, isRecord, MessageRefused, type Protection } from './protection.ts';

/**
 * Trove's built-in `taskmanager_rpc_encr_key`: no secret, but its services use it unless configured
 * otherwise.
 */
export const TROVE_TASKMANAGER_KEY = 'bzH6y0SGmjuoY0FNSTptrhgieGXNDX6PIhvz';
/** Wraps what a guest sends to the conductor: the guest's own id, and the ciphertext. */
const WHO = 'csz-instance-id';

/** True for a request in Trove's secure mode: the whole context is one ciphertext. */
export function isTroveSecure(body: Body): boolean {
  return typeof body['_context_context'] === 'string';
}

/** The guest that a message to the conductor names as its sender; null for other messages. */
export function troveSpeakerOf(body: Body): string | null {
  const who = body[`_context_${WHO}`];
  return typeof who === 'string' ? who : null;
}

/**
 * Trove's `enable_secure_rpc_messaging`: AES-256-CBC without authentication. Each argument is encrypted
 * separately, the context as a whole; a failure stays unencrypted. Only a holder of the key can read a
 * message, but anybody can still corrupt one.
 */
export function troveProtection(options: {
  readonly instance_id: string;
  /** The key as it stands in the guest's configuration. */
  readonly key: string;
  /** In messages to the conductor each argument names the instance that it belongs to. */
  readonly is_to_conductor?: boolean;
}): Protection {
  const { instance_id, is_to_conductor = false } = options;
  const key = Buffer.from(createHash('md5').update(options.key).digest('hex'));
  const seal = (value: unknown) => encrypt(key, value);
  const openArgument = (value: unknown) =>
    decrypt(key, is_to_conductor ? entityOf(value, instance_id) : value);
  return {
    instance_id,
    sealRequest: (body) => {
      const { clear, context } = split(body);
      const args = mapValues(body['args'] as Body, seal);
      return { ...clear, args, _context_context: seal(context) };
    },
    openRequest: (body) => {
      const { clear } = split(body);
      const context = decrypt(key, body['_context_context']);
      const named = Object.entries(isRecord(context) ? context : {});
      return {
        ...clear,
        args: mapValues(body['args'] as Body, openArgument),
        ...Object.fromEntries(named.map(([name, value]) => [`_context_${name}`, value])),
      };
    },
    release: () => undefined,
    sealReply: (body) =>
      body['failure'] === null ? { ...body, result: seal(body['result'] ?? null) } : body,
    openReply: (body) =>
      body['failure'] === null && body['ending'] !== false
        ? { ...body, result: decrypt(key, body['result']) }
        : body,
  };
}

function encrypt(key: Buffer, value: unknown): string {
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', key, iv);
  return Buffer.concat([iv, cipher.update(JSON.stringify(value)), cipher.final()]).toString('base64');
}

function decrypt(key: Buffer, text: unknown): unknown {
  try {
    const bytes = Buffer.from(String(text), 'base64');
    const decipher = createDecipheriv('aes-256-cbc', key, bytes.subarray(0, 16));
    const plain = Buffer.concat([decipher.update(bytes.subarray(16)), decipher.final()]);
    return JSON.parse(plain.toString()) as unknown;
  } catch {
    throw new MessageRefused('it is not encrypted with the key that we have');
  }
}

function entityOf(value: unknown, instance_id: string): unknown {
  let wrapped: unknown;
  try {
    wrapped = JSON.parse(String(value));
  } catch {
    wrapped = null;
  }
  if (!isRecord(wrapped) || wrapped[WHO] !== instance_id)
    throw new MessageRefused('an argument says that it is of another instance, or of none');
  return wrapped['entity'];
}

function split(body: Body): { readonly clear: Body; readonly context: Body } {
  const entries = Object.entries(body);
  const isContext = (name: string) => name.startsWith('_context_');
  const context = entries.filter(([name]) => isContext(name)).map(([name, value]) => [name.slice(9), value]);
  const clear = entries.filter(([name]) => !isContext(name) && name !== 'args');
  return { clear: Object.fromEntries(clear), context: Object.fromEntries(context) };
}

function mapValues(args: Body, of: (value: unknown) => unknown): Body {
  return Object.fromEntries(Object.entries(args).map(([name, value]) => [name, of(value)]));
}
