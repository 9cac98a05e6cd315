// @ts-check

/**
 * The history checker: from the recorded stories it decides which guarantees were kept. Pure.
 *
 * @typedef {import('./story.mjs').Story} Story
 * @typedef {import('./story.mjs').Followed} Followed
 * @typedef {import('./faults.mjs').Injected} Injected
 * @typedef {import('./logs.mjs').Executions} Executions
 * @typedef {import('./batches.mjs').BatchOutcome} BatchOutcome
 *
 * @typedef {object} Verdict
 * @property {number} requests
 * @property {{ accepted: number, refused: number, unknown: number }} answers
 * @property {number} upgrades that the record holds or should hold
 * @property {Record<string, number>} ended by state; `paused` waits for a person, with a reason
 * @property {number} taken_up attempts that an agent took up again after it had died and restarted
 * @property {{ clusters: number, acknowledged: number, longest_outage_ms: number }} writes
 * @property {Pick<BatchOutcome, 'accepted' | 'ended' | 'clusters'>} batches
 * @property {Record<Violation, string[]>} violations the broken guarantees, in words; all empty if none was broken
 *
 * @typedef {'lost' | 'doubled' | 'breached' | 'untrue' | 'gaps' | 'overlapping' | 'refused_but_begun'
 *   | 'writes_lost' | 'stuck'} Violation
 */

/** @type {BatchOutcome} */
const NO_BATCHES = { accepted: 0, ended: {}, clusters: {}, lost: [], untrue: [], gaps: [] };
const ENDED = ['succeeded', 'failed', 'cancelled', 'rolled_back'];

/**
 * @param {object} seen
 * @param {readonly Story[]} seen.stories
 * @param {readonly string[]} seen.stuck
 * @param {ReadonlyMap<string, Executions>} seen.executions
 * @param {BatchOutcome} [seen.batches] absent where no batch was requested
 * @returns {Verdict}
 */
export function judge({ stories, stuck, executions, batches = NO_BATCHES }) {
  const followed = stories.flatMap((story) => [...story.upgrades.values()]);
  const asked = stories.flatMap((story) => story.asked);
  const count = (/** @type {string} */ answer) => asked.filter((one) => one.answer === answer).length;
  const writes = stories.flatMap((story) => story.writes ?? []);
  return {
    requests: asked.length,
    answers: { accepted: count('accepted'), refused: count('refused'), unknown: count('unknown') },
    upgrades: followed.length,
    ended: countBy(followed.flatMap(({ document }) => (document ? [document.state] : []))),
    taken_up: [...executions.values()].reduce((sum, { taken_up }) => sum + taken_up, 0),
    writes: {
      clusters: writes.length,
      acknowledged: writes.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
      longest_outage_ms: Math.max(0, ...writes.map(({ outage_ms }) => outage_ms)),
    },
    batches: { accepted: batches.accepted, ended: batches.ended, clusters: batches.clusters },
    violations: {
      lost: [...followed.flatMap(lossOf), ...batches.lost],
      doubled: doublesOf(executions),
      breached: stories.flatMap(({ breaches }) => breaches.map(breachText)),
      untrue: [...stories.flatMap((story) => story.untrue), ...batches.untrue],
      gaps: [...followed.flatMap(gapsOf), ...batches.gaps],
      overlapping: stories.flatMap(overlapsOf),
      refused_but_begun: stories.flatMap(unaskedOf),
      writes_lost: stories.flatMap(({ name, writes: own }) =>
        own && own.lost > 0 ? [`${name}: ${own.lost} of ${own.acknowledged} acknowledged writes`] : [],
      ),
      stuck: [...stuck, ...stories.flatMap((story) => story.stuck)],
    },
  };
}

/** @param {Verdict} verdict */
export function isGood({ violations }) {
  return Object.values(violations).every((found) => found.length === 0);
}

/**
 * G1: an accepted upgrade ends, or waits with a reason.
 * @param {Followed} followed
 * @returns {string[]}
 */
export function lossOf({ id, document }) {
  if (document === undefined) return [];
  if (document === null) return [`upgrade ${id} was accepted, and the record does not hold it`];
  const { state, message, steps } = document;
  if (ENDED.includes(state) || (state === 'paused' && message)) return [];
  const now = steps.filter(({ phase }) => !['pending', 'done'].includes(phase));
  const where = now.map((step) => `${step.instance_name} ${step.phase} (attempt ${step.attempt})`);
  return [
    `upgrade ${id} of ${document.cluster_name} is still ${state}: ${where.join(', ') || 'no step at work'}`,
  ];
}

/**
 * G4: an attempt succeeds once. The only exception is an attempt whose agent died before it could record the
 * success.
 * @param {ReadonlyMap<string, Executions>} executions
 */
function doublesOf(executions) {
  return [...executions].flatMap(([attempt, { done, taken_up }]) =>
    done > 1 + taken_up ? [`${attempt} was done ${done} times`] : [],
  );
}

/** @param {import('./availability.mjs').Breach} breach */
function breachText({ cluster, upgrade_id, instances, allowed, seen }) {
  return `${cluster}: ${instances.length} instances out of service at once, ${allowed} allowed, in upgrade ${upgrade_id} (by their ${seen}: ${instances.join(', ')})`;
}

/**
 * G9: events are numbered without a gap, and a watcher receives each event once and in order.
 * @param {Followed} followed
 * @returns {string[]}
 */
function gapsOf({ id, document, events, seen }) {
  if (!document || !events) return [];
  const numbers = events.map(({ seq }) => seq);
  const isGapless = (/** @type {readonly number[]} */ list) => list.every((seq, index) => seq === index + 1);
  const problems = [];
  if (!isGapless(numbers)) problems.push(`the events of upgrade ${id} are numbered ${numbers.join(' ')}`);
  if (document.seq > numbers.length)
    problems.push(`upgrade ${id} has ${document.seq} events, ${numbers.length} can be read`);
  if (!isGapless(seen)) problems.push(`a watcher of upgrade ${id} was sent ${seen.join(' ')}`);
  return problems;
}

/**
 * G3: one upgrade per cluster at a time.
 * @param {Story} story
 */
function overlapsOf({ name, upgrades }) {
  const spans = [...upgrades.values()]
    .flatMap(({ document }) => document ?? [])
    .map(({ id, created, ended }) => ({ id, from: created, to: ended ?? '9' }))
    .sort((a, b) => (a.from < b.from ? -1 : 1));
  return spans.flatMap((span, index) => {
    const next = spans[index + 1];
    return next && next.from < span.to
      ? [`${name}: upgrade ${next.id} began before ${span.id} had ended`]
      : [];
  });
}

/**
 * Each upgrade belongs to a request that was accepted, or whose outcome is unknown; a refused request changes
 * nothing.
 * @param {Story} story
 */
function unaskedOf({ name, asked, upgrades }) {
  const accepted = new Set(asked.flatMap(({ upgrade_id }) => upgrade_id ?? []));
  const unknown = asked.filter(({ answer }) => answer === 'unknown').map(({ to }) => to);
  return [...upgrades.values()].flatMap(({ id, document }) => {
    if (!document || accepted.has(id)) return [];
    const at = unknown.indexOf(document.to.name);
    if (at >= 0) {
      unknown.splice(at, 1);
      return [];
    }
    const codes = asked.filter(({ to }) => to === document.to.name).map(({ code }) => code);
    return [
      `${name}: upgrade ${id} to ${document.to.name} runs, the requests were refused (${codes.join(', ')})`,
    ];
  });
}

/** @param {readonly string[]} words */
function countBy(words) {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
