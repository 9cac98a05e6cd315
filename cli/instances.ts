/** What several commands say about instances: why an instance is not well. */
import type { ClusterDocument, ClusterInstanceDocument } from '../client/index.ts';

type Unwell = Pick<ClusterInstanceDocument, 'name' | 'status' | 'fault' | 'service_message' | 'heard'>;

/** A sentence for each instance that has a trouble; empty for a cluster that is well. */
export function troublesIn({ instances }: ClusterDocument): readonly string[] {
  return instances.flatMap((instance) => {
    const reasons = reasonsOf(instance);
    return reasons.length === 0 ? [] : [`${instance.name} is ${instance.status}: ${reasons.join('; ')}`];
  });
}

/**
 * Why an instance is not well: what Coffer could not do to it, what its guest agent reports, and how long the
 * agent has been silent.
 */
export function reasonsOf({
  status,
  fault,
  service_message,
  heard,
}: Omit<Unwell, 'name'>): readonly string[] {
  const silence =
    heard === null ? 'its guest agent was never heard' : `its guest agent was last heard at ${heard}Z`;
  return [
    ...(fault === undefined ? [] : [fault.message]),
    ...(service_message === null || service_message === fault?.message ? [] : [service_message]),
    ...(status === 'UNKNOWN' ? [silence] : []),
  ];
}
