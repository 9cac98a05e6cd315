import type { AdoptionDocument } from '../../src/contract/adoption-documents.ts';
import { adoptionFindings } from '../../src/core/adopted.ts';
import type { AdoptionReport } from '../../src/core/adoption.ts';
import type { Catalogue } from '../../src/core/catalogue.ts';
import type { Cluster, Instance } from '../../src/core/domain.ts';
import { isoOrNull } from '../times.ts';

/** The report on an adopted cluster: what was found on each host, what would be changed, what is refused. */
export function adoptionView(cluster: Cluster, { versions }: Catalogue): AdoptionDocument {
  const gates = adoptionFindings(cluster, versions);
  return {
    cluster_id: cluster.id,
    cluster_name: cluster.name,
    accepted: gates.length === 0,
    gates: [...gates],
    system_identifier: cluster.system_identifier ?? null,
    instances: cluster.instances.map(instanceReport),
  };
}

type InstanceReport = AdoptionDocument['instances'][number];

function instanceReport({ id, name, address, report, heard }: Instance): InstanceReport {
  const { host, server, changes = [], refusals = [] }: Partial<AdoptionReport> = report?.adoption ?? {};
  return {
    instance_id: id,
    instance_name: name,
    address: address ?? null,
    role: report?.role ?? null,
    heard: isoOrNull(heard),
    host: host ? { ...host, versions: [...host.versions] } : null,
    server: server ? serverView(server) : null,
    changes: [...changes],
    refusals: [...refusals],
  };
}

type Server = NonNullable<AdoptionReport['server']>;

function serverView(server: Server): NonNullable<InstanceReport['server']> {
  // The name in replication is for the core, which tells a primary who its successor is.
  const { streams_as: _, ...shown } = server;
  const { socket_directories, settings, slots, extensions, preload_libraries, tablespaces } = shown;
  return {
    ...shown,
    socket_directories: [...socket_directories],
    settings: [...settings],
    slots: [...slots],
    extensions: [...extensions],
    preload_libraries: [...preload_libraries],
    tablespaces: [...tablespaces],
  };
}
