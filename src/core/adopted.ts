/**
 * Clusters whose servers existed before Coffer knew them. Their agents report what they have found
 * (`adoption.ts`); here is decided what the record may say about such a cluster, and what keeps the cluster
 * from being upgraded.
 */
import { refusalSentence } from './adoption.ts';
import {
  type Cluster,
  type DatastoreVersion,
  type Endpoint,
  type Instance,
  primaryOf,
  versionOf,
} from './domain.ts';
import type { Finding } from './phase.ts';

const GATE = 'adoption_accepted';

/** What an adopted cluster is, by what its servers say. */
export interface Settlement {
  readonly version: Pick<DatastoreVersion, 'id' | 'name'>;
  readonly system_identifier: string;
}

/** The catalogue's part that is about a cluster: null where it was not read, and nothing depends on it. */
type Versions = readonly DatastoreVersion[] | null;

/**
 * Everything that keeps an adopted cluster from being upgraded: an agent that has not reported, what an agent
 * refuses, and servers that do not belong together. Empty for all other clusters.
 */
export function adoptionFindings(cluster: Cluster, versions: Versions): readonly Finding[] {
  if (!cluster.adopted) return [];
  const reasons = [
    ...cluster.instances.flatMap(reasonsOf),
    ...strangers(cluster),
    ...otherData(cluster),
    ...(versions ? unknownVersions(cluster, versions) : []),
  ];
  return reasons.map((reason) => ({ gate: GATE, reason }));
}

/** What the agent of an instance refuses, each with its way out. */
export function refusalsOf({ name, report }: Instance): readonly Finding[] {
  const refusals = report?.adoption?.refusals ?? [];
  return refusals.map((refusal) => ({ gate: GATE, reason: `${name}: ${refusalSentence(refusal)}` }));
}

/**
 * The name by which a primary knows a standby. A server that Coffer built has its instance's name; an adopted one
 * has the name that its operator gave it.
 */
export function streamNameOf({ name, report }: Instance): string {
  return report?.adoption?.server?.streams_as ?? name;
}

function reasonsOf(instance: Instance): readonly string[] {
  const { name, address, report, fault, task } = instance;
  if (report === null) {
    return [
      `${name} (${placeOf(address)}): its agent has not joined: start it there, with its own join token`,
    ];
  }
  if (!report.adoption) {
    return [
      `${name} (${placeOf(address)}): its agent does not report on a server that it adopts: see its log`,
    ];
  }
  const blocked = task === 'BUILDING' && fault !== null ? [`${name}: ${fault}`] : [];
  return [...blocked, ...refusalsOf(instance).map(({ reason }) => reason)];
}

/** Servers of one cluster have the same data, and so the same system identifier. */
function strangers({ instances }: Cluster): readonly string[] {
  if (systemsOf(instances).length < 2) return [];
  const each = instances.flatMap((instance) => {
    const system = systemOf(instance);
    return system === null ? [] : [`${instance.name} has the system identifier ${system}`];
  });
  return [
    `these servers are not of one cluster (${each.join(', ')}): release this one, and adopt each cluster by itself`,
  ];
}

/** The data that was adopted is gone, e.g. because the data directory was made anew from a dump. */
function otherData({ name, instances, system_identifier: adopted }: Cluster): readonly string[] {
  const [now, ...others] = systemsOf(instances);
  if (adopted === undefined || now === undefined || others.length > 0 || now === adopted) return [];
  return [
    `the servers hold other data than the ones that were adopted (system identifier ${now}, and not ${adopted}): coffer cluster-release ${name}, then adopt them again`,
  ];
}

function unknownVersions(cluster: Cluster, versions: readonly DatastoreVersion[]): readonly string[] {
  const { instances, datastore_name, manager } = cluster;
  const names = new Set(instances.map(versionOf).filter((name) => name !== null));
  return [...names]
    .filter((name) => !versionIn(cluster, versions, name))
    .map(
      (name) =>
        `the catalogue has no version ${name}, which runs here: an administrator adds it (coffer datastore-version-create ${name} ${datastore_name} ${manager} --active)`,
    );
}

/**
 * What the record should say about an adopted cluster, if its servers say it; null if they do not yet, or if
 * they say what the record says. At first the version is the primary's. Afterwards the record follows only
 * servers that all say the same (G5): one of them may have been upgraded by hand.
 */
export function settlementOf(cluster: Cluster, versions: readonly DatastoreVersion[]): Settlement | null {
  const { task, instances } = cluster;
  if (task !== 'BUILDING' && task !== 'NONE') return null;
  // A fault of the adoption itself is tried anew: the other cluster may have let its server go.
  const blameless = { ...cluster, instances: instances.map((one) => ({ ...one, fault: null })) };
  if (!cluster.adopted || adoptionFindings(blameless, versions).length > 0) return null;
  const primary = primaryOf(cluster);
  const [system_identifier] = systemsOf(instances);
  const said = primary ? versionOf(primary) : null;
  const version = said === null ? undefined : versionIn(cluster, versions, said);
  if (!version || system_identifier === undefined) return null;
  if (task === 'BUILDING') return { version, system_identifier };
  const isSaidByAll = instances.every((instance) => versionOf(instance) === said);
  return isSaidByAll && version.id !== cluster.datastore_version_id ? { version, system_identifier } : null;
}

function versionIn({ datastore_id }: Cluster, versions: readonly DatastoreVersion[], name: string) {
  return versions.find((version) => version.datastore_id === datastore_id && version.name === name);
}

function systemOf({ report }: Instance): string | null {
  return report?.adoption?.server?.system_identifier ?? null;
}

function systemsOf(instances: readonly Instance[]): readonly string[] {
  return [...new Set(instances.map(systemOf).filter((system) => system !== null))];
}

export function placeOf(address: Endpoint | undefined): string {
  return address ? `${address.host}:${address.port}` : 'no address';
}
