import { join } from 'node:path';
import type { Client } from 'pg';
import { readIfThere } from '../../../src/files.ts';
import { removeIfThere, writeFileAtomic } from '../../files.ts';
import type { Places } from './settings.ts';
import { one } from './sql.ts';

/**
 * `synchronous_standby_names` is set on the primary alone, so a switchover would leave it behind. The demoted
 * primary hands the setting over. Its successor takes the setting over, with the demoted primary's name in
 * place of its own. The setting takes effect once the standbys that it asks for stream: before that, every
 * write would wait for them.
 */
export const SYNCHRONOUS = 'synchronous_standby_names';

/** What a demoted primary hands over. */
export type Handover = Readonly<{
  [SYNCHRONOUS]: string;
  /** The name under which the demoted primary will stream. */
  application_name: string;
  /** The physical slots that its standbys and it itself may name: see `physical-slots.ts`. */
  slots: readonly string[];
}>;

export async function synchronousNames(client: Client): Promise<string> {
  const { names } = await one<{ names: string }>(
    client,
    `SELECT pg_catalog.current_setting('${SYNCHRONOUS}') AS names`,
  );
  return names;
}

/** Read from an order, which came over the bus; null if nothing usable was handed over. */
export function handoverIn(passedOn: Readonly<Record<string, unknown>> | undefined): Handover | null {
  const [names, application_name] = [passedOn?.[SYNCHRONOUS], passedOn?.['application_name']];
  if (typeof names !== 'string' || typeof application_name !== 'string') return null;
  const slots = Array.isArray(passedOn?.['slots']) ? passedOn['slots'] : [];
  return { [SYNCHRONOUS]: names, application_name, slots: slots.filter(isSlotName) };
}

function isSlotName(name: unknown): name is string {
  return typeof name === 'string' && /^[a-z0-9_]{1,63}$/.test(name);
}

const WORD = /"((?:[^"]|"")*)"|[^\s,()"]+/g;

/** The list with one standby's name in place of another's. PostgreSQL ignores case when it compares names. */
export function renamed(names: string, from: string, to: string): string {
  return names.replaceAll(WORD, (word: string, quoted: string | undefined) => {
    const name = quoted?.replaceAll('""', '"') ?? word;
    return name.toLowerCase() === from.toLowerCase() ? `"${to.replaceAll('"', '""')}"` : word;
  });
}

/** How many standbys the list asks for, and which; `*` among the names means any. */
export function askedFor(names: string): { readonly count: number; readonly names: readonly string[] } {
  const [, count = '1', list = names] = /^\s*(?:FIRST\s+|ANY\s+)?(\d+)\s*\((.*)\)\s*$/is.exec(names) ?? [];
  const listed = [...list.matchAll(WORD)].map(([word, quoted]) => quoted?.replaceAll('""', '"') ?? word);
  return { count: Number(count), names: listed.map((name) => name.toLowerCase()) };
}

/** True if as many of the standbys stream as the list asks for. */
export async function isMet(client: Client, names: string): Promise<boolean> {
  const asked = askedFor(names);
  const { rows } = await client.query<{ name: string }>(
    `SELECT pg_catalog.lower(application_name) AS name
       FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'`,
  );
  const met = rows.filter(({ name }) => asked.names.includes('*') || asked.names.includes(name));
  return met.length >= asked.count;
}

/** The names that were handed over, on disk until they are in force. */
export class AwaitedStandbys {
  readonly #path: string;

  constructor(places: Places) {
    this.#path = join(places.conf, 'awaited_standbys');
  }

  /** Null if none are awaited. */
  read(): Promise<string | null> {
    return readIfThere(this.#path);
  }

  async write(names: string): Promise<void> {
    await writeFileAtomic(this.#path, names, { mode: 0o600 });
  }

  async forget(): Promise<void> {
    await removeIfThere(this.#path);
  }
}
