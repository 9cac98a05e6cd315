/**
 * What an upgrade of members that are all alike does, worked out as simply as can be: sets of instances,
 * no time, no messages. A second opinion for `machine-model.property.test.ts`; where the two differ, one
 * of them is wrong. Of the policy it knows `max_unavailable`, `canary` and `on_failure`; nothing is retried
 * but by a person.
 */

import type { Policy } from '../../../src/core/policy.ts';
import type { PauseReason, StateName } from '../../../src/core/record.ts';
import type { Action } from '../../../src/core/upgrade/inputs.ts';

type Work = 'preparing' | 'upgrading' | 'verifying';
type Verdict = 'applied' | 'stale' | 'refused';
export type Limits = Pick<Policy, 'canary' | 'on_failure'> & { readonly max_unavailable: number };

export interface Model {
  readonly limits: Limits;
  state: StateName;
  reason: PauseReason | null;
  cancelling: boolean;
  approved: boolean;
  direction: 'forward' | 'back';
  /** Of the present goal, in their order; null until nothing of the old goal is in flight any more. */
  plan: readonly string[] | null;
  /** By name, in creation order. */
  readonly all: readonly string[];
  /** Who runs the new version. */
  readonly upgraded: Set<string>;
  readonly atWork: Map<string, Work>;
  readonly begun: Set<string>;
  /** Was told to upgrade for the present goal. */
  readonly touched: Set<string>;
  readonly done: Set<string>;
  readonly failed: Set<string>;
  /** Was told to upgrade for the goal before, and given up: nobody knows what it does. */
  readonly uncertain: Set<string>;
}

export function modelOf(limits: Limits, all: readonly string[]): Model {
  return {
    ...{ limits, all, plan: all, state: 'scheduled', reason: null, direction: 'forward' },
    ...{ cancelling: false, approved: false, upgraded: new Set(), atWork: new Map(), begun: new Set() },
    ...{ touched: new Set(), done: new Set(), failed: new Set(), uncertain: new Set() },
  };
}

function hasEnded({ state }: Model): boolean {
  return !['scheduled', 'running', 'paused'].includes(state);
}

/** A guest has done what it was told to. */
export function workDone(model: Model, name: string): void {
  const { atWork, touched, upgraded, done, uncertain, direction } = model;
  const work = atWork.get(name);
  if (work === 'preparing') {
    atWork.set(name, 'upgrading');
    touched.add(name);
  } else if (work === 'upgrading') {
    atWork.set(name, 'verifying');
    if (isForThisGoal(model)) mark(upgraded, name, direction === 'forward');
    else upgraded.add(name);
  } else {
    atWork.delete(name);
    done.add(name);
    if (isForThisGoal(model)) uncertain.delete(name);
  }
}

/** It could not, or did not say a word for so long that it is given up. */
export function workFailed({ atWork, failed }: Model, name: string): void {
  atWork.delete(name);
  failed.add(name);
}

/** What a person asks for, and what becomes of the wish. */
export function act(model: Model, action: Action): Verdict {
  if (hasEnded(model)) return 'refused';
  const { state, reason, limits, failed } = model;
  switch (action) {
    case 'pause':
      if (model.cancelling) return 'refused';
      if (state !== 'running') return state === 'paused' ? 'stale' : 'refused';
      return hold(model, 'requested');
    case 'resume':
      if (state === 'scheduled') return 'applied';
      if (state === 'running') return 'stale';
      return reason === 'canary' || failed.size > 0 ? 'refused' : goOn(model);
    case 'approve':
      if (limits.canary === 0 || model.direction === 'back') return 'refused';
      if (model.approved) return 'stale';
      if (model.cancelling) return 'refused';
      model.approved = true;
      return reason === 'canary' ? goOn(model) : 'applied';
    case 'confirm':
      return 'refused';
    case 'retry':
      if (failed.size === 0 && reason !== 'failure') return 'refused';
      failed.clear();
      return goOn(model);
    case 'cancel':
      if (model.cancelling) return 'stale';
      model.cancelling = true;
      // Who only makes ready is let go.
      for (const [name, work] of [...model.atWork]) {
        if (work !== 'preparing' || model.touched.has(name)) continue;
        model.atWork.delete(name);
        model.plan = model.plan?.filter((other) => other !== name) ?? null;
      }
      return goOn(model);
    case 'rollback':
      if (model.direction === 'back') return 'stale';
      return state === 'scheduled' || model.cancelling ? 'refused' : goBack(model);
    default:
      return action satisfies never;
  }
}

/** What follows by itself, until nothing more does. */
export function settle(model: Model): void {
  const { limits, atWork, failed, done } = model;
  if (hasEnded(model)) return;
  if (model.state === 'scheduled' && !model.cancelling) model.state = 'running';
  if (!model.plan) {
    failed.clear();
    if (atWork.size === 0) planBack(model);
  }
  // Whatever it was paused for, it can not be resumed any more.
  if (atWork.size > 0 && model.plan && failed.size > 0 && model.state === 'paused') hold(model, 'failure');
  if (atWork.size === 0 && model.plan) {
    if (model.cancelling) return end(model, 'cancelled');
    if (failed.size > 0) {
      const isHeld = model.state === 'paused' && limits.on_failure === 'rollback';
      if (model.direction === 'back' || limits.on_failure === 'pause' || isHeld) hold(model, 'failure');
      else if (limits.on_failure === 'fail') return end(model, 'failed');
      else {
        goBack(model);
        return settle(model);
      }
    } else if (model.plan.every((name) => done.has(name))) {
      return end(model, model.direction === 'back' ? 'rolled_back' : 'succeeded');
    }
  }
  startWhatMay(model);
}

function startWhatMay(model: Model): void {
  const { limits, atWork, begun, done, failed, uncertain, direction } = model;
  const order = model.plan ?? [];
  for (const name of order) {
    if (model.state !== 'running' || model.cancelling || failed.size > 0) return;
    if (done.has(name) || atWork.has(name)) continue;
    if (!uncertain.has(name) && order.some((other) => uncertain.has(other))) continue;
    const isHeldByCanary =
      limits.canary > 0 && !model.approved && direction === 'forward' && !begun.has(name);
    if (isHeldByCanary && begun.size >= limits.canary) {
      if (done.size >= limits.canary) hold(model, 'canary');
      continue;
    }
    const down = new Set([...atWork.keys(), ...uncertain]);
    if (atWork.size >= limits.max_unavailable) continue;
    if (down.size >= limits.max_unavailable && !down.has(name)) continue;
    atWork.set(name, 'preparing');
    begun.add(name);
  }
}

/** Whoever only makes ready is let go; whoever was told to upgrade ends that first. */
function goBack(model: Model): Verdict {
  model.direction = 'back';
  model.plan = null;
  for (const [name, work] of model.atWork) if (work === 'preparing') model.atWork.delete(name);
  return goOn(model);
}

/** The last one first, but those of whom nothing is known before all others. */
function planBack(model: Model): void {
  const { touched, done, begun, uncertain, upgraded } = model;
  for (const name of touched) if (!done.has(name)) uncertain.add(name);
  for (const set of [touched, done, begun]) set.clear();
  const back = model.all.filter((name) => uncertain.has(name) || upgraded.has(name)).toReversed();
  model.plan = [
    ...back.filter((name) => uncertain.has(name)),
    ...back.filter((name) => !uncertain.has(name)),
  ];
}

/** False for what was begun before the goal changed, and has to end first. */
function isForThisGoal({ plan }: Model): boolean {
  return plan !== null;
}

function mark(set: Set<string>, name: string, isIn: boolean): void {
  if (isIn) set.add(name);
  else set.delete(name);
}

/** A failure is the more urgent thing to say; who is held already stays so else. */
function hold(model: Model, reason: PauseReason): Verdict {
  if (model.state === 'running' || reason === 'failure') model.reason = reason;
  model.state = 'paused';
  return 'applied';
}

function goOn(model: Model): Verdict {
  if (model.state === 'paused') model.state = 'running';
  model.reason = null;
  return 'applied';
}

function end(model: Model, state: StateName): void {
  model.state = state;
  model.reason = null;
}
