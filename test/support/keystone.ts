/**
 * A real Keystone, Debian's, on SQLite in a folder of its own, and what a cloud's administrator does
 * with it, over its own REST API.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { freePort } from './ports.ts';
import { pythonPath, runPython, startPython } from './python.ts';
import { until } from './stack.ts';

const ADMIN_PASSWORD = 'the-administrators-own-secret';

export interface SignIn {
  readonly user: string;
  readonly password: string;
  readonly project: string;
}

export const ADMIN: SignIn = { user: 'admin', password: ADMIN_PASSWORD, project: 'admin' };

export class Keystone {
  readonly #folder: string;
  readonly port: number;
  #server: ChildProcess | undefined;
  #adminToken = '';
  /** What the servers said. */
  #output = '';

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.port = port;
  }

  /** Makes its database and keys, and serves. */
  static async start(): Promise<Keystone> {
    const folder = await mkdtemp(join(tmpdir(), 'coffer-keystone-'));
    const keystone = new Keystone(folder, await freePort());
    for (const name of ['fernet', 'receipts', 'credential']) await mkdir(join(folder, name), { mode: 0o700 });
    await keystone.#configure('keystone.conf', 3600);
    const { username } = userInfo();
    const owner = ['--keystone-user', username, '--keystone-group', username];
    await keystone.#manage('db_sync');
    // Without it a reader that Keystone has left open refuses the next writer.
    const wal = 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("pragma journal_mode=wal")';
    await runPython(wal, { args: [join(folder, 'keystone.db')] });
    await keystone.#manage('fernet_setup', ...owner);
    await keystone.#manage('credential_setup', ...owner);
    const urls = ['admin', 'public', 'internal'].flatMap((kind) => [
      `--bootstrap-${kind}-url`,
      `${keystone.url}/`,
    ]);
    await keystone.#manage(
      'bootstrap',
      '--bootstrap-password',
      ADMIN_PASSWORD,
      '--bootstrap-region-id',
      'RegionOne',
      ...urls,
    );
    await keystone.serve();
    return keystone;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/v3`;
  }

  async serve(): Promise<void> {
    this.#server = await this.#listen('keystone.conf', this.port);
    this.#adminToken = (await this.token(ADMIN)).token;
  }

  /** As if its host had lost power. */
  async kill(): Promise<void> {
    await end(this.#server);
    this.#server = undefined;
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Makes new keys, and forgets those with which all tokens so far were made. */
  async replaceKeys(): Promise<void> {
    await this.kill();
    await rm(join(this.#folder, 'fernet'), { recursive: true });
    await mkdir(join(this.#folder, 'fernet'), { mode: 0o700 });
    const { username } = userInfo();
    await this.#manage('fernet_setup', '--keystone-user', username, '--keystone-group', username);
    await this.serve();
  }

  async token(who: SignIn): Promise<{ readonly token: string; readonly expires_at: string }> {
    return signIn(this.url, who);
  }

  /** A token that Keystone has made and that is no longer valid: another server with its keys made it for a second. */
  async expiredToken(who: SignIn): Promise<string> {
    await this.#configure('short.conf', 1);
    const port = await freePort();
    const server = await this.#listen('short.conf', port);
    const { token, expires_at } = await signIn(`http://127.0.0.1:${port}/v3`, who);
    await end(server);
    await until('the token has expired', async () => Date.now() > Date.parse(expires_at) + 1000);
    return token;
  }

  async revoke(token: string): Promise<void> {
    await this.#ask('DELETE', '/auth/tokens', undefined, { 'x-subject-token': token });
  }

  async createProject(name: string): Promise<string> {
    return (await this.#ask('POST', '/projects', { project: { name, domain_id: 'default' } })).project.id;
  }

  /** A user with one role in one project. */
  async createUser({ user: name, password, project }: SignIn, role: string): Promise<string> {
    const { user } = await this.#ask('POST', '/users', { user: { name, password, domain_id: 'default' } });
    const { projects } = await this.#ask('GET', `/projects?name=${project}`);
    await this.#ask('PUT', `/projects/${projects[0].id}/users/${user.id}/roles/${await this.#role(role)}`);
    return user.id;
  }

  /** Puts Coffer into the catalogue. */
  async register(url: string): Promise<void> {
    const { service } = await this.#ask('POST', '/services', {
      service: { type: 'database', name: 'coffer' },
    });
    const endpoint = { service_id: service.id, interface: 'public', region_id: 'RegionOne', url };
    await this.#ask('POST', '/endpoints', { endpoint });
  }

  async #role(name: string): Promise<string> {
    const { roles } = await this.#ask('GET', `/roles?name=${name}`);
    return roles[0]?.id ?? (await this.#ask('POST', '/roles', { role: { name } })).role.id;
  }

  async #ask(method: string, path: string, json?: unknown, headers: Readonly<Record<string, string>> = {}) {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: { 'x-auth-token': this.#adminToken, 'content-type': 'application/json', ...headers },
      ...(json !== undefined && { body: JSON.stringify(json) }),
    });
    const text = await response.text();
    if (!response.ok)
      throw new Error(
        `${method} ${path}: Keystone answered ${response.status}: ${text}\n${this.#output.slice(-3000)}`,
      );
    // biome-ignore lint/suspicious/noExplicitAny: a test reads what it needs
    return (text === '' ? {} : JSON.parse(text)) as any;
  }

  async #configure(name: string, expiration: number): Promise<void> {
    const path = (part: string) => join(this.#folder, part);
    const lines = [
      '[DEFAULT]',
      `log_file = ${path('keystone.log')}`,
      '[database]',
      `connection = sqlite:///${path('keystone.db')}`,
      '[identity]',
      'password_hash_rounds = 4',
      '[token]',
      'provider = fernet',
      `expiration = ${expiration}`,
      '[fernet_tokens]',
      `key_repository = ${path('fernet')}`,
      '[fernet_receipts]',
      `key_repository = ${path('receipts')}`,
      '[credential]',
      `key_repository = ${path('credential')}`,
      '[cache]',
      'enabled = false',
    ];
    await writeFile(path(name), lines.join('\n'));
  }

  async #manage(...args: readonly string[]): Promise<void> {
    const command = join(dirname(pythonPath()), 'keystone-manage');
    const child = spawn(command, ['--config-file', join(this.#folder, 'keystone.conf'), ...args], {
      stdio: 'ignore',
    });
    const code = await new Promise((done) => child.once('exit', done));
    if (code === 0) return;
    const log = await readFile(join(this.#folder, 'keystone.log'), 'utf8').catch(() => '');
    throw new Error(`keystone-manage ${args[0]} ended with ${code}:\n${log.slice(-2000)}`);
  }

  async #listen(config: string, port: number): Promise<ChildProcess> {
    const command = join(dirname(pythonPath()), 'keystone-wsgi-public');
    const server = startPython([command, '--host', '127.0.0.1', '--port', String(port)], {
      OS_KEYSTONE_CONFIG_FILES: join(this.#folder, config),
    });
    server.stderr?.on('data', (chunk: Buffer) => {
      this.#output += chunk.toString();
    });
    server.stdout?.resume();
    await until(
      'Keystone serves',
      async () => {
        if (server.exitCode !== null)
          throw new Error(`Keystone ended with ${server.exitCode}:\n${this.#output}`);
        return fetch(`http://127.0.0.1:${port}/v3`).then(
          (response) => response.ok,
          () => false,
        );
      },
      120_000,
    );
    return server;
  }
}

async function end(server: ChildProcess | undefined): Promise<void> {
  if (!server || server.exitCode !== null) return;
  const ended = new Promise((done) => server.once('exit', done));
  server.kill('SIGKILL');
  await ended;
}

async function signIn(url: string, { user, password, project }: SignIn) {
  const domain = { id: 'default' };
  const identity = { methods: ['password'], password: { user: { name: user, password, domain } } };
  const response = await fetch(`${url}/auth/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ auth: { identity, scope: { project: { name: project, domain } } } }),
  });
  if (!response.ok)
    throw new Error(`Keystone let ${user} not in: ${response.status} ${await response.text()}`);
  const { token } = (await response.json()) as { token: { expires_at: string } };
  return { token: response.headers.get('x-subject-token') ?? '', expires_at: token.expires_at };
}
