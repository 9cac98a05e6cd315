import { TASKMANAGER_TOPIC } from '../src/bus/bus.ts';
import { UpgradeAnswer, UpgradesAnswer } from '../src/contract/documents.ts';
import { isId } from '../src/contract/fields.ts';
import { ClusterParams, PageQuery, UpgradeActionBody, UpgradeParams } from '../src/contract/http.ts';
import { UpgradeActionAnswer, type UpgradeActionArgs } from '../src/contract/rpc.ts';
import { CofferError } from '../src/core/errors.ts';
import { ACTIONS, type Action } from '../src/core/machine/advance.ts';
import type { Loaded } from '../src/store/store.ts';
import type { Caller } from './auth.ts';
import { findCluster } from './clusters.ts';
import type { App, Deps } from './deps.ts';
import { requireOneAction } from './one-action.ts';
import { nextLink, upgradeView, urlsOf } from './views.ts';

const tags = ['upgrades'];
/** A person waits for it. */
const ACTION_TIMEOUT_MS = 5_000;

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

  app.post(
    '/upgrades/:upgrade_id',
    {
      preValidation: requireOneAction(ACTIONS),
      schema: {
        tags,
        summary: 'Act on an upgrade: pause, resume, approve, retry or cancel',
        description:
          'Answered with the upgrade as it is afterwards; 422 if its state does not allow the action, with the reason. To ask for the same twice does no harm.',
        params: UpgradeParams,
        body: UpgradeActionBody,
        response: { 202: UpgradeAnswer },
      },
    },
    async (request, reply) => {
      const { upgrade_id } = request.params;
      await findUpgrade(deps, request.caller, upgrade_id);
      for (const action of ACTIONS) {
        if (request.body[action] !== undefined) await act(deps, request.caller, upgrade_id, action);
      }
      const { upgrade, cluster } = await findUpgrade(deps, request.caller, upgrade_id);
      return reply.code(202).send({ upgrade: upgradeView(upgrade, cluster) });
    },
  );
}

/** Has a taskmanager do what a person wants. Rejects with `action_refused` or `bus_unavailable`. */
async function act(deps: Deps, caller: Caller, upgrade_id: string, action: Action): Promise<void> {
  const { tenant_id, user, request_id } = caller;
  const args: UpgradeActionArgs = { upgrade_id, action, by: user ?? 'an operator' };
  const context = { request_id, tenant_id, user, is_admin: false };
  const answer = await deps.bus
    .call(TASKMANAGER_TOPIC, 'upgrade_action', args, { timeout_ms: ACTION_TIMEOUT_MS, context })
    .catch((cause: unknown) => {
      throw isSilence(cause) ? outcomeUnknown(action, cause) : cause;
    });
  const outcome = UpgradeActionAnswer.parse(answer);
  if (outcome.verdict !== 'refused') return;
  const { state } = (await findUpgrade(deps, caller, upgrade_id)).upgrade;
  const message = `Upgrade ${upgrade_id} is ${state.name}, and '${action}' is refused: ${outcome.reason}.`;
  throw new CofferError('action_refused', message);
}

function isSilence(error: unknown): boolean {
  return error instanceof CofferError && error.code === 'bus_unavailable';
}

function outcomeUnknown(action: Action, cause: unknown): CofferError {
  const message = `No taskmanager has answered: '${action}' may or may not have been carried out. Ask for it again: twice does no harm.`;
  return new CofferError('bus_unavailable', message, { cause });
}

/** An upgrade of the caller's tenant, with its cluster as it is now. */
export async function findUpgrade(deps: Deps, caller: Caller, id: string): Promise<Loaded> {
  const loaded = isId(id) ? await deps.store.load(id) : null;
  if (loaded?.upgrade.tenant_id !== caller.tenant_id) {
    throw new CofferError('upgrade_not_found', `Upgrade '${id}' cannot be found.`);
  }
  return loaded;
}
