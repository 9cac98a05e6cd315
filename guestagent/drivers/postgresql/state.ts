import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isErrno, writeFileAtomic } from '../files.ts';

/**
 * What the driver must remember across a crash: `state.json` in the state directory, written before
 * each step that it describes. Whether the instance is a primary or a standby is not in it: that is
 * known by the data directory alone (`standby.signal`), which the server itself changes on promotion.
 */
const endpoint = z.object({ host: z.string(), port: z.number().int() });
const stateSchema = z.discriminatedUnion('phase', [
  /** The data directory is not complete: begin anew. */
  z.object({ phase: z.literal('building'), version: z.string() }),
  /** The server is to run; `primary` is whom a standby follows. */
  z.object({ phase: z.literal('serving'), version: z.string(), primary: endpoint.nullable() }),
  /** A primary is being stopped, or is stopped, for a switchover: `pg_control` tells how far it came. */
  z.object({ phase: z.literal('demoting'), version: z.string() }),
  /** Another may be primary by now: the server stays down until it is told what to be. */
  z.object({ phase: z.literal('demoted'), version: z.string(), lsn: z.string() }),
  /** The server is being restarted on another version. */
  z.object({ phase: z.literal('upgrading'), from: z.string(), to: z.string(), primary: endpoint.nullable() }),
]);

export type State = z.infer<typeof stateSchema>;

const NAME = 'state.json';

/** Null when nothing was ever built here. */
export async function loadState(stateDir: string): Promise<State | null> {
  const path = join(stateDir, NAME);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  }
  const state = stateSchema.safeParse(JSON.parse(text));
  if (!state.success) throw new Error(`${path} can't be understood: ${z.prettifyError(state.error)}`);
  return state.data;
}

export async function saveState(stateDir: string, state: State): Promise<void> {
  await writeFileAtomic(join(stateDir, NAME), `${JSON.stringify(state)}\n`, { mode: 0o600 });
}
