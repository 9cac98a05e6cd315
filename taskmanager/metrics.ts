import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { type Bus, CONDUCTOR_TOPIC, TASKMANAGER_TOPIC } from '../src/bus/bus.ts';
import { budgetsUsed } from '../src/core/batch/draft.ts';
import {
  ACTIVE_BATCH_STATES,
  type Batch,
  MEMBER_STATES,
  type MemberStateName,
} from '../src/core/batch/record.ts';
import { ACTIVE_STATES, isActive } from '../src/core/record.ts';
import type { Next } from '../src/core/upgrade/inputs.ts';
import type { Store } from '../src/store/store.ts';

/** The buckets reach from the time that a simulated guest takes to the time that a large database takes. */
const STEP_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800];
const UPGRADE_SECONDS = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400];
const OUTAGE_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60];

/** Called for every change of an upgrade that this process has committed. */
export type Observe = (next: Next, manager: string) => void;

/** Counts the changes that this taskmanager commits. The sum over all taskmanagers is the total. */
export function observeUpgrades(registry: Registry): Observe {
  const registers = [registry];
  const events = new Counter({
    name: 'coffer_upgrade_events_total',
    help: 'Events of upgrades, by type: attempts are step_started, failed tries step_retrying and step_failed.',
    labelNames: ['type', 'manager'],
    registers,
  });
  const gates = new Counter({
    name: 'coffer_gate_blocks_total',
    help: 'Steps that a gate began to hold back.',
    labelNames: ['gate', 'manager'],
    registers,
  });
  const steps = new Histogram({
    name: 'coffer_step_duration_seconds',
    help: 'Steps that succeeded at their first attempt, soaks left out.',
    labelNames: ['manager', 'kind'],
    buckets: STEP_SECONDS,
    registers,
  });
  const upgrades = new Histogram({
    name: 'coffer_upgrade_duration_seconds',
    help: 'Upgrades from their start to their end, waiting for people and windows included.',
    labelNames: ['manager', 'state'],
    buckets: UPGRADE_SECONDS,
    registers,
  });
  const outages = new Histogram({
    name: 'coffer_write_outage_seconds',
    help: 'How long a cluster took no writes because of an upgrade; upgrades without an outage are not in it.',
    labelNames: ['manager'],
    buckets: OUTAGE_SECONDS,
    registers,
  });
  return ({ upgrade, events: told, effects }, manager) => {
    for (const { type, step } of told) {
      events.inc({ type, manager });
      const phase = upgrade.steps.find(({ id }) => id === step)?.phase;
      if (type === 'gate_blocked' && phase?.name === 'pending' && phase.blocked)
        gates.inc({ gate: phase.blocked.gate, manager });
    }
    for (const effect of effects)
      if (effect.kind === 'measured') steps.observe({ manager, kind: effect.step }, effect.ms / 1000);
    const { state, write_outage_ms } = upgrade;
    if (isActive(upgrade) || !('ended' in state)) return;
    upgrades.observe({ manager, state: state.name }, (state.ended - state.started) / 1000);
    if (write_outage_ms > 0) outages.observe({ manager }, write_outage_ms / 1000);
  };
}

interface Sources {
  readonly store: Pick<Store, 'counts'>;
  readonly bus: Bus;
  readonly now: () => number;
}

/**
 * Gauges of what all processes share, read from the store and the broker: every taskmanager reports the same
 * values. Returns the function that reads them, to be called for each scrape. If a source cannot be read, its
 * gauges are left out.
 */
export function observeShared(registry: Registry, { store, bus, now }: Sources): () => Promise<void> {
  const registers = [registry];
  const gauge = (name: string, help: string, ...labelNames: string[]) =>
    new Gauge({ name, help, labelNames, registers });
  const upgrades = gauge('coffer_upgrades', 'Upgrades that have not ended, by state.', 'state');
  const tellOfBatches = observeBatches(gauge);
  const overdue = gauge('coffer_overdue', 'Upgrades and clusters that are due and were not looked at yet.');
  const overdueAge = gauge('coffer_overdue_seconds', 'For how long the first of them has been due.');
  const casts = gauge(
    'coffer_pending_casts',
    'Casts that are safe in Redis and not confirmed by RabbitMQ yet.',
  );
  const castAge = gauge('coffer_pending_casts_age_seconds', 'How old the oldest of them is.');
  const redis = gauge('coffer_redis_up', '1 if Redis answered this scrape.');
  const rabbitmq = gauge('coffer_rabbitmq_up', '1 if this process is connected to RabbitMQ.');
  const queues = gauge('coffer_queue_messages', 'Messages that wait in a queue.', 'queue');
  const dead = gauge('coffer_dead_letters', 'Messages that nobody could act on, and that wait for a person.');
  const askStore = async () => {
    const counts = await store.counts(now()).catch(() => null);
    redis.set(counts ? 1 : 0);
    for (const each of [upgrades, overdue, overdueAge, casts, castAge]) each.reset();
    tellOfBatches(counts?.batches ?? null);
    if (!counts) return;
    for (const state of ACTIVE_STATES) upgrades.set({ state }, counts.upgrades[state] ?? 0);
    overdue.set(counts.overdue);
    overdueAge.set(counts.overdue_ms / 1000);
    casts.set(counts.pending_casts);
    castAge.set(counts.pending_casts_ms / 1000);
  };
  const askBroker = async () => {
    rabbitmq.set(bus.isConnected() ? 1 : 0);
    queues.reset();
    dead.reset();
    const depths = await bus.depths?.([TASKMANAGER_TOPIC, CONDUCTOR_TOPIC]).catch(() => null);
    if (!depths) return;
    for (const [queue, { messages }] of depths.topics) queues.set({ queue }, messages);
    dead.set(depths.dead_letters);
  };
  return async () => {
    await Promise.all([askStore(), askBroker()]);
  };
}

type NewGauge = (name: string, help: string, ...labelNames: string[]) => Gauge;

/** Gauges of the batches that have not ended. The function takes null if the batches are not known. */
function observeBatches(gauge: NewGauge): (batches: readonly Batch[] | null) => void {
  const states = gauge('coffer_batches', 'Batches that have not ended, by state.', 'state');
  const clusters = gauge(
    'coffer_batch_clusters',
    'Clusters of batches that have not ended, by state.',
    'state',
  );
  const failures = gauge(
    'coffer_batch_failure_budget_used_ratio',
    'How much of its failure budget the wave at work has used that has used most of it; past it at 1.',
  );
  const outage = gauge(
    'coffer_batch_write_outage_budget_used_ratio',
    'The same of the budget for write outage.',
  );
  return (batches) => {
    for (const each of [states, clusters, failures, outage]) each.reset();
    if (!batches) return;
    for (const state of ACTIVE_BATCH_STATES) {
      states.set({ state }, batches.filter((batch) => batch.state.name === state).length);
    }
    for (const state of MEMBER_STATES) clusters.set({ state }, clustersIn(batches, state));
    const used = batches.flatMap(({ waves, wave }) => waves[wave] ?? []).map(budgetsUsed);
    failures.set(Math.max(0, ...used.map((each) => each.failures)));
    outage.set(Math.max(0, ...used.map((each) => each.write_outage)));
  };
}

function clustersIn(batches: readonly Batch[], state: MemberStateName): number {
  return batches.reduce((sum, { waves, left_out }) => {
    const inWaves = waves.reduce((own, { counts }) => own + counts[state], 0);
    return sum + inWaves + (state === 'skipped' ? left_out : 0);
  }, 0);
}
