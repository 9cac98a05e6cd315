/**
 * The notifications that Trove's services send one another about an upgrade. The payload also travels in the
 * context of their messages, so that the service that ends the work can send the notification of its end.
 */
import type { Upgrade, UpgradeEvent } from './record.ts';

type Notification = Readonly<Record<string, string>>;

type About = Pick<Upgrade, 'requested_by' | 'tenant_id' | 'cluster_id' | 'to_version_id'>;

/** Who sends the notification: the api about its request, or a guest about its work. */
type ServerType = 'api' | 'guest';

/** About the whole upgrade: `dbaas.cluster_upgrade.*`. */
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

/** About one instance's part in the upgrade: `dbaas.upgrade.*`. */
export function instanceNotification(
  about: About,
  instance_id: string,
  server_type: ServerType = 'api',
): Notification {
  const { to_version_id } = about;
  return { ...clusterNotification(about, server_type), instance_id, datastore_version_id: to_version_id };
}

/** The payload as it travels in a context: with the name of the class that a receiver rebuilds it as. */
export function inContext(
  of: 'DBaaSClusterUpgrade' | 'DBaaSInstanceUpgrade',
  payload: Notification,
): Notification {
  return { ...payload, notification_classname: `trove.common.notification.${of}` };
}

/**
 * An event as a notification: `event_type` and payload. Null for an event that Trove has no notification for.
 */
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
 * For an upgrade of one instance alone: its start and its end, as trove-api sends them about its requests. A
 * failure is sent when the attempts are used up, and not again when somebody ends the upgrade because of it.
 */
function isOfTheWhole({ steps }: Upgrade, { type, instance_id }: UpgradeEvent): boolean {
  if (type === 'step_failed') return true;
  const isTold = QUALIFIERS[type] === 'error' && steps.some(({ phase }) => phase.name === 'failed');
  return instance_id === undefined && !isTold;
}

/** `end` only if the upgrade or step has ended well. */
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
