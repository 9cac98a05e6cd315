/**
 * The death of an agent at a chosen point of its work: before its n-th effect on the world. An effect is a file
 * that is put in place or removed, a process that is started or gets a signal, or a new kind of message to a
 * server. From then on nothing that the work still tries has an effect: its writes go nowhere, and its reads never
 * come back. What it has done before stays, and so do the processes that it has started.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import childProcess from 'node:child_process';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { Socket } from 'node:net';

interface Life {
  /** Effects that are left before the end. */
  left: number;
  isOver: boolean;
  readonly end: () => void;
  /** Messages that were counted: a server that is polled gets the same one many times. */
  readonly said: Set<string>;
  /** What is written without a pause is one message. */
  isSpeaking: boolean;
}

const lives = new AsyncLocalStorage<Life>();
const EFFECTS = ['rename', 'unlink', 'rm', 'writeFile'] as const;

/**
 * Does the work, or the part of it that comes before effect number `effects`. Resolves with true if the work was cut
 * off there, and with false if it was done with fewer effects.
 */
export async function cutOff(work: () => Promise<unknown>, effects: number): Promise<boolean> {
  install();
  let end = (): void => undefined;
  const ended = new Promise<boolean>((resolve) => {
    end = () => resolve(true);
  });
  const life = { left: effects, isOver: false, end, said: new Set<string>(), isSpeaking: false };
  return await Promise.race([ended, lives.run(life, work).then(() => false)]);
}

/** True if the effect may happen. */
function counts(life: Life): boolean {
  if (!life.isOver && life.left === 0) {
    life.isOver = true;
    life.end();
  }
  life.left -= 1;
  return !life.isOver;
}

let isInstalled = false;
function install(): void {
  if (isInstalled) return;
  isInstalled = true;
  installFiles();
  installProcesses();
  installSockets();
  // Makes named imports of these modules see the change.
  syncBuiltinESMExports();
}

function installFiles(): void {
  const files = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const [name, original] of Object.entries(files)) {
    if (typeof original !== 'function') continue;
    const isEffect = EFFECTS.some((each) => each === name);
    files[name] = (...args) => {
      const life = lives.getStore();
      const happens = life === undefined || (isEffect ? counts(life) : !life.isOver);
      return happens ? original.apply(fs, args) : new Promise(() => undefined);
    };
  }
}

function installProcesses(): void {
  const { spawn } = childProcess;
  const { kill } = process;
  const mayAct = () => {
    const life = lives.getStore();
    if (life !== undefined && !counts(life)) throw new Error('the agent is dead');
  };
  childProcess.spawn = ((...args: Parameters<typeof spawn>) => {
    mayAct();
    return spawn(...args);
  }) as typeof spawn;
  process.kill = (pid, signal) => {
    if (signal !== 0) mayAct();
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
