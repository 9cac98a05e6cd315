/** Drives `osc.py`: many commands of the OpenStack command line in one process. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { startPython } from '../support/python.ts';

interface Said {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** The options by which a command finds the api without a Keystone. */
export function openTo(endpoint: string): readonly string[] {
  return ['--os-auth-type', 'none', '--os-endpoint', endpoint];
}

export class OpenStack {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;
  readonly #options: readonly string[];

  constructor(endpoint: string) {
    this.#options = openTo(endpoint);
    this.#child = startPython([join(import.meta.dirname, 'osc.py')]);
    this.#child.stderr?.resume();
    if (!this.#child.stdout) throw new Error('no standard output to read answers from');
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /** Runs `openstack …`: words with blanks in them in quotes. One at a time. */
  async run(command: string): Promise<Said> {
    const words = (command.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''));
    this.#child.stdin?.write(`${JSON.stringify([...this.#options, ...words])}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`the command line ended at: ${command}`);
    return JSON.parse(value) as Said;
  }

  /** The same, of a command that has to succeed and says what it has to say in JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: a test looks at any answer
  async json(command: string): Promise<any> {
    const said = await this.run(`${command} -f json`);
    if (said.code !== 0) throw new Error(`${command} ended with ${said.code}: ${said.err}`);
    return JSON.parse(said.out);
  }

  async close(): Promise<void> {
    this.#lines.close();
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}
