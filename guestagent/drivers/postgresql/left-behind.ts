import { createHmac } from 'node:crypto';
import type { Client } from 'pg';
import type { GuestFinding } from '../../../src/core/domain.ts';
import { textOf } from '../../../src/log.ts';
import type { DriverLog, InstanceConfig } from '../../driver.ts';
import { isOurs, readAutoConf } from './auto-conf.ts';
import { RareCheck } from './rare-check.ts';
import type { Places } from './settings.ts';
import { type Login, PATIENT, QUICK, withClient } from './sql.ts';
import { SYNCHRONOUS } from './synchronous.ts';

/**
 * What a switchover would leave behind on this server, for people who plan one: contents of unlogged tables,
 * which are in no log; logical replication slots, whose positions no standby has; and settings that operators
 * made on this server alone.
 *
 * The check is made rarely for heartbeats, and again for each `pre_upgrade`.
 */
interface LeftBehind {
  readonly findings: readonly GuestFinding[];
  readonly settings: Readonly<Record<string, string>>;
}

const MAX_NAMES = 5;
const MAX_SETTINGS = 200;

interface Deps {
  readonly login: Login;
  readonly log: DriverLog;
  /** What keeps Coffer's settings from having an effect; null if nothing does. */
  readonly overridden: () => Promise<string | null>;
  /** Whose settings are compared with those of the other servers; null if they are not compared. */
  readonly settings: { readonly config: InstanceConfig; readonly places: Places } | null;
}

export class LeftBehindWatch {
  readonly #deps: Deps;
  readonly #checks = new RareCheck((isPrimary: boolean) => this.#find(isPrimary));

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** The latest findings, for a heartbeat; starts a new check when they are old. Never waits for a check. */
  known(isPrimary: boolean): LeftBehind | null {
    if (this.#checks.isDue) {
      this.check(isPrimary).catch((error: unknown) => {
        this.#deps.log.debug({ error: textOf(error) }, 'could not check what a switchover leaves behind');
      });
    }
    return this.#checks.latest;
  }

  /** Makes a check now. */
  check(isPrimary: boolean): Promise<LeftBehind> {
    return this.#checks.check(isPrimary);
  }

  async #find(isPrimary: boolean): Promise<LeftBehind> {
    const { settings, overridden: askOverridden } = this.#deps;
    const found = isPrimary ? await this.#onPrimary() : [];
    const overridden = await askOverridden();
    const findings: readonly GuestFinding[] = [
      ...found,
      ...(overridden === null ? [] : [{ name: 'settings_overridden', message: overridden } as const]),
    ];
    return { findings, settings: settings === null ? {} : await fingerprints(settings) };
  }

  async #onPrimary(): Promise<readonly GuestFinding[]> {
    const { databases, slots } = await withClient(this.#deps.login, QUICK, databasesAndSlots);
    const unlogged: string[] = [];
    for (const database of databases) {
      try {
        const names = await withClient(this.#deps.login, PATIENT, unloggedIn, database);
        unlogged.push(...names.map((name) => `${database}.${name}`));
      } catch (error) {
        // A database that accepts no login, or was dropped meanwhile, must not hide the findings of the
        // others.
        this.#deps.log.debug({ database, error: textOf(error) }, 'could not check a database');
      }
    }
    return [...unloggedFinding(unlogged), ...slotsFinding(slots)];
  }
}

/** The databases in which a session can look. */
export async function databasesOf(client: Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ datname: string }>(
    'SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname',
  );
  return rows.map(({ datname }) => datname);
}

async function databasesAndSlots(client: Client) {
  const databases = await databasesOf(client);
  const slots = await client.query<{ slot_name: string }>(
    `SELECT slot_name FROM pg_catalog.pg_replication_slots
      WHERE slot_type = 'logical' AND NOT temporary ORDER BY slot_name`,
  );
  return { databases, slots: slots.rows.map(({ slot_name }) => slot_name) };
}

/** Reads the sizes of files instead of the tables: a query of a table would wait for a lock on it. */
async function unloggedIn(client: Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
       FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
      WHERE c.relpersistence = 'u' AND c.relkind = 'r'
        AND (pg_catalog.pg_stat_file(pg_catalog.pg_relation_filepath(c.oid), true)).size > 0
      ORDER BY 1`,
  );
  return rows.map(({ name }) => name);
}

function unloggedFinding(names: readonly string[]): readonly GuestFinding[] {
  if (names.length === 0) return [];
  const message =
    `unlogged tables hold rows that no standby has (${some(names)}): after a switchover they are empty. Make them ` +
    'logged (ALTER TABLE … SET LOGGED) or empty them (TRUNCATE); or acknowledge the loss with an override of unlogged_tables';
  return [{ name: 'unlogged_tables', message }];
}

function slotsFinding(names: readonly string[]): readonly GuestFinding[] {
  if (names.length === 0) return [];
  const message =
    `logical replication slots exist on the primary alone (${some(names)}): after a switchover they are gone, and their ` +
    'subscribers miss what they had not read. Let them finish and drop the slots (SELECT pg_drop_replication_slot(…)); ' +
    'or acknowledge the loss with an override of logical_slots, and make the slots anew on the new primary';
  return [{ name: 'logical_slots', message }];
}

function some(names: readonly string[]): string {
  const more = names.length - MAX_NAMES;
  return `${names.slice(0, MAX_NAMES).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** With fingerprints two servers of one cluster can be compared, while nobody can read the values. */
async function fingerprints({
  config,
  places,
}: NonNullable<Deps['settings']>): Promise<Readonly<Record<string, string>>> {
  const entries = [...(await readAutoConf(places))]
    .filter(([name]) => !isOurs(name) && name !== SYNCHRONOUS)
    .slice(0, MAX_SETTINGS);
  const of = (name: string, value: string) =>
    createHmac('sha256', config.cluster_token).update(`${name} ${value}`).digest('hex').slice(0, 16);
  return Object.fromEntries(entries.map(([name, value]) => [name, of(name, value)]));
}
