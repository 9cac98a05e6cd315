/**
 * Files of a page, held in memory and compressed once: a requested path is looked up there, and never opened.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';

export interface StaticFile {
  readonly type: string;
  readonly body: Buffer;
  /** Null where compressing the file again gains nothing. */
  readonly gzipped: Buffer | null;
}

export const HTML = 'text/html; charset=utf-8';
const TYPES: Readonly<Record<string, string>> = {
  '.html': HTML,
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.txt': 'text/plain; charset=utf-8',
  '.woff2': 'font/woff2',
};
/** Already compressed. */
const DENSE = ['.woff2', '.png'];

/** All files below a folder, by their path there. */
export function readFiles(folder: string): ReadonlyMap<string, StaticFile> {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true }).filter((one) => one.isFile());
  return new Map(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [relative(folder, path).split(sep).join('/'), staticFile(path)] as const;
    }),
  );
}

function staticFile(path: string): StaticFile {
  const extension = extname(path);
  const body = readFileSync(path);
  const gzipped = DENSE.includes(extension) ? null : compress(body);
  return { type: TYPES[extension] ?? 'application/octet-stream', body, gzipped };
}

function compress(body: Buffer): Buffer {
  return gzipSync(body, { level: constants.Z_BEST_COMPRESSION });
}

export function sendBody(request: FastifyRequest, reply: FastifyReply, { type, body, gzipped }: StaticFile) {
  reply.type(type).header('vary', 'accept-encoding');
  if (!gzipped || !/\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''))) return reply.send(body);
  return reply.header('content-encoding', 'gzip').send(gzipped);
}
