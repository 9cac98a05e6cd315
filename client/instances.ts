import type { InstanceAnswer, InstanceDocument } from '../src/contract/documents.ts';
import type { PolicyRequest } from '../src/contract/policy.ts';
import type { PlanAnswer, PlanDocument } from '../src/contract/upgrade-documents.ts';
import type { UpgradeOptions } from './clusters.ts';
import type { Http } from './http.ts';
import { idOrName, inPath, type Reference } from './references.ts';

export class Instances {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  /** Rejects with `instance_not_found`; with `conflict` if several instances have that name. */
  async get(instance: Reference): Promise<InstanceDocument> {
    return (await this.#http.get<InstanceAnswer>(pathOf(instance))).instance;
  }

  /**
   * Upgrades only this instance of its cluster, through the same gates as an upgrade of the whole cluster.
   * Resolves with the id of the upgrade when the upgrade is stored safely:
   * `client.upgrades.watch(upgrade_id)` shows its progress. Rejects as `clusters.upgrade` does, and with
   * `instance_not_found`.
   */
  async upgrade(
    instance: Reference,
    datastoreVersion: Reference,
    policy?: PolicyRequest,
    options: UpgradeOptions = {},
  ): Promise<{ readonly upgrade_id: string }> {
    const plan_hash = options.planHash;
    const body = bodyOf(datastoreVersion, policy, plan_hash === undefined ? {} : { plan_hash });
    return { upgrade_id: await this.#http.begin('PATCH', pathOf(instance), { body }) };
  }

  /** What `upgrade` with the same arguments would do, and every gate that would hold it back now. Changes nothing. */
  async plan(
    instance: Reference,
    datastoreVersion: Reference,
    policy?: PolicyRequest,
  ): Promise<PlanDocument> {
    const body = bodyOf(datastoreVersion, policy, { dry_run: true });
    return (await this.#http.send<PlanAnswer>('PATCH', pathOf(instance), { body })).plan;
  }
}

function pathOf(instance: Reference): string {
  return `/instances/${inPath(instance)}`;
}

function bodyOf(datastoreVersion: Reference, policy: PolicyRequest | undefined, more: object) {
  const datastore_version = idOrName(datastoreVersion);
  return { instance: { datastore_version, ...(policy !== undefined && { policy }), ...more } };
}
