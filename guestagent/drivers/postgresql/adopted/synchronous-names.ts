import { exists } from '../../../../src/files.ts';
import type { Places } from '../settings.ts';
import { SYNCHRONOUS } from '../synchronous.ts';
import type { AlterSystem } from './alter-system.ts';
import { recall, remember } from './memory.ts';

interface Deps {
  readonly places: Places;
  readonly stateDir: string;
  readonly settings: AlterSystem;
}

/**
 * `synchronous_standby_names`, which a switchover passes from the old primary to the new one: the one setting
 * that Coffer makes on a primary.
 */
export class SynchronousNames {
  readonly #deps: Deps;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** To be called before Coffer sets the names; an empty text resets them. */
  async note(names: string): Promise<void> {
    const { stateDir, settings } = this.#deps;
    const memory = await recall(stateDir);
    if (memory === null) return;
    const present = await settings.valueOf(SYNCHRONOUS);
    // Anything else than Coffer has set last is the operator's, who may have changed it since the adoption.
    const isOurs = memory.synchronous_set !== undefined && memory.synchronous_set === present;
    const synchronous = isOurs ? memory.synchronous : present;
    await remember(stateDir, { ...memory, synchronous, synchronous_set: names === '' ? null : names });
  }

  /** Gives back the operator's line, unless a primary would then no longer wait for any standby. */
  async giveBack(): Promise<'given back' | 'kept'> {
    const { places, stateDir, settings } = this.#deps;
    const { synchronous = null, synchronous_set } = (await recall(stateDir)) ?? {};
    const present = await settings.valueOf(SYNCHRONOUS);
    if (synchronous_set === undefined || present !== synchronous_set || present === synchronous)
      return 'given back';
    if (synchronous === null && !(await exists(places.standbySignal))) return 'kept';
    await settings.set(SYNCHRONOUS, synchronous);
    return 'given back';
  }
}
