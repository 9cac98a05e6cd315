/**
 * Coffer's client, for Node.js and browsers. Needs nothing but `fetch`.
 *
 *     const client = createClient({ endpoint: 'http://127.0.0.1:8779/v1.0/demo' });
 *     const { upgrade_id } = await client.clusters.upgrade('shop', '17.10');
 *     for await (const event of client.upgrades.watch(upgrade_id)) console.log(event.message);
 *
 * - `clusters.ts` · `instances.ts` · `upgrades.ts` · `batches.ts` · `datastores.ts` · `dead-letters.ts` the
 *   requests
 * - `events.ts` event streams that survive lost connections · `pages.ts` listings page by page
 * - `http.ts` one endpoint · `errors.ts` `CofferApiError` · `references.ts` document, id or name · `time.ts`
 */

import type { HealthReportAnswer, HealthReportDocument } from '../src/contract/health.ts';
import type {
  IdentityAnswer,
  IdentityDocument,
  PermissionsAnswer,
  PermissionsDocument,
} from '../src/contract/permissions.ts';
import { Batches } from './batches.ts';
import { Clusters } from './clusters.ts';
import { Datastores } from './datastores.ts';
import { DeadLetters } from './dead-letters.ts';
import { type ClientOptions, Http } from './http.ts';
import { Instances } from './instances.ts';
import { Upgrades } from './upgrades.ts';

export type {
  AdoptInput,
  AdoptingClusterDocument,
  AdoptionDocument,
} from '../src/contract/adoption-documents.ts';
export type {
  BatchDocument,
  BatchEventDocument,
  BatchMemberDocument,
  ResolvedBatchAnswer,
  WaveDocument,
} from '../src/contract/batch-documents.ts';
export type { CreateBatchInput } from '../src/contract/batch-requests.ts';
export type {
  DatastoreDocument,
  DatastoreVersionDocument,
  DatastoreVersionListed,
  ManagedVersionDocument,
  NewVersionInput,
  VersionChangeInput,
} from '../src/contract/catalogue.ts';
export type {
  DeadLetterDocument,
  DeadLetterListed,
  DeadLettersAnswer,
} from '../src/contract/dead-letters.ts';
export type {
  ClusterDocument,
  ClusterInstanceDocument,
  CreatedClusterDocument,
  InstanceDocument,
} from '../src/contract/documents.ts';
export type { HealthReportDocument } from '../src/contract/health.ts';
export type { AddedInstanceInput, CreateClusterInput } from '../src/contract/http.ts';
export type { IdentityDocument, PermissionsDocument } from '../src/contract/permissions.ts';
export type { PolicyDocument, PolicyRequest } from '../src/contract/policy.ts';
export type { SimulatedProperties } from '../src/contract/simulated.ts';
export type {
  EventDocument,
  PlanDocument,
  StepDocument,
  UpgradeDocument,
} from '../src/contract/upgrade-documents.ts';
export type { Batches, BatchWatchOptions } from './batches.ts';
export type { Clusters, UpgradeOptions, UpgradingCluster, WaitOptions } from './clusters.ts';
export type { Datastores } from './datastores.ts';
export type { DeadLetters } from './dead-letters.ts';
export { type ClientErrorCode, CofferApiError } from './errors.ts';
export type { ClientOptions } from './http.ts';
export type { Instances } from './instances.ts';
export type { Reference } from './references.ts';
export type { Upgrades, UpgradeWatchOptions } from './upgrades.ts';

export interface CofferClient {
  readonly clusters: Clusters;
  readonly instances: Instances;
  readonly upgrades: Upgrades;
  readonly batches: Batches;
  readonly datastores: Datastores;
  readonly deadLetters: DeadLetters;
  /** Who the caller is, and what they may do for this tenant. */
  permissions(): Promise<PermissionsDocument>;
  /**
   * The state of Redis, RabbitMQ, taskmanagers and guests. For administrators: others are refused with
   * `forbidden`.
   */
  health(): Promise<HealthReportDocument>;
}

/** A client for one tenant of one API. Opens no connection yet. */
export function createClient(options: ClientOptions): CofferClient {
  const http = new Http(options);
  return {
    clusters: new Clusters(http),
    instances: new Instances(http),
    upgrades: new Upgrades(http),
    batches: new Batches(http),
    datastores: new Datastores(http),
    deadLetters: new DeadLetters(http),
    permissions: async () => (await http.get<PermissionsAnswer>('/permissions')).permissions,
    health: async () => (await http.get<HealthReportAnswer>('/health')).health,
  };
}

/**
 * Whose token it is: `project_id` is the tenant to put into the endpoint of a client. `endpoint` is here the
 * API's, without a tenant: `http://127.0.0.1:8779/v1.0`. Rejects with `unauthorized` where a token is missing
 * or not valid.
 */
export async function identify(options: ClientOptions): Promise<IdentityDocument> {
  return (await new Http(options).get<IdentityAnswer>('/identity')).identity;
}
