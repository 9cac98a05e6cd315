import { UpgradeAnswer, UpgradesAnswer } from '../src/contract/documents.ts';
import { isId } from '../src/contract/fields.ts';
import { ClusterParams, PageQuery, UpgradeParams } from '../src/contract/http.ts';
import { CofferError } from '../src/core/errors.ts';
import type { Loaded } from '../src/store/store.ts';
import type { Caller } from './auth.ts';
import { findCluster } from './clusters.ts';
import type { App, Deps } from './deps.ts';
import { nextLink, upgradeView, urlsOf } from './views.ts';

const tags = ['upgrades'];

/** `/upgrades`: what became of an upgrade request. */
export function upgradeRoutes(app: App, deps: Deps): void {
  app.get(
    '/clusters/:cluster_id/upgrades',
    {
      schema: {
        tags,
        summary: "A page of a cluster's upgrades, newest first",
        params: ClusterParams,
        querystring: PageQuery,
        response: { 200: UpgradesAnswer },
      },
    },
    async (request) => {
      const { limit, marker = null } = request.query;
      const cluster = await findCluster(deps, request.caller, request.params.cluster_id);
      const page = await deps.store.listUpgrades(cluster.id, { limit, marker });
      return {
        upgrades: page.items.map((upgrade) => upgradeView(upgrade, cluster)),
        ...nextLink(urlsOf(request), `clusters/${cluster.id}/upgrades`, limit, page.next_marker),
      };
    },
  );

  app.get(
    '/upgrades/:upgrade_id',
    {
      schema: {
        tags,
        summary: 'An upgrade with its steps',
        params: UpgradeParams,
        response: { 200: UpgradeAnswer },
      },
    },
    async (request) => {
      const { upgrade, cluster } = await findUpgrade(deps, request.caller, request.params.upgrade_id);
      return { upgrade: upgradeView(upgrade, cluster) };
    },
  );
}

/** An upgrade of the caller's tenant, with its cluster as it is now. */
export async function findUpgrade(deps: Deps, caller: Caller, id: string): Promise<Loaded> {
  const loaded = isId(id) ? await deps.store.load(id) : null;
  if (loaded?.upgrade.tenant_id !== caller.tenant_id) {
    throw new CofferError('upgrade_not_found', `Upgrade '${id}' cannot be found.`);
  }
  return loaded;
}
