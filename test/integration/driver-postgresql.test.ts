/** Real PostgreSQL servers. What is special about PostgreSQL: the suites `postgresql*.test.ts`. */
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Driver, Roles } from '../../guestagent/driver.ts';
import { binariesFolder, ensureBinaries } from '../../guestagent/drivers/postgresql/binaries.ts';
import {
  describeDriver,
  describeRoles,
  type Options,
  type Subject,
  type Suite,
} from '../conformance/driver.ts';
import {
  asSuperuser,
  CACHE,
  member,
  type Node,
  postmasterPid,
  query,
  reopen,
  rootFolder,
  silent,
  useNodes,
} from './postgresql-nodes.ts';

useNodes();

const VERSIONS = ['17.6', '17.10'] as const;
const BROKEN = '17.9';
const ENDLESS = '17.8';

/**
 * A cache that lends what this machine has, beside two releases that answer with their version: one does not start, the
 * other never serves.
 */
async function cacheWithFaults(): Promise<string> {
  const cacheDir = join(rootFolder(), 'cache');
  if ((await mkdir(cacheDir, { recursive: true, mode: 0o755 })) === undefined) return cacheDir;
  for (const version of VERSIONS) {
    await ensureBinaries({ cacheDir: CACHE, account: null, log: silent }, version);
    await symlink(binariesFolder(CACHE, version), binariesFolder(cacheDir, version));
  }
  for (const [version, otherwise] of [
    [BROKEN, ''],
    [ENDLESS, 'exec tail -f /dev/null'],
  ] as const) {
    const bin = join(binariesFolder(cacheDir, version), 'bin');
    await mkdir(bin, { recursive: true, mode: 0o755 });
    const answer = `[ "$1" = --version ] && exec echo 'postgres (PostgreSQL) ${version}'`;
    await writeFile(join(bin, 'postgres'), `#!/bin/sh\n${answer}\n${otherwise}\n`);
    await chmod(join(bin, 'postgres'), 0o755);
  }
  return cacheDir;
}

function subjectOf(node: Node): Subject<Driver & Roles> {
  const { driver, config, stateDir } = node;
  return {
    ...{ driver, stateDir, name: config.name, endpoint: config.endpoint },
    ask: async () => {
      const rows = await query(
        node,
        "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby",
      ).catch(() => []);
      const { version, standby } = rows[0] ?? {};
      return version === undefined
        ? null
        : {
            version: String(version),
            process: await postmasterPid(node),
            role: standby === true ? 'replica' : 'primary',
          };
    },
    data: {
      write: async (value) => {
        await asSuperuser(
          node,
          'CREATE TABLE IF NOT EXISTS kept (value text)',
          'DELETE FROM kept',
          `INSERT INTO kept VALUES ('${value}')`,
        );
      },
      read: async () => {
        const rows = await asSuperuser(node, 'SELECT value FROM kept').catch(() => []);
        return String(rows[0]?.['value']);
      },
    },
    databases: async () => {
      const rows = await asSuperuser(node, 'SELECT datname FROM pg_database');
      return rows.map(({ datname }) => String(datname));
    },
    reopen: () => subjectOf(reopen(node)),
  };
}

async function open(count: number, options?: Options): Promise<readonly Subject<Driver & Roles>[]> {
  const cacheDir = await cacheWithFaults();
  const primary = await member({
    ...{ primary: null, cacheDir },
    ...(options?.databases && { databases: options.databases, users: [] }),
  });
  const replicas = Array.from({ length: count - 1 }, (_, index) =>
    member({ primary, cacheDir, ordinal: index + 1 }),
  );
  return [primary, ...(await Promise.all(replicas))].map(subjectOf);
}

const suite: Suite<Driver & Roles> = {
  versions: VERSIONS,
  unknown: '17.99',
  broken: BROKEN,
  endless: ENDLESS,
  serversBelongTo: 'agent',
  open,
  // `useNodes` ends what a test leaves.
  close: async () => undefined,
};

describeDriver('postgresql', suite);
describeRoles('postgresql', { ...suite, farPosition: 'FF/00000000' });
