/** A file of static tokens: who they let in, and what stops the start without showing a token. */
import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTokenFile } from '../../../api/access/token-file.ts';

const ANNS = 'a-token-that-nobody-guesses-1';
const BOBS = 'a-token-that-nobody-guesses-2';
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

describe('a tokens file', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'coffer-tokens-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  function written(text: string, mode = 0o600): string {
    const path = join(folder, 'tokens.yaml');
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  }

  const good = [
    'tokens:',
    `  - { user: ann, tenant: shop, roles: [member], sha256: ${sha256(ANNS)} }`,
    `  - { user: bob, tenant: ops, roles: [admin], token: ${BOBS} }`,
  ].join('\n');

  it('knows who a token belongs to, kept as it is or as its hash', () => {
    const tokens = readTokenFile(written(good));
    expect(tokens.find(ANNS)).toMatchObject({
      user: 'ann',
      project_id: 'shop',
      credentials: { roles: ['member'] },
    });
    expect(tokens.find(BOBS)).toMatchObject({
      user: 'bob',
      project_id: 'ops',
      credentials: { roles: ['admin'] },
    });
    for (const other of ['', ANNS.slice(1), `${ANNS} `, sha256(ANNS), 'constructor', '__proto__']) {
      expect(tokens.find(other)).toBeUndefined();
    }
  });

  it('may be JSON', () => {
    const json = { tokens: [{ user: 'ann', tenant: 'shop', roles: [], token: ANNS }] };
    expect(readTokenFile(written(JSON.stringify(json))).find(ANNS)?.user).toBe('ann');
  });

  it.each([0o644, 0o640 | 0o004, 0o620, 0o606])(
    'that others may read or change (mode %o) is refused',
    (mode) => {
      expect(() => readTokenFile(written(good, mode))).toThrow(/has mode 0\d{3}.*chmod 600/);
    },
  );

  it('may be readable for its group, as mounted secrets are', () => {
    expect(readTokenFile(written(good, 0o640)).find(ANNS)).toBeDefined();
  });

  it.each([
    ['', /is not of type 'object'/],
    ['tokens: []', /too few items/],
    [`tokens:\n  - {token: ${ANNS}`, /can't be read: line \d is not valid YAML/],
    [`tokens: [{user: a, tenant: t, roles: []}]`, /either 'sha256' or 'token'/],
    [
      `tokens: [{user: a, tenant: t, roles: [], token: ${ANNS}, sha256: ${sha256(ANNS)}}]`,
      /either 'sha256' or 'token'/,
    ],
    [`tokens: [{user: a, tenant: t, roles: [], token: short-${'x'.repeat(5)}}]`, /must be 20 to 255/],
    [`tokens: [{user: a, tenant: "a b", roles: [], token: ${ANNS}}]`, /tenant/],
    [`tokens: [{user: a, tenant: t, role: [], token: ${ANNS}}]`, /'roles' is a required property/],
    [
      `tokens: [{user: a, tenant: t, roles: [], sha256: ${sha256(ANNS).toUpperCase()}}]`,
      /64 hexadecimal digits/,
    ],
    [
      `tokens: [{user: a, tenant: t, roles: [], token: ${ANNS}}, {user: b, tenant: t, roles: [], sha256: ${sha256(ANNS)}}]`,
      /tokens\[1\] has the token of another entry/,
    ],
  ])('with %.40j is refused, and no token is shown', (text, message) => {
    let error: unknown;
    try {
      readTokenFile(written(text));
    } catch (err) {
      error = err;
    }
    expect(String(error)).toMatch(message);
    expect(String(error)).not.toContain(ANNS);
    expect(String(error)).not.toContain(sha256(ANNS).toUpperCase());
  });

  it('that is missing is named', () => {
    expect(() => readTokenFile(join(folder, 'nowhere'))).toThrow(/nowhere can't be read: ENOENT/);
  });
});
