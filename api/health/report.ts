import { CONDUCTOR_TOPIC, type Depths, TASKMANAGER_TOPIC } from '../../src/bus/bus.ts';
import { HealthReportAnswer, type HealthReportDocument } from '../../src/contract/health.ts';
import { MAX_LIMIT, TenantParams } from '../../src/contract/http.ts';
import { adoptionFindings } from '../../src/core/adopted.ts';
import type { Cluster, Instance, Instant } from '../../src/core/domain.ts';
import { primaryProblems } from '../../src/core/primaries.ts';
import { iso } from '../../src/core/words.ts';
import { readAll } from '../../src/store/page.ts';
import type { App, Deps } from '../deps.ts';
import { instanceStatus } from '../instances/view.ts';
import { isoOrNull } from '../times.ts';
import { suspectOf, troublesOf } from './troubles.ts';

/**
 * The report reads all clusters, active upgrades and batches, so it is not made anew for every caller who
 * asks at the same time.
 */
const COUNT_EVERY_MS = 10_000;
const MAX_UNWELL = 100;

type Guests = NonNullable<HealthReportDocument['guests']>;
type Seen = Pick<HealthReportDocument, 'upgrades' | 'batches'> & { readonly guests: Guests };

/** `/health` below a tenant's path: the state of all parts, for administrators. */
export function healthReportRoutes(app: App, deps: Deps): void {
  const count = countNowAndThen(deps);
  app.get(
    '/health',
    {
      config: { rule: 'health:show' },
      schema: {
        tags: ['health'],
        summary: 'How Redis, RabbitMQ, taskmanagers and guest agents are',
        params: TenantParams,
        response: { 200: HealthReportAnswer },
      },
    },
    async () => {
      const [redis, depths, work, requests, seen] = await Promise.all([
        askRedis(deps),
        askBroker(deps),
        orNull(deps.store.counts(deps.now())),
        deps.batchRequests ? orNull(deps.batchRequests()) : null,
        orNull(count()),
      ]);
      const queues = [...(depths?.topics ?? [])].map(([name, depth]) => ({ name, ...depth }));
      const status = deps.bus.isConnected() ? ('ok' as const) : ('unreachable' as const);
      return {
        health: {
          redis,
          rabbitmq: { status, queues, dead_letters: depths?.dead_letters ?? null },
          taskmanagers: depths ? (depths.topics.get(TASKMANAGER_TOPIC)?.consumers ?? 0) : null,
          work: work && { ...work, upgrades: { ...work.upgrades } },
          batch_requests: requests && {
            ...requests,
            latest: requests.latest.map((job) => ({ ...job, at: iso(job.at) })),
          },
          upgrades: seen?.upgrades ?? null,
          batches: seen?.batches ?? null,
          guests: seen?.guests ?? null,
        },
      };
    },
  );
}

async function askRedis({ store, now }: Deps): Promise<HealthReportDocument['redis']> {
  const asked = now();
  const { status } = await store.health();
  return { status, latency_ms: status === 'unreachable' ? null : Math.max(0, now() - asked) };
}

async function askBroker({ bus }: Deps): Promise<Depths | null> {
  const asking = bus.depths?.([TASKMANAGER_TOPIC, CONDUCTOR_TOPIC]);
  return asking ? orNull(asking) : null;
}

/** A part that is away is missing from the report; the other parts are still reported. */
function orNull<T>(asked: Promise<T>): Promise<T | null> {
  return asked.catch(() => null);
}

/** Returns a function that reads all clusters, or returns its latest result if that is recent. */
function countNowAndThen(deps: Deps): () => Promise<Seen> {
  let last: { readonly at: Instant; readonly seen: Promise<Seen> } | undefined;
  return () => {
    if (last && deps.now() - last.at < COUNT_EVERY_MS) return last.seen;
    const seen = lookAtAll(deps);
    last = { at: deps.now(), seen };
    seen.catch(() => {
      last = undefined;
    });
    return seen;
  };
}

async function lookAtAll(deps: Deps): Promise<Seen> {
  const { guests, suspects } = await countGuests(deps);
  return { ...(await troublesOf(deps, suspects)), guests };
}

async function countGuests({ store, now }: Deps) {
  const by_status: Record<string, number> = {};
  const suspects: string[] = [];
  const unwell: Guests['unwell'] = [];
  const problems: Guests['problems'] = [];
  let [clusters, total] = [0, 0];
  const all = readAll((marker) => store.clusters.list(null, { limit: MAX_LIMIT, marker }));
  for await (const cluster of all) {
    clusters += 1;
    const suspect = suspectOf(cluster);
    if (suspect !== null) suspects.push(suspect);
    const { id, name, tenant_id } = cluster;
    for (const problem of [...primaryProblems(cluster), ...adoptionFindings(cluster, null)]) {
      if (problems.length < MAX_UNWELL)
        problems.push({ cluster_id: id, cluster_name: name, tenant_id, ...problem });
    }
    for (const instance of cluster.instances) {
      const status = instanceStatus(cluster, instance, now());
      total += 1;
      by_status[status] = (by_status[status] ?? 0) + 1;
      if (status !== 'ACTIVE' && unwell.length < MAX_UNWELL)
        unwell.push({ ...guest(cluster, instance), status });
    }
  }
  return { guests: { counted: iso(now()), clusters, total, by_status, unwell, problems }, suspects };
}

function guest({ id, name, tenant_id }: Cluster, instance: Instance) {
  return {
    instance_id: instance.id,
    instance_name: instance.name,
    cluster_id: id,
    cluster_name: name,
    tenant_id,
    heard: isoOrNull(instance.heard),
    message: instance.report?.message ?? null,
    fault: instance.fault,
  };
}
