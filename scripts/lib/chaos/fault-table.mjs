// @ts-check
import { lossOf } from './history.mjs';

/**
 * The effect of each fault: how many upgrades it affected, and how long they took to continue. Pure.
 *
 * T1. An upgrade is affected by the faults that are injected while it is in flight.
 * T2. It has recovered with its first event after the fault was over. A fault that is over at once (a kill, a
 *     connection that becomes half open) counts from its injection.
 * T3. An upgrade that has not yet recovered from an earlier fault is affected by the later fault, too, but
 *     its recovery counts for the earlier fault. When two faults happen at once, nobody can tell which of
 *     them the recovery belongs to: such pairs have a row of their own.
 *
 * @typedef {import('./story.mjs').Followed} Followed
 * @typedef {import('./injector.mjs').Moment} Moment
 * @typedef {{ fault: string, injected: number, affected: number, lost: number,
 *   p50_ms: number | null, p99_ms: number | null }} Row
 * @typedef {{ moment: Moment, upgrade: Followed, recovery_ms: number | undefined }} Hit
 */

const PAIRS = 'two of these at once';

/**
 * @param {readonly string[]} names the rows
 * @param {readonly Moment[]} moments
 * @param {readonly Followed[]} upgrades
 * @returns {Row[]}
 */
export function faultTable(names, moments, upgrades) {
  const hits = upgrades.flatMap((upgrade) => hitsOf(upgrade, moments));
  const isPair = (/** @type {Moment} */ moment) => moment.length > 1;
  const rows = names.map((fault) => {
    const own = hits.filter(({ moment }) => moment.some((one) => one.fault === fault));
    const count = moments.flat().filter((one) => one.fault === fault).length;
    const timed = own.filter(({ moment }) => !isPair(moment));
    return rowOf(fault, count, own, timed);
  });
  const paired = hits.filter(({ moment }) => isPair(moment));
  return [...rows, rowOf(PAIRS, moments.filter(isPair).length, paired, paired)];
}

/**
 * @param {string} fault
 * @param {number} injected
 * @param {readonly Hit[]} hits
 * @param {readonly Hit[]} timed those whose recovery counts
 * @returns {Row}
 */
function rowOf(fault, injected, hits, timed) {
  const recoveries = timed.flatMap(({ recovery_ms }) => recovery_ms ?? []).sort((a, b) => a - b);
  return {
    fault,
    injected,
    affected: hits.length,
    lost: hits.filter(({ upgrade }) => lossOf(upgrade).length > 0).length,
    p50_ms: quantile(recoveries, 0.5),
    p99_ms: quantile(recoveries, 0.99),
  };
}

/**
 * @param {Followed} upgrade
 * @param {readonly Moment[]} moments in order
 * @returns {Hit[]} without a recovery if it ended while the fault lasted, or was recovering already (T3)
 */
function hitsOf(upgrade, moments) {
  let recoveredAt = 0;
  return moments.flatMap((moment) => {
    const began = Math.min(...moment.map((one) => one.began));
    if (!wasInFlight(upgrade, began)) return [];
    const over = Math.max(...moment.map((one) => one.recovers_from));
    const next = upgrade.events?.find(({ at }) => Date.parse(at) > over);
    const isRecovering = began < recoveredAt;
    if (!isRecovering) recoveredAt = next ? Date.parse(next.at) : Number.POSITIVE_INFINITY;
    return [{ moment, upgrade, recovery_ms: next && !isRecovering ? recoveredAt - over : undefined }];
  });
}

/**
 * Whether the upgrade had begun, had not ended, and did not wait for a person (T1).
 * @param {Followed} upgrade
 * @param {number} at
 */
function wasInFlight({ document, events }, at) {
  if (!document || Date.parse(document.created) > at) return false;
  if (document.ended && Date.parse(document.ended) <= at) return false;
  const last = events?.filter((event) => Date.parse(event.at) <= at).at(-1);
  return last?.type !== 'paused';
}

/**
 * @param {readonly number[]} sorted
 * @param {number} share
 */
function quantile(sorted, share) {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? null;
}

/**
 * @param {readonly Row[]} rows
 * @returns {string} Markdown
 */
export function renderTable(rows) {
  const seconds = (/** @type {number | null} */ ms) => (ms === null ? '–' : `${(ms / 1000).toFixed(2)} s`);
  const body = rows.map(({ fault, injected, affected, lost, p50_ms, p99_ms }) =>
    [fault, injected, affected, lost, seconds(p50_ms), seconds(p99_ms)].join(' | '),
  );
  return [
    '| fault | injected | upgrades affected | lost | recovery p50 | recovery p99 |',
    '|---|--:|--:|--:|--:|--:|',
    ...body.map((line) => `| ${line} |`),
  ].join('\n');
}
