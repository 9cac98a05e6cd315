import { join } from 'node:path';
import { z } from 'zod';
import { readIfThere } from '../../../../src/files.ts';
import { writeFileAtomic } from '../../../files.ts';

/** What was there when the server was adopted: to recognise the server, and to give back what was set. */
const schema = z.object({
  system_identifier: z.string(),
  /** `primary_conninfo` as it was in force; empty if there was none. */
  conninfo: z.string(),
  /** The same as a line of `postgresql.auto.conf`; null if that file did not set it. */
  in_auto_conf: z.string().nullable(),
  cluster_name: z.string(),
  /** `primary_slot_name`; empty for none. */
  slot: z.string(),
  /** The operator's line for `synchronous_standby_names` in `postgresql.auto.conf`; null for none. */
  synchronous: z.string().nullable(),
  /** The same line as Coffer has set it last; absent if Coffer never has. */
  synchronous_set: z.string().nullable().exactOptional(),
});
export type Memory = z.infer<typeof schema>;

const fileIn = (stateDir: string) => join(stateDir, 'adopted.json');

export async function recall(stateDir: string): Promise<Memory | null> {
  const text = await readIfThere(fileIn(stateDir));
  return text === null ? null : schema.parse(JSON.parse(text));
}

/** It may hold a password for replication. */
export async function remember(stateDir: string, memory: Memory): Promise<void> {
  await writeFileAtomic(fileIn(stateDir), `${JSON.stringify(memory)}\n`, { mode: 0o600 });
}
