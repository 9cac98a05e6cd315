/** What docs/trove-compatibility.md advises in place of Trove's commands, as the users of a real cluster may do it. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Client } from 'pg';
import { expect, it } from 'vitest';
import { scramVerifier } from '../../src/scram.ts';
import { member, type Node, useNodes } from './postgresql-nodes.ts';

useNodes();

const PAGE = resolve(import.meta.dirname, '../../docs/trove-compatibility.md');
const STATEMENT = /`((?:ALTER|CREATE|DROP|GRANT|REVOKE|SELECT) [^`]+)`/g;
const PASSWORD = 'p4ss "word"';
const verifier = await scramVerifier(PASSWORD);

/** As `user`, connected to `database`. */
async function run(node: Node, user: string, database: string, text: string) {
  const { host, port } = node.config.endpoint;
  const client = new Client({ host, port, user, database, password: PASSWORD, ssl: false });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

async function started(): Promise<Node> {
  const node = await member({
    primary: null,
    databases: ['shop', 'old'],
    users: [
      { name: 'app', verifier, databases: ['shop', 'old'] },
      { name: 'reader', verifier, databases: ['shop'] },
    ],
  });
  await node.driver.start();
  return node;
}

it('is what the owner of a database may do', { timeout: 240_000 }, async () => {
  const rows = (await readFile(PAGE, 'utf8'))
    .split('\n')
    .filter((line) => /^\| database (db|user|root) /.test(line));
  expect(rows).toHaveLength(14);
  const statements = rows.flatMap((row) => [...row.matchAll(STATEMENT)].map(([, text]) => text ?? ''));
  expect(statements.length).toBeGreaterThan(10);
  const node = await started();
  // The password is changed last: until then each logs in with the first one.
  const isLast = (text: string) => Number(text.startsWith('ALTER ROLE'));
  for (const text of statements.toSorted((a, b) => isLast(a) - isLast(b))) {
    await run(node, 'app', text.startsWith('DROP DATABASE') ? 'postgres' : 'shop', text);
  }
});

it('does what it is advised for', { timeout: 240_000 }, async () => {
  const node = await started();
  const databases = async () =>
    (await run(node, 'app', 'shop', 'SELECT datname FROM pg_database')).map((row) => row['datname']);
  expect(await databases()).toContain('old');
  await run(node, 'app', 'postgres', 'DROP DATABASE old');
  expect(await databases()).not.toContain('old');
  await run(node, 'app', 'shop', 'REVOKE ALL ON DATABASE shop FROM reader');
  await expect(run(node, 'reader', 'shop', 'SELECT 1')).rejects.toMatchObject({ code: '42501' });
  await run(node, 'app', 'shop', 'GRANT ALL ON DATABASE shop TO reader');
  await run(node, 'app', 'shop', 'GRANT ALL ON SCHEMA public TO reader');
  await run(node, 'reader', 'shop', 'CREATE TABLE notes (id int)');
});

it('is not what no user may do: to create databases, and to create or remove users', {
  timeout: 240_000,
}, async () => {
  const node = await started();
  for (const text of [
    'CREATE DATABASE more',
    'CREATE ROLE more LOGIN',
    'DROP ROLE reader',
    'ALTER ROLE reader NOLOGIN',
  ]) {
    await expect(run(node, 'app', 'shop', text), text).rejects.toMatchObject({ code: '42501' });
  }
});
