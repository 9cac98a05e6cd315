import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { isErrno } from '../../../src/files.ts';

/** What the operating system knows about the processes of a host. */
const run = promisify(execFile);

/** False if the process no longer exists. */
export function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (isErrno(error, 'ESRCH')) return false;
    throw error;
  }
}

/**
 * A process's working directory; null if there is no such process. For each of PostgreSQL's processes that is
 * the data directory, however the process was started.
 */
export async function folderOf(pid: number): Promise<string | null> {
  if (process.platform !== 'linux') return (await lsofFolders('-p', String(pid))).get(pid) ?? null;
  try {
    return await readlink(`/proc/${pid}/cwd`);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    // Some programs hide theirs even from their own user; PostgreSQL does not.
    if (isErrno(error, 'EACCES', 'EPERM')) return '';
    throw error;
  }
}

export async function processesIn(folder: string): Promise<readonly number[]> {
  if (process.platform !== 'linux') {
    const folders = [...(await lsofFolders())];
    return folders.filter(([, each]) => each === folder).map(([pid]) => pid);
  }
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const folders = await Promise.all(pids.map(folderOf));
  return pids.filter((_, index) => folders[index] === folder);
}

async function lsofFolders(...which: readonly string[]): Promise<ReadonlyMap<number, string>> {
  const { stdout } = await run('lsof', ['-a', ...which, '-d', 'cwd', '-F', 'pn']).catch(
    // `lsof` ends with code 1 when there is nothing to list, but still lists what it can.
    (error: unknown) => error as { readonly stdout?: string },
  );
  const entries = [...(stdout ?? '').matchAll(/^p(\d+)\n(?:f.*\n)?n(.*)$/gm)];
  return new Map(entries.map(([, pid, folder = '']) => [Number(pid), folder]));
}

/** The arguments that a process was started with; null if there is no such process. */
export function argumentsOf(pid: number): Promise<readonly string[] | null> {
  return process.platform === 'linux' ? linuxArguments(pid) : psArguments(pid);
}

async function linuxArguments(pid: number): Promise<readonly string[] | null> {
  try {
    // A dead process that its parent has not collected has no arguments.
    const args = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    return args === '' ? null : args.split('\0');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
}

/** On macOS paths with spaces can't be told apart here, so they are only compared with what we expect. */
async function psArguments(pid: number): Promise<readonly string[] | null> {
  try {
    const { stdout } = await run('ps', ['-ww', '-o', 'command=', '-p', String(pid)]);
    const match = /^(.*?) (-D) (.*?) -c config_file=/.exec(stdout.trim());
    return match === null ? null : match.slice(1);
  } catch {
    return null;
  }
}
