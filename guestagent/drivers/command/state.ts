import { z } from 'zod';
import { stateFile } from '../state-file.ts';

/**
 * What the driver must remember across a crash, written before each step that it describes. Only the
 * hooks touch the server, so this is also what is known of its version where `health` doesn't tell.
 */
const State = z.object({
  /** The version that the hooks have brought it to last; at first the one that it was registered with. */
  version: z.string(),
  /** The versions that it had before, oldest first: to one of these the way is a rollback. */
  came_from: z.array(z.string()),
  /** Where a hook that has not succeeded was to bring it: it may run this or `version`. */
  moving_to: z.string().nullable(),
  /** The hook under way: one that outlived its agent is known by it. */
  run: z.string().nullable(),
});
export type State = z.output<typeof State>;

export const { load: loadState, save: saveState } = stateFile(State);

/** Which hook brings it to `to`; null when it is there. */
export function wayTo(state: State, to: string): 'upgrade' | 'rollback' | null {
  const { version, came_from, moving_to } = state;
  if (came_from.includes(to)) return 'rollback';
  if (version !== to) return 'upgrade';
  if (moving_to === null) return null;
  // Half way to somewhere else, and to stay where it was.
  return came_from.includes(moving_to) ? 'upgrade' : 'rollback';
}

/** Once the hook has succeeded. */
export function arrivedAt(state: State, to: string): State {
  const { version, came_from } = state;
  const at = came_from.indexOf(to);
  const before = at >= 0 ? came_from.slice(0, at) : version === to ? came_from : [...came_from, version];
  return { version: to, came_from: before, moving_to: null, run: null };
}
