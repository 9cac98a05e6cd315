/**
 * What Trove's services tell one another of an upgrade: the payload of a notification. It rides in the
 * context of their messages too, so that whoever ends the work can tell of its end.
 */
import type { Upgrade, UpgradeEvent } from './record.ts';

export type Notification = Readonly<Record<string, string>>;

type About = Pick<Upgrade, 'requested_by' | 'tenant_id' | 'cluster_id' | 'to_version_id'>;

/** Who tells: the api of its request, or a guest of its work. */
export type ServerType = 'api' | 'guest';

/** Of the whole upgrade: `dbaas.cluster_upgrade.*`. */
export function clusterNotification(about: About, server_type: ServerType = 'api'): Notification {
  const { requested_by, tenant_id, cluster_id, to_version_id } = about;
  const { request_id, client_ip = '', server_ip = '' } = requested_by;
  return {
    request_id,
    server_type,
    client_ip,
    server_ip,
    tenant_id,
    cluster_id,
    datastore_version: to_version_id,
  };
}

/** Of one instance's part in it: `dbaas.upgrade.*`. */
export function instanceNotification(
  about: About,
  instance_id: string,
  server_type: ServerType = 'api',
): Notification {
  const { to_version_id } = about;
  return { ...clusterNotification(about, server_type), instance_id, datastore_version_id: to_version_id };
}

/** As it rides in a context: with the name of the class that a receiver rebuilds it as. */
export function inContext(
  of: 'DBaaSClusterUpgrade' | 'DBaaSInstanceUpgrade',
  payload: Notification,
): Notification {
  return { ...payload, notification_classname: `trove.common.notification.${of}` };
}

/** An event as notifications tell it: `event_type` and its payload. Null for one that Trove's world has no word for. */
export function notificationOf(
  upgrade: Upgrade,
  event: UpgradeEvent,
): { readonly event_type: string; readonly payload: Notification } | null {
  const qualifier = QUALIFIERS[event.type];
  if (qualifier === undefined) return null;
  const trouble = qualifier === 'error' ? { message: event.message, exception: event.message } : {};
  if (upgrade.instance_id !== undefined) {
    if (!isOfTheWhole(upgrade, event)) return null;
    const payload = { ...instanceNotification(upgrade, upgrade.instance_id), ...trouble };
    return { event_type: `dbaas.upgrade.${qualifier}`, payload };
  }
  if (event.instance_id === undefined) {
    const payload = { ...clusterNotification(upgrade), ...trouble };
    return { event_type: `dbaas.cluster_upgrade.${qualifier}`, payload };
  }
  const step = upgrade.steps.find(({ id }) => id === event.step);
  const isFirst = event.type !== 'step_started' || event.attempt === 1;
  if ((step && step.kind !== 'instance') || !isFirst) return null;
  const payload = { ...instanceNotification(upgrade, event.instance_id), ...trouble };
  return { event_type: `dbaas.upgrade.${qualifier}`, payload };
}

/**
 * Of an upgrade of one instance alone: its start and its end, as trove-api tells of what it was asked for. A
 * failure is told when its attempts are used up, and not again when somebody ends the upgrade for that.
 */
function isOfTheWhole({ steps }: Upgrade, { type, instance_id }: UpgradeEvent): boolean {
  if (type === 'step_failed') return true;
  const isTold = QUALIFIERS[type] === 'error' && steps.some(({ phase }) => phase.name === 'failed');
  return instance_id === undefined && !isTold;
}

/** `end` when it has ended well, and then only. */
const QUALIFIERS: Readonly<Partial<Record<UpgradeEvent['type'], 'start' | 'end' | 'error'>>> = {
  accepted: 'start',
  succeeded: 'end',
  failed: 'error',
  cancelled: 'error',
  rolled_back: 'error',
  step_started: 'start',
  step_done: 'end',
  step_failed: 'error',
};
