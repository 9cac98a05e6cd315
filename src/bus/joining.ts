/**
 * How an agent that joins a cluster with its token comes by the key of its instance, over a broker on
 * which others listen and speak, siblings that hold the same token among them.
 *
 * - That it may join an HMAC proves, under the *join key* that both sides derive from the token and nobody
 *   sends. Who it is its own key proves, with which it signs (Ed25519) and which never leaves its folder.
 * - What it is handed over is encrypted under a key that both sides agree on for this one answer (X25519);
 *   the join key goes into that, so that nobody without it can answer. It is what TLS 1.3 does with a
 *   shared key (`psk_dhe_ke`), in one question and one answer.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
  sign,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import { CofferError } from '../core/errors.ts';
import { uuidFrom } from '../ids.ts';
import { MessageRefused } from './protection.ts';

/** What an agent wants: a place for an instance that is to serve at `endpoint`. */
export interface Wish {
  readonly cluster_id: string;
  readonly endpoint: { readonly host: string; readonly port: number };
  /** By the agent's clock; later each time. */
  readonly sent: number;
}

/** What it asks. Public keys are 32 bytes in base64url. */
export interface JoinQuestion extends Wish {
  /** Whose question it is. */
  readonly agent_key: string;
  /** Made for this question. */
  readonly exchange_key: string;
  /** In hexadecimal digits, as `signature` is. */
  readonly proof: string;
  readonly signature: string;
}

/** What only the agent can open that has asked. */
export interface HandedOver {
  /** Made for this answer. */
  readonly exchange_key: string;
  readonly nonce: string;
  readonly text: string;
}

/** The key under which a token, `<cluster id>.<32 bytes in base64url>`, proves itself. The token does not follow from it. */
export function joinKeyOf(token: string): string {
  const [cluster_id = '', secret = ''] = token.split('.');
  const key = hkdfSync('sha256', Buffer.from(secret, 'base64url'), cluster_id, 'coffer join', 32);
  return Buffer.from(key).toString('base64');
}

/** A private key for an agent, as it is kept in a file. */
export function newAgentKey(): string {
  return generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  }).privateKey;
}

export function isAgentKey(text: string): boolean {
  try {
    return createPrivateKey(text).asymmetricKeyType === 'ed25519';
  } catch {
    return false;
  }
}

/** Names an agent by its public key. */
export function agentIdOf(agent_key: string): string {
  return uuidFrom(`coffer agent ${agent_key}`);
}

/**
 * A question to ask, and what opens its answer: that throws `MessageRefused` if it is none of a taskmanager
 * that knows the join key, or not to this question.
 */
export function newQuestion(
  { join_key, agent_key }: { readonly join_key: string; readonly agent_key: string },
  wish: Wish,
): { readonly question: JoinQuestion; open(answer: HandedOver): unknown } {
  const own = createPrivateKey(agent_key);
  const exchange = generateKeyPairSync('x25519');
  const asked = {
    ...wish,
    agent_key: rawOf(createPublicKey(own)),
    exchange_key: rawOf(exchange.publicKey),
  };
  const signature = sign(null, Buffer.from(textOf(asked)), own).toString('hex');
  const question = { ...asked, proof: proofOf(join_key, asked).toString('hex'), signature };
  const open = ({ text, ...head }: HandedOver): unknown => {
    const key = agreedKey(exchange.privateKey, head.exchange_key, join_key);
    const bytes = Buffer.from(text, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(head.nonce, 'base64'))
      .setAAD(aadOf(question, head))
      .setAuthTag(bytes.subarray(-16));
    const plain = Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]);
    return JSON.parse(plain.toString());
  };
  return { question, open: (answer) => orRefused(() => open(answer)) };
}

/** True if whoever asks holds the token, and is the agent whose key it names. */
export function isProven(join_key: string, { proof, signature, ...asked }: JoinQuestion): boolean {
  const [given, right] = [Buffer.from(proof, 'hex'), proofOf(join_key, asked)];
  if (given.length !== right.length || !timingSafeEqual(given, right)) return false;
  try {
    const key = publicKeyFrom('Ed25519', asked.agent_key);
    return verify(null, Buffer.from(textOf(asked)), key, Buffer.from(signature, 'hex'));
  } catch {
    return false;
  }
}

/** Throws `invalid_request` if the key of the question is none that one can agree with. */
export function handOver(join_key: string, question: JoinQuestion, plain: unknown): HandedOver {
  const exchange = generateKeyPairSync('x25519');
  const head = { exchange_key: rawOf(exchange.publicKey), nonce: randomBytes(12).toString('base64') };
  const key = agreedKey(exchange.privateKey, question.exchange_key, join_key);
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.from(head.nonce, 'base64'));
  cipher.setAAD(aadOf(question, head));
  const text = Buffer.concat([cipher.update(JSON.stringify(plain)), cipher.final(), cipher.getAuthTag()]);
  return { ...head, text: text.toString('base64') };
}

/** OpenSSL refuses a point of low order: it would lead to a key that everybody knows. */
function agreedKey(privateKey: KeyObject, theirs: string, join_key: string): Buffer {
  let shared: Buffer;
  try {
    shared = diffieHellman({ privateKey, publicKey: publicKeyFrom('X25519', theirs) });
  } catch {
    throw new CofferError('invalid_request', "Validation error: join 'exchange_key' is no key of X25519");
  }
  return Buffer.from(hkdfSync('sha256', shared, Buffer.from(join_key, 'base64'), 'coffer join answer', 32));
}

function orRefused<T>(work: () => T): T {
  try {
    return work();
  } catch {
    throw new MessageRefused('it is no answer of a taskmanager that knows the join token');
  }
}

function proofOf(join_key: string, asked: Omit<JoinQuestion, 'proof' | 'signature'>): Buffer {
  return createHmac('sha256', Buffer.from(join_key, 'base64')).update(textOf(asked)).digest();
}

function rawOf(publicKey: KeyObject): string {
  return publicKey.export({ format: 'jwk' }).x ?? '';
}

function publicKeyFrom(crv: 'Ed25519' | 'X25519', x: string): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv, x }, format: 'jwk' });
}

function aadOf(question: JoinQuestion, { exchange_key, nonce }: Omit<HandedOver, 'text'>): Buffer {
  return Buffer.from(JSON.stringify([textOf(question), exchange_key, nonce]));
}

function textOf(asked: Omit<JoinQuestion, 'proof' | 'signature'>): string {
  const { cluster_id, agent_key, exchange_key, endpoint, sent } = asked;
  const { host, port } = endpoint;
  return JSON.stringify(['coffer join', cluster_id, agent_key, exchange_key, host, port, sent]);
}
