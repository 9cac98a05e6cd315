/**
 * The agent at a chosen point of its work: before its n-th effect on the world, where the agent dies (`cutOff`) or is
 * told to stop (`stopAt`), and inside an order without an end (`watch`).
 *
 * An effect is
 *
 * - a file that is put in place, written or removed (`EFFECTS` of `node:fs/promises`),
 * - a process that is started (`spawn`, `exec`, `execFile`, `fork`), or that gets a signal (`process.kill`, `kill` of a
 *   child),
 * - a new kind of message to a server, over a socket.
 *
 * Not seen: the functions of `node:fs` that are synchronous or take a callback, what is written through an open file,
 * processes that are started synchronously, and messages by UDP. A driver uses what is seen.
 *
 * After its death nothing that the work still tries has an effect: its writes go nowhere, and its reads never come back.
 * What it has done before stays, and so do the processes that it has started.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import childProcess, { type ChildProcess } from 'node:child_process';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { Socket } from 'node:net';

interface Life {
  /** Effects that are left before `reach`. */
  left: number;
  /** Called before the effect in question. */
  readonly reach: () => void;
  isOver: boolean;
  /** Messages that were counted: a server that is polled gets the same one many times. */
  readonly said: Set<string>;
  /** What is written without a pause is one message. */
  isSpeaking: boolean;
  readonly processes: ChildProcess[];
  /** Null where time passes as it does. */
  clock: (() => number) | null;
}

const lives = new AsyncLocalStorage<Life>();
const EFFECTS = [
  ...['appendFile', 'copyFile', 'cp', 'link', 'mkdir', 'rename', 'rm', 'rmdir', 'symlink', 'truncate'],
  ...['unlink', 'writeFile'],
];

function newLife(left: number, reach: () => void): Life {
  install();
  const said = new Set<string>();
  return { left, reach, isOver: false, said, isSpeaking: false, processes: [], clock: null };
}

/**
 * Does the work, or the part of it that comes before effect number `effects`. Resolves with true if the work was cut
 * off there, and with false if it was done with fewer effects.
 */
export async function cutOff(work: () => Promise<unknown>, effects: number): Promise<boolean> {
  let end = (): void => undefined;
  const ended = new Promise<boolean>((resolve) => {
    end = () => resolve(true);
  });
  const life = newLife(effects, () => {
    life.isOver = true;
    end();
  });
  return await Promise.race([ended, lives.run(life, async () => work()).then(() => false)]);
}

/**
 * Does the work, and calls `stop` before effect number `effects`, which happens all the same. Resolves when both have
 * ended: with the processes that the work has started, or with null if the work was done with fewer effects.
 */
export async function stopAt(
  work: () => Promise<unknown>,
  effects: number,
  stop: () => Promise<void>,
): Promise<readonly ChildProcess[] | null> {
  const stops: Promise<void>[] = [];
  const life = newLife(effects, () => {
    stops.push(lives.exit(stop));
  });
  try {
    await lives.run(life, work);
  } catch (error) {
    if (stops.length === 0) throw error;
  }
  await Promise.all(stops);
  return stops.length === 0 ? null : life.processes;
}

/** Work for which the time by `Date.now` stands still until the test lets it pass. */
export interface Watched {
  readonly done: Promise<unknown>;
  readonly processes: readonly ChildProcess[];
  /** A day passes, and from then on time passes as it does. */
  passDay(): void;
}

const DAY_MS = 86_400_000;

export function watch(work: () => Promise<unknown>): Watched {
  const life = newLife(Number.POSITIVE_INFINITY, () => undefined);
  const began = Date.now();
  life.clock = () => began;
  const done = lives.run(life, work);
  done.catch(() => undefined);
  return {
    ...{ done, processes: life.processes },
    passDay: () => {
      life.clock = () => realNow() + DAY_MS;
    },
  };
}

/** True if the effect may happen. */
function counts(life: Life): boolean {
  if (!life.isOver && life.left === 0) life.reach();
  life.left -= 1;
  return !life.isOver;
}

const realNow = Date.now;

let isInstalled = false;
function install(): void {
  if (isInstalled) return;
  isInstalled = true;
  installFiles();
  installProcesses();
  installSockets();
  Date.now = () => lives.getStore()?.clock?.() ?? realNow();
  // Makes named imports of these modules see the change.
  syncBuiltinESMExports();
}

function installFiles(): void {
  const files = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const [name, original] of Object.entries(files)) {
    if (typeof original !== 'function') continue;
    const isEffect = EFFECTS.includes(name);
    files[name] = (...args) => {
      const life = lives.getStore();
      const happens = life === undefined || (isEffect ? counts(life) : !life.isOver);
      return happens ? original.apply(fs, args) : new Promise(() => undefined);
    };
  }
}

function installProcesses(): void {
  // Every way to start a process without blocking ends here, also one that was imported or promisified before.
  const child = childProcess.ChildProcess.prototype as ChildProcess & { spawn(options: object): unknown };
  const { spawn, kill: killChild } = child;
  const { kill } = process;
  const mayAct = () => {
    const life = lives.getStore();
    return life === undefined || counts(life);
  };
  child.spawn = function (this: ChildProcess, options) {
    if (!mayAct()) throw new Error('the agent is dead');
    lives.getStore()?.processes.push(this);
    return spawn.call(this, options);
  };
  child.kill = function (this: ChildProcess, signal) {
    return (signal === 0 || mayAct()) && killChild.call(this, signal);
  };
  process.kill = (pid, signal) => {
    if (signal !== 0 && !mayAct()) throw new Error('the agent is dead');
    return kill.call(process, pid, signal);
  };
}

function installSockets(): void {
  const { write } = Socket.prototype;
  Socket.prototype.write = function (this: Socket, ...args: [never]) {
    const life = lives.getStore();
    if (life === undefined) return write.apply(this, args);
    const message = kindOf(args[0]);
    const isNew = !life.isSpeaking && !life.said.has(message);
    life.said.add(message);
    life.isSpeaking = true;
    queueMicrotask(() => {
      life.isSpeaking = false;
    });
    const happens = isNew ? counts(life) : !life.isOver;
    return happens ? write.apply(this, args) : true;
  };
}

/** Statements differ by their text; the messages of a login differ each time, by a random number. */
function kindOf(chunk: Buffer | string): string {
  const bytes = Buffer.from(chunk);
  return bytes[0] === 0x51 ? bytes.toString('latin1') : `${bytes[0] ?? 0} ${bytes.length}`;
}
