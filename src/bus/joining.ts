/**
 * How an agent that joins a cluster with a token receives the key of its instance, over a broker on which
 * others listen and send, among them sibling agents that hold the same token.
 *
 * - An HMAC under the *join key* proves that the agent may join. Both sides derive the join key from the
 *   token; nobody sends it. The agent's own key proves who it is: the agent signs with that key (Ed25519),
 *   which never leaves its folder.
 * - The answer is encrypted under a key that both sides agree on for this one answer (X25519). The join key
 *   is an input of that key, so that nobody without the join key can answer. TLS 1.3 does the same with a
 *   shared key (`psk_dhe_ke`), here in one question and one answer.
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
import { uuidFrom } from '../core/digest.ts';
import { CofferError } from '../core/errors.ts';
import { MessageRefused } from './protection.ts';

/** What an agent asks for: a place for an instance that is to serve at `endpoint`. */
export interface Wish {
  readonly cluster_id: string;
  readonly endpoint: { readonly host: string; readonly port: number };
  /** By the agent's clock; later with each question. */
  readonly sent: number;
}

/** The question that the agent sends. Public keys are 32 bytes in base64url. */
export interface JoinQuestion extends Wish {
  /** The public key of the agent that asks. */
  readonly agent_key: string;
  /** A public key made for this question. */
  readonly exchange_key: string;
  /** In hexadecimal digits, like `signature`. */
  readonly proof: string;
  readonly signature: string;
}

/** The answer, which only the agent that asked can open. */
export interface HandedOver {
  /** A public key made for this answer. */
  readonly exchange_key: string;
  readonly nonce: string;
  readonly text: string;
}

/**
 * The key with which an agent proves that it holds a token, `<cluster id>.<32 bytes in base64url>`. The token
 * cannot be derived from it.
 */
export function joinKeyOf(token: string): string {
  const [cluster_id = '', secret = ''] = token.split('.');
  const key = hkdfSync('sha256', Buffer.from(secret, 'base64url'), cluster_id, 'coffer join', 32);
  return Buffer.from(key).toString('base64');
}

/** A new private key for an agent, in the form in which a file holds it. */
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

/** The id of an agent, derived from its public key. */
export function agentIdOf(agent_key: string): string {
  return uuidFrom(`coffer agent ${agent_key}`);
}

/**
 * A question, and the function that opens its answer. That function throws `MessageRefused` if the answer is
 * not from a taskmanager that knows the join key, or does not belong to this question.
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

/** True if the sender of the question holds the token, and is the agent whose key the question names. */
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

/** Throws `invalid_request` if no key can be agreed on with the question's exchange key. */
export function handOver(join_key: string, question: JoinQuestion, plain: unknown): HandedOver {
  const exchange = generateKeyPairSync('x25519');
  const head = { exchange_key: rawOf(exchange.publicKey), nonce: randomBytes(12).toString('base64') };
  const key = agreedKey(exchange.privateKey, question.exchange_key, join_key);
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.from(head.nonce, 'base64'));
  cipher.setAAD(aadOf(question, head));
  const text = Buffer.concat([cipher.update(JSON.stringify(plain)), cipher.final(), cipher.getAuthTag()]);
  return { ...head, text: text.toString('base64') };
}

/** OpenSSL refuses a point of low order, which would lead to a key that everybody knows. */
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
