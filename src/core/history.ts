/**
 * How long steps take, by what was measured before: lets a plan say when it will be done, a window when
 * it is too late to begin, and a silence when it has lasted too long.
 */

export const MEASURED_KINDS = ['instance', 'switchover'] as const;
export type MeasuredKind = (typeof MEASURED_KINDS)[number];
export const STEP_KINDS = [...MEASURED_KINDS, 'fence'] as const;
/** An instance's upgrade; a primary's handing over; a guest's word that it refuses every older order. */
export type StepKind = (typeof STEP_KINDS)[number];

/** Milliseconds from a step's start to its end, soaks left out. */
export interface StepTimes {
  /** Half of them are done by then: what an estimate goes by. Null before one was measured: there is no estimate. */
  readonly median_ms: number | null;
  /** 95 of 100 are done by then: what has to fit into a window. Before one was measured, a step is given a minute. */
  readonly p95_ms: number;
}

export type ExpectedTimes = Readonly<Record<MeasuredKind, StepTimes>>;

/** The latest durations of one manager's steps, in milliseconds and in no order. */
export type MeasuredTimes = Readonly<Record<MeasuredKind, readonly number[]>>;

/** As many of the latest durations are kept for each manager and kind of step. */
export const MEASURED_STEPS = 200;

const UNMEASURED: StepTimes = { median_ms: null, p95_ms: 60_000 };

/** No server has a part in it: a message and its answer. */
const FENCE: StepTimes = { median_ms: 1_000, p95_ms: 1_000 };

/** What a step of this kind takes. */
export function expectedOf(expected: ExpectedTimes, kind: StepKind): StepTimes {
  return kind === 'fence' ? FENCE : expected[kind];
}

export const NOTHING_MEASURED: MeasuredTimes = { instance: [], switchover: [] };

export function expectedTimes(measured: MeasuredTimes): ExpectedTimes {
  return { instance: timesOf(measured.instance), switchover: timesOf(measured.switchover) };
}

function timesOf(durations: readonly number[]): StepTimes {
  const sorted = durations.toSorted((a, b) => a - b);
  // Nearest rank: a duration that was seen, and of a few the longest.
  const rank = (share: number) => sorted[Math.ceil(share * sorted.length) - 1];
  const [median_ms, p95_ms] = [rank(0.5), rank(0.95)];
  return median_ms === undefined || p95_ms === undefined ? UNMEASURED : { median_ms, p95_ms };
}
