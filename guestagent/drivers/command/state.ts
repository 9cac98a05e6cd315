import { z } from 'zod';
import { stateFile } from '../state-file.ts';

/**
 * What the driver must remember across a crash, written before each step that it describes. Only the hooks
 * touch the server, so this also holds the server's version where `health` does not report it.
 */
const State = z.object({
  /**
   * The version to which the hooks have last moved the instance; at first the one that it was registered
   * with.
   */
  version: z.string(),
  /** The versions that it had before, oldest first: a move to one of these is a rollback. */
  came_from: z.array(z.string()),
  /**
   * The version to which a hook that has not succeeded was to move the instance: it may run this one or
   * `version`.
   */
  moving_to: z.string().nullable(),
  /** The hook under way: identifies a hook that outlived its agent. */
  run: z.string().nullable(),
});
export type State = z.output<typeof State>;

export const { load: loadState, save: saveState } = stateFile(State);

/** Which hook moves the instance to `to`; null if it is there. */
export function wayTo(state: State, to: string): 'upgrade' | 'rollback' | null {
  const { version, came_from, moving_to } = state;
  if (came_from.includes(to)) return 'rollback';
  if (version !== to) return 'upgrade';
  if (moving_to === null) return null;
  // The instance is between its version and another one, and must stay at its version.
  return came_from.includes(moving_to) ? 'upgrade' : 'rollback';
}

/** The state after the hook has succeeded. */
export function arrivedAt(state: State, to: string): State {
  const { version, came_from } = state;
  const at = came_from.indexOf(to);
  const before = at >= 0 ? came_from.slice(0, at) : version === to ? came_from : [...came_from, version];
  return { version: to, came_from: before, moving_to: null, run: null };
}
