import { hostname } from 'node:os';
import type { Bus, Context } from '../src/bus/bus.ts';
import { uuidFrom } from '../src/core/digest.ts';
import type { Instant } from '../src/core/domain.ts';
import { notificationOf } from '../src/core/notification.ts';
import { isActive, type Upgrade, type UpgradeEvent } from '../src/core/record.ts';
import type { Logger } from '../src/log.ts';
import { every, type Service, type Sleep } from '../src/service.ts';
import type { Store } from '../src/store/store.ts';

const ROUND_MS = 250;
/** One taskmanager at a time sends notifications. If it dies, another one continues after this long. */
const DUTY_MS = 5_000;
const BATCH = 100;
/** The name that Trove's services use in notifications about requests to their api. */
const PUBLISHER = `api.${hostname()}`;

interface NotifierDeps {
  readonly store: Pick<Store, 'duties' | 'outbox' | 'upgrades'>;
  readonly bus: Bus;
  readonly log: Logger;
  readonly now: () => Instant;
  readonly sleep: Sleep;
  readonly newId: () => string;
}

/**
 * Sends notifications about upgrades. They follow from the event streams, and the store keeps how far each
 * stream has been notified. If a process dies, no notification is lost; at worst one is sent twice, under the
 * same message id.
 */
export function startNotifier(deps: NotifierDeps): Service {
  const self = deps.newId();
  return every('notifier', ROUND_MS, deps, async () => {
    if (!deps.bus.isConnected() || !(await deps.store.duties.hold('notifier', self, DUTY_MS))) return;
    for (const { upgrade_id, seq } of await deps.store.outbox.untold()) await tell(deps, upgrade_id, seq);
  });
}

async function tell({ store, bus }: NotifierDeps, upgrade_id: string, after_seq: number): Promise<void> {
  const events = await store.upgrades.events(upgrade_id, after_seq, { limit: BATCH, wait_ms: 0 });
  const upgrade = await store.upgrades.get(upgrade_id);
  if (!upgrade) return store.outbox.told(upgrade_id, null);
  for (const event of events) await tellOf(bus, upgrade, event);
  const last = events.at(-1)?.seq ?? after_seq;
  if (!isActive(upgrade) && last >= upgrade.seq) await store.outbox.told(upgrade_id, null);
  else if (last > after_seq) await store.outbox.told(upgrade_id, last);
}

async function tellOf(bus: Bus, upgrade: Upgrade, event: UpgradeEvent): Promise<void> {
  const said = notificationOf(upgrade, event);
  if (!said) return;
  const { user, request_id } = upgrade.requested_by;
  await bus.notify({
    ...{ ...said, publisher_id: PUBLISHER, at: event.at },
    message_id: uuidFrom(`coffer notification ${upgrade.id}/${event.seq}`),
    context: { user, request_id, tenant_id: upgrade.tenant_id, is_admin: false },
  });
}

/**
 * A cast that cannot be carried out begins nothing, so there is no event stream to follow: the service that
 * sent it is notified at once.
 */
export async function tellOfRefusal(
  { bus, now }: Pick<NotifierDeps, 'bus' | 'now'>,
  about: { readonly event_type: string; readonly message_id: string; readonly context: Context },
  message: string,
): Promise<void> {
  const { notification = {}, ...context } = about.context;
  const given = Object.entries(notification).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  const { notification_classname: _, ...payload } = Object.fromEntries(given);
  const told = { ...payload, message, exception: message };
  await bus.notify({ ...about, context, publisher_id: PUBLISHER, at: now(), payload: told });
}
