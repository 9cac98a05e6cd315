/**
 * The settings of a wave, with their limits and defaults: the one place for the schema, the command line and the
 * dashboard.
 */
import { DAY_SECONDS, type Percentage } from '../policy.ts';
import type { Wave } from './record.ts';

type WaveSettings = Pick<
  Wave,
  'max_concurrent' | 'failure_budget' | 'write_outage_budget_seconds' | 'soak_seconds' | 'approval'
>;

/** What a request says of a wave, except which clusters it is for. */
export interface WaveStatement extends Partial<WaveSettings> {
  /**
   * This number of clusters, or this part of all clusters (rounded up). Without this and without a selector,
   * the wave takes all clusters that are left.
   */
  readonly share?: number | Percentage;
}

const MOST_CLUSTERS = 1_000_000;

/** What is a number; `least` and `most` are of clusters, or of seconds. */
export const WAVE_LIMITS = {
  share: { least: 1, most: MOST_CLUSTERS },
  max_concurrent: { least: 1, most: 10_000 },
  failure_budget: { least: 0, most: MOST_CLUSTERS },
  write_outage_budget_seconds: { least: 0, most: DAY_SECONDS },
  soak_seconds: { least: 0, most: 30 * DAY_SECONDS },
} as const;

export const DEFAULT_WAVE: WaveSettings = {
  max_concurrent: 10,
  failure_budget: '5%',
  write_outage_budget_seconds: null,
  soak_seconds: 0,
  approval: false,
};

/** First one cluster, which must succeed; then a tenth of all; then the rest. */
export const DEFAULT_WAVES: readonly WaveStatement[] = [
  { share: 1, failure_budget: 0 },
  { share: '10%' },
  {},
];
