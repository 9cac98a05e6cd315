import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import {
  BatchAnswer,
  BatchEventsAnswer,
  BatchesAnswer,
  BatchMembersAnswer,
  ResolvedBatchAnswer,
} from '../../src/contract/batch-documents.ts';
import {
  BatchActionBody,
  BatchMembersQuery,
  BatchParams,
  BatchReportQuery,
  type BatchRequest,
  CreateBatchBody,
} from '../../src/contract/batch-requests.ts';
import { isId } from '../../src/contract/fields.ts';
import { EventsQuery, PageQuery, TenantParams } from '../../src/contract/http.ts';
import type { BatchRequest as Wanted } from '../../src/core/batch/admit.ts';
import {
  BATCH_ACTIONS,
  BATCH_ENDS,
  type Batch,
  type BatchAction,
  type BatchEvent,
  isBatchActive,
  type Member,
} from '../../src/core/batch/record.ts';
import { CofferError } from '../../src/core/errors.ts';
import { allMembers, beginBatch, planBatch } from '../../src/store/begin-batch.ts';
import { type Caller, requestedBy } from '../access/caller.ts';
import { actionRule } from '../access/enforce.ts';
import type { RuleName } from '../access/rules.ts';
import { requestAction } from '../actions.ts';
import type { App, Deps } from '../deps.ts';
import { STREAM_DESCRIPTION, Streams } from '../http/event-stream.ts';
import { requireOneAction } from '../http/one-action.ts';
import { nextLink, urlsOf } from '../http/urls.ts';
import { batchEventView, batchView, memberView, reportAsCsv } from './view.ts';

const tags = ['upgrade-batches'];
const RULES = {
  pause: 'batch:pause',
  resume: 'batch:resume',
  approve: 'batch:approve',
  retry: 'batch:retry',
  skip: 'batch:skip',
  rollback: 'batch:rollback',
  cancel: 'batch:cancel',
} as const satisfies Record<BatchAction, RuleName>;

/** `/upgrade-batches`: many upgrades under one policy, in waves. */
export function batchRoutes(app: App, deps: Deps): void {
  creationRoute(app, deps);
  readingRoutes(app, deps);
  memberRoutes(app, deps);
  actionRoute(app, deps);
  eventRoute(app, deps);
}

function creationRoute(app: App, deps: Deps): void {
  app.post(
    '/upgrade-batches',
    {
      config: { rule: creationRules },
      schema: {
        tags,
        summary: 'Upgrade many clusters, wave by wave',
        description:
          'Answers what the selection has come to, cluster by cluster; the header Location leads to the batch. With `dry_run` nothing is changed.',
        params: TenantParams,
        body: CreateBatchBody,
        response: { 200: ResolvedBatchAnswer, 202: ResolvedBatchAnswer },
      },
    },
    async (request, reply) => {
      const { batch: asked } = request.body;
      const wanted = wantedOf(request, asked);
      if (asked.dry_run) return resolvedView(await planBatch(deps, wanted), deps.now());
      const begun = await beginBatch(deps, wanted);
      deps.wakeBatch(begun.batch.id);
      reply.header('location', `${urlsOf(request).tenant}/upgrade-batches/${begun.batch.id}`);
      return reply.code(202).send(resolvedView(begun, deps.now()));
    },
  );
}

/**
 * Selecting among all tenants, or overriding gates of single clusters, needs more rights than creating a
 * batch.
 */
function creationRules(body: unknown): readonly RuleName[] {
  const parsed = CreateBatchBody.safeParse(body);
  if (!parsed.success) return ['batch:create'];
  const { all_tenants, clusters = [] } = parsed.data.batch;
  const overrides = clusters.some(
    (chosen) => 'policy' in chosen && (chosen.policy?.overrides ?? []).length > 0,
  );
  return [
    'batch:create',
    ...(all_tenants ? (['batch:all_tenants'] as const) : []),
    ...(overrides ? (['gate:override'] as const) : []),
  ];
}

function wantedOf({ caller, claim }: FastifyRequest, asked: BatchRequest): Wanted {
  const { clusters, selector, all_tenants, waves, name, datastore_version, policy } = asked;
  return {
    tenant_id: caller.tenant_id,
    name: name ?? null,
    selection: { ...(clusters && { clusters }), ...(selector && { selector }), all_tenants },
    datastore_version,
    policy,
    ...(waves && { waves }),
    requested_by: requestedBy(caller),
    ...(claim && { batch_id: claim.operation_id }),
  };
}

function resolvedView(
  { batch, members }: { readonly batch: Batch; readonly members: readonly Member[] },
  now: number,
): ResolvedBatchAnswer {
  return { batch: batchView(batch, now), clusters: members.map((member) => memberView(member, batch, now)) };
}

function readingRoutes(app: App, deps: Deps): void {
  app.get(
    '/upgrade-batches',
    {
      config: { rule: 'batch:index' },
      schema: {
        tags,
        summary: 'A page of batches, newest first',
        params: TenantParams,
        querystring: PageQuery,
        response: { 200: BatchesAnswer },
      },
    },
    async (request) => {
      const { limit, marker = null } = request.query;
      const { items, next_marker } = await deps.store.batches.list(request.caller.tenant_id, {
        limit,
        marker,
      });
      const seen = items.filter((batch) => sees(request.caller, batch));
      return {
        batches: seen.map((batch) => batchView(batch, deps.now())),
        ...nextLink(urlsOf(request), 'upgrade-batches', limit, next_marker),
      };
    },
  );

  app.get(
    '/upgrade-batches/:batch_id',
    {
      config: { rule: 'batch:show' },
      schema: {
        tags,
        summary: 'A batch with its waves',
        params: BatchParams,
        response: { 200: BatchAnswer },
      },
    },
    async (request) => {
      const batch = await findBatch(deps, request.caller, request.params.batch_id);
      return { batch: batchView(batch, deps.now()) };
    },
  );
}

function memberRoutes(app: App, deps: Deps): void {
  app.get(
    '/upgrade-batches/:batch_id/clusters',
    {
      config: { rule: 'batch:show' },
      schema: {
        tags,
        summary: 'A page of the clusters of a batch, in order',
        params: BatchParams,
        querystring: BatchMembersQuery,
        response: { 200: BatchMembersAnswer },
      },
    },
    async (request) => {
      const { limit, marker = null, state = null } = request.query;
      const batch = await findBatch(deps, request.caller, request.params.batch_id);
      const page = await deps.store.batches.members(batch.id, { limit, marker, state });
      const path = `upgrade-batches/${batch.id}/clusters`;
      const { links } = nextLink(urlsOf(request), path, limit, page.next_marker);
      const next =
        state === null ? links : links?.map((link) => ({ ...link, href: `${link.href}&state=${state}` }));
      return {
        clusters: page.items.map((member) => memberView(member, batch, deps.now())),
        ...(next && { links: next }),
      };
    },
  );

  app.get(
    '/upgrade-batches/:batch_id/report',
    {
      config: { rule: 'batch:show' },
      schema: {
        tags,
        summary: 'What has become of every cluster of a batch',
        description: 'As JSON, or with `format=csv` as comma-separated values, one line per cluster.',
        params: BatchParams,
        querystring: BatchReportQuery,
        response: { 200: z.union([ResolvedBatchAnswer, z.string()]) },
      },
    },
    async (request, reply) => {
      const batch = await findBatch(deps, request.caller, request.params.batch_id);
      const report = resolvedView(
        { batch, members: await allMembers(deps.store.batches, batch) },
        deps.now(),
      );
      if (request.query.format === 'json') return report;
      reply.header('content-type', 'text/csv; charset=utf-8').serializer((text: unknown) => String(text));
      reply.header('content-disposition', `attachment; filename="batch-${batch.id}.csv"`);
      return reply.send(reportAsCsv(report.clusters));
    },
  );
}

function actionRoute(app: App, deps: Deps): void {
  app.post(
    '/upgrade-batches/:batch_id',
    {
      preValidation: requireOneAction(BATCH_ACTIONS),
      config: { rule: actionRule(RULES) },
      schema: {
        tags,
        summary: 'Act on a batch: pause, resume, approve, retry, skip, roll back or cancel',
        description:
          'Answered with the batch as it is afterwards; 422 if its state does not allow the action, with the reason. To ask for the same twice does no harm.',
        params: BatchParams,
        body: BatchActionBody,
        response: { 202: BatchAnswer },
      },
    },
    async (request, reply) => {
      const { caller, body } = request;
      const { id, state } = await findBatch(deps, caller, request.params.batch_id);
      const action = BATCH_ACTIONS.find((each) => body[each] !== undefined);
      if (action) {
        const clusters = (body.retry ?? body.skip)?.clusters;
        const wave = body.rollback?.wave;
        const args = {
          batch_id: id,
          ...(clusters && { clusters }),
          ...(wave !== undefined && { wave: wave - 1 }),
        };
        const refusal = await requestAction(deps, caller, { method: 'batch_action', action, args });
        if (refusal !== null) {
          const message = `Batch ${id} is ${state.name}, and '${action}' is refused: ${refusal}.`;
          throw new CofferError('action_refused', message);
        }
      }
      const batch = await findBatch(deps, caller, id);
      return reply.code(202).send({ batch: batchView(batch, deps.now()) });
    },
  );
}

function eventRoute(app: App, deps: Deps): void {
  const streams = new Streams(app, deps);
  app.get(
    '/upgrade-batches/:batch_id/events',
    {
      exposeHeadRoute: false,
      config: { rule: 'batch:show' },
      schema: {
        tags,
        summary: 'What happens in a batch, as it happens',
        description: STREAM_DESCRIPTION,
        params: BatchParams,
        querystring: EventsQuery,
        response: { 200: BatchEventsAnswer, 204: z.null() },
      },
    },
    async (request, reply) => {
      const batch = await findBatch(deps, request.caller, request.params.batch_id);
      return streams.answer<BatchEvent>(request, reply, {
        id: batch.id,
        after: request.query.last_event_id ?? 0,
        last: isBatchActive(batch) ? null : batch.seq,
        terminal: BATCH_ENDS,
        read: (after, options) => deps.store.batches.events(batch.id, after, options),
        view: batchEventView,
        isSeenBy: (caller) => sees(caller, batch),
      });
    },
  );
}

/** A batch that the caller may see. Only administrators see a batch over all tenants (G10). */
async function findBatch({ store }: Deps, caller: Caller, id: string): Promise<Batch> {
  const batch = isId(id) ? await store.batches.get(id) : null;
  if (!batch || !sees(caller, batch)) {
    throw new CofferError('batch_not_found', `Batch '${id}' cannot be found.`);
  }
  return batch;
}

function sees(caller: Caller, { tenant_id, selection }: Batch): boolean {
  return caller.sees(tenant_id) && (!selection.all_tenants || caller.is_admin);
}
