import { Counter, Histogram, type Registry } from 'prom-client';
import type { AttemptReport } from '../src/core/domain.ts';

const SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];

/** Called after each order, with its outcome and its duration. */
export type ObserveOrder = (report: AttemptReport, ms: number) => void;

/** Counts the orders that this process has carried out. */
export function observeOrders(registry: Registry): ObserveOrder {
  const registers = [registry];
  const attempts = new Counter({
    name: 'coffer_guest_attempts_total',
    help: 'Orders that were carried out, by what they were and how they went.',
    labelNames: ['action', 'status'],
    registers,
  });
  const durations = new Histogram({
    name: 'coffer_guest_attempt_duration_seconds',
    help: 'How long they took.',
    labelNames: ['action'],
    buckets: SECONDS,
    registers,
  });
  return ({ action, status }, ms) => {
    attempts.inc({ action, status });
    durations.observe({ action }, ms / 1000);
  };
}
