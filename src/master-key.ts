import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';

/** 32 bytes: base64, or hexadecimal digits. */
const MasterKeyText = z
  .string()
  .transform((text) => Buffer.from(text, /^[0-9a-f]{64}$/i.test(text) ? 'hex' : 'base64'))
  .refine((bytes) => bytes.length === 32, 'must be 32 bytes in base64, e.g. of: openssl rand -base64 32');

/** What keys are encrypted with where they are kept; the previous one while a rotation is under way. */
export const masterKeyConfig = {
  COFFER_MASTER_KEY: MasterKeyText.optional(),
  COFFER_MASTER_KEY_PREVIOUS: MasterKeyText.optional(),
};

/** What is wrong with a configuration in which external agents join: each of them gets a key, and keys are not kept in clear. */
export function requireMasterKey(given: Readonly<Record<string, string>>): readonly string[] {
  if (given['COFFER_PROVISIONER'] !== 'external' || given['COFFER_MASTER_KEY'] !== undefined) return [];
  return [
    'COFFER_MASTER_KEY: is not set, and COFFER_PROVISIONER=external needs it: 32 bytes in base64, the same for every api and taskmanager, e.g. of: openssl rand -base64 32',
  ];
}

/** Encrypts what is kept at rest (AES-256-GCM), and says under which key. */
export class MasterKey {
  readonly #keys: readonly Buffer[];

  /** The first key seals; all of them open. */
  constructor(...keys: readonly [Buffer, ...Buffer[]]) {
    this.#keys = keys;
  }

  /** `about` is authenticated with it: what was sealed for one thing does not open for another. */
  seal(text: string, about: string): string {
    const [key = Buffer.alloc(0)] = this.#keys;
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(about));
    const bytes = Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
    return ['1', idOf(key), nonce.toString('base64'), bytes.toString('base64')].join('.');
  }

  /** Throws if it was sealed with another key, for something else, or was changed. */
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

/** Null where no master key is configured: nobody's messages are protected then. */
export function masterKeyOf(config: {
  readonly COFFER_MASTER_KEY?: Buffer | undefined;
  readonly COFFER_MASTER_KEY_PREVIOUS?: Buffer | undefined;
}): MasterKey | null {
  const { COFFER_MASTER_KEY: key, COFFER_MASTER_KEY_PREVIOUS: previous } = config;
  if (!key) return null;
  return previous ? new MasterKey(key, previous) : new MasterKey(key);
}

/** Names a key without telling it. */
function idOf(key: Buffer): string {
  return createHash('sha256').update('coffer master key').update(key).digest('hex').slice(0, 8);
}
