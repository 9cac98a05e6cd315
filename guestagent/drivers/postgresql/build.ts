import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Client, escapeIdentifier, escapeLiteral } from 'pg';
import { textOf } from '../../../src/log.ts';
import { isScramVerifier, scramVerifier } from '../../../src/scram.ts';
import { sleep } from '../../../src/service.ts';
import { type DriverLog, type InstanceConfig, PermanentError } from '../../driver.ts';
import { removeIfThere, writeFileAtomic } from '../../files.ts';
import type { Account } from '../account.ts';
import { keepSharedSettings } from './auto-conf.ts';
import { copyFrom } from './basebackup.ts';
import type { Binaries } from './binaries.ts';
import { majorIn } from './control.ts';
import { majorOf } from './replication.ts';
import type { Server } from './server.ts';
import { derivePassword, type Places, REPLICATION_USER, SUPERUSER, writeSettings } from './settings.ts';
import { PATIENT, replicationLogin, superuserLogin, withClient } from './sql.ts';

/**
 * Creates an instance's data directory for the first time. Until the caller has recorded that it is complete,
 * the next start after a crash begins again from nothing: both functions remove what they find.
 */
interface BuildDeps {
  readonly config: InstanceConfig;
  readonly places: Places;
  readonly account: Account | null;
  readonly server: Server;
  readonly log: DriverLog;
  readonly abort: AbortSignal;
  /** Reports to `health` what the build is waiting for. */
  readonly progress: (message: string) => void;
}

const START_MS = 120_000;
const WAIT_FOR_PRIMARY_MS = 300_000;
const RETRY_MS = 200;

const run = promisify(execFile);

/** Leaves the server running, with its users and databases. */
export async function buildPrimary(deps: BuildDeps, binaries: Binaries): Promise<void> {
  const { config, places, account, server } = deps;
  checkNames(config);
  deps.progress('making the data directory');
  await emptyFolder(places.data, account);
  await mkdir(places.conf, { recursive: true });
  const pwfile = join(places.conf, 'initial_password');
  const password = derivePassword(config, SUPERUSER);
  await writeFileAtomic(pwfile, `${password}\n`, { mode: 0o600, owner: account });
  try {
    if (account !== null) await chown(places.conf, account.uid, account.gid);
    await run(
      join(binaries.bin, 'initdb'),
      [
        ...['-D', places.data, '-U', SUPERUSER, '--pwfile', pwfile, '--auth', 'scram-sha-256'],
        // The C locale sorts alike on every machine: a replica's indexes must agree with its own library.
        ...['--encoding', 'UTF8', '--no-locale', '--data-checksums', '--no-instructions'],
        // A promotion copies the last log segment while clients wait: with 4 MiB it takes half the time of
        // 16.
        ...['--wal-segsize', '4'],
      ],
      {
        cwd: '/',
        env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
        timeout: START_MS,
        ...(account && { uid: account.uid, gid: account.gid }),
      },
    );
  } catch (error) {
    throw new Error(`initdb failed: ${textOf(error)}`);
  } finally {
    await removeIfThere(pwfile);
  }
  await writeSettings(config, places, account, null);
  deps.progress('starting the server');
  await server.start(binaries, {}, START_MS, deps.abort);
  await withClient(superuserLogin(config), PATIENT, async (client) => {
    // Verifiers must not get into the log, not even in a statement that fails.
    await client.query("SET log_min_error_statement = 'panic'");
    // Keys of 256 bits need no stretching: with a single round a login takes no time.
    const own = await scramVerifier(password, { iterations: 1 });
    await client.query(`ALTER ROLE ${SUPERUSER} PASSWORD ${escapeLiteral(own)}`);
    const verifier = await scramVerifier(derivePassword(config, REPLICATION_USER), { iterations: 1 });
    await client.query(
      `CREATE ROLE ${REPLICATION_USER} LOGIN REPLICATION PASSWORD ${escapeLiteral(verifier)}`,
    );
    await createUsersAndDatabases(client, config);
  });
  for (const database of config.databases) {
    await withClient(
      superuserLogin(config),
      PATIENT,
      async (client) => {
        for (const user of usersOf(config, database).slice(1)) {
          await client.query(`GRANT ALL ON SCHEMA public TO ${escapeIdentifier(user)}`);
        }
      },
      database,
    );
  }
}

/** Leaves a data directory from which a standby of the primary can start. */
export async function buildReplica(deps: BuildDeps, version: string): Promise<void> {
  const { config, places, account } = deps;
  const primary = config.primary;
  if (primary === null) throw new PermanentError('a replica must be told where its primary is');
  const login = replicationLogin(config, primary);
  const where = `${primary.host}:${primary.port}`;
  const deadline = Date.now() + WAIT_FOR_PRIMARY_MS;
  for (;;) {
    await emptyFolder(places.data, account);
    try {
      deps.progress(`copying the data of the primary at ${where}`);
      await copyFrom(login, places.data, account, deps.abort);
      break;
    } catch (error) {
      if (error instanceof PermanentError) throw error;
      deps.abort.throwIfAborted();
      const message = `the primary at ${where} can't be copied yet: ${textOf(error)}`;
      if (Date.now() > deadline) throw new Error(message);
      deps.progress(message);
      deps.log.debug({ error: textOf(error), primary: where }, 'waiting for the primary');
      await sleep(RETRY_MS);
    }
  }
  const major = majorIn(places.data);
  if (major !== majorOf(version)) {
    throw new PermanentError(
      `the primary at ${where} is PostgreSQL ${major}, this replica is to be ${version}`,
    );
  }
  await keepSharedSettings(places, account);
  await writeFileAtomic(places.standbySignal, '', { mode: 0o600, owner: account });
}

async function emptyFolder(folder: string, account: Account | null): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  if (account !== null) await chown(folder, account.uid, account.gid);
}

async function createUsersAndDatabases(client: Client, config: InstanceConfig): Promise<void> {
  for (const user of config.users) {
    const password = escapeLiteral(user.verifier);
    await client.query(`CREATE ROLE ${escapeIdentifier(user.name)} LOGIN PASSWORD ${password}`);
  }
  for (const database of config.databases) {
    const name = escapeIdentifier(database);
    const [owner = SUPERUSER, ...others] = usersOf(config, database);
    await client.query(`CREATE DATABASE ${name} OWNER ${escapeIdentifier(owner)}`);
    await client.query(`REVOKE ALL ON DATABASE ${name} FROM PUBLIC`);
    for (const other of others)
      await client.query(`GRANT ALL ON DATABASE ${name} TO ${escapeIdentifier(other)}`);
  }
}

function usersOf(config: InstanceConfig, database: string): readonly string[] {
  return config.users.filter((user) => user.databases.includes(database)).map((user) => user.name);
}

function checkNames(config: InstanceConfig): void {
  for (const { name, verifier } of config.users) {
    if (name === SUPERUSER || name === REPLICATION_USER || /^pg_/.test(name)) {
      throw new PermanentError(`the user name "${name}" is reserved`);
    }
    if (!isScramVerifier(verifier)) {
      throw new PermanentError(`the password of user "${name}" is not a SCRAM-SHA-256 verifier`);
    }
  }
  const reserved = config.databases.find((name) => ['postgres', 'template0', 'template1'].includes(name));
  if (reserved !== undefined) throw new PermanentError(`the database name "${reserved}" is reserved`);
}
