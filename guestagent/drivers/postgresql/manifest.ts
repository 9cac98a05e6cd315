import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { isErrno } from '../../../src/files.ts';

/**
 * Checks a copied data directory against the manifest that the primary sent with it, as `pg_verifybackup`
 * does (the packages do not contain it): every file must exist with its size and its checksum, and there must
 * be no other file. The files are read back from this disk. This is needed because a server that lacks the
 * end of a table's file starts all the same, and serves the rest.
 *
 * The manifest does not list the log in `pg_wal`: there, every segment that the copy needs to become
 * consistent must exist in full length. The server itself checks the contents of a segment record by record.
 */
const SHA256 = z.literal('SHA256');

const File = z
  .object({
    Path: z.string().exactOptional(),
    /** In hexadecimal digits: a name that is not UTF-8. The reader of the archive replaces the same bytes. */
    'Encoded-Path': z.string().exactOptional(),
    Size: z.int().min(0),
    'Checksum-Algorithm': SHA256,
    Checksum: z.string(),
  })
  .transform((file) => ({
    path: file.Path ?? Buffer.from(file['Encoded-Path'] ?? '', 'hex').toString('utf8'),
    size: file.Size,
    checksum: file.Checksum,
  }));

const Manifest = z.object({
  Files: z.array(File).min(1),
  'WAL-Ranges': z
    .array(z.object({ Timeline: z.int().min(1), 'Start-LSN': z.string(), 'End-LSN': z.string() }))
    .min(1),
  'Manifest-Checksum': z.string(),
});
type Manifest = z.output<typeof Manifest>;

interface VerifyOptions {
  readonly segmentBytes: number;
  readonly abort: AbortSignal;
}

/** Rejects with the first fault that it finds. */
export async function verifyCopy(dataDir: string, sent: Buffer, options: VerifyOptions): Promise<void> {
  const manifest = readManifest(sent);
  const listed = new Set(manifest.Files.map(({ path }) => path));
  for (const path of await filesIn(dataDir)) {
    if (!path.startsWith('pg_wal/') && !listed.has(path)) wrong(`${path} is not in its manifest`);
  }
  for (const { path, size, checksum } of manifest.Files) {
    options.abort.throwIfAborted();
    await checkFile(dataDir, path, { size, checksum });
  }
  for (const range of manifest['WAL-Ranges']) await checkRange(dataDir, range, options.segmentBytes);
}

/** The manifest ends with a checksum over all lines before it. */
function readManifest(sent: Buffer): Manifest {
  if (sent.length === 0) wrong('the primary sent no manifest');
  const last = sent.lastIndexOf('\n', sent.length - 2) + 1;
  let manifest: Manifest;
  try {
    manifest = Manifest.parse(JSON.parse(sent.toString('utf8')));
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : 'it ends too early';
    throw new Error(`the copy is not complete: its manifest can't be understood: ${reason}`);
  }
  const sum = createHash('sha256').update(sent.subarray(0, last)).digest('hex');
  if (sum !== manifest['Manifest-Checksum']) wrong('its manifest has a wrong checksum');
  return manifest;
}

async function checkFile(
  dataDir: string,
  name: string,
  expected: { readonly size: number; readonly checksum: string },
): Promise<void> {
  const path = join(dataDir, name);
  const found = await sizeOf(path);
  if (found === null) wrong(`${name} is missing`);
  if (found !== expected.size) wrong(`${name} has ${found} bytes instead of ${expected.size}`);
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  if (hash.digest('hex') !== expected.checksum) wrong(`${name} has a wrong checksum`);
}

async function checkRange(
  dataDir: string,
  range: Manifest['WAL-Ranges'][number],
  segmentBytes: number,
): Promise<void> {
  const size = BigInt(segmentBytes);
  const first = positionOf(range['Start-LSN']) / size;
  // The range ends before this position: if that is the start of a segment, this segment is not part of the
  // range.
  const last = (positionOf(range['End-LSN']) - 1n) / size;
  for (let segment = first; segment <= last; segment++) {
    const name = segmentName(range.Timeline, segment, size);
    const found = await sizeOf(join(dataDir, 'pg_wal', name));
    if (found === null) wrong(`the log segment ${name} is missing`);
    if (found !== segmentBytes)
      wrong(`the log segment ${name} has ${found} bytes instead of ${segmentBytes}`);
  }
}

function positionOf(lsn: string): bigint {
  const [, high, low] = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(lsn) ?? [];
  if (high === undefined || low === undefined) return wrong(`its manifest has an odd log position: ${lsn}`);
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
}

function segmentName(timeline: number, segment: bigint, segmentBytes: bigint): string {
  const perFile = 0x1_0000_0000n / segmentBytes;
  const parts = [BigInt(timeline), segment / perFile, segment % perFile];
  return parts.map((part) => part.toString(16).toUpperCase().padStart(8, '0')).join('');
}

/** All files below the folder, relative to it. */
async function filesIn(dataDir: string): Promise<readonly string[]> {
  const entries = await readdir(dataDir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(dataDir.length + 1));
}

async function sizeOf(path: string): Promise<number | null> {
  return stat(path).then(
    (stats) => stats.size,
    (error: unknown) => {
      if (isErrno(error, 'ENOENT')) return null;
      throw error;
    },
  );
}

function wrong(reason: string): never {
  throw new Error(`the copy is not complete: ${reason}`);
}
