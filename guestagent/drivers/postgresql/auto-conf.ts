import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'pg';
import { readIfThere } from '../../../src/files.ts';
import type { InstanceConfig } from '../../driver.ts';
import { writeFileAtomic } from '../../files.ts';
import type { Account } from '../account.ts';
import { type Places, quote } from './settings.ts';
import { SYNCHRONOUS } from './synchronous.ts';

/**
 * `postgresql.auto.conf` holds what operators set with `ALTER SYSTEM`. The server reads it after the driver's
 * own file, so its settings win. Operators are free to use it, except for the settings by which Coffer finds
 * the server and determines which server it follows. With one of those in the file an order of Coffer has no
 * effect, so that a switchover would leave a standby behind. The driver does not change what an operator has
 * set: before anything is stopped, it reports the setting and how to take it back.
 *
 * The driver reads the file instead of asking the server: a server that does not start because of the file
 * can't be asked.
 */
const AUTO_CONF = 'postgresql.auto.conf';

/** True for a value that does not disturb Coffer. */
type Harmless = (value: string, config: InstanceConfig, places: Places) => boolean;

const isEmpty: Harmless = (value) => value === '';

const OURS: Readonly<Record<string, Harmless>> = {
  // Not harmless even with its present value: the next switchover changes it.
  primary_conninfo: () => false,
  primary_slot_name: isEmpty,
  restore_command: isEmpty,
  recovery_target: isEmpty,
  recovery_target_lsn: isEmpty,
  recovery_target_name: isEmpty,
  recovery_target_time: isEmpty,
  recovery_target_xid: isEmpty,
  recovery_target_timeline: (value) => value === 'latest',
  hot_standby: (value) => ['on', 'true', 'yes', '1'].includes(value.toLowerCase()),
  wal_level: (value) => value !== 'minimal',
  max_wal_senders: (value) => value !== '0',
  port: (value, { endpoint }) => Number(value) === endpoint.port,
  listen_addresses: (value, { endpoint }) => listensOn(value, endpoint.host),
  hba_file: (value, _, { conf }) => value === join(conf, 'pg_hba.conf'),
  ident_file: (value, _, { conf }) => value === join(conf, 'pg_ident.conf'),
};

export function isOurs(name: string): boolean {
  return name in OURS && !SHARED.has(name);
}

/** These have the same value on all instances of a cluster, where an operator sets them at all. */
const SHARED: ReadonlySet<string> = new Set(['wal_level', 'max_wal_senders']);

function listensOn(value: string, host: string): boolean {
  const addresses = value.split(',').map((address) => address.trim());
  const all = host.includes(':') ? '::' : '0.0.0.0';
  return addresses.some((address) => address === '*' || address === all || address === host);
}

/** The file's settings, with names in lower case. If a name occurs twice, the last value counts. */
export function parseAutoConf(text: string): ReadonlyMap<string, string> {
  const settings = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, rest] = /^\s*([A-Za-z_][\w.$]*)\s*(?:=|\s)\s*(.*)$/.exec(line) ?? [];
    if (name !== undefined && rest !== undefined) settings.set(name.toLowerCase(), textOf(rest));
  }
  return settings;
}

/** Quotes within quotes are doubled, or follow a backslash. */
function textOf(rest: string): string {
  const quoted = /^'((?:[^'\\]|''|\\.)*)'/.exec(rest)?.[1];
  if (quoted === undefined) return rest.replace(/\s*#.*$/, '').trim();
  return quoted.replaceAll(/''|\\(.)/g, (_, escaped: string | undefined) => escaped ?? "'");
}

export async function readAutoConf(places: Places): Promise<ReadonlyMap<string, string>> {
  return parseAutoConf((await readIfThere(join(places.data, AUTO_CONF))) ?? '');
}

/** Puts a setting into force; null resets the setting. Works on a standby, too. */
export async function alterSystem(client: Client, name: string, value: string | null): Promise<void> {
  const change = value === null ? `RESET ${name}` : `SET ${name} = ${client.escapeLiteral(value)}`;
  await client.query(`ALTER SYSTEM ${change}`);
  await client.query('SELECT pg_catalog.pg_reload_conf()');
}

/** What `ALTER SYSTEM` would do, of a server that is down; null resets the setting. */
export async function writeAutoConf(places: Places, name: string, value: string | null): Promise<void> {
  const path = join(places.data, AUTO_CONF);
  const text = (await readIfThere(path)) ?? '';
  const { mode, uid, gid } = await stat(places.data);
  const options = { mode: mode & 0o660, owner: { uid, gid } };
  await writeFileAtomic(path, withSetting(text, name, value), options);
}

/** The file with one setting in place of all lines of that name; null removes them. */
export function withSetting(text: string, name: string, value: string | null): string {
  const kept = text.split('\n').filter((line) => !parseAutoConf(line).has(name));
  while (kept.at(-1) === '') kept.pop();
  if (value !== null) kept.push(`${name} = ${quote(value)}`);
  return `${kept.join('\n')}\n`;
}

/** The settings of the file that override what Coffer sets and needs. */
export async function beatenSettings(config: InstanceConfig, places: Places): Promise<readonly string[]> {
  const settings = await readAutoConf(places);
  return [...settings]
    .filter(([name, value]) => OURS[name]?.(value, config, places) === false)
    .map(([name]) => name)
    .sort();
}

/** Describes the problem and its solution; null if there is no problem. */
export async function beatenWords(config: InstanceConfig, places: Places): Promise<string | null> {
  const names = await beatenSettings(config, places);
  if (names.length === 0) return null;
  const resets = names.map((name) => `ALTER SYSTEM RESET ${name}`).join('; ');
  return (
    `${AUTO_CONF} of this server sets ${names.join(', ')}, and so beats what Coffer sets: ` +
    `run "${resets}" there as a superuser, then "SELECT pg_reload_conf()", and retry; ` +
    `of a stopped server, remove the lines from ${join(places.data, AUTO_CONF)}`
  );
}

/**
 * A copied data directory contains the file of the server that it was copied from. What an operator set there
 * for the cluster is right for the copy too. Where that server listens, which server it follows and which
 * standbys it waits for is not.
 */
export async function keepSharedSettings(places: Places, account: Account | null): Promise<void> {
  const path = join(places.data, AUTO_CONF);
  const text = (await readIfThere(path)) ?? '';
  const isShared = (line: string) =>
    [...parseAutoConf(line).keys()].every((name) => !isOurs(name) && name !== SYNCHRONOUS);
  const kept = text.split('\n').filter(isShared).join('\n');
  if (kept !== text) await writeFileAtomic(path, kept, { mode: 0o600, owner: account });
}
