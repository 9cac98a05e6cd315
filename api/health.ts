import { LiveAnswer, ReadyAnswer } from '../src/contract/documents.ts';
import { sleep } from '../src/service.ts';
import type { App, Deps } from './deps.ts';

/** A store that doesn't answer within this is away. */
const CHECK_MS = 1000;
const tags = ['health'];

const ADVICE = {
  redis: 'Redis cannot be reached: requests are answered 503, and nothing is lost that was accepted.',
  rabbitmq:
    'RabbitMQ cannot be reached: requests are accepted and kept safe in Redis, and carried out when it is back.',
};

/** `/health`: is the process there (live), and can it do all of its work (ready)? */
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
        summary: 'Redis and RabbitMQ can be reached',
        response: { 200: ReadyAnswer, 503: ReadyAnswer },
      },
    },
    async (_request, reply) => {
      const redis = await isStoreThere(deps);
      const rabbitmq = deps.bus.isConnected();
      const checks = { redis: checked(redis), rabbitmq: checked(rabbitmq) };
      if (redis && rabbitmq) return { status: 'ready' as const, checks };
      const message = [...(redis ? [] : [ADVICE.redis]), ...(rabbitmq ? [] : [ADVICE.rabbitmq])].join(' ');
      return reply.code(503).header('retry-after', 2).send({ status: 'unavailable', checks, message });
    },
  );
}

function checked(isThere: boolean): 'ok' | 'unreachable' {
  return isThere ? 'ok' : 'unreachable';
}

async function isStoreThere({ store }: Deps): Promise<boolean> {
  const answered = store.ping().then(
    () => true,
    () => false,
  );
  return Promise.race([answered, sleep(CHECK_MS).then(() => false)]);
}
