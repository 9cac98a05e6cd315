import type { z } from 'zod';
import { isId } from '../../src/contract/fields.ts';
import { ClusterParams, PageQuery, UpgradeActionBody, UpgradeParams } from '../../src/contract/http.ts';
import { UpgradeAnswer, UpgradesAnswer } from '../../src/contract/upgrade-documents.ts';
import { findTarget } from '../../src/core/admit.ts';
import { CofferError } from '../../src/core/errors.ts';
import { FOLLOW_UPS, type FollowUp } from '../../src/core/follow-up.ts';
import { isActive } from '../../src/core/record.ts';
import { ACTIONS, type Action } from '../../src/core/upgrade/inputs.ts';
import { awaitsConfirmation } from '../../src/core/upgrade/trove-guest.ts';
import { beginFollowUp, beginRetryWith } from '../../src/store/begin-upgrade.ts';
import type { Loaded } from '../../src/store/upgrades.ts';
import { type Caller, requestedBy } from '../access/caller.ts';
import { actionRule } from '../access/enforce.ts';
import type { RuleName } from '../access/rules.ts';
import { requestAction } from '../actions.ts';
import { publish } from '../casts.ts';
import { findCluster } from '../clusters/look-up.ts';
import type { App, Deps } from '../deps.ts';
import { requireOneAction } from '../http/one-action.ts';
import { nextLink, urlsOf } from '../http/urls.ts';
import { upgradeView } from './view.ts';

const tags = ['upgrades'];
const RULES = {
  pause: 'upgrade:pause',
  resume: 'upgrade:resume',
  approve: 'upgrade:approve',
  confirm: 'upgrade:confirm',
  retry: 'upgrade:retry',
  cancel: 'upgrade:cancel',
  rollback: 'upgrade:rollback',
} as const satisfies Record<Action, RuleName>;

/** `/upgrades`: the state of an upgrade that was requested. */
export function upgradeRoutes(app: App, deps: Deps): void {
  app.get(
    '/clusters/:cluster_id/upgrades',
    {
      config: { rule: 'upgrade:index' },
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
      const page = await deps.store.upgrades.list(cluster.id, { limit, marker });
      return {
        upgrades: page.items.map((upgrade) => upgradeView(upgrade, cluster, deps.now())),
        ...nextLink(urlsOf(request), `clusters/${cluster.id}/upgrades`, limit, page.next_marker),
      };
    },
  );

  app.get(
    '/upgrades/:upgrade_id',
    {
      config: { rule: 'upgrade:show' },
      schema: {
        tags,
        summary: 'An upgrade with its steps',
        params: UpgradeParams,
        response: { 200: UpgradeAnswer },
      },
    },
    async (request) => {
      const { upgrade, cluster } = await findUpgrade(deps, request.caller, request.params.upgrade_id);
      return { upgrade: upgradeView(upgrade, cluster, deps.now()) };
    },
  );

  app.post(
    '/upgrades/:upgrade_id',
    {
      preValidation: requireOneAction(ACTIONS),
      config: { rule: actionRule(RULES) },
      schema: {
        tags,
        summary: 'Act on an upgrade: pause, resume, approve, confirm, retry, cancel or roll back',
        description:
          'Answered with the upgrade as it is afterwards; 422 if its state does not allow the action, with the reason. To ask for the same twice does no harm. To retry or roll back one that has ended begins another upgrade, which is answered, and to which the header Location leads.',
        params: UpgradeParams,
        body: UpgradeActionBody,
        response: { 202: UpgradeAnswer },
      },
    },
    async (request, reply) => {
      const { upgrade_id } = request.params;
      const answered = await carryOut(deps, request, await findUpgrade(deps, request.caller, upgrade_id));
      const { upgrade, cluster } = await findUpgrade(deps, request.caller, answered);
      if (answered !== upgrade_id) reply.header('location', `${urlsOf(request).tenant}/upgrades/${answered}`);
      return reply.code(202).send({ upgrade: upgradeView(upgrade, cluster, deps.now()) });
    },
  );
}

interface Asked {
  readonly caller: Caller;
  readonly body: z.output<typeof UpgradeActionBody>;
}

/** Does the one thing that the body asks for; resolves with the id of the upgrade that does it. */
async function carryOut(deps: Deps, asked: Asked, found: Loaded): Promise<string> {
  const { caller, body } = asked;
  const upgrade_id = found.upgrade.id;
  const action = ACTIONS.find((each) => body[each] !== undefined);
  const target = action && targetOf(found, action, body.retry?.datastore_version);
  const follow_up = FOLLOW_UPS.find((each) => each === action);
  if (follow_up && !isActive(found.upgrade)) return takeUp(deps, asked, found, follow_up);
  const unconfirmed = action === 'confirm' ? awaitsConfirmation(found.upgrade) : null;
  const about = unconfirmed && { step: unconfirmed.id, attempt: unconfirmed.attempt };
  if (action)
    await act(deps, caller, { upgrade_id, action, ...(target && { target }), ...(about && { about }) });
  return upgrade_id;
}

/** Continues an upgrade that has ended with a new one, and resolves with the new one's id. */
async function takeUp(deps: Deps, { caller, body }: Asked, ended: Loaded, as: FollowUp): Promise<string> {
  const requested_by = requestedBy(caller);
  const datastore_version = body.retry?.datastore_version;
  const begun = await (datastore_version === undefined
    ? beginFollowUp(deps, ended, { as, requested_by })
    : beginRetryWith(deps, ended, { datastore_version, requested_by }));
  await publish(deps, begun.cast);
  return begun.upgrade.id;
}

interface ActionOn {
  readonly upgrade_id: string;
  readonly action: Action;
  readonly target?: { readonly id: string; readonly name: string };
  readonly about?: { readonly step: number; readonly attempt: number };
}

/** Makes a taskmanager do what a person wants. Rejects with `action_refused` or `bus_unavailable`. */
async function act(
  deps: Deps,
  caller: Caller,
  { upgrade_id, action, target, about }: ActionOn,
): Promise<void> {
  const args = { upgrade_id, ...(target && { target }), ...(about && { about }) };
  const refusal = await requestAction(deps, caller, { method: 'upgrade_action', action, args });
  if (refusal === null) return;
  const { state } = (await findUpgrade(deps, caller, upgrade_id)).upgrade;
  const message = `Upgrade ${upgrade_id} is ${state.name}, and '${action}' is refused: ${refusal}.`;
  throw new CofferError('action_refused', message);
}

/**
 * The version that an action is about. For a retry it is the corrected version that the retry names, whether
 * or not the upgrade may go to it. For an approval it is the version that is shown, since somebody else may
 * send the upgrade to another one at this moment.
 */
function targetOf(
  { upgrade, cluster, versions }: Loaded,
  action: Action,
  wanted: string | undefined,
): { id: string; name: string } | undefined {
  if (action === 'approve') return { id: upgrade.to_version_id, name: upgrade.to_version };
  if (wanted === undefined || !cluster) return undefined;
  const { id, name } = findTarget(versions, cluster, wanted);
  return { id, name };
}

/** An upgrade that the caller may see, with its cluster as it is now. */
export async function findUpgrade(deps: Deps, caller: Caller, id: string): Promise<Loaded> {
  const loaded = isId(id) ? await deps.store.upgrades.load(id) : null;
  if (!loaded || !caller.sees(loaded.upgrade.tenant_id)) {
    throw new CofferError('upgrade_not_found', `Upgrade '${id}' cannot be found.`);
  }
  return loaded;
}
