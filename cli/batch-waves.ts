/** What several commands do with a batch: read a wave, and say which command to type next. */
import { InvalidArgumentError } from 'commander';
import type { BatchDocument, CreateBatchInput } from '../client/index.ts';
import { DEFAULT_WAVE } from '../src/core/batch/waves.ts';
import type { Percentage } from '../src/core/policy.ts';
import { count } from './options.ts';

type Wave = NonNullable<CreateBatchInput['waves']>[number];

/**
 * The command that lets a batch continue when the batch waits for a person; null if it does not wait for a
 * person.
 */
export function wayOnOf({ id, state, actions: [first] }: BatchDocument): string | null {
  return state === 'paused' && first !== undefined ? `coffer batch-${first} ${id}` : null;
}

function amount(text: string): number | Percentage {
  return /^\d{1,3}%$/.test(text) ? (text as Percentage) : count(text);
}

export const WAVE_HELP = `
A wave is a list such as share=10%,concurrent=50,failures=2%,soak=600,approval:
  share=<n|p%>       so many of all clusters; all that are left if neither this nor a condition is given
  name=, tag=, version=, datastore=
                     conditions: the wave takes those clusters (a pattern; a tag; a range; a name or id)
  concurrent=<n>     clusters at once (default: ${DEFAULT_WAVE.max_concurrent})
  failures=<n|p%>    clusters that may fail before the batch pauses (default: ${DEFAULT_WAVE.failure_budget})
  outage=<s>         seconds of write outage before the batch pauses (default: any)
  soak=<s>           afterwards everything upgraded so far must stay healthy this long
  approval           wait for a person before it starts
Without --wave: one cluster that must succeed, then a tenth of all, then the rest.`;

const READERS: Readonly<Record<string, (text: string) => Partial<Wave>>> = {
  share: (text) => ({ share: amount(text) }),
  concurrent: (text) => ({ max_concurrent: count(text) }),
  failures: (text) => ({ failure_budget: amount(text) }),
  outage: (text) => ({ write_outage_budget_seconds: count(text) }),
  soak: (text) => ({ soak_seconds: count(text) }),
};
const CONDITIONS = ['name', 'tag', 'version', 'datastore'];

/** Reads `share=10%,failures=2%,approval` into the form that the API takes. */
export function waveOf(text: string, earlier: readonly Wave[] = []): readonly Wave[] {
  let wave: Wave = {};
  for (const part of text.split(',')) {
    const [, key = '', value] = /^([a-z]+)(?:=(.+))?$/.exec(part.trim()) ?? [];
    const read = READERS[key];
    if (key === 'approval' && value === undefined) wave = { ...wave, approval: true };
    else if (read && value !== undefined) wave = { ...wave, ...read(value) };
    else if (CONDITIONS.includes(key) && value !== undefined) {
      wave = { ...wave, selector: { ...wave.selector, [key]: value } };
    } else {
      throw new InvalidArgumentError(`'${part}' is not a part of a wave: see --help for what there is.`);
    }
  }
  return [...earlier, wave];
}
