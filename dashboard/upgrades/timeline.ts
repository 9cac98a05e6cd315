/**
 * The history of an upgrade, as bars over time. It is made from the upgrade's events alone, so that it is the
 * same after a reload and after a lost connection. Pure.
 */
import type { EventDocument, UpgradeDocument } from '../../client/index.ts';
import { instant } from '../format.ts';
import type { Phase } from '../words.ts';

/** One phase of one attempt of a step. */
export interface Bar {
  readonly id: string;
  readonly phase: Phase;
  readonly kind: 'instance' | 'switchover';
  readonly attempt: number;
  readonly from: number;
  /** Null while the phase lasts. */
  readonly to: number | null;
  /** Why the attempt failed in this phase; null if it did not fail. */
  readonly error: string | null;
}

/** All bars of one instance. */
export interface Lane {
  readonly instance_id: string;
  readonly name: string;
  readonly bars: readonly Bar[];
}

/** A time in which nothing was allowed to start. */
interface Pause {
  readonly from: number;
  readonly to: number | null;
  readonly message: string;
}

/** A moment that gets a line across all lanes. */
interface Mark {
  readonly at: number;
  readonly text: string;
}

interface Timeline {
  readonly start: number | null;
  /** Null until the upgrade has ended. */
  readonly end: number | null;
  readonly lanes: readonly Lane[];
  readonly pauses: readonly Pause[];
  readonly marks: readonly Mark[];
}

interface Draft {
  start: number | null;
  end: number | null;
  readonly bars: Map<string, Bar[]>;
  readonly pauses: Pause[];
  readonly marks: Mark[];
}

const ENDS: readonly string[] = ['succeeded', 'failed', 'cancelled', 'rolled_back'];

export function timelineOf(
  { steps }: Pick<UpgradeDocument, 'steps'>,
  events: readonly EventDocument[],
): Timeline {
  const switchovers = new Set(steps.filter(({ kind }) => kind === 'switchover').map(({ id }) => id));
  const draft: Draft = { start: null, end: null, bars: new Map(), pauses: [], marks: [] };
  const names = new Map<string, string>();
  for (const { instance_id, instance_name } of steps) names.set(instance_id, instance_name ?? instance_id);
  for (const event of events) {
    if (event.instance_id !== null && !names.has(event.instance_id))
      names.set(event.instance_id, event.instance_name ?? event.instance_id);
    put(draft, event, switchovers);
  }
  const lanes = [...names].map(([instance_id, name]) => ({
    instance_id,
    name,
    bars: draft.bars.get(instance_id) ?? [],
  }));
  return { ...draft, lanes };
}

function put(draft: Draft, event: EventDocument, switchovers: ReadonlySet<number>): void {
  const at = instant(event.at);
  switch (event.type) {
    case 'started':
      draft.start ??= at;
      return;
    case 'step_phase':
      closeBar(draft, event, at, null);
      openBar(draft, event, at, event.phase, switchovers);
      return;
    case 'step_retrying':
      return retry(draft, event, at, switchovers);
    case 'step_done':
      return closeBar(draft, event, at, null);
    case 'step_failed':
      return closeBar(draft, event, at, event.message);
    case 'switched_over':
    case 'rolling_back':
    case 'retargeted':
      draft.marks.push({ at, text: event.message });
      return;
    case 'paused':
      endPause(draft, at);
      draft.pauses.push({ from: at, to: null, message: event.message });
      return;
    case 'resumed':
      return endPause(draft, at);
    default:
      if (ENDS.includes(event.type)) end(draft, at);
  }
}

/** A replica that does not follow the new primary gets its order again, while the step stays in its phase. */
function retry(draft: Draft, event: EventDocument, at: number, switchovers: ReadonlySet<number>): void {
  if (lastBar(draft, event)?.phase === 'following') return;
  closeBar(draft, event, at, event.message);
  openBar(draft, event, at, 'backoff', switchovers);
}

function openBar(
  { bars }: Draft,
  { instance_id, step, attempt, seq }: EventDocument,
  at: number,
  phase: Phase | null,
  switchovers: ReadonlySet<number>,
): void {
  if (instance_id === null || phase === null) return;
  const own = bars.get(instance_id) ?? [];
  const kind = step !== null && switchovers.has(step) ? 'switchover' : 'instance';
  own.push({ id: String(seq), phase, kind, attempt: attempt ?? 1, from: at, to: null, error: null });
  bars.set(instance_id, own);
}

function closeBar(draft: Draft, event: EventDocument, at: number, error: string | null): void {
  const bar = lastBar(draft, event);
  if (!bar || bar.to !== null || event.instance_id === null) return;
  draft.bars.get(event.instance_id)?.splice(-1, 1, { ...bar, to: at, error });
}

function lastBar({ bars }: Draft, { instance_id }: EventDocument): Bar | undefined {
  return instance_id === null ? undefined : bars.get(instance_id)?.at(-1);
}

function endPause({ pauses }: Draft, at: number): void {
  const last = pauses.at(-1);
  if (last && last.to === null) pauses.splice(-1, 1, { ...last, to: at });
}

function end(draft: Draft, at: number): void {
  draft.end = at;
  endPause(draft, at);
  for (const own of draft.bars.values()) {
    const last = own.at(-1);
    if (last && last.to === null) own.splice(-1, 1, { ...last, to: at });
  }
}

/** A stretch of time in which something is at work, or nothing is; `share` is its part of the width. */
interface Piece {
  readonly from: number;
  readonly to: number;
  readonly isIdle: boolean;
  readonly share: number;
}

export interface Scale {
  readonly from: number;
  readonly to: number;
  readonly pieces: readonly Piece[];
  /** The position of a time, from 0 on the left to 1 on the right. */
  readonly position: (at: number) => number;
}

/** Idle time gets at most this share of the width that time at work has. */
const IDLE_SHARE = 0.16;
/** An upgrade that has just begun is drawn as if it had lasted at least this long. */
const LEAST_MS = 2_000;

/**
 * Maps time to width. Beside a pause of hours, steps of seconds would be too narrow to see: so time in a
 * pause is drawn compressed.
 */
export function scaleOf(timeline: Timeline, now: number): Scale {
  const from = timeline.start ?? timeline.end ?? now;
  const last = Math.max(from, ...latest(timeline));
  const to = timeline.end === null ? Math.max(now, last, from + LEAST_MS) : Math.max(timeline.end, from + 1);
  const idle = idleOf(timeline, from, to);
  const work = to - from - idle.reduce((sum, one) => sum + one.to - one.from, 0);
  const longest = Math.max(work * IDLE_SHARE, 1);
  const drawn = cut(from, to, idle).map((piece) => {
    const length = piece.to - piece.from;
    return { ...piece, length: piece.isIdle ? Math.min(length, longest) : length };
  });
  const total = drawn.reduce((sum, { length }) => sum + length, 0);
  const pieces = drawn.map(({ length, ...piece }) => ({ ...piece, share: total > 0 ? length / total : 0 }));
  return { from, to, pieces, position: (at) => positionIn(pieces, at) };
}

function latest({ lanes }: Timeline): number[] {
  return lanes.flatMap(({ bars }) => bars.map((bar) => bar.to ?? bar.from));
}

function positionIn(pieces: readonly Piece[], at: number): number {
  let before = 0;
  for (const piece of pieces) {
    if (at < piece.to) {
      const within = (at - piece.from) / (piece.to - piece.from);
      return Math.max(0, before + piece.share * Math.max(0, within));
    }
    before += piece.share;
  }
  return 1;
}

interface Span {
  readonly from: number;
  readonly to: number;
}

/** Times in a pause with nothing in flight. */
function idleOf({ pauses, lanes }: Timeline, from: number, to: number): readonly Span[] {
  const busy = lanes.flatMap(({ bars }) => bars.map((bar) => ({ from: bar.from, to: bar.to ?? to })));
  return pauses
    .map((pause) => ({ from: Math.max(from, pause.from), to: pause.to ?? to }))
    .map((pause) => {
      const inFlight = busy.filter((bar) => bar.from < pause.to && bar.to > pause.from);
      return { ...pause, from: Math.max(pause.from, ...inFlight.map((bar) => bar.to)) };
    })
    .filter((pause) => pause.to > pause.from);
}

/** Divides the whole time into pieces: idle, at work, idle, … */
function cut(from: number, to: number, idle: readonly Span[]): readonly Omit<Piece, 'share'>[] {
  const pieces: Omit<Piece, 'share'>[] = [];
  let at = from;
  for (const span of idle) {
    if (span.from > at) pieces.push({ from: at, to: span.from, isIdle: false });
    pieces.push({ ...span, isIdle: true });
    at = span.to;
  }
  if (to > at) pieces.push({ from: at, to, isIdle: false });
  return pieces;
}

const STEPS_MS = [100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000];
const HOUR_MS = 3_600_000;

/** Round times since the start, only so many that they can be read, and none within a pause. */
export function ticksOf({ from, pieces, position }: Scale, most: number): readonly number[] {
  const work = pieces.filter(({ isIdle }) => !isIdle);
  const length = work.reduce((sum, piece) => sum + piece.to - piece.from, 0);
  const step = STEPS_MS.find((each) => length / each <= most) ?? Math.ceil(length / most / HOUR_MS) * HOUR_MS;
  const ticks = work.flatMap((piece) => {
    const first = Math.ceil((piece.from - from) / step);
    const last = Math.floor((piece.to - from) / step);
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => (first + index) * step);
  });
  const room = 1 / (most * 1.6);
  let before = Number.NEGATIVE_INFINITY;
  return ticks.filter((tick) => {
    const at = position(from + tick);
    if (at - before < room) return false;
    before = at;
    return true;
  });
}
