import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { syncFolder } from '../../files.ts';
import type { Account } from './account.ts';

/**
 * Unpacks the two tar streams that the driver meets: npm packages, and the base backup of a running
 * server. Both hold folders and plain files only; whatever else turns up is refused.
 */
export interface ExtractOptions {
  /** Where an entry goes, relative to the target; null to leave it out. */
  readonly place?: (name: string) => string | null;
  readonly owner?: Account | null;
  /** The mode for a file or a folder; by default what the archive says. */
  readonly mode?: (archived: number, kind: 'file' | 'folder') => number;
}

const BLOCK = 512;

/** Everything is on disk (fsync) when this resolves. */
export async function extractTar(
  source: AsyncIterable<Buffer>,
  target: string,
  options: ExtractOptions = {},
): Promise<void> {
  const reader = new Reader(source);
  const folders = new Set<string>([target]);
  const flushes = new Flushes();
  let longName: string | null = null;
  await mkdir(target, { recursive: true });
  try {
    for (;;) {
      const header = await reader.take(BLOCK);
      if (header === null) throw new Error('the archive ends too early');
      if (header.every((byte) => byte === 0)) break;
      checkSum(header);
      const size = number(header, 124, 12);
      const type = String.fromCharCode(header[156] ?? 0);
      if (type === 'x' || type === 'g') {
        const fields = await reader.take(padded(size));
        if (type === 'x') longName = paxPath(fields?.subarray(0, size).toString('utf8') ?? '') ?? longName;
        continue;
      }
      const archived = longName ?? entryName(header);
      longName = null;
      const kind = type === '5' ? 'folder' : type === '0' || type === '\0' ? 'file' : null;
      if (kind === null)
        throw new Error(`the archive holds ${archived}, which is neither a file nor a folder`);
      const name = options.place === undefined ? archived : options.place(archived);
      if (name === null) {
        await reader.skip(padded(size));
        continue;
      }
      if (isAbsolute(name) || name.split('/').includes('..'))
        throw new Error(`the archive leaves its folder: ${name}`);
      const path = join(target, name);
      const archivedMode = number(header, 100, 8);
      const mode = options.mode === undefined ? archivedMode & 0o777 : options.mode(archivedMode, kind);
      const folder = kind === 'folder' ? path : dirname(path);
      if (!folders.has(folder)) await makeFolder(folder, target, folders, options);
      if (kind === 'file') {
        const file = await open(path, 'w', mode);
        try {
          for await (const chunk of reader.stream(size)) await file.write(chunk);
          await reader.skip(padded(size) - size);
          await file.chmod(mode);
          if (options.owner) await file.chown(options.owner.uid, options.owner.gid);
        } catch (error) {
          await file.close();
          throw error;
        }
        await flushes.add(file);
      }
    }
  } finally {
    await flushes.done();
  }
  // Whatever follows the end mark is padding; read it, so that the sender sees a whole conversation.
  await reader.skip(Number.POSITIVE_INFINITY);
  for (const folder of folders) await syncFolder(folder);
}

async function makeFolder(
  folder: string,
  target: string,
  made: Set<string>,
  options: ExtractOptions,
): Promise<void> {
  const parent = dirname(folder);
  if (folder !== target && !made.has(parent)) await makeFolder(parent, target, made, options);
  await mkdir(folder, { recursive: true });
  const handle = await open(folder, 'r');
  try {
    await handle.chmod(options.mode === undefined ? 0o700 : options.mode(0o755, 'folder'));
    if (options.owner) await handle.chown(options.owner.uid, options.owner.gid);
  } finally {
    await handle.close();
  }
  made.add(folder);
}

/** Flushes written files to disk a few at a time beside the reading: one by one, the waits add up. */
class Flushes {
  readonly #under_way = new Set<Promise<void>>();
  #failure: unknown = null;

  async add(file: FileHandle): Promise<void> {
    const flush = file
      .sync()
      .finally(() => file.close())
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => this.#under_way.delete(flush));
    this.#under_way.add(flush);
    while (this.#under_way.size >= 16) await Promise.race(this.#under_way);
  }

  async done(): Promise<void> {
    await Promise.all(this.#under_way);
    if (this.#failure !== null)
      throw this.#failure instanceof Error ? this.#failure : new Error('flush failed');
  }
}

/** Takes exact amounts from a stream of chunks. */
class Reader {
  readonly #source: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Null at the end of the stream. */
  async take(size: number): Promise<Buffer | null> {
    const parts: Buffer[] = [];
    for await (const part of this.stream(size, 'may end')) parts.push(part);
    const whole = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
    return whole.length === size ? whole : null;
  }

  async skip(size: number): Promise<void> {
    const parts = this.stream(size, size === Number.POSITIVE_INFINITY ? 'may end' : 'whole');
    for (let part = await parts.next(); !part.done; part = await parts.next());
  }

  async *stream(size: number, end: 'whole' | 'may end' = 'whole'): AsyncGenerator<Buffer, void> {
    for (let left = size; left > 0; ) {
      if (this.#chunk.length === 0) {
        const next = await this.#source.next();
        if (next.done === true) {
          if (end === 'whole') throw new Error('the archive ends too early');
          return;
        }
        this.#chunk = next.value;
      }
      const part = this.#chunk.subarray(0, Math.min(left, this.#chunk.length));
      this.#chunk = this.#chunk.subarray(part.length);
      left -= part.length;
      yield part;
    }
  }
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function text(header: Buffer, offset: number, length: number): string {
  const field = header.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return field.subarray(0, end === -1 ? length : end).toString('utf8');
}

/** Octal digits, or, for what is too big for them, a binary number marked by its first bit. */
function number(header: Buffer, offset: number, length: number): number {
  const first = header[offset] ?? 0;
  const value =
    (first & 0x80) === 0
      ? Number.parseInt(text(header, offset, length).trim() || '0', 8)
      : header.subarray(offset + 1, offset + length).reduce((sum, byte) => sum * 256 + byte, first & 0x7f);
  if (!Number.isSafeInteger(value)) throw new Error('the archive is damaged: a field is not a number');
  return value;
}

/** The sum of the header's bytes, its own field taken as spaces. */
function checkSum(header: Buffer): void {
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  if (sum !== number(header, 148, 8))
    throw new Error('the archive is damaged: a header has a wrong checksum');
}

function entryName(header: Buffer): string {
  const prefix = text(header, 257, 5) === 'ustar' ? text(header, 345, 155) : '';
  const name = text(header, 0, 100);
  return prefix === '' ? name : `${prefix}/${name}`;
}

function paxPath(fields: string): string | null {
  return /^\d+ path=(.*)$/m.exec(fields)?.[1] ?? null;
}
