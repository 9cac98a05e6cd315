import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { until } from './stack.ts';

// Plain JavaScript, outside of what the compiler sees here.
const scripts = '../../scripts/lib';
const { findRedis } = (await import(`${scripts}/redis.mjs`)) as { findRedis(): string | undefined };
const { choosePort } = (await import(`${scripts}/ports.mjs`)) as { choosePort(): Promise<number> };

export interface PrivateRedis {
  readonly url: string;
  /** Where its data lies. */
  readonly dir: string;
  /** Talks to it past everything that is tested. */
  readonly admin: Redis;
  close(): Promise<void>;
}

/** Undefined where there is no program to start, e.g. where Redis comes in a container. */
export const redisProgram = findRedis();

/** To look at a Redis past everything that is tested. Its connection ends for good when it breaks: a test never says anything twice. */
export function plainRedis(url: string): Redis {
  return new Redis(url, { retryStrategy: () => null });
}

/** The same for a queue of BullMQ. */
export function openQueue(name: string, url: string): Queue {
  return new Queue(name, { connection: { url, retryStrategy: () => null } });
}

/** A Redis for one test, that may be filled, locked or misused. */
export async function startRedis(settings: readonly string[] = []): Promise<PrivateRedis> {
  if (!redisProgram) throw new Error('there is no redis-server on this machine');
  const dir = await mkdtemp(join(tmpdir(), 'coffer-redis-'));
  const port = await choosePort();
  const usual = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', ''];
  const child = spawn(redisProgram, [...usual, '--maxmemory-policy', 'noeviction', ...settings], {
    stdio: 'ignore',
  });
  const at = settings.indexOf('--requirepass');
  const password = at < 0 ? undefined : settings[at + 1];
  const admin = new Redis({
    ...{ port, host: '127.0.0.1', ...(password && { password }) },
    // It may be asked before the server listens, and is not to say anything twice afterwards.
    ...{ autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0, retryStrategy: () => 50 },
  });
  admin.on('error', () => undefined);
  await until('Redis answers', () => admin.ping().catch(() => false as const));
  return {
    url: `redis://127.0.0.1:${port}`,
    dir,
    admin,
    async close() {
      admin.disconnect();
      await endOf(child);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function endOf(child: ChildProcess): Promise<void> {
  const ended = new Promise((done) => child.once('exit', done));
  if (child.exitCode !== null || !child.kill('SIGKILL')) return;
  await ended;
}
