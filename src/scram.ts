/** SCRAM-SHA-256 (RFC 5803), in the form in which PostgreSQL stores it. */
import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';

/**
 * Whoever holds the verifier of a password can check the password, and cannot sign in with it. A derived key of
 * 256 bits needs no stretching, and one iteration is enough; a password that a person chose needs the usual number.
 */
export async function scramVerifier(
  password: string,
  {
    salt = randomBytes(16),
    iterations = 4096,
  }: { readonly salt?: Buffer; readonly iterations?: number } = {},
): Promise<string> {
  const salted = await promisify(pbkdf2)(password, salt, iterations, 32, 'sha256');
  const hmac = (text: string) => createHmac('sha256', salted).update(text).digest();
  const stored = createHash('sha256').update(hmac('Client Key')).digest('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${hmac('Server Key').toString('base64')}`;
}

export function isScramVerifier(text: string): boolean {
  return /^SCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$/.test(text);
}
