import type { Request } from '../src/bus/bus.ts';
import { BatchActionArgs, BatchJob } from '../src/contract/batch-requests.ts';
import { parseAs } from '../src/contract/explain.ts';
import type { UpgradeActionAnswer } from '../src/contract/rpc.ts';
import { uuidFrom } from '../src/core/digest.ts';
import { CofferError } from '../src/core/errors.ts';
import type { Logger } from '../src/log.ts';
import type { BatchJobRequest } from '../src/queue.ts';
import { beginBatch } from '../src/store/begin-batch.ts';
import type { BatchDeps, Batches } from './batch-engine.ts';

type Deps = Pick<BatchDeps, 'store' | 'log' | 'now' | 'newId' | 'wake'>;

/**
 * Begins the batch that a job of another service asks for. A job that runs several times begins one batch.
 */
export async function beginRequestedBatch(deps: Deps, job: BatchJobRequest): Promise<{ batch_id: string }> {
  const { tenant_id, user, request_id, name, clusters, selector, ...asked } = parseAs(
    BatchJob,
    job.data,
    'job',
    { problems: 'all' },
  );
  const { batch, members, duplicate } = await beginBatch(deps, {
    tenant_id,
    name: name ?? null,
    selection: {
      ...(clusters && { clusters }),
      ...(selector && { selector }),
      all_tenants: asked.all_tenants,
    },
    datastore_version: asked.datastore_version,
    policy: asked.policy,
    ...(asked.waves && { waves: asked.waves }),
    requested_by: { user: user ?? null, request_id: request_id ?? `req-${deps.newId()}`, via: 'queue' },
    batch_id: uuidFrom(`coffer batch of job ${job.name}`),
  });
  const about = {
    ...{ batch_id: batch.id, clusters: members.length, duplicate, job: job.name },
    request_id: batch.requested_by.request_id,
  };
  deps.log.info(about, 'a job has asked for a batch');
  deps.wake(batch.id);
  return { batch_id: batch.id };
}

/**
 * Carries out what a person wants done to a batch. If the state of the batch does not allow it, that is an
 * answer and not a failure.
 */
export async function batchAction(
  { batches, log }: { readonly batches: Batches; readonly log: Logger },
  request: Request,
): Promise<UpgradeActionAnswer> {
  const { batch_id, by, action, clusters, wave } = parseAs(BatchActionArgs, request.args, 'batch_action');
  const { request_id } = request.context;
  log.info({ batch_id, action, by, request_id }, `${by} asks for: ${action}`);
  const asked = { action, ...(clusters && { clusters }), ...(wave !== undefined && { wave }) };
  try {
    const verdict = await batches.act(batch_id, asked, by);
    return verdict === null || verdict === 'refused' ? { verdict: 'missing' } : { verdict };
  } catch (err) {
    if (!(err instanceof CofferError) || err.code !== 'action_refused') throw err;
    return { verdict: 'refused', reason: err.message };
  }
}
