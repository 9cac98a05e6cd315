/**
 * The package as somebody installs it: packed, installed into an empty folder from the registry with what
 * package.json alone says, for this Node.js strictly; then every process and the command line run from there. Not
 * here: what these can do, which the suites of the clone show.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT, which } from '../support/docs.ts';
import { freePort } from '../support/ports.ts';
import { rabbitmqProgram, startRabbitmq } from '../support/rabbitmq.ts';
import { type PrivateRedis, redisProgram, startRedis } from '../support/redis.ts';
import { until } from '../support/stack.ts';

const npm = which('npm');
const has = { npm, RabbitMQ: rabbitmqProgram, Redis: redisProgram };
const lacks = Object.entries(has).flatMap(([name, found]) => (found ? [] : [name]));
const INSTALL_MS = 600_000;

let folder: string;
let redis: PrivateRedis;
let rabbitmq: Awaited<ReturnType<typeof startRabbitmq>>;
let env: NodeJS.ProcessEnv;
const running: Process[] = [];

/** One of the package's commands, as `npx` runs it. */
class Process {
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;
  output = '';

  constructor(name: string, settings: NodeJS.ProcessEnv) {
    this.#child = spawn(join(folder, 'node_modules/.bin', name), [], {
      cwd: folder,
      env: { ...env, ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.ended = new Promise((done) => this.#child.once('exit', done));
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
      });
  }

  async end(): Promise<number | null> {
    this.#child.kill('SIGTERM');
    return this.ended;
  }
}

function start(name: string, settings: NodeJS.ProcessEnv): Process {
  const process = new Process(name, settings);
  running.push(process);
  return process;
}

/** Runs `coffer …`; answers its exit code and what it said. */
async function coffer(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const run = promisify(execFile)(join(folder, 'node_modules/.bin/coffer'), args, { cwd: folder, env });
  return run.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
}

/** npm with nothing of what `npm test` sets for its own scripts. */
async function runNpm(args: readonly string[], cwd: string): Promise<string> {
  const own = Object.entries(process.env).filter(([name]) => !name.toLowerCase().startsWith('npm_'));
  const { stdout } = await promisify(execFile)(npm ?? '', args, { cwd, env: Object.fromEntries(own) });
  return stdout;
}

describe.skipIf(lacks.length > 0)(
  `the published package${lacks.length > 0 ? ` (skipped: no ${lacks.join(', ')} here)` : ''}`,
  () => {
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'coffer package-'));
      // The build that is there: other suites run from it at this moment.
      await runNpm(['pack', '--ignore-scripts', '--pack-destination', folder], ROOT);
      const [tarball = ''] = await readdir(folder);
      await writeFile(join(folder, 'package.json'), '{"private": true, "type": "module"}\n');
      await runNpm(
        ['install', '--engine-strict', '--prefer-offline', '--no-audit', '--no-fund', `./${tarball}`],
        folder,
      );
    }, INSTALL_MS);
    beforeAll(async () => {
      redis = await startRedis(['--appendonly', 'yes']);
      const port = await freePort();
      rabbitmq = await startRabbitmq(port, [`listeners.tcp.2 = 127.0.0.1:${port}`]);
      const guests = join(folder, 'guests');
      await mkdir(join(guests, 'simulated'), { recursive: true });
      const api_port = await freePort();
      env = {
        PATH: process.env['PATH'],
        HOME: folder,
        COFFER_AMQP_URL: `amqp://guest:guest@127.0.0.1:${port}`,
        COFFER_REDIS_URL: redis.url,
        COFFER_API_PORT: String(api_port),
        COFFER_GUESTS_DIR: guests,
        COFFER_GUEST_DIR: join(guests, 'simulated'),
        COFFER_CACHE_DIR: join(folder, 'cache'),
        COFFER_HEARTBEAT_MS: '200',
        COFFER_ENDPOINT: `http://127.0.0.1:${api_port}/v1.0`,
      };
    }, INSTALL_MS);
    afterAll(async () => {
      await Promise.all(running.map((process) => process.end()));
      await rabbitmq?.close();
      await redis?.close();
      await rm(folder, { recursive: true, force: true });
    });

    it('asks for no override, and its dependencies agree with one another', async () => {
      const manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as object;
      expect(manifest).not.toHaveProperty('overrides');
      // `--engine-strict` made the installation fail otherwise.
      expect(JSON.parse(await runNpm(['ls', '--all', '--json'], folder))).not.toHaveProperty('problems');
    });

    it('says what starts the api where nobody answers, and nothing that the package lacks', async () => {
      const { code, stderr } = await coffer('cluster-list');
      expect(code).toBe(5);
      expect(stderr).toContain('npx coffer-api');
      expect(stderr).not.toMatch(/npm start|npm run/);
      const doctor = await coffer('doctor');
      expect(doctor.stdout + doctor.stderr).toContain('npx coffer-api');
      expect(doctor.stdout + doctor.stderr).not.toMatch(/npm start|npm run/);
    });

    it.each(['coffer-api', 'coffer-taskmanager', 'coffer-guestagent'])(
      'has a process %s that lists wrong settings and exits 2',
      async (name) => {
        const process = new Process(name, { COFFER_AMQP_URL: '' });
        expect(await process.ended).toBe(2);
        expect(process.output).toContain('COFFER_AMQP_URL');
        expect(process.output).not.toMatch(/npm start|npm run/);
      },
    );

    it('upgrades a cluster with its own processes alone', { timeout: INSTALL_MS }, async () => {
      const api = start('coffer-api', {});
      start('coffer-taskmanager', {});
      start('coffer-guestagent', {});
      await until('the api answers', async () => (await coffer('cluster-list')).code === 0, 120_000);
      const created = await coffer(
        ...['cluster-create', 'shop', 'simulated', '1.0', '--instances', '2', '--wait'],
      );
      expect(created, created.stderr + running.map(({ output }) => output).join('\n')).toMatchObject({
        code: 0,
      });
      const upgraded = await coffer('cluster-upgrade', 'shop', '1.1', '--wait');
      expect(upgraded, upgraded.stderr).toMatchObject({ code: 0 });
      const { stdout } = await coffer('cluster-show', 'shop', '--json');
      const { cluster } = JSON.parse(stdout) as { cluster: { datastore: { version: string } } };
      expect(cluster.datastore.version).toBe('1.1');

      const page = await fetch(`${new URL(env['COFFER_ENDPOINT'] ?? '').origin}/dashboard/`);
      expect(page.status).toBe(200);
      expect(await page.text()).toContain('<script');
      expect(await api.end()).toBe(0);
    });

    it('has the client that programs import', async () => {
      await writeFile(
        join(folder, 'program.js'),
        `import { createClient } from 'coffer';
         console.log(typeof createClient({ endpoint: 'http://127.0.0.1:1/v1.0/demo' }).clusters.upgrade);`,
      );
      const { stdout } = await promisify(execFile)(process.execPath, ['program.js'], { cwd: folder });
      expect(stdout).toBe('function\n');
    });
  },
);
