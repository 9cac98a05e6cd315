import { access, readFile } from 'node:fs/promises';

/** Null if there is no such file. Throws every other error. */
export async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  }
}

/**
 * The content of a JSON file; null if there is no such file. The content is not checked: the caller must know
 * its type.
 */
export async function readJsonIfThere<T>(path: string): Promise<T | null> {
  const text = await readIfThere(path);
  return text === null ? null : (JSON.parse(text) as T);
}

export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return (
    error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code)
  );
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
