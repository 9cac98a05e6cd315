import { createHash, createHmac, randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { ConfigError } from '../../src/config.ts';
import { explain } from '../../src/contract/explain.ts';
import { TenantId, text } from '../../src/contract/fields.ts';
import { CofferError } from '../../src/core/errors.ts';
import { textOf } from '../../src/log.ts';
import type { Authenticate, Identity } from './caller.ts';
import { tokenOf } from './token.ts';

const Entry = z
  .strictObject({
    user: text(255),
    tenant: TenantId,
    roles: z.array(text(255)).max(50),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'must be a sha256 in 64 hexadecimal digits')
      .exactOptional(),
    token: z
      .string()
      .regex(
        /^[\x21-\x7e]{20,255}$/,
        'must be 20 to 255 visible ASCII characters: shorter ones can be guessed',
      )
      .exactOptional(),
  })
  .refine(
    ({ sha256, token }) => (sha256 === undefined) !== (token === undefined),
    "must have either 'sha256' or 'token'",
  );
const TokenFile = z.strictObject({ tokens: z.array(Entry).min(1).max(10_000) });

/** Finds the owner of a token. */
interface Tokens {
  find(token: string): Identity | undefined;
}

/**
 * Reads a file of static tokens. Throws a `ConfigError` that lists every problem; no problem shows a token.
 */
export function readTokenFile(path: string): Tokens {
  const content = contentOf(path);
  const parsed = TokenFile.safeParse(content);
  if (!parsed.success) throw new ConfigError(`${path}: ${explain(parsed.error, content, 'the file')}`);
  const hashes = parsed.data.tokens.map(({ sha256, token }) => sha256 ?? sha256Of(token ?? ''));
  const repeated = hashes.findIndex((hash, index) => hashes.indexOf(hash) !== index);
  if (repeated >= 0) throw new ConfigError(`${path}: tokens[${repeated}] has the token of another entry`);
  return tokensOf(parsed.data.tokens.map((entry, index) => [hashes[index] ?? '', identityOf(entry)]));
}

/**
 * The time that a look-up takes may reveal how much of its key was right. So tokens are looked up by their
 * HMAC under a secret that lives as long as this process: nobody outside can know or choose a single bit of
 * it.
 */
function tokensOf(entries: readonly (readonly [sha256: string, Identity])[]): Tokens {
  const secret = randomBytes(32);
  const blinded = (sha256: string) => createHmac('sha256', secret).update(sha256).digest('base64');
  const known = new Map(entries.map(([sha256, identity]) => [blinded(sha256), identity]));
  return { find: (token) => known.get(blinded(sha256Of(token))) };
}

function sha256Of(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

function identityOf({ user, tenant, roles }: z.output<typeof Entry>): Identity {
  const credentials = { user_id: user, user, project_id: tenant, tenant, roles };
  return { user, project_id: tenant, credentials, is_confined: false };
}

/**
 * As ssh requires for a private key: other users of this machine must not read the file, and only its owner
 * may change it.
 */
function refuseOpenFile(path: string): void {
  const { mode } = statSync(path);
  if (process.platform === 'win32' || (mode & 0o027) === 0) return;
  const shown = (mode & 0o777).toString(8).padStart(4, '0');
  throw new ConfigError(`${path} has mode ${shown}, so others can read or change it: chmod 600 ${path}`);
}

function contentOf(path: string): unknown {
  try {
    refuseOpenFile(path);
    return parse(readFileSync(path, 'utf8'));
  } catch (err) {
    if (err instanceof ConfigError) throw err;
    // The message of the error quotes the line in question, which may contain a token.
    const reason =
      err instanceof YAMLParseError ? `line ${err.linePos?.[0].line} is not valid YAML` : textOf(err);
    throw new ConfigError(`${path} can't be read: ${reason}`);
  }
}

/** `COFFER_AUTH=token`. */
export function believeTokens(tokens: { readonly current: Tokens }): Authenticate {
  return async (request) => {
    const identity = tokens.current.find(tokenOf(request));
    if (identity) return identity;
    throw new CofferError('unauthorized', 'The token in X-Auth-Token is not known here.');
  };
}
