import { type ChildProcess, spawn } from 'node:child_process';
import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './stack.ts';

interface Spec {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
}

// Plain JavaScript, outside of what the compiler sees here.
const scripts = '../../scripts/lib';
const { findRabbitmq, rabbitmqSpecs } = (await import(`${scripts}/rabbitmq.mjs`)) as {
  findRabbitmq(): object | undefined;
  rabbitmqSpecs(binaries: object, folder: string, ports: Record<string, number>): Spec[];
};
const { choosePort } = (await import(`${scripts}/ports.mjs`)) as { choosePort(): Promise<number> };

export const rabbitmqProgram = findRabbitmq();

/** A RabbitMQ for one test; `settings` are lines for its rabbitmq.conf, and `port` one that they open. */
export async function startRabbitmq(port: number, settings: readonly string[]) {
  if (!rabbitmqProgram) throw new Error('there is no RabbitMQ on this machine');
  const folder = await mkdtemp(join(tmpdir(), 'coffer-rabbitmq-'));
  const ports = {
    rabbitmq: await choosePort(),
    'rabbitmq-distribution': await choosePort(),
    epmd: await choosePort(),
  };
  const specs = rabbitmqSpecs(rabbitmqProgram, folder, ports);
  await appendFile(join(folder, 'rabbitmq.conf'), `${settings.join('\n')}\n`);
  const running = specs.map(({ command, args, env, cwd }) =>
    spawn(command, args, { env, cwd, detached: true, stdio: 'ignore' }),
  );
  const close = async () => {
    await Promise.all(running.toReversed().map(end));
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    await until('RabbitMQ listens', async () => running.every(isRunning) && (await listens(port)), 180_000);
  } catch (error) {
    await close();
    throw error;
  }
  return { close, plainPort: ports.rabbitmq };
}

function isRunning({ exitCode }: ChildProcess): boolean {
  if (exitCode === null) return true;
  throw new Error(`RabbitMQ ended with ${exitCode}`);
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** With the helpers that it has started in its group. */
async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((done) => child.once('exit', done));
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  process.kill(-child.pid, 'SIGKILL');
  await ended;
}
