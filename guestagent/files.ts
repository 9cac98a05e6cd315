import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isErrno } from '../src/files.ts';

/** The owner that a file is to have. */
interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Replaces a file so that a crash at any moment leaves the old content or the new, complete and on disk. */
export async function writeFileAtomic(
  path: string,
  content: string | Buffer,
  options: { readonly mode: number; readonly owner?: Owner | null },
): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', options.mode);
  try {
    await file.writeFile(content);
    await file.chmod(options.mode);
    if (options.owner) await file.chown(options.owner.uid, options.owner.gid);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/**
 * The system may write less than it was given, e.g. on a disk that fills up: then the rest is written next,
 * or that write fails.
 */
export async function writeWhole(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

export async function removeIfThere(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (!isErrno(error, 'ENOENT')) throw error;
  });
}

export class LateError extends Error {
  override readonly name = 'LateError';
}

/** Rejects after a time with a LateError; the work itself continues. */
export async function within<T>(ms: number, work: Promise<T>, otherwise: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new LateError(otherwise)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
