/**
 * The dashboard as the api serves it: files, headers, addresses. Not covered: what it looks like and does
 * (test/dashboard).
 */
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readDashboard } from '../../api/http/dashboard.ts';
import { ask, type Harness, startApi } from './api-harness.ts';

const BUILT = resolve(import.meta.dirname, '../../dist/dashboard');

describe('/dashboard', () => {
  const dashboard = readDashboard(BUILT);
  let api: Harness;
  const get = (path: string, headers: Record<string, string> = {}) =>
    ask(`${api.origin}${path}`, { headers });
  const script = () => [...(dashboard?.files.keys() ?? [])].find((name) => name.endsWith('.js')) ?? '';

  beforeAll(async () => {
    api = await startApi({ dashboard });
  });
  afterAll(() => api.close());

  it('was built by the set-up, with the licences of what is packed into it', () => {
    expect([...(dashboard?.files.keys() ?? [])]).toEqual(
      expect.arrayContaining(['index.html', 'icon.svg', 'third-party.txt']),
    );
    expect(dashboard?.files.get('third-party.txt')?.body.toString()).toMatch(
      /MIT License[\s\S]+SIL OPEN FONT/,
    );
  });

  it.each([
    ['/dashboard', 'dashboard/'],
    ['/dashboard/', './'],
    ['/dashboard/demo', './'],
    ['/dashboard/demo/clusters', '../'],
    ['/dashboard/demo/clusters?text=a/b', '../'],
    ['/dashboard/demo/upgrades/123', '../../'],
    ['/dashboard//evil.example/x', '../../'],
  ])('serves the page at %s, with the way back to where its files are', async (path, base) => {
    const { status, headers, body } = await get(path);
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(headers.get('cache-control')).toBe('no-cache');
    expect(body).toContain(`<base href="${base}">`);
    expect(new URL(base, `http://host/prefix${path}`).pathname).toBe('/prefix/dashboard/');
  });

  it('lets the page run, show and ask only what comes from here', async () => {
    const { headers, body } = await get('/dashboard/');
    const policy = headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*|data:|blob:/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(body).not.toMatch(/ style=| on\w+=|<style|<script(?![^>]* src=)/);
  });

  it('has hashed files kept for ever, compressed for who takes it so', async () => {
    const path = `/dashboard/${script()}`;
    const plain = await fetch(`${api.origin}${path}`, { headers: { 'accept-encoding': 'identity' } });
    expect(plain.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(plain.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
    expect(plain.headers.get('content-encoding')).toBeNull();
    const gzipped = await fetch(`${api.origin}${path}`, { headers: { 'accept-encoding': 'gzip' } });
    expect(gzipped.headers.get('content-encoding')).toBe('gzip');
    expect(gzipped.headers.get('vary')).toBe('accept-encoding');
    expect(await gzipped.text()).toBe(await plain.text());
  });

  it.each(['/dashboard/assets/index-00000000.js', '/dashboards', '/dashboard.html'])(
    'has nothing at %s',
    async (path) => {
      const { status, body } = await get(path);
      expect(status).toBe(404);
      expect(body.itemNotFound.error).toBe('not_found');
    },
  );

  it.each([
    '/dashboard/../../package.json',
    '/dashboard/%2e%2e/%2e%2e/package.json',
    '/dashboard/..%2f..%2fpackage.json',
  ])('opens no file beside its own, asked for %s', async (path) => {
    const { body } = await get(path);
    expect(JSON.stringify(body)).not.toContain('"version"');
  });

  it('fits: all that the first page needs is under 200 KiB as it is sent', () => {
    const sent = [...(dashboard?.files ?? [])]
      .filter(([name]) => name !== 'third-party.txt')
      .map(([, { body, gzipped }]) => (gzipped ?? body).byteLength);
    expect(sent.length).toBeGreaterThan(4);
    expect(sent.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(200 * 1024);
  });

  it('is not there where it was not built', async () => {
    expect(readDashboard(join(BUILT, 'nowhere'))).toBeNull();
    const without = await startApi();
    expect((await ask(`${without.origin}/dashboard`)).status).toBe(404);
    await without.close();
  });
});
