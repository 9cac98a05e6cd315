/**
 * The stack as a user runs it: `npm start` in a folder of its own, seen from outside only.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

export interface StackFile {
  readonly api_url: string;
  readonly amqp_url: string;
  readonly redis_url: string;
  readonly metrics: Readonly<Record<string, string>>;
  readonly pids: Readonly<Record<string, number>>;
}

export class RunningStack {
  readonly home: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #output = '';

  private constructor(home: string, child: ChildProcess) {
    this.home = home;
    this.#child = child;
    this.#ended = new Promise((done) => child.once('exit', done));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
    }
  }

  /** Starts it and waits for its `ready` line. Rejects with all that it said if it ends before. */
  static async start(home: string, env: NodeJS.ProcessEnv = {}): Promise<RunningStack> {
    const child = spawn(process.execPath, ['scripts/start.mjs'], {
      cwd: ROOT,
      env: { ...environment(home), ...env },
    });
    const stack = new RunningStack(home, child);
    const isReady = new Promise<boolean>((done) => {
      const look = () => {
        if (/^ready\b.*https?:\/\//m.test(stack.#output)) done(true);
      };
      child.stdout?.on('data', look);
      void stack.#ended.then(() => done(false));
    });
    if (!(await isReady)) throw new Error(`the stack did not start:\n${stack.#output}`);
    return stack;
  }

  get output(): string {
    return this.#output;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async file(): Promise<StackFile> {
    return JSON.parse(await readFile(join(this.home, 'stack.json'), 'utf8')) as StackFile;
  }

  /** Stops it as Ctrl-C does; answers its exit code. */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null) this.#child.kill('SIGTERM');
    return this.#ended;
  }

  async killHard(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** A guest agent that an operator starts, with the environment that it is given. */
export class RunningAgent {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #output = '';

  constructor(env: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, ['dist/guestagent/main.js'], {
      cwd: ROOT,
      env: { ...environment(''), ...env },
    });
    this.#ended = new Promise((done) => this.#child.once('exit', done));
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
    }
  }

  /** Its log. */
  get output(): string {
    return this.#output;
  }

  /** Resolves with its exit code when it has ended, by itself or not. */
  get ended(): Promise<number | null> {
    return this.#ended;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.#child.kill(signal);
    await this.#ended;
  }
}

/**
 * A folder for the data of one stack, which the database servers' user can walk through. The name has a blank,
 * as that of a clone may.
 */
export async function newHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'coffer test-'));
  await chmod(home, 0o755);
  return home;
}

export async function removeHome(home: string): Promise<void> {
  await rm(home, { recursive: true, force: true });
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one of our commands to its end. */
export async function run(args: readonly string[], home: string): Promise<Ended> {
  return runWith(args, environment(home));
}

/** The same, in an environment of its own. */
export async function runWith(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> {
  const child = spawn(process.execPath, args, { cwd: ROOT, env: { PATH: process.env['PATH'], ...env } });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, stdout, stderr };
}

/** Own RabbitMQ, own Redis, any free port: nothing of the machine or of another test. */
function environment(home: string): NodeJS.ProcessEnv {
  const { COFFER_AMQP_URL: _amqp, COFFER_REDIS_URL: _redis, ...rest } = process.env;
  return { ...rest, COFFER_HOME: home, COFFER_API_PORT: '0' };
}

export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  timeout_ms = 60_000,
): Promise<T> {
  const end = Date.now() + timeout_ms;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`still not true after ${timeout_ms} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
