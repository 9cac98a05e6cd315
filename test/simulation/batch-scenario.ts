/** The simulation of batches that a seed stands for. */
import type { BatchRequest } from '../../src/core/batch/admit.ts';
import { BATCH_ACTIONS, type BatchAction } from '../../src/core/batch/record.ts';
import type { WaveRequest } from '../../src/core/batch/selection.ts';
import { Random } from './random.ts';
import { CALM, type Weather } from './scenario.ts';

type BatchTrouble =
  | { readonly kind: 'kill'; readonly who: number; readonly steps: number; readonly down_ms: number }
  | { readonly kind: 'store_away'; readonly ms: number }
  | { readonly kind: 'busy'; readonly cluster: number }
  | { readonly kind: 'action'; readonly batch: number; readonly action: BatchAction };

export interface BatchScenario {
  readonly seed: number;
  readonly clusters: number;
  readonly requests: readonly {
    readonly at_ms: number;
    readonly tenant: number;
    readonly request: Pick<BatchRequest, 'waves' | 'policy'>;
  }[];
  readonly max_concurrent_total: number;
  /** The probability that an upgrade of a guest fails. */
  readonly fails: number;
  readonly weather: Weather;
  readonly troubles: readonly { readonly at_ms: number; readonly trouble: BatchTrouble }[];
  readonly heal_ms: number;
}

export function batchScenarioOf(seed: number): BatchScenario {
  const random = new Random(seed + 7_000_003);
  const isCalm = random.chance(0.2);
  const heal_ms = isCalm ? 5_000 : random.int(15, 60) * 1000;
  const clusters = random.int(3, 12);
  const count = isCalm ? 0 : random.int(1, 10);
  return {
    ...{ seed, clusters, heal_ms },
    requests: Array.from({ length: random.int(1, 2) }, (_, tenant) => ({
      ...{ at_ms: random.int(100, 4_000), tenant },
      request: { waves: wavesOf(random), policy: { retries: random.int(0, 1), step_timeout_seconds: 20 } },
    })),
    max_concurrent_total: random.int(1, 6),
    fails: isCalm ? 0 : random.pick([0, 0.1, 0.4] as const),
    weather: isCalm ? CALM : { ...CALM, loss: random.pick([0, 0.03]), store_loss: random.pick([0, 0.03]) },
    troubles: Array.from({ length: count }, () => ({
      at_ms: random.int(0, heal_ms),
      trouble: troubleOf(random),
    })),
  };
}

function wavesOf(random: Random): readonly WaveRequest[] {
  const wave = (): WaveRequest => ({
    ...(random.chance(0.7) && { share: random.int(1, 3) }),
    max_concurrent: random.int(1, 4),
    failure_budget: random.int(0, 2),
    soak_seconds: random.pick([0, 0, 6] as const),
    approval: random.chance(0.2),
  });
  return [...Array.from({ length: random.int(0, 2) }, wave), { max_concurrent: random.int(1, 5) }];
}

function troubleOf(random: Random): BatchTrouble {
  switch (random.pick(['kill', 'kill', 'store_away', 'busy', 'action', 'action'] as const)) {
    case 'kill':
      return {
        kind: 'kill',
        who: random.int(0, 1),
        steps: random.int(1, 60),
        down_ms: random.int(100, 6_000),
      };
    case 'store_away':
      return { kind: 'store_away', ms: random.int(100, 5_000) };
    case 'busy':
      return { kind: 'busy', cluster: random.int(0, 11) };
    case 'action':
      return { kind: 'action', batch: random.int(0, 1), action: random.pick(BATCH_ACTIONS) };
  }
}
