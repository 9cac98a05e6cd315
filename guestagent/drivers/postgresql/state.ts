import { z } from 'zod';
import { stateFile } from '../state-file.ts';

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

export const { load: loadState, save: saveState } = stateFile(stateSchema);
