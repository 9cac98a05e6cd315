/**
 * How an agent that joins comes by its key: what it proves, and what somebody else on the broker can do
 * with what goes to and fro, a sibling with the token of the same cluster included.
 */
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { newJoinToken } from '../../api/clusters/join-token.ts';
import { JOIN_TOKEN } from '../../guestagent/join.ts';
import {
  agentIdOf,
  handOver,
  isAgentKey,
  isProven,
  type JoinQuestion,
  joinKeyOf,
  newAgentKey,
  newQuestion,
} from '../../src/bus/joining.ts';
import { MessageRefused } from '../../src/bus/protection.ts';
import { isId } from '../../src/contract/fields.ts';

const cluster_id = randomUUID();
const token = newJoinToken(cluster_id);
const join_key = joinKeyOf(token);
const agent_key = newAgentKey();
const wish = { cluster_id, sent: 1_800_000_000_000, endpoint: { host: '10.0.0.5', port: 5432 } };
const ask = (change = {}) => newQuestion({ join_key, agent_key }, { ...wish, ...change });
const PLAIN = { instance_id: randomUUID(), rpc_key: 'the key of the instance' };

describe('an agent that joins', () => {
  it('is handed over what only it can open, and only as the answer to this question', () => {
    expect(token).toMatch(JOIN_TOKEN);
    const { question, open } = ask();
    const sealed = handOver(join_key, question, PLAIN);
    expect(JSON.stringify([question, sealed])).not.toContain('the key of the instance');
    expect(open(sealed)).toEqual(PLAIN);
    expect(() => ask().open(sealed), 'its own next question').toThrow(MessageRefused);
    const sibling = newQuestion({ join_key, agent_key: newAgentKey() }, wish);
    expect(() => sibling.open(sealed), 'one who holds the token, and has heard it').toThrow(MessageRefused);
  });

  it('takes no answer of one who does not know the token, nor a changed one', () => {
    const { question, open } = ask();
    const stranger = joinKeyOf(newJoinToken(cluster_id));
    expect(() => open(handOver(stranger, question, PLAIN))).toThrow(MessageRefused);
    const sealed = handOver(join_key, question, PLAIN);
    const { exchange_key, text } = handOver(join_key, question, PLAIN);
    const nonce = randomBytes(12).toString('base64');
    const low = Buffer.alloc(32).toString('base64url');
    for (const change of [
      { exchange_key },
      { exchange_key: low },
      { exchange_key: '' },
      { nonce },
      { text },
      { text: 'AAAA' },
    ]) {
      expect(() => open({ ...sealed, ...change }), JSON.stringify(change)).toThrow(MessageRefused);
    }
  });

  it('proves that it holds the token, and who it is', () => {
    const { question } = ask();
    expect(isProven(join_key, question)).toBe(true);
    const other = newQuestion({ join_key, agent_key: newAgentKey() }, wish).question;
    const wrong: readonly Partial<JoinQuestion>[] = [
      { cluster_id: randomUUID() },
      { endpoint: { host: '10.0.0.6', port: 5432 } },
      { endpoint: { host: '10.0.0.5', port: 5433 } },
      { sent: wish.sent + 1 },
      { agent_key: other.agent_key },
      { exchange_key: other.exchange_key },
      { proof: other.proof },
      { proof: '' },
      { proof: `${question.proof}00` },
      { signature: other.signature },
      { signature: '' },
    ];
    for (const change of wrong)
      expect(isProven(join_key, { ...question, ...change }), JSON.stringify(change)).toBe(false);
    expect(isProven(joinKeyOf(newJoinToken(cluster_id)), question)).toBe(false);
  });

  it('is asked for by nobody else, not even a sibling that holds the token', () => {
    const { question } = ask();
    // The sibling can prove that it may join, but not that it is this agent: its own key has signed.
    const sibling = newQuestion({ join_key, agent_key: newAgentKey() }, wish).question;
    expect(isProven(join_key, { ...sibling, agent_key: question.agent_key })).toBe(false);
    expect(agentIdOf(sibling.agent_key)).not.toBe(agentIdOf(question.agent_key));
    expect(agentIdOf(ask().question.agent_key)).toBe(agentIdOf(question.agent_key));
    expect(isId(agentIdOf(question.agent_key))).toBe(true);
  });

  it('is refused with keys that are none', () => {
    const low = Buffer.alloc(32).toString('base64url');
    const { question } = ask();
    expect(() => handOver(join_key, { ...question, exchange_key: low }, PLAIN)).toThrow(/no key of X25519/);
    expect(() => handOver(join_key, { ...question, exchange_key: 'short' }, PLAIN)).toThrow(/no key/);
    expect(isProven(join_key, { ...question, agent_key: 'short' })).toBe(false);
  });
});

describe('a join key', () => {
  it('follows from the whole token, and the token not from it', () => {
    const [, secret = ''] = token.split('.');
    expect(joinKeyOf(token)).toBe(join_key);
    expect(joinKeyOf(`${randomUUID()}.${secret}`)).not.toBe(join_key);
    expect(Buffer.from(secret, 'base64url').toString('base64')).not.toBe(join_key);
  });

  it('is what HKDF of RFC 5869 makes of it', () => {
    const fixed = `00000000-0000-4000-8000-000000000000.${Buffer.alloc(32, 1).toString('base64url')}`;
    // HMAC(HMAC(salt, secret), 'coffer join' and the byte 1), by Python's hmac.
    expect(Buffer.from(joinKeyOf(fixed), 'base64').toString('hex')).toBe(
      'ac2b50009a44892d8c57b42d397cb024b1c12ae7f7389e6d4f7a365a735a042e',
    );
  });
});

it('an agent’s key is kept in the form that other tools read, and must be of its kind', () => {
  expect(agent_key).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
  const { privateKey } = generateKeyPairSync('x25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  expect([agent_key, privateKey, 'x', ''].map(isAgentKey)).toEqual([true, false, false, false]);
});
