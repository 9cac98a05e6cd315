import { join } from 'node:path';
import { z } from 'zod';
import { readIfThere } from '../../src/files.ts';
import { writeFileAtomic } from '../files.ts';

const NAME = 'state.json';

/**
 * What a driver must remember across a crash: `state.json` in its state directory, in the shape of `schema`.
 */
export function stateFile<State>(schema: z.ZodType<State>) {
  return {
    /** Null before anything was ever written. */
    async load(dir: string): Promise<State | null> {
      const path = join(dir, NAME);
      const text = await readIfThere(path);
      if (text === null) return null;
      const state = schema.safeParse(JSON.parse(text));
      if (!state.success) throw new Error(`${path} can't be understood: ${z.prettifyError(state.error)}`);
      return state.data;
    },

    async save(dir: string, state: State): Promise<void> {
      await writeFileAtomic(join(dir, NAME), `${JSON.stringify(state)}\n`, { mode: 0o600 });
    },
  };
}
