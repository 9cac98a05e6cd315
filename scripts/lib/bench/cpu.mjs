// @ts-check
import { readFileSync } from 'node:fs';
import { figure } from './figures.mjs';

/** The unit of the kernel's count, USER_HZ: the same on all systems that Node runs on. */
const TICK_MS = 10;

/**
 * Measures from now on how much of a core each process of the stack uses. Other load on the machine hardly
 * changes this figure, and it is the figure for calculating the needs of larger machines.
 * @param {Record<string, number>} pids by name of the process
 * @returns {(what: string, count: number) => import('./figures.mjs').Figure[]} for each one of `count`
 */
export function watchCpu(pids) {
  const before = Object.entries(pids).map(([name, pid]) => ({ name, pid, ms: cpuMs(pid) }));
  return (what, count) => {
    /** @type {Map<string, number>} */
    const spent = new Map();
    for (const { name, pid, ms } of before) {
      const kind = name.startsWith('guest-') ? 'guest agents' : name;
      spent.set(kind, (spent.get(kind) ?? 0) + cpuMs(pid) - ms);
    }
    return [...spent].map(([kind, ms]) => figure(`CPU of ${kind} per ${what}`, 'ms', ms / count, {}));
  };
}

/**
 * The time of all threads, in user and in kernel mode.
 * @param {number} pid
 */
function cpuMs(pid) {
  // The name of the program, in brackets, may contain spaces.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
