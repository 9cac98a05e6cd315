/**
 * `COFFER_AUTH=token` and `COFFER_POLICY_FILE` as an api has them: files that change while it serves, and
 * the command line that shows its token.
 */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openAccess } from '../../api/access/open.ts';
import { loadApiConfig } from '../../api/config.ts';
import { run } from '../../cli/program.ts';
import { identify } from '../../client/index.ts';
import type { Service } from '../../src/service.ts';
import { coffer } from '../support/cli.ts';
import { silentLog } from '../support/services.ts';
import { until } from '../support/stack.ts';
import { ask, type Harness, startApi } from './api-harness.ts';

const FIRST = 'the-first-token-of-ann';
const SECOND = 'the-second-token-of-ann';

describe('tokens and rules of files', () => {
  let folder: string;
  let api: Harness;
  const watching: Service[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'coffer-access-'));
    await write('tokens', tokensOf(FIRST));
    await write('policy', 'cluster:index: rule:admin_or_owner');
    const config = loadApiConfig({
      COFFER_AMQP_URL: 'amqp://unused',
      COFFER_REDIS_URL: 'redis://unused',
      COFFER_AUTH: 'token',
      COFFER_TOKENS_FILE: join(folder, 'tokens'),
      COFFER_POLICY_FILE: join(folder, 'policy'),
    });
    const add = (service: Service) => watching.push(service);
    api = await startApi(openAccess(config, { log: silentLog, now: Date.now, add }));
  });
  afterEach(async () => {
    await api.close();
    for (const service of watching.splice(0)) await service.stop();
    await rm(folder, { recursive: true });
  });

  const tokensOf = (token: string) =>
    JSON.stringify({ tokens: [{ user: 'ann', tenant: 't1', roles: ['member'], token }] });
  /** Put in its place whole, as careful people do it. */
  const write = async (name: string, text: string) => {
    await writeFile(join(folder, `${name}.new`), text, { mode: 0o600 });
    await rename(join(folder, `${name}.new`), join(folder, name));
  };
  const statusWith = async (token: string, tenant = 't1') =>
    (await ask(`${api.origin}/v1.0/${tenant}/clusters`, { headers: { 'x-auth-token': token } })).status;

  it('let their owners in, and nobody else', async () => {
    expect([await statusWith(FIRST), await statusWith(FIRST, 't2'), await statusWith(SECOND)]).toEqual([
      200, 403, 401,
    ]);
    const { status, headers } = await ask(`${api.url}/clusters`);
    expect([status, headers.get('www-authenticate')]).toEqual([401, 'Token realm="coffer"']);
  });

  it('are read again when they have changed, and kept when the change makes no sense', async () => {
    await write('tokens', tokensOf(SECOND));
    await until('the new token is known', async () => (await statusWith(SECOND)) === 200);
    expect(await statusWith(FIRST)).toBe(401);
    await write('tokens', 'tokens: nonsense');
    await write('policy', "cluster:index: '!'");
    await until('the new rule holds', async () => (await statusWith(SECOND)) === 403);
    await write('policy', 'cluster:index: nonsense');
    process.emit('SIGHUP', 'SIGHUP');
    expect(await statusWith(SECOND)).toBe(403);
  });

  it('are read again at once on SIGHUP', async () => {
    await write('policy', "cluster:index: '!'");
    process.emit('SIGHUP', 'SIGHUP');
    expect(await statusWith(FIRST)).toBe(403);
  });

  it('say whose they are, to whoever does not know yet which tenant to ask for', async () => {
    const identity = async (headers: Record<string, string>) =>
      ask(`${api.origin}/v1.0/identity`, { headers });
    const known = await identity({ 'x-auth-token': FIRST });
    expect(known).toMatchObject({ status: 200, body: { identity: { user: 'ann', project_id: 't1' } } });
    const refused = await identity({});
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Token realm="coffer"']);
    await expect(identify({ endpoint: `${api.origin}/v1`, token: FIRST })).resolves.toEqual({
      user: 'ann',
      project_id: 't1',
    });
  });

  it('say which tenant the command line is to ask for, where it is told none', async () => {
    const { body } = await ask(`${api.url}/clusters`, {
      method: 'POST',
      headers: { 'x-auth-token': FIRST },
      json: { cluster: { name: 'shop', datastore: { type: 'simulated', version: '1.0' }, instances: [{}] } },
    });
    expect(body.cluster.name).toBe('shop');
    const list = (token: string, more = '') =>
      coffer(`cluster-list --endpoint ${api.origin} --token ${token} ${more}`);
    expect(await list(FIRST)).toMatchObject({ code: 0, stdout: expect.stringContaining('shop') as string });
    expect((await list(FIRST, '--tenant t2')).code).toBe(7);
    expect((await list(SECOND)).code).toBe(7);
  });

  it('are what the command line shows, from its environment or as an option', async () => {
    const typed = async (...args: readonly string[]) => {
      let written = '';
      const stream = {
        write: (text: string) => {
          written += text;
          return true;
        },
      };
      const io = { stdout: stream, stderr: stream, env: {}, signal: new AbortController().signal };
      const code = await run(
        ['--endpoint', api.origin, '--tenant', 't1', ...args],
        io as unknown as Parameters<typeof run>[1],
      );
      return { code, written };
    };
    expect((await typed('--token', FIRST, 'cluster-list')).code).toBe(0);
    const refused = await typed('--token', SECOND, 'cluster-list');
    expect(refused.code).toBe(7);
    expect(refused.written).toContain('COFFER_TOKEN');
    expect(refused.written).not.toContain(SECOND);
  });
});
