import type { HttpAnswer, HttpRequest } from './api.ts';
import type { World } from './world.ts';

/** A person's program waits this long for an answer. */
const PATIENCE_MS = 10_000;
const AGAIN_MS = 2_000;

/**
 * Sends a request to the API over HTTP. Null if no answer comes: then nobody knows whether the request took
 * effect.
 */
export function ask(world: World, request: HttpRequest): Promise<HttpAnswer | null> {
  const { network, scheduler } = world;
  return new Promise((resolve) => {
    const callOff = scheduler.after(PATIENCE_MS, () => resolve(null));
    const settle = (answer: HttpAnswer | null) => {
      callOff();
      resolve(answer);
    };
    network.carry(() => {
      const { api } = world;
      if (!api) return settle(null);
      scheduler.readsBody();
      void api.ask(request).then((answer) => {
        world.checks.requests.answered(request, answer);
        network.carry(() => settle(answer));
      });
    });
  });
}

/** Sends a request under one key until there is an answer that will not change (`Idempotency-Key`). */
export async function askUntilAnswered(
  world: World,
  request: HttpRequest & { readonly key: string },
): Promise<HttpAnswer> {
  world.asking += 1;
  for (;;) {
    const answer = await ask(world, request);
    const isInFlight = answer?.status === 409;
    if (answer && answer.status !== 503 && !isInFlight) {
      world.asking -= 1;
      return answer;
    }
    await new Promise<void>((resolve) => void world.scheduler.after(AGAIN_MS, resolve));
  }
}
