/**
 * Chaos with real processes, in short, and proof that its history checker finds what it is for. What is
 * not here: the long run (`npm run chaos -- --minutes 10`), the same faults by themselves (stack).
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { newHome, removeHome, run } from '../support/stack.ts';

type Violations = Readonly<Record<string, readonly string[]>>;
interface Verdict {
  readonly upgrades: number;
  readonly ended: Readonly<Record<string, number>>;
  readonly writes: { readonly clusters: number; readonly acknowledged: number };
  readonly violations: Violations;
}
interface Outcome extends Verdict {
  readonly faults: readonly {
    readonly fault: string;
    readonly injected: number;
    readonly affected: number;
  }[];
}

const MINUTES = '0.6';
const SEED = '4';

describe('npm run chaos', () => {
  it('loses nothing, doubles nothing and takes nothing down, whatever dies', async () => {
    const home = await newHome();
    try {
      const args = ['scripts/chaos.mjs', '--minutes', MINUTES, '--seed', SEED, '--json'];
      const { code, stdout, stderr } = await run(args, home);
      expect(stdout, stderr).toMatch(/^\{/);
      const { violations, faults, upgrades, writes } = JSON.parse(stdout) as Outcome;
      expect(violations).toEqual(nothing(violations));
      expect(code).toBe(0);
      // It was a storm, and there was somebody in it: on a busy machine not many.
      expect(faults.reduce((sum, { injected }) => sum + injected, 0)).toBeGreaterThan(3);
      expect(faults.filter(({ affected }) => affected > 0).length).toBeGreaterThan(1);
      expect(upgrades).toBeGreaterThan(3);
      expect(writes.acknowledged).toBeGreaterThan(100);
      expect(processesOf(home)).toBe('');
    } finally {
      await removeHome(home);
    }
  }, 600_000);
});

/** Command lines of processes that belong to this home. */
function processesOf(home: string): string {
  const all = execFileSync('ps', ['-eo', 'pid,args'], { encoding: 'utf8' });
  return all
    .split('\n')
    .filter((line) => line.includes(home))
    .join('\n');
}

function nothing(violations: Violations): Violations {
  return Object.fromEntries(Object.keys(violations).map((name) => [name, []]));
}

describe('the history checker', () => {
  interface Checker {
    judge(seen: { stories: readonly object[]; stuck: readonly string[]; executions: object }): Verdict;
  }
  let judge: Checker['judge'];
  beforeAll(async () => {
    const path = join(import.meta.dirname, '../../scripts/lib/chaos/history.mjs');
    ({ judge } = (await import(pathToFileURL(path).href)) as Checker);
  });

  interface Followed {
    readonly id: string;
    readonly seen: readonly number[];
    readonly events: readonly { readonly seq: number }[];
    readonly document: object | null;
  }
  const upgrade = (change: object = {}): Followed => ({
    id: 'u1',
    seen: [1, 2, 3],
    events: [{ seq: 1 }, { seq: 2 }, { seq: 3 }],
    document: {
      id: 'u1',
      state: 'succeeded',
      message: null,
      steps: [],
      seq: 3,
      to: { name: '1.1' },
      created: '2026-01-01T00:00:00.000Z',
      ended: '2026-01-01T00:00:09.000Z',
      ...change,
    },
  });
  const story = (change: object = {}, upgrades: readonly Followed[] = [upgrade()]) => ({
    name: 'c',
    asked: [{ to: '1.1', answer: 'accepted', upgrade_id: 'u1', code: null }],
    upgrades: new Map(upgrades.map((one) => [one.id, one])),
    breaches: [],
    untrue: [],
    stuck: [],
    writes: { acknowledged: 10, lost: 0, outage_ms: 1 },
    ...change,
  });
  const found = (stories: readonly object[], executions: ReadonlyMap<string, object> = new Map()) => {
    const { violations } = judge({ stories, stuck: [], executions });
    return Object.keys(violations).filter((name) => violations[name]?.length);
  };

  it('finds nothing where nothing is', () => {
    const executions = new Map([
      ['i1 u1/0/1/upgrade', { done: 1, taken_up: 0 }],
      // Its agent died between the work and the note of it.
      ['i2 u1/1/1/upgrade', { done: 2, taken_up: 1 }],
    ]);
    expect(found([story()], executions)).toEqual([]);
    const paused = { state: 'paused', message: 'i1 failed: retry it', ended: null };
    expect(found([story({}, [upgrade(paused)])])).toEqual([]);
  });

  it.each([
    ['lost', 'an accepted upgrade that nobody knows', story({}, [{ ...upgrade(), document: null }])],
    ['lost', 'one that does not end', story({}, [upgrade({ state: 'running', ended: null })])],
    ['lost', 'one that waits without a reason', story({}, [upgrade({ state: 'paused', ended: null })])],
    ['gaps', 'a missing event', story({}, [{ ...upgrade(), events: [{ seq: 1 }, { seq: 3 }, { seq: 4 }] }])],
    ['gaps', 'events that are gone', story({}, [upgrade({ seq: 5 })])],
    ['gaps', 'an event that the watcher missed', story({}, [{ ...upgrade(), seen: [1, 3] }])],
    ['gaps', 'an event that came twice', story({}, [{ ...upgrade(), seen: [1, 2, 2, 3] }])],
    ['writes_lost', 'a lost write', story({ writes: { acknowledged: 9, lost: 1, outage_ms: 1 } })],
    ['untrue', 'a record that is not true', story({ untrue: ['c: it says so, it is not so'] })],
    ['stuck', 'a cluster that was not removed', story({ stuck: ['c was not removed'] })],
    [
      'breached',
      'two instances out of service',
      story({
        breaches: [{ cluster: 'c', upgrade_id: 'u1', instances: ['a', 'b'], allowed: 1, seen: 'journals' }],
      }),
    ],
    [
      'refused_but_begun',
      'an upgrade whose request was refused',
      story({ asked: [{ to: '1.1', answer: 'refused', upgrade_id: null, code: 'store_unavailable' }] }),
    ],
  ])('finds as %s: %s', (violation, _what, told) => {
    expect(found([told])).toEqual([violation]);
  });

  it('finds two upgrades of a cluster at a time', () => {
    const second = upgrade({
      id: 'u2',
      created: '2026-01-01T00:00:05.000Z',
      ended: '2026-01-01T00:00:12.000Z',
    });
    const asked = ['u1', 'u2'].map((upgrade_id) => ({
      to: '1.1',
      answer: 'accepted',
      upgrade_id,
      code: null,
    }));
    expect(found([story({ asked }, [upgrade(), { ...second, id: 'u2' }])])).toEqual(['overlapping']);
  });

  it('finds an attempt that was executed twice', () => {
    expect(found([story()], new Map([['i1 u1/0/1/upgrade', { done: 2, taken_up: 0 }]]))).toEqual(['doubled']);
  });
});
