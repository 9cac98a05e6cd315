/** Turns records into the documents that the contract defines. Pure. */

import type { FastifyRequest } from 'fastify';
import type { ManagedVersionDocument } from '../src/contract/catalogue.ts';
import type {
  ClusterDocument,
  ClusterInstanceDocument,
  DatastoreDocument,
  DatastoreVersionDocument,
  DatastoreVersionListed,
  EventDocument,
  FlavorDocument,
  InstanceDocument,
  InstanceStatus,
  PlanDocument,
  StepDocument,
  UpgradeDocument,
} from '../src/contract/documents.ts';
import type { PolicyDocument } from '../src/contract/policy.ts';
import {
  type Cluster,
  type ClusterTask,
  type Datastore,
  type DatastoreVersion,
  type Instance,
  type Instant,
  versionOf,
} from '../src/core/domain.ts';
import type { Policy } from '../src/core/policy.ts';
import type { Plan } from '../src/core/preview.ts';
import { primaryProblems } from '../src/core/primaries.ts';
import { isActive, type Step, type Upgrade, type UpgradeEvent } from '../src/core/record.ts';
import { describe, estimatedEnd } from '../src/core/status.ts';
import { possibleActions } from '../src/core/upgrade/actions.ts';

/** The address under which the caller has reached us: links use the same address. */
export interface Urls {
  readonly origin: string;
  /** Including version and tenant. */
  readonly tenant: string;
}

export function urlsOf(request: FastifyRequest): Urls {
  const origin = originOf(request);
  return { origin, tenant: `${origin}/v1.0/${request.caller.tenant_id}` };
}

export function originOf(request: FastifyRequest): string {
  return `${request.protocol}://${request.host || 'localhost'}`;
}

export interface Link {
  href: string;
  rel: 'self' | 'bookmark' | 'next';
}

function links(urls: Urls, path: string): Link[] {
  return [
    { href: `${urls.tenant}/${path}`, rel: 'self' },
    { href: `${urls.origin}/${path}`, rel: 'bookmark' },
  ];
}

/** `links` of a page: absent on the last one. `filter` is the rest of the query. */
export function nextLink(
  urls: Urls,
  path: string,
  limit: number,
  marker: string | null,
  filter: readonly string[] = [],
): { links?: Link[] } {
  if (marker === null) return {};
  const query = [...filter, `limit=${limit}`, `marker=${marker}`].join('&');
  return { links: [{ rel: 'next', href: `${urls.tenant}/${path}?${query}` }] };
}

/** Trove's ids and descriptions of the tasks. */
const TASKS: Readonly<Record<ClusterTask, { readonly id: number; readonly description: string }>> = {
  NONE: { id: 1, description: 'No tasks for the cluster.' },
  BUILDING: { id: 2, description: 'Building the initial cluster.' },
  DELETING: { id: 3, description: 'Deleting the cluster.' },
  GROWING_CLUSTER: { id: 5, description: 'Increasing the size of the cluster.' },
  SHRINKING_CLUSTER: { id: 6, description: 'Decreasing the size of the cluster.' },
  UPGRADING_CLUSTER: { id: 7, description: 'Upgrading the cluster to new version.' },
};

/** A guest from which nothing was received for this long may be in any state. */
const SILENT_MS = 60_000;

/** What is read together with a cluster. */
interface Known {
  /** The record of `upgrade_id`; null if it is gone or was not read. */
  readonly upgrade?: Upgrade | null;
  readonly upgrades_to?: readonly string[];
}

export function clusterView(
  cluster: Cluster,
  urls: Urls,
  now: Instant,
  { upgrade, upgrades_to }: Known = {},
): ClusterDocument {
  const ip = cluster.instances.flatMap(addresses);
  return {
    id: cluster.id,
    name: cluster.name,
    task: { id: TASKS[cluster.task].id, name: cluster.task, description: TASKS[cluster.task].description },
    created: troveTime(cluster.created),
    updated: troveTime(cluster.updated),
    links: links(urls, `clusters/${cluster.id}`),
    datastore: { type: cluster.datastore_name, version: cluster.datastore_version },
    instances: cluster.instances.map((instance) => clusterInstance(cluster, instance, urls, now)),
    ...(ip.length > 0 && { ip }),
    ...(Object.keys(cluster.extended_properties).length > 0 && {
      extended_properties: cluster.extended_properties,
    }),
    upgrade_id: cluster.upgrade_id,
    problems: [...primaryProblems(cluster)],
    ...(upgrade && isActive(upgrade) && { upgrade: presentUpgrade(upgrade) }),
    ...(upgrades_to && { upgrades_to: [...upgrades_to] }),
  };
}

function presentUpgrade(upgrade: Upgrade): NonNullable<ClusterDocument['upgrade']> {
  return {
    ...stateOf(upgrade),
    to: upgrade.to_version,
    cancelling: upgrade.cancelling,
    silent: upgrade.silent,
  };
}

/** The state as documents show it: the direction, why the upgrade is paused, since when, and until when. */
function stateOf({ state, direction }: Upgrade) {
  const isPaused = state.name === 'paused';
  return {
    state: state.name === 'running' && direction === 'back' ? ('rolling_back' as const) : state.name,
    reason: isPaused ? state.reason : null,
    message: 'message' in state ? state.message : null,
    since: isPaused ? time(state.since) : null,
    until: isPaused && state.until !== null ? time(state.until) : null,
  };
}

function clusterInstance(
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

function replicatesFrom({ report }: Instance, other: Instance): boolean {
  const [from, to] = [report?.upstream, other.report?.endpoint];
  return !!from && !!to && from.host === to.host && from.port === to.port;
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
  const { report, fault, heard } = instance;
  return {
    role: report?.role ?? null,
    version: versionOf(instance),
    endpoint: report?.endpoint ?? null,
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

function addresses({ report }: Instance): { address: string; type: 'private'; network: string }[] {
  const endpoint = report?.endpoint;
  return endpoint ? [{ address: endpoint.host, type: 'private', network: 'private' }] : [];
}

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

export function datastoreView(
  datastore: Datastore,
  versions: readonly DatastoreVersion[],
  urls: Urls,
): DatastoreDocument {
  const { default_version_id } = datastore;
  // Trove's command line searches the versions for the default's name.
  const default_version = versions.find(({ id }) => id === default_version_id)?.id;
  return {
    id: datastore.id,
    name: datastore.name,
    links: links(urls, `datastores/${datastore.id}`),
    versions: versions.map((version) => ({
      ...versionFields(version, urls),
      active: version.active ? 1 : 0,
    })),
    ...(default_version !== undefined && { default_version }),
  };
}

export function versionView(version: DatastoreVersion, urls: Urls): DatastoreVersionDocument {
  return { ...versionFields(version, urls), datastore: version.datastore_id, active: version.active };
}

export function listedVersionView(version: DatastoreVersion, urls: Urls): DatastoreVersionListed {
  return { ...versionFields(version, urls), datastore: version.datastore_id, active: version.active ? 1 : 0 };
}

function versionFields(version: DatastoreVersion, urls: Urls) {
  return {
    id: version.id,
    name: version.name,
    version: version.name,
    links: links(urls, `datastores/versions/${version.id}`),
    packages: version.packages.join(','),
    image: version.image,
    image_tags: [...version.image_tags],
    upgrade_from: version.upgrade_from,
    not_mixed_with: version.not_mixed_with,
  };
}

/** The form in which Trove's administrators see a version. */
export function managedVersionView(version: DatastoreVersion, datastore: Datastore): ManagedVersionDocument {
  const { id, name, manager, image, active, upgrade_from, not_mixed_with } = version;
  return {
    ...{ id, name, version: name, datastore_id: datastore.id, datastore_name: datastore.name },
    ...{ datastore_manager: manager, image, active, upgrade_from, not_mixed_with },
    image_tags: [...version.image_tags],
    packages: [...version.packages],
    default: datastore.default_version_id === id,
  };
}

/** `cluster` gives the instances their names; null once it has been removed. */
export function upgradeView(upgrade: Upgrade, cluster: Cluster | null, now: Instant): UpgradeDocument {
  const { state, steps } = upgrade;
  const { user, request_id, via } = upgrade.requested_by;
  const estimated_end = estimatedEnd(upgrade, cluster, now);
  return {
    id: upgrade.id,
    cluster_id: upgrade.cluster_id,
    cluster_name: cluster?.name ?? null,
    instance_id: upgrade.instance_id ?? null,
    ...stateOf(upgrade),
    status: describe(upgrade, cluster, now),
    cancelling: upgrade.cancelling,
    actions: [...possibleActions(upgrade, cluster)],
    from: { id: upgrade.from_version_id, name: upgrade.from_version },
    to: { id: upgrade.to_version_id, name: upgrade.to_version },
    policy: policyView(upgrade.policy),
    progress: progressOf(upgrade),
    steps: steps.map((step) => stepView(step, cluster)),
    seq: upgrade.seq,
    requested_by: { user, request_id, via },
    follows: upgrade.follows,
    batch_id: upgrade.batch?.id ?? null,
    write_outage_ms: upgrade.write_outage_ms,
    created: time(upgrade.created),
    started: 'started' in state ? time(state.started) : null,
    ended: 'ended' in state ? time(state.ended) : null,
    silent: upgrade.silent,
    last_progress: time(upgrade.progressed),
    estimated_end: estimated_end === null ? null : time(estimated_end),
  };
}

function policyView(policy: Policy): PolicyDocument {
  const { not_before, overrides, ...rest } = policy;
  return { ...rest, overrides: [...overrides], not_before: not_before === null ? null : time(not_before) };
}

/** Counts the steps towards the present goal: once a rollback has begun, the steps back. */
function progressOf({ steps, round }: Upgrade): { done: number; total: number } {
  const present = steps.filter((step) => step.round === round);
  return { done: present.filter((step) => step.phase.name === 'done').length, total: present.length };
}

function stepView(step: Step, cluster: Cluster | null): StepDocument {
  const { phase } = step;
  const blocked = phase.name === 'pending' ? phase.blocked : null;
  return {
    id: step.id,
    stage: step.stage,
    kind: step.kind,
    instance_id: step.instance_id,
    instance_name: instanceName(cluster, step.instance_id),
    successor_id: step.successor_id,
    phase: phase.name,
    attempt: step.attempt,
    error: 'error' in phase ? phase.error : null,
    blocked: blocked && { gate: blocked.gate, reason: blocked.reason, since: time(blocked.since) },
    started: step.started === null ? null : time(step.started),
    ended: 'ended' in phase ? time(phase.ended) : null,
  };
}

export function planView({ steps, gates, findings, ...plan }: Plan): PlanDocument {
  return { ...plan, steps: [...steps], gates: [...gates], findings: [...findings] };
}

export function eventView(event: UpgradeEvent, cluster: Cluster | null): EventDocument {
  const instance_id = event.instance_id ?? null;
  return {
    seq: event.seq,
    at: time(event.at),
    type: event.type,
    instance_id,
    instance_name: instance_id === null ? null : instanceName(cluster, instance_id),
    step: event.step ?? null,
    attempt: event.attempt ?? null,
    phase: event.phase ?? null,
    message: event.message,
  };
}

function instanceName(cluster: Cluster | null, id: string): string | null {
  return cluster?.instances.find((instance) => instance.id === id)?.name ?? null;
}

/** `2026-11-22T16:49:48.123Z` */
function time(instant: Instant): string {
  return new Date(instant).toISOString();
}

/** `2026-11-22T16:49:48`: Trove omits the time zone. */
function troveTime(instant: Instant): string {
  return time(instant).slice(0, 19);
}
