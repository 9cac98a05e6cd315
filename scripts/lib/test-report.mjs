// @ts-check
import { readJson } from './json-file.mjs';

/**
 * The counts of a test run, from vitest's own report and the additional checks.
 *
 * @typedef {{ passed: number, failed: number, skipped: number }} Count
 */

/**
 * @param {string} file vitest's json report
 * @param {number} exitCode vitest's
 * @returns {Count}
 */
export function countVitest(file, exitCode) {
  const report = /** @type {any} */ (readJson(file));
  if (!report) return { passed: 0, failed: 1, skipped: 0 }; // vitest could not even start
  const passed = report.numPassedTests;
  const skipped = report.numPendingTests + report.numTodoTests;
  const failed = report.numFailedTests + brokenFiles(report);
  // An error outside of any test, for example an unhandled rejection, is a failure as well.
  return { passed, skipped, failed: failed === 0 && exitCode !== 0 ? 1 : failed };
}

/**
 * Files that failed without a failed test: they could not be loaded, or a hook threw.
 * @param {{ testResults: { status: string, assertionResults: { status: string }[] }[] }} report
 */
function brokenFiles({ testResults }) {
  const isBroken = (/** @type {typeof testResults[number]} */ file) =>
    file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed');
  return testResults.filter(isBroken).length;
}

/**
 * @param {readonly Count[]} counts
 * @returns {Count}
 */
export function sum(counts) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const { passed, failed, skipped } of counts) {
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
  return total;
}

/** @param {Count} count */
export function summary({ passed, failed, skipped }) {
  return `Tests: ${passed} passed, ${failed} failed, ${skipped} skipped`;
}
