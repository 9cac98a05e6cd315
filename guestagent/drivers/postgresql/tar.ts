import { once } from 'node:events';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { Parser, type ReadEntry } from 'tar';
import { syncFolder, writeWhole } from '../../files.ts';
import type { Account } from '../account.ts';

/**
 * Unpacks the two kinds of tar streams that the driver reads: npm packages, and the base backup of a running
 * server. Both contain only folders and plain files; an archive with anything else is refused.
 */
interface ExtractOptions {
  /** Where an entry goes, relative to the target; null to leave the entry out. */
  readonly place?: (name: string) => string | null;
  readonly owner?: Account | null;
  /** The mode of a file or a folder; by default the mode in the archive. */
  readonly mode?: (archived: number, kind: 'file' | 'folder') => number;
}

/** Every file is complete and on disk (fsync) when this resolves. */
export async function extractTar(
  source: AsyncIterable<Buffer>,
  target: string,
  options: ExtractOptions = {},
): Promise<void> {
  const failed = new AbortController();
  const unpacker = new Unpacker(target, options, failed.signal);
  const parser = new Parser({ strict: true });
  const refuse = (entry: ReadEntry) => new Error(`the archive holds ${entry.path}, ${NEITHER}`);
  let work = Promise.resolve();
  let present: ReadEntry | null = null;
  let ended = false;
  parser.on('error', (error) => failed.abort(inOurWords(error)));
  parser.on('ignoredEntry', (entry: ReadEntry) => failed.abort(refuse(entry)));
  parser.on('eof', () => {
    ended = true;
  });
  parser.on('entry', (entry: ReadEntry) => {
    present = entry;
    work = work
      .then(() => unpacker.unpack(entry))
      .catch((error: unknown) => {
        failed.abort(error);
        entry.resume();
      });
  });
  await mkdir(target, { recursive: true });
  try {
    await feed(parser, source, failed.signal);
    if (!ended) throw new Error('the archive ends too early');
  } catch (error) {
    failed.abort(error);
    // Nothing sends the rest of this entry any more: its reader must not wait forever.
    (present as ReadEntry | null)?.destroy();
  }
  await work;
  await unpacker.finish();
  failed.signal.throwIfAborted();
}

const NEITHER = 'which is neither a file nor a folder';

/** Resolves when the parser has taken the whole source, and its entries have been read. */
async function feed(parser: Parser, source: AsyncIterable<Buffer>, failed: AbortSignal): Promise<void> {
  for await (const chunk of source) {
    const accepted = parser.write(chunk);
    failed.throwIfAborted();
    if (!accepted) await once(parser, 'drain', { signal: failed });
    failed.throwIfAborted();
  }
  const read = once(parser, 'end', { signal: failed });
  parser.end();
  await read;
}

/**
 * Expresses the library's message about a damaged archive in the terms that people know from elsewhere here.
 */
function inOurWords(error: Error): Error {
  if (/Truncated input|Unrecognized archive format/.test(error.message)) {
    return new Error('the archive ends too early');
  }
  if (error.message.includes('checksum failure')) {
    return new Error('the archive is damaged: a header has a wrong checksum');
  }
  return new Error(`the archive is damaged: ${error.message}`);
}

/** Writes entries to their places, one after the other. */
class Unpacker {
  readonly #target: string;
  readonly #options: ExtractOptions;
  readonly #failed: AbortSignal;
  readonly #folders: Set<string>;
  readonly #flushes = new Flushes();

  constructor(target: string, options: ExtractOptions, failed: AbortSignal) {
    this.#target = target;
    this.#options = options;
    this.#failed = failed;
    this.#folders = new Set([target]);
  }

  async unpack(entry: ReadEntry): Promise<void> {
    this.#failed.throwIfAborted();
    const kind = kindOf(entry);
    if (kind === null) throw new Error(`the archive holds ${entry.path}, ${NEITHER}`);
    const name = this.#options.place === undefined ? entry.path : this.#options.place(entry.path);
    if (name === null) {
      entry.resume();
      return;
    }
    if (isAbsolute(name) || name.split('/').includes('..')) {
      throw new Error(`the archive leaves its folder: ${name}`);
    }
    const path = join(this.#target, name);
    const folder = kind === 'folder' ? path : dirname(path);
    if (!this.#folders.has(folder)) await this.#makeFolder(folder);
    if (kind === 'file') await this.#writeFile(path, entry);
    else entry.resume();
  }

  /** Rejects unless everything that was written is on disk. */
  async finish(): Promise<void> {
    await this.#flushes.done();
    if (this.#failed.aborted) return;
    for (const folder of this.#folders) await syncFolder(folder);
  }

  async #writeFile(path: string, entry: ReadEntry): Promise<void> {
    const archived = entry.mode ?? 0o600;
    const mode = this.#options.mode === undefined ? archived & 0o777 : this.#options.mode(archived, 'file');
    const file = await open(path, 'w', mode);
    try {
      for await (const chunk of entry) {
        await writeWhole(file, chunk);
        this.#failed.throwIfAborted();
      }
      await file.chmod(mode);
      const { owner } = this.#options;
      if (owner) await file.chown(owner.uid, owner.gid);
    } catch (error) {
      await file.close();
      throw error;
    }
    await this.#flushes.add(file);
  }

  async #makeFolder(folder: string): Promise<void> {
    const { mode, owner } = this.#options;
    const parent = dirname(folder);
    if (folder !== this.#target && !this.#folders.has(parent)) await this.#makeFolder(parent);
    await mkdir(folder, { recursive: true });
    const handle = await open(folder, 'r');
    try {
      await handle.chmod(mode === undefined ? 0o700 : mode(0o755, 'folder'));
      if (owner) await handle.chown(owner.uid, owner.gid);
    } finally {
      await handle.close();
    }
    this.#folders.add(folder);
  }
}

function kindOf({ type }: ReadEntry): 'file' | 'folder' | null {
  switch (type) {
    case 'File':
    case 'OldFile':
      return 'file';
    case 'Directory':
      return 'folder';
    default:
      return null;
  }
}

/**
 * Flushes written files to disk a few at a time, in parallel with the reading: one by one, the waits add up.
 */
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
