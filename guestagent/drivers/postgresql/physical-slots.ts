import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'pg';
import { isErrno } from '../../../src/files.ts';

/**
 * Physical replication slots: a standby that names one streams only from a server that has it, and only the
 * primary has the slots of its standbys. So a switchover takes them along: the successor makes them, and the
 * former primary, on which they would keep the log for ever, drops them.
 */

/** Where `pg_replslot/<name>/state` has the slot's database: 0 for a physical slot. */
const DATABASE_AT = 80;
/** Where that file says how long the slot lives: 0 for one that is permanent. */
const PERSISTENCY_AT = 84;

/** The physical slots of a server that may be down, from its disk. */
export async function physicalSlotsIn(dataDir: string): Promise<readonly string[]> {
  const folder = join(dataDir, 'pg_replslot');
  const names = await readdir(folder).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  });
  const found = await Promise.all(
    names.map(async (name) => {
      const state = await readFile(join(folder, name, 'state')).catch(() => null);
      if (state === null || state.length < PERSISTENCY_AT + 4) return [];
      const isPhysical = state.readUInt32LE(DATABASE_AT) === 0 && state.readUInt32LE(PERSISTENCY_AT) === 0;
      return isPhysical ? [name] : [];
    }),
  );
  return found.flat().sort();
}

/** Slots that are there already stay as they are. */
export async function makePhysicalSlots(client: Client, names: readonly string[]): Promise<void> {
  await client.query(
    `SELECT pg_catalog.pg_create_physical_replication_slot(name, true)
       FROM pg_catalog.unnest($1::text[]) AS name
      WHERE name NOT IN (SELECT slot_name FROM pg_catalog.pg_replication_slots)`,
    [[...names]],
  );
}
