import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { sleep } from '../../../src/service.ts';
import type { Hook } from './hooks-file.ts';

/**
 * Runs an operator's command in a process group of its own, with exactly the environment given; its output is
 * kept in memory up to a limit. A run that takes too long or is cancelled is ended, together with everything
 * that it has started.
 */
interface HookCall {
  readonly hook: Hook;
  readonly env: Readonly<Record<string, string>>;
  /** Identifies the processes of the run, even after the agent's death; null if its group is enough. */
  readonly run: string | null;
  readonly dir: string;
  /** Cancels the run, which then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** The user that the command runs as; null for the agent's own. */
  readonly account?: { readonly uid: number; readonly gid: number } | null;
  /** Asked when the time is over: true if the processes must not be ended. */
  readonly isDone?: () => Promise<boolean>;
}

/** How a run has ended. */
export type HookEnd =
  | { readonly kind: 'exited'; readonly code: number; readonly stdout: string; readonly tail: string }
  | { readonly kind: 'killed'; readonly by: NodeJS.Signals; readonly tail: string }
  | { readonly kind: 'timed out'; readonly after_ms: number; readonly tail: string }
  | { readonly kind: 'not started'; readonly reason: string };

/** The variable in the environment of a run's processes that tells which run they belong to. */
const RUN_VARIABLE = 'COFFER_HOOK_RUN';

/**
 * How much of the output is kept: the beginning of the standard output, and for errors the end of both
 * streams.
 */
const KEPT_BYTES = 64 * 1024;
/**
 * Output may still arrive after the process has ended; a process that it left running may hold the pipe for
 * ever.
 */
const DRAIN_MS = 200;
/** For a clean end after SIGTERM, before SIGKILL. */
const GRACE_MS = 10_000;
const POLL_MS = 20;

const INHERITED = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'USER'];

/** All that commands get of the agent's own environment, which holds the password of RabbitMQ. */
export function inheritedEnvironment(): Readonly<Record<string, string>> {
  const { env } = process;
  return Object.fromEntries(
    INHERITED.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])),
  );
}

/** Rejects only with the signal's reason. */
export async function runHook(call: HookCall): Promise<HookEnd> {
  const { hook, env, dir, run, signal, account } = call;
  signal.throwIfAborted();
  const [program = '', ...args] = hook.command;
  const child = spawn(program, args, {
    cwd: dir,
    env: { ...env, ...(run !== null && { [RUN_VARIABLE]: run }) },
    ...(account && { uid: account.uid, gid: account.gid }),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = new Output(child.stdout, child.stderr);
  const over = endOf(child, output);
  const first = await unlessCutOff(over, signal, hook.timeout_ms);
  if (first !== 'cut off') return first;
  if ((await call.isDone?.()) !== true) {
    await endRun(run, child.pid);
    await over;
  }
  signal.throwIfAborted();
  return { kind: 'timed out', after_ms: hook.timeout_ms, tail: output.tail };
}

/**
 * Removes its listener as soon as it can: a `health` hook runs every few seconds, for as long as the agent
 * lives.
 */
function unlessCutOff(
  over: Promise<HookEnd>,
  signal: AbortSignal,
  timeout_ms: number,
): Promise<HookEnd | 'cut off'> {
  return new Promise((resolve) => {
    const settle = (first: HookEnd | 'cut off') => {
      clearTimeout(timer);
      signal.removeEventListener('abort', cutOff);
      resolve(first);
    };
    const cutOff = () => settle('cut off');
    const timer = setTimeout(cutOff, timeout_ms);
    signal.addEventListener('abort', cutOff);
    void over.then(settle);
  });
}

/** Waits for the end of the process, not of its pipes: a server that it leaves behind may hold the pipes. */
function endOf(child: ChildProcess, output: Output): Promise<HookEnd> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ kind: 'not started', reason: error.message }));
    child.once('exit', (code, by) => {
      void Promise.race([output.drained, sleep(DRAIN_MS)]).then(() => {
        const { stdout, tail } = output;
        resolve(
          code === null
            ? { kind: 'killed', by: by ?? 'SIGKILL', tail }
            : { kind: 'exited', code, stdout, tail },
        );
      });
    });
  });
}

/** The output of a run. All of it is read, even beyond what is kept: a full pipe would block the run. */
class Output {
  readonly drained: Promise<unknown>;
  #stdout = '';
  #tail = '';

  constructor(stdout: Readable, stderr: Readable) {
    const ends = [stdout, stderr].map((stream) => {
      stream.setEncoding('utf8');
      stream.on('error', () => undefined);
      stream.on('data', (text: string) => {
        if (stream === stdout) this.#stdout = (this.#stdout + text).slice(0, KEPT_BYTES);
        this.#tail = (this.#tail + text).slice(-KEPT_BYTES);
      });
      return new Promise((resolve) => stream.once('close', resolve));
    });
    this.drained = Promise.all(ends);
  }

  get stdout(): string {
    return this.#stdout;
  }

  get tail(): string {
    return this.#tail;
  }
}

/**
 * Ends all processes of a run: its process group, and on Linux, where the system shows it, every process that
 * has inherited its environment. Resolves when none is left, also for a run of an agent that was killed.
 * Rejects if a process can't be ended.
 */
export async function endRun(run: string | null, pid?: number): Promise<void> {
  for (const name of ['SIGTERM', 'SIGKILL'] as const) {
    const told = new Set<number>();
    for (const deadline = Date.now() + GRACE_MS; Date.now() < deadline; await sleep(POLL_MS)) {
      const left = await processesOf(run, pid);
      if (left.length === 0) return;
      for (const target of left.filter((one) => !told.has(one))) signalTo(target, name);
      for (const target of left) told.add(target);
    }
  }
  throw new Error(`a hook can't be ended: processes ${(await processesOf(run, pid)).join(', ')}`);
}

/** Ids as `kill` takes them: a negative one is a process group. */
async function processesOf(run: string | null, pid: number | undefined): Promise<readonly number[]> {
  if (process.platform !== 'linux') return pid !== undefined && signalTo(-pid, 0) ? [-pid] : [];
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const belongs = await Promise.all(names.map((name) => belongsTo(name, run, pid)));
  return names.filter((_, index) => belongs[index]).map(Number);
}

/** Other users' processes can't be read, and do not belong to the run. */
async function belongsTo(name: string, run: string | null, group: number | undefined): Promise<boolean> {
  const read = (file: string) => readFile(`/proc/${name}/${file}`, 'utf8').catch(() => '');
  const environment = (await read('environ')).split('\0');
  if (run !== null && environment.includes(`${RUN_VARIABLE}=${run}`)) return true;
  if (group === undefined) return false;
  // The fields after the name in parentheses: state, parent, group. A dead process that its parent has not
  // collected counts as gone.
  const stat = await read('stat');
  const [state, , pgrp] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(pgrp) === group && state !== 'Z' && state !== 'X';
}

/** False if there is no such process, or if the process is not ours. */
function signalTo(target: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(target, name);
  } catch {
    return false;
  }
}
