/**
 * Programs of OpenStack, as they come from Debian, for the suites that hold Coffer against them. Where
 * they could not be had the set-up says why, and these suites are skipped with that reason in their title.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe } from 'vitest';

const missing = process.env['COFFER_TEST_PYTHON_MISSING'];

interface Output {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly args?: readonly string[];
  /** On top of an environment that holds no setting of OpenStack or of a Python of the user's own. */
  readonly env?: NodeJS.ProcessEnv;
  /** What it reads from its standard input. */
  readonly input?: string;
}

/** A suite that needs Debian's Python and OpenStack. */
export function describeInterop(title: string, suite: () => void): void {
  describe.skipIf(missing !== undefined)(missing ? `${title} (skipped: ${missing})` : title, suite);
}

/** Debian's python. Throws outside of `npm test`: nobody has looked for it then. */
export function pythonPath(): string {
  const path = process.env['COFFER_TEST_PYTHON'];
  if (!path) throw new Error('COFFER_TEST_PYTHON is not set: run the tests with npm test, which finds it');
  return path;
}

/** Runs a program in Python to its end, given as its text. */
export async function runPython(program: string, options: RunOptions = {}): Promise<Output> {
  return toEnd(startPython(['-c', program, ...(options.args ?? [])], options.env), options.input ?? '');
}

/** Starts Python with these arguments and leaves it running: for peers that stay. The caller ends it. */
export function startPython(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(pythonPath(), args, { env: { ...pythonEnvironment(), ...env } });
}

/**
 * Runs the `openstack` command. Each start costs it a second or two of CPU: many commands are better run
 * in one process, by `runPython` and `openstackclient.shell`.
 */
export async function openstack(args: readonly string[], options: RunOptions = {}): Promise<Output> {
  const command = join(dirname(pythonPath()), 'openstack');
  return toEnd(startPython([command, ...args], options.env), options.input ?? '');
}

async function toEnd(child: ChildProcess, input: string): Promise<Output> {
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdin?.on('error', () => undefined); // it need not read
  child.stdin?.end(input);
  const code = await new Promise<number | null>((done, fail) => {
    child.once('error', fail);
    child.once('close', done);
  });
  return { code, stdout, stderr };
}

/** clouds.yaml of whoever runs the tests, proxies and a Python of their own must not change a test. */
function pythonEnvironment(): NodeJS.ProcessEnv {
  const isTheirs = (name: string) => /^(OS_|PYTHON|VIRTUAL_ENV$|PYENV_|.*_proxy$|XDG_)/i.test(name);
  const kept = Object.entries(process.env).filter(([name]) => !isTheirs(name));
  return { ...Object.fromEntries(kept), HOME: join(tmpdir(), 'coffer-no-home'), LC_ALL: 'C.UTF-8' };
}
