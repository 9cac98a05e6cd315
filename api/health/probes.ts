import { LiveAnswer, ReadyAnswer } from '../../src/contract/documents.ts';
import { sleep } from '../../src/service.ts';
import type { StoreHealth } from '../../src/store/store.ts';
import type { App, Deps } from '../deps.ts';

/** A store that does not answer within this time counts as away. */
const CHECK_MS = 1000;
const tags = ['health'];

const ADVICE = {
  redis: {
    unreachable: 'Redis cannot be reached: requests are answered 503, and nothing is lost that was accepted.',
    refuses_writes: 'Requests that change something are answered 503, and nothing is lost that was accepted.',
  },
  shared:
    'Another installation of Coffer consumes from the same queues of RabbitMQ: messages go round until they find their own. Give each installation a virtual host of its own.',
  rabbitmq:
    'RabbitMQ cannot be reached: requests are accepted and kept safe in Redis, and carried out when it is back.',
};

/** `/health`: does the process run (live), and can it do all of its work (ready)? */
export function healthRoutes(app: App, deps: Deps): void {
  app.get(
    '/health/live',
    { schema: { tags, summary: 'The process runs', response: { 200: LiveAnswer } } },
    async () => ({
      status: 'live' as const,
    }),
  );

  app.get(
    '/health/ready',
    {
      schema: {
        tags,
        summary: 'RabbitMQ can be reached, and Redis takes writes',
        response: { 200: ReadyAnswer, 503: ReadyAnswer },
      },
    },
    async (_request, reply) => {
      const redis = await storeHealth(deps);
      const isBusThere = deps.bus.isConnected();
      const checks = {
        redis: redis.status,
        rabbitmq: isBusThere ? ('ok' as const) : ('unreachable' as const),
      };
      if (redis.status === 'ok' && isBusThere) {
        const others = deps.bus.otherInstallations?.() ?? [];
        const shared =
          others.length === 0 ? {} : { message: ADVICE.shared, other_installations: [...others] };
        return { status: 'ready' as const, checks, ...shared };
      }
      const message = [...aboutStore(redis), ...(isBusThere ? [] : [ADVICE.rabbitmq])].join(' ');
      return reply.code(503).header('retry-after', 2).send({ status: 'unavailable', checks, message });
    },
  );
}

function aboutStore(redis: StoreHealth): readonly string[] {
  if (redis.status === 'ok') return [];
  return redis.status === 'refuses_writes'
    ? [`${redis.reason}.`, ADVICE.redis.refuses_writes]
    : [ADVICE.redis.unreachable];
}

function storeHealth({ store }: Deps): Promise<StoreHealth> {
  const late = { status: 'unreachable' as const, reason: 'no answer in time' };
  return Promise.race([store.health(), sleep(CHECK_MS).then(() => late)]);
}
