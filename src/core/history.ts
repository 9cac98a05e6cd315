/**
 * How long steps take, as measured before. From that follow a plan's estimate of its end, the time at which it
 * is too late to begin a step in a window, and the time after which a silence has lasted too long.
 */

export const MEASURED_KINDS = ['instance', 'switchover'] as const;
export type MeasuredKind = (typeof MEASURED_KINDS)[number];
export const STEP_KINDS = [...MEASURED_KINDS, 'fence'] as const;
/** An instance's upgrade; the handover of a primary; a guest's promise to refuse every older order. */
export type StepKind = (typeof STEP_KINDS)[number];

/** Milliseconds from a step's start to its end, soaks left out. */
interface StepTimes {
  /**
   * Half of the steps took no longer than this: estimates are based on it. Null before a step was measured:
   * then there is no estimate.
   */
  readonly median_ms: number | null;
  /**
   * 95 of 100 steps took no longer than this: so much time has to be left in a window. Before a step was
   * measured, it is given a minute.
   */
  readonly p95_ms: number;
}

export type ExpectedTimes = Readonly<Record<MeasuredKind, StepTimes>>;

/** The latest durations of one manager's steps, in milliseconds and in no order. */
export type MeasuredTimes = Readonly<Record<MeasuredKind, readonly number[]>>;

/** As many of the latest durations are kept for each manager and kind of step. */
export const MEASURED_STEPS = 200;

const UNMEASURED: StepTimes = { median_ms: null, p95_ms: 60_000 };

/** No server takes part in a fence: it is a message and its answer. */
const FENCE: StepTimes = { median_ms: 1_000, p95_ms: 1_000 };

/** How long a step of this kind takes. */
export function expectedOf(expected: ExpectedTimes, kind: StepKind): StepTimes {
  return kind === 'fence' ? FENCE : expected[kind];
}

export const NOTHING_MEASURED: MeasuredTimes = { instance: [], switchover: [] };

export function expectedTimes(measured: MeasuredTimes): ExpectedTimes {
  return { instance: timesOf(measured.instance), switchover: timesOf(measured.switchover) };
}

function timesOf(durations: readonly number[]): StepTimes {
  const sorted = durations.toSorted((a, b) => a - b);
  // Nearest rank: the result is a duration that was measured, and the longest one if there are only a few.
  const rank = (share: number) => sorted[Math.ceil(share * sorted.length) - 1];
  const [median_ms, p95_ms] = [rank(0.5), rank(0.95)];
  return median_ms === undefined || p95_ms === undefined ? UNMEASURED : { median_ms, p95_ms };
}
