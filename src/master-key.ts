import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';

/** 32 bytes: base64, or hexadecimal digits. */
const MasterKeyText = z
  .string()
  .transform((text) => Buffer.from(text, /^[0-9a-f]{64}$/i.test(text) ? 'hex' : 'base64'))
  .refine((bytes) => bytes.length === 32, 'must be 32 bytes in base64, e.g. of: openssl rand -base64 32');

/** The key that stored keys are encrypted with, and the previous one while a rotation is under way. */
export const masterKeyConfig = {
  COFFER_MASTER_KEY: MasterKeyText.optional(),
  COFFER_MASTER_KEY_PREVIOUS: MasterKeyText.optional(),
};

/**
 * The problems of a configuration in which external agents join: each of these agents gets a key, and keys
 * are not stored unencrypted.
 */
export function requireMasterKey(given: Readonly<Record<string, string>>): readonly string[] {
  if (given['COFFER_PROVISIONER'] !== 'external' || given['COFFER_MASTER_KEY'] !== undefined) return [];
  return [
    'COFFER_MASTER_KEY: is not set, and COFFER_PROVISIONER=external needs it: 32 bytes in base64, the same for every api and taskmanager, e.g. of: openssl rand -base64 32',
  ];
}

/** Encrypts stored secrets (AES-256-GCM), and notes in the result which key was used. */
export class MasterKey {
  readonly #keys: readonly Buffer[];

  /** The first key encrypts; all of them decrypt. */
  constructor(...keys: readonly [Buffer, ...Buffer[]]) {
    this.#keys = keys;
  }

  /**
   * `about` is authenticated together with the text: a text that was sealed for one purpose does not open for
   * another.
   */
  seal(text: string, about: string): string {
    const [key = Buffer.alloc(0)] = this.#keys;
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(about));
    const bytes = Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
    return ['1', idOf(key), nonce.toString('base64'), bytes.toString('base64')].join('.');
  }

  /** Throws if the text was sealed with another key or for another purpose, or was changed. */
  open(sealed: string, about: string): string {
    const [, id, nonce = '', text = ''] = sealed.split('.');
    const key = this.#keys.find((each) => idOf(each) === id);
    if (!key) throw new Error(`it is encrypted with master key ${id}, which is not among those given`);
    const bytes = Buffer.from(text, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64'))
      .setAAD(Buffer.from(about))
      .setAuthTag(bytes.subarray(-16));
    return Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]).toString();
  }
}

/** Null if no master key is configured: then nobody's messages are protected. */
export function masterKeyOf(config: {
  readonly COFFER_MASTER_KEY?: Buffer | undefined;
  readonly COFFER_MASTER_KEY_PREVIOUS?: Buffer | undefined;
}): MasterKey | null {
  const { COFFER_MASTER_KEY: key, COFFER_MASTER_KEY_PREVIOUS: previous } = config;
  if (!key) return null;
  return previous ? new MasterKey(key, previous) : new MasterKey(key);
}

/** Identifies a key without revealing it. */
function idOf(key: Buffer): string {
  return createHash('sha256').update('coffer master key').update(key).digest('hex').slice(0, 8);
}
