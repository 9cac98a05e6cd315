// @ts-check
/**
 * A measured figure beside the floor of the same run, and its target.
 *
 * @typedef {object} Figure
 * @property {string} name
 * @property {number} value
 * @property {string} unit
 * @property {number | null} floor what a bare program does, in the same unit; null where there is none
 * @property {number | null} ratio value / floor
 * @property {string | null} target null for a figure without a target
 * @property {boolean | null} met
 */

/**
 * @param {string} name
 * @param {string} unit
 * @param {number} value
 * @param {{ floor?: number, atLeast?: number, atMost?: number }} target of the ratio to the floor if there is
 *   a floor, else of the value itself; without `atLeast` and `atMost` there is no target
 * @returns {Figure}
 */
export function figure(name, unit, value, { floor, atLeast, atMost }) {
  const ratio = floor === undefined ? null : value / floor;
  const judged = ratio ?? value;
  if (atLeast === undefined && atMost === undefined) {
    return { name, value, unit, floor: floor ?? null, ratio, target: null, met: null };
  }
  const what = floor === undefined ? unit : '× floor';
  const target = atLeast === undefined ? `≤ ${atMost} ${what}` : `≥ ${atLeast} ${what}`;
  const met = atLeast === undefined ? judged <= (atMost ?? Number.POSITIVE_INFINITY) : judged >= atLeast;
  return { name, value, unit, floor: floor ?? null, ratio, target, met };
}

/** @param {readonly Figure[]} figures */
export function renderFigures(figures) {
  const rows = figures.map(({ name, value, unit, floor, ratio, target, met }) => [
    name,
    `${short(value)} ${unit}`,
    floor === null ? '' : short(floor),
    ratio === null ? '' : ratio.toFixed(2),
    target ?? '',
    met === null ? '' : met ? 'yes' : 'NO',
  ]);
  const table = [['figure', 'measured', 'floor', 'ratio', 'target', 'met'], ...rows];
  const widths =
    table[0]?.map((_, column) => Math.max(...table.map((row) => String(row[column]).length))) ?? [];
  const lines = table.map((row) => `| ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`);
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [lines[0], rule, ...lines.slice(1)].join('\n');
}

/** @param {number} value */
function short(value) {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}

/**
 * @param {readonly number[]} values
 * @param {number} share e.g. 0.5
 */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
