import type { Logger } from '../src/log.ts';
import { every, type Service, type Sleep } from '../src/service.ts';
import type { DueItem } from '../src/store/due.ts';
import type { RequestDeps } from './requests.ts';

/** How often the store is asked for what is due. No deadline is kept more exactly than this. */
const SWEEP_MS = 250;
const BATCH = 200;
/** If a taskmanager dies while it handles a due item, another taskmanager takes the item after this long. */
const LEND_MS = 1_000;
/** How many records a starting process checks side by side. */
const RECOVER_AT_ONCE = 50;

type Deps = Pick<RequestDeps, 'store' | 'engine' | 'provisioning' | 'batches' | 'now' | 'log'>;

/**
 * Time for everything that waits: the store knows when each record must be checked next, and any taskmanager
 * does it. Lost messages, deadlines and back-offs are all handled here.
 */
export function startSweep(deps: Deps & { readonly sleep: Sleep }): Service {
  return every('sweep', SWEEP_MS, deps, async () => {
    for (;;) {
      const due = await deps.store.due.take(deps.now(), BATCH, LEND_MS);
      await Promise.all(due.map((item) => check(deps, item, 'wake')));
      if (due.length < BATCH) return;
    }
  });
}

/** A process that starts sends again every message that its predecessor may not have sent. */
export async function recover(deps: Deps): Promise<number> {
  await deps.provisioning
    .clearLeftovers()
    .catch((err) => deps.log.warn({ err }, 'leftovers could not be cleared; the next start tries again'));
  const active = await deps.store.due.list();
  for (let at = 0; at < active.length; at += RECOVER_AT_ONCE) {
    await Promise.all(active.slice(at, at + RECOVER_AT_ONCE).map((item) => check(deps, item, 'recover')));
  }
  return active.length;
}

async function check(
  { engine, provisioning, batches, log }: Deps,
  item: DueItem,
  type: 'wake' | 'recover',
): Promise<void> {
  try {
    switch (item.kind) {
      case 'upgrade':
        return void (await engine.handle(item.id, { type }));
      case 'cluster':
        return await provisioning.resume(item.id);
      case 'batch':
        return await batches.check(item.id, 'thorough');
      default:
        return item.kind satisfies never;
    }
  } catch (err) {
    logFailure(log, item, err);
  }
}

function logFailure(log: Logger, item: DueItem, err: unknown): void {
  log.warn({ err, ...item }, 'could not be checked; it stays due');
}
