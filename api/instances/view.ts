import type {
  ClusterInstanceDocument,
  FlavorDocument,
  InstanceDocument,
  InstanceStatus,
} from '../../src/contract/documents.ts';
import { type Cluster, type Instance, type Instant, versionOf } from '../../src/core/domain.ts';
import { replicatesFrom } from '../../src/core/primaries.ts';
import { links, type Urls } from '../http/urls.ts';
import { troveTime } from '../times.ts';

export function instanceView(
  cluster: Cluster,
  instance: Instance,
  urls: Urls,
  now: Instant,
): InstanceDocument {
  const status = instanceStatus(cluster, instance, now);
  const version = versionOf(instance) ?? cluster.datastore_version;
  return {
    id: instance.id,
    name: instance.name,
    status,
    operating_status: status === 'ACTIVE' ? 'HEALTHY' : '',
    links: links(urls, `instances/${instance.id}`),
    flavor: flavor(instance, urls),
    datastore: { type: cluster.datastore_name, version, version_number: version },
    region: null,
    access: { is_public: false, allowed_cidrs: [] },
    tenant_id: cluster.tenant_id,
    volume: { size: instance.volume_size },
    ip: addresses(instance).map(({ address }) => address),
    addresses: addresses(instance),
    created: troveTime(cluster.created),
    updated: troveTime(cluster.updated),
    service_status_updated: troveTime(instance.heard ?? cluster.created),
    cluster_id: cluster.id,
    server_id: null,
    volume_id: null,
    encrypted_rpc_messaging: false,
    ...neighbours(cluster, instance, urls),
    ...observed(cluster, instance),
  };
}

export function clusterInstance(
  cluster: Cluster,
  instance: Instance,
  urls: Urls,
  now: Instant,
): ClusterInstanceDocument {
  return {
    id: instance.id,
    name: instance.name,
    type: 'member',
    links: links(urls, `instances/${instance.id}`),
    status: instanceStatus(cluster, instance, now),
    volume: { size: instance.volume_size },
    flavor: flavor(instance, urls),
    ip: addresses(instance),
    ...upstreamOf(cluster, instance, urls),
    ...observed(cluster, instance),
  };
}

/** Who replicates from whom: as the servers report it, even if that is not what they were ordered. */
function neighbours(cluster: Cluster, instance: Instance, urls: Urls) {
  const { instances } = cluster;
  const { role } = instance.report ?? {};
  const replicas = instances.filter((other) => replicatesFrom(other, instance));
  return {
    ...upstreamOf(cluster, instance, urls),
    ...((role === 'primary' || replicas.length > 0) && {
      replicas: replicas.map((replica) => neighbour(replica, urls)),
    }),
  };
}

function upstreamOf({ instances }: Cluster, instance: Instance, urls: Urls) {
  const upstream = instances.find((other) => replicatesFrom(instance, other));
  return upstream ? { replica_of: neighbour(upstream, urls) } : {};
}

function neighbour({ id }: Instance, urls: Urls) {
  return { id, links: links(urls, `instances/${id}`) };
}

/** A label; see `FlavorDocument`. */
export function flavorView(label: string, urls: Urls): FlavorDocument {
  return {
    id: /^\d{1,9}$/.test(label) ? Number(label) : null,
    str_id: label,
    name: label,
    links: links(urls, `flavors/${encodeURIComponent(label)}`),
    ...{ ram: 0, vcpus: 0, disk: 0, ephemeral: 0 },
  };
}

/** What we know about an instance beyond what Trove shows. */
function observed({ updated }: Cluster, instance: Instance) {
  const { report, fault, heard, address = null } = instance;
  return {
    role: report?.role ?? null,
    version: versionOf(instance),
    endpoint: report?.endpoint ?? address,
    lag_bytes: report?.lag_bytes ?? null,
    service_status: report?.service_status ?? 'unknown',
    service_message: report?.message ?? null,
    heard: heard === null ? null : troveTime(heard),
    in_doubt: instance.in_doubt,
    ...(fault !== null && { fault: { message: fault, created: troveTime(updated) } }),
  };
}

function flavor(instance: Instance, urls: Urls) {
  return { id: instance.flavor_id, links: links(urls, `flavors/${encodeURIComponent(instance.flavor_id)}`) };
}

export function addresses({ report }: Instance): { address: string; type: 'private'; network: string }[] {
  const endpoint = report?.endpoint;
  return endpoint ? [{ address: endpoint.host, type: 'private', network: 'private' }] : [];
}

/** A guest from which nothing was received for this long may be in any state. */
const SILENT_MS = 60_000;

/** Trove's name for an instance's state: an operation on the instance takes precedence over its health. */
export function instanceStatus(cluster: Cluster, instance: Instance, now: Instant): InstanceStatus {
  if (cluster.task === 'DELETING') return 'SHUTDOWN';
  switch (instance.task) {
    case 'DELETING':
      return 'SHUTDOWN';
    case 'UPGRADING':
      return 'UPGRADE';
    case 'UPGRADING_ERROR':
      return 'ERROR';
    case 'BUILDING':
      return instance.fault === null ? 'BUILD' : 'ERROR';
    case 'NONE':
      return serviceStatus(instance, now);
  }
}

function serviceStatus({ report, heard }: Instance, now: Instant): InstanceStatus {
  if (report === null || heard === null || now - heard > SILENT_MS) return 'UNKNOWN';
  switch (report.service_status) {
    case 'healthy':
      return 'ACTIVE';
    case 'building':
      return 'BUILD';
    case 'upgrading':
      return 'UPGRADE';
    case 'shutdown':
      return 'SHUTDOWN';
    case 'failed':
      return 'ERROR';
    case 'unknown':
      return 'UNKNOWN';
  }
}
