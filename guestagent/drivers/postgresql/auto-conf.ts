import { join } from 'node:path';
import { readIfThere } from '../../../src/files.ts';
import { type InstanceConfig, PermanentError } from '../../driver.ts';
import { writeFileAtomic } from '../../files.ts';
import type { Account } from './account.ts';
import type { Places } from './settings.ts';
import { SYNCHRONOUS } from './synchronous.ts';

/**
 * `postgresql.auto.conf` holds what operators set with `ALTER SYSTEM`, and the server reads it after the
 * driver's own file: what stands there wins. That is the operators' right, except for the settings by which
 * Coffer finds the server and says which server it follows. One of those in the file makes an order
 * of Coffer do nothing, so that a switchover would leave a standby behind. The driver does not change
 * what an operator has set: it says so before anything is stopped, and how to take the setting back.
 *
 * The file is read rather than asked for: a server that does not start because of it can't be asked.
 */
export const AUTO_CONF = 'postgresql.auto.conf';

/** True for a value that changes nothing for Coffer. */
type Harmless = (value: string, config: InstanceConfig, places: Places) => boolean;

const isEmpty: Harmless = (value) => value === '';

const OURS: Readonly<Record<string, Harmless>> = {
  // Even with its present value: the next switchover changes it.
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

/** Alike on all instances of a cluster, where an operator sets them at all. */
const SHARED: ReadonlySet<string> = new Set(['wal_level', 'max_wal_senders']);

function listensOn(value: string, host: string): boolean {
  const addresses = value.split(',').map((address) => address.trim());
  const all = host.includes(':') ? '::' : '0.0.0.0';
  return addresses.some((address) => address === '*' || address === all || address === host);
}

/** The file's settings, names in lower case. Of a name that comes twice the last value counts. */
export function parseAutoConf(text: string): ReadonlyMap<string, string> {
  const settings = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name, rest] = /^\s*([A-Za-z_][\w.$]*)\s*(?:=|\s)\s*(.*)$/.exec(line) ?? [];
    if (name !== undefined && rest !== undefined) settings.set(name.toLowerCase(), textOf(rest));
  }
  return settings;
}

/** Quotes within quotes are doubled, or come after a backslash. */
function textOf(rest: string): string {
  const quoted = /^'((?:[^'\\]|''|\\.)*)'/.exec(rest)?.[1];
  if (quoted === undefined) return rest.replace(/\s*#.*$/, '').trim();
  return quoted.replaceAll(/''|\\(.)/g, (_, escaped: string | undefined) => escaped ?? "'");
}

export async function readAutoConf(places: Places): Promise<ReadonlyMap<string, string>> {
  return parseAutoConf((await readIfThere(join(places.data, AUTO_CONF))) ?? '');
}

/** The settings of the file that beat what Coffer sets and needs. */
export async function beatenSettings(config: InstanceConfig, places: Places): Promise<readonly string[]> {
  const settings = await readAutoConf(places);
  return [...settings]
    .filter(([name, value]) => OURS[name]?.(value, config, places) === false)
    .map(([name]) => name)
    .sort();
}

/** What is wrong and the way out, in words; null when nothing is. */
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

/** Rejects for good while the server would not do as Coffer tells it. */
export async function requireOwnSettings(config: InstanceConfig, places: Places): Promise<void> {
  const words = await beatenWords(config, places);
  if (words !== null) throw new PermanentError(words);
}

/**
 * A copy has the file of the server that it was copied from. What an operator set there for the cluster is
 * right for the copy too; where that server listens, which server it follows and which standbys it waits for is not.
 */
export async function keepSharedSettings(places: Places, account: Account | null): Promise<void> {
  const path = join(places.data, AUTO_CONF);
  const text = (await readIfThere(path)) ?? '';
  const isShared = (line: string) =>
    [...parseAutoConf(line).keys()].every((name) => !isOurs(name) && name !== SYNCHRONOUS);
  const kept = text.split('\n').filter(isShared).join('\n');
  if (kept !== text) await writeFileAtomic(path, kept, { mode: 0o600, owner: account });
}
