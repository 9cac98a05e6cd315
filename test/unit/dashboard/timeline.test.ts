/** The bars of an upgrade, made from its events. How they look: test/dashboard. */
import { describe, expect, it } from 'vitest';
import type { EventDocument, StepDocument } from '../../../client/index.ts';
import { scaleOf, ticksOf, timelineOf } from '../../../dashboard/upgrades/timeline.ts';

const T0 = Date.parse('2026-11-25T02:00:00.000Z');

const step = (id: number, name: string, kind: StepDocument['kind'] = 'instance') =>
  ({ id, kind, instance_id: name, instance_name: name }) as StepDocument;

const STEPS = [step(0, 'db-2'), step(1, 'db-1', 'switchover'), step(2, 'db-1')];

let seq = 0;
/** What happened after so many milliseconds. */
function event(ms: number, type: EventDocument['type'], more: Partial<EventDocument> = {}): EventDocument {
  seq += 1;
  const about = { instance_id: null, instance_name: null, step: null, attempt: null, phase: null };
  return { ...about, seq, at: new Date(T0 + ms).toISOString(), type, message: type, ...more };
}

const at = (index: number, attempt = 1) => {
  const { id, instance_id } = STEPS[index] as StepDocument;
  return { step: id, instance_id, instance_name: instance_id, attempt };
};
const phase = (ms: number, index: number, name: EventDocument['phase'], attempt = 1) =>
  event(ms, 'step_phase', { ...at(index, attempt), phase: name });

/** `phase from-to`, in milliseconds since the start. */
function bars(events: readonly EventDocument[], name: string): readonly string[] {
  const lane = timelineOf({ steps: STEPS }, events).lanes.find((one) => one.instance_id === name);
  return (lane?.bars ?? []).map(
    (bar) =>
      `${bar.kind === 'switchover' ? 'switchover ' : ''}${bar.phase} ${bar.from - T0}-${bar.to === null ? '' : bar.to - T0}${bar.error === null ? '' : ' failed'}`,
  );
}

describe('the timeline of an upgrade', () => {
  it('has a lane for each instance in the order of the plan, also before anything has begun', () => {
    const { lanes, start, end } = timelineOf({ steps: STEPS }, []);
    expect(lanes.map(({ name }) => name)).toEqual(['db-2', 'db-1']);
    expect([start, end]).toEqual([null, null]);
  });

  it('has a bar for each phase, each ending where the next begins', () => {
    const events = [
      event(0, 'started'),
      phase(0, 0, 'preparing'),
      phase(100, 0, 'upgrading'),
      phase(900, 0, 'verifying'),
      event(1000, 'step_done', at(0)),
      phase(1000, 1, 'demoting'),
      phase(1050, 1, 'promoting'),
      event(1100, 'switched_over', { ...at(1), message: 'db-2 is the primary now' }),
      phase(1100, 1, 'following'),
      event(1200, 'step_done', at(1)),
      phase(1200, 2, 'preparing'),
    ];
    expect(bars(events, 'db-2')).toEqual(['preparing 0-100', 'upgrading 100-900', 'verifying 900-1000']);
    expect(bars(events, 'db-1')).toEqual([
      'switchover demoting 1000-1050',
      'switchover promoting 1050-1100',
      'switchover following 1100-1200',
      'preparing 1200-',
    ]);
    expect(timelineOf({ steps: STEPS }, events).marks).toEqual([
      { at: T0 + 1100, text: 'db-2 is the primary now' },
    ]);
  });

  it('tells the attempts apart: what failed, the back-off, the next', () => {
    const events = [
      event(0, 'started'),
      phase(0, 0, 'upgrading'),
      event(300, 'step_retrying', at(0)),
      phase(800, 0, 'upgrading', 2),
      event(900, 'step_failed', at(0, 2)),
    ];
    expect(bars(events, 'db-2')).toEqual([
      'upgrading 0-300 failed',
      'backoff 300-800',
      'upgrading 800-900 failed',
    ]);
  });

  it('leaves a switchover where it is while a replica is told again to follow', () => {
    const events = [
      phase(0, 1, 'following'),
      event(50, 'step_retrying', at(1)),
      event(90, 'step_done', at(1)),
    ];
    expect(bars(events, 'db-1')).toEqual(['switchover following 0-90']);
  });

  it('ends everything with the upgrade', () => {
    const events = [event(0, 'started'), phase(0, 0, 'soaking'), event(10, 'paused'), event(70, 'cancelled')];
    const { pauses, end } = timelineOf({ steps: STEPS }, events);
    expect(bars(events, 'db-2')).toEqual(['soaking 0-70']);
    expect(pauses).toEqual([{ from: T0 + 10, to: T0 + 70, message: 'paused' }]);
    expect(end).toBe(T0 + 70);
  });

  it('keeps what a second reason to pause adds apart from the first', () => {
    const events = [event(0, 'started'), event(10, 'paused'), event(20, 'paused'), event(30, 'resumed')];
    const { pauses } = timelineOf({ steps: STEPS }, events);
    expect(pauses.map(({ from, to }) => [from - T0, (to ?? 0) - T0])).toEqual([
      [10, 20],
      [20, 30],
    ]);
  });
});

describe('time as width', () => {
  const HOUR = 3_600_000;
  const paused = [
    event(0, 'started'),
    phase(0, 0, 'upgrading'),
    event(10_000, 'step_done', at(0)),
    event(10_000, 'paused'),
    event(10_000 + HOUR, 'resumed'),
    phase(10_000 + HOUR, 2, 'upgrading'),
    event(20_000 + HOUR, 'step_done', at(2)),
    event(20_000 + HOUR, 'succeeded'),
  ];

  it('is in proportion where something is done, from the left edge to the right', () => {
    const timeline = timelineOf({ steps: STEPS }, [event(0, 'started'), event(8_000, 'succeeded')]);
    const { position } = scaleOf(timeline, T0);
    expect([0, 2_000, 4_000, 8_000, 9_000].map((ms) => position(T0 + ms))).toEqual([0, 0.25, 0.5, 1, 1]);
    expect(position(T0 - 5)).toBe(0);
  });

  it('leaves a pause of an hour less room than the seconds of work around it', () => {
    const { position } = scaleOf(timelineOf({ steps: STEPS }, paused), T0);
    const before = position(T0 + 10_000);
    const after = position(T0 + 10_000 + HOUR);
    expect(before).toBeGreaterThan(0.4);
    expect(after - before).toBeGreaterThan(0.05);
    expect(after - before).toBeLessThan(0.2);
    expect(position(T0 + 20_000 + HOUR)).toBe(1);
  });

  it('grows while an upgrade runs, with whatever clock the browser has', () => {
    const timeline = timelineOf({ steps: STEPS }, [event(0, 'started'), phase(5_000, 0, 'upgrading')]);
    expect(scaleOf(timeline, T0 + 9_000).to).toBe(T0 + 9_000);
    expect(scaleOf(timeline, T0 - HOUR).to).toBe(T0 + 5_000);
  });

  it('has round times beside it, none of them in a pause, none too close to another', () => {
    const scale = scaleOf(timelineOf({ steps: STEPS }, paused), T0);
    const ticks = ticksOf(scale, 8);
    expect(ticks[0]).toBe(0);
    expect(ticks.filter((tick) => tick > 10_000 && tick < 10_000 + HOUR)).toEqual([]);
    expect(ticks.length).toBeGreaterThan(3);
    const places = ticks.map((tick) => scale.position(T0 + tick));
    places.slice(1).forEach((place, index) => {
      expect(place - (places[index] ?? 0)).toBeGreaterThanOrEqual(1 / 12.8);
    });
    expect(ticksOf(scaleOf(timelineOf({ steps: STEPS }, []), T0), 8)).toEqual([0, 500, 1000, 1500, 2000]);
  });
});
