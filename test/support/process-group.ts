import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** The group of a process: what ends an agent may go to its whole group, e.g. Ctrl-C in a terminal. */
export async function groupOf(pid: number): Promise<number> {
  if (process.platform !== 'linux') {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'pgid=', '-p', `${pid}`]);
    return Number(stdout);
  }
  // The name of the program, in brackets, may hold blanks; state, parent and group follow.
  const status = await readFile(`/proc/${pid}/stat`, 'utf8');
  return Number(status.slice(status.lastIndexOf(')') + 2).split(' ')[2]);
}
