/**
 * The dashboard: a page that was built beforehand (`npm run build`), with its scripts, styles and fonts. All
 * files are held in memory, compressed once: a requested path is looked up there, and never opened.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CofferError } from '../../src/core/errors.ts';
import type { App } from '../deps.ts';
import { HTML, readFiles, type StaticFile, sendBody } from './static-files.ts';

export interface Dashboard {
  /** By path below `/dashboard/`. */
  readonly files: ReadonlyMap<string, StaticFile>;
  /** The page, before its base path is inserted. */
  readonly page: string;
}

const PREFIX = '/dashboard';
const PAGE = 'index.html';
/** The names of these files contain a hash of their content: a name never gets another content. */
const HASHED = 'assets/';

/** Only content from here may be run, shown or requested; nobody may frame the page. */
const PAGE_HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "font-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'self'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
};

/** What was built into `folder`; null if nothing was. */
export function readDashboard(folder: string): Dashboard | null {
  if (!existsSync(join(folder, PAGE))) return null;
  const files = readFiles(folder);
  return { files, page: files.get(PAGE)?.body.toString() ?? '' };
}

/** `/dashboard` and all paths below it: a file, or otherwise the page, which shows what its address names. */
export function dashboardRoutes(app: App, { files, page }: Dashboard): void {
  const answer = (request: FastifyRequest, reply: FastifyReply) => {
    const path = (request.raw.url ?? PREFIX).replace(/[?#].*$/, '').slice(PREFIX.length);
    const name = path.slice(1);
    const file = name === PAGE ? undefined : files.get(name);
    if (file) return sendFile(request, reply, file, name);
    // A script of an older release: the page in its place would be an error that nobody understands.
    if (name.startsWith(HASHED)) throw new CofferError('not_found', 'The resource could not be found.');
    const body = Buffer.from(page.replace('<head>', `<head><base href="${wayBack(path)}">`));
    reply.headers(PAGE_HEADERS).header('cache-control', 'no-cache');
    return sendBody(request, reply, { type: HTML, body, gzipped: null });
  };
  app.get(PREFIX, { schema: { hide: true } }, async (request, reply) => answer(request, reply));
  app.get(`${PREFIX}/*`, { schema: { hide: true } }, async (request, reply) => answer(request, reply));
}

/**
 * The relative path from an address below `/dashboard` back to it: with it the page works behind a proxy that
 * serves it under another path.
 */
function wayBack(path: string): string {
  if (path === '') return 'dashboard/';
  return '../'.repeat(path.split('/').length - 2) || './';
}

function sendFile(request: FastifyRequest, reply: FastifyReply, file: StaticFile, name: string) {
  const cached = name.startsWith(HASHED) ? 'public, max-age=31536000, immutable' : 'no-cache';
  return sendBody(request, reply.header('cache-control', cached), file);
}
