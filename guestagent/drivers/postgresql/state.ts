import { z } from 'zod';
import { stateFile } from '../state-file.ts';

/**
 * What the driver must remember across a crash: `state.json` in the state directory, written before each step
 * that it describes. It does not record whether the instance is a primary or a standby: only the data
 * directory does (`standby.signal`), which the server itself changes on promotion.
 */
const endpoint = z.object({ host: z.string(), port: z.number().int() });
const stateSchema = z.discriminatedUnion('phase', [
  /** The data directory is not complete: begin again. */
  z.object({ phase: z.literal('building'), version: z.string() }),
  /** The server must run; `primary` is the server that a standby follows. */
  z.object({ phase: z.literal('serving'), version: z.string(), primary: endpoint.nullable() }),
  /** A primary is being stopped, or is stopped, for a switchover: `pg_control` shows how far it came. */
  z.object({ phase: z.literal('demoting'), version: z.string() }),
  /** Another server may be the primary by now: this one stays down until it is told its role. */
  z.object({ phase: z.literal('demoted'), version: z.string(), lsn: z.string() }),
  /** The server is being restarted on another version. */
  z.object({ phase: z.literal('upgrading'), from: z.string(), to: z.string(), primary: endpoint.nullable() }),
]);

export type State = z.infer<typeof stateSchema>;
export type Serving = Extract<State, { phase: 'serving' }>;
export type Demoted = Extract<State, { phase: 'demoted' }>;

export const { load: loadState, save: saveState } = stateFile(stateSchema);
