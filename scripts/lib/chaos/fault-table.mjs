// @ts-check
import { lossOf } from './history.mjs';

/**
 * What each fault did: to how many upgrades, and how long it took them to go on. An upgrade that is hit
 * while it has yet to recover from an earlier fault is counted with both, its recovery with the earlier.
 * Pure.
 *
 * @typedef {import('./story.mjs').Followed} Followed
 * @typedef {import('./faults.mjs').Injected} Injected
 * @typedef {{ fault: string, injected: number, affected: number, lost: number,
 *   p50_ms: number | null, p99_ms: number | null }} Row
 */

/**
 * @param {readonly string[]} names the rows
 * @param {readonly Injected[]} injected
 * @param {readonly Followed[]} upgrades
 * @returns {Row[]}
 */
export function faultTable(names, injected, upgrades) {
  const all = upgrades.flatMap((upgrade) => hitsOf(upgrade, injected));
  return names.map((fault) => {
    const own = injected.filter((one) => one.fault === fault);
    const hits = all.filter((hit) => hit.fault === fault);
    const recoveries = hits.flatMap(({ recovery_ms }) => recovery_ms ?? []).sort((a, b) => a - b);
    return {
      fault,
      injected: own.length,
      affected: hits.length,
      lost: hits.filter(({ upgrade }) => lossOf(upgrade).length > 0).length,
      p50_ms: quantile(recoveries, 0.5),
      p99_ms: quantile(recoveries, 0.99),
    };
  });
}

/**
 * Begun, not ended, and not waiting for a person.
 * @param {Followed} upgrade
 * @param {number} at
 */
function wasInFlight({ document, events }, at) {
  if (!document || Date.parse(document.created) > at) return false;
  if (document.ended && Date.parse(document.ended) <= at) return false;
  const last = events.filter((event) => Date.parse(event.at) <= at).at(-1);
  return last?.type !== 'paused';
}

/**
 * @param {Followed} upgrade
 * @param {readonly Injected[]} injected
 * @returns {{ fault: string, upgrade: Followed, recovery_ms: number | undefined }[]} `recovery_ms` until
 *   the upgrade's next event; undefined if it ended while the fault lasted, or was recovering already
 */
function hitsOf(upgrade, injected) {
  const hits = injected.filter(({ began }) => wasInFlight(upgrade, began)).sort((a, b) => a.began - b.began);
  let recovering = { since: 0, until: 0 };
  return hits.map(({ fault, began, recovers_from }) => {
    const next = upgrade.events.find(({ at }) => Date.parse(at) > recovers_from);
    // Two at once have the same beginning, or nearly.
    const isFirst = began > recovering.until || began - recovering.since < 50;
    const until = next ? Date.parse(next.at) : Number.POSITIVE_INFINITY;
    if (isFirst) recovering = { since: began, until };
    return { fault, upgrade, recovery_ms: isFirst && next ? until - recovers_from : undefined };
  });
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
    [`\`${fault}\``, injected, affected, lost, seconds(p50_ms), seconds(p99_ms)].join(' | '),
  );
  return [
    '| fault | injected | upgrades affected | lost | recovery p50 | recovery p99 |',
    '|---|--:|--:|--:|--:|--:|',
    ...body.map((line) => `| ${line} |`),
  ].join('\n');
}
