import type { Instant } from '../src/core/domain.ts';
import type { Logger } from '../src/log.ts';
import { every, type Service, type Sleep } from '../src/service.ts';
import type { Forgotten, PageRequest } from '../src/store/page.ts';
import type { Store } from '../src/store/store.ts';

/** Records are kept for days, so one round per minute is often enough. */
const ROUND_MS = 60_000;
/** If the taskmanager that has this duty dies, another one takes over after this long. */
const DUTY_MS = 3 * ROUND_MS;
/** A round takes this many steps at most. The next round continues from there. */
const STEPS = 50;
const CLUSTERS_A_STEP = 500;
const BATCHES_A_STEP = 50;
const DAY_MS = 86_400_000;

interface Deps {
  readonly store: Pick<Store, 'batches' | 'upgrades' | 'duties'>;
  readonly log: Logger;
  readonly now: () => Instant;
  readonly newId: () => string;
  readonly sleep: Sleep;
}

/**
 * Removes what ended more than `days` ago: batches with their members, then upgrades with their events. One
 * taskmanager does this at a time. If it dies, the next one finds what is left.
 */
export function startRetention(deps: Deps, days: number): Service {
  const { store, log, now } = deps;
  const self = deps.newId();
  const forgetBatches = walk(BATCHES_A_STEP, (before, page) => store.batches.forget(before, page));
  // After the batches, because a batch keeps its upgrades.
  const forgetUpgrades = walk(CLUSTERS_A_STEP, (before, page) => store.upgrades.forget(before, page));
  return every('retention', ROUND_MS, deps, async () => {
    if (!(await store.duties.hold('retention', self, DUTY_MS))) return;
    const before = now() - days * DAY_MS;
    const [batches, upgrades] = [await forgetBatches(before), await forgetUpgrades(before)];
    if (batches + upgrades > 0) log.info({ batches, upgrades, days }, 'what has ended long ago was removed');
  });
}

/** Walks over everything, a part in each round. A round returns how many records it has removed. */
function walk(
  limit: number,
  forget: (before: Instant, page: PageRequest) => Promise<Forgotten>,
): (before: Instant) => Promise<number> {
  let marker: string | null = null;
  return async (before) => {
    let removed = 0;
    for (let step = 0; step < STEPS; step++) {
      const { count, next_marker }: Forgotten = await forget(before, { limit, marker });
      removed += count;
      marker = next_marker;
      if (marker === null) break;
    }
    return removed;
  };
}
