// @ts-check
// npm run mutate: puts faults into the core, one at a time, and looks whether a test of the core fails.
// What was tested before and has not changed since is not tested again (--force does).

/** @type {import('@stryker-mutator/api/core').PartialStrykerOptions} */
export default {
  mutate: [
    'src/core/**/*.ts',
    // Tables of datastores, versions and checksums: other values make another catalogue, not a fault.
    '!src/core/managers/postgresql-builds.ts',
  ],
  testRunner: 'vitest',
  vitest: { configFile: 'vitest.mutation.config.ts' },
  coverageAnalysis: 'perTest',
  // Tables that are made once, as a module is loaded: each fault in them would take every test anew.
  ignoreStatic: true,
  concurrency: 2,
  // On a busy machine a slow test must not be taken for an endless one.
  timeoutMS: 20_000,
  thresholds: { high: 95, low: 90, break: 90 },
  incremental: true,
  incrementalFile: '.coffer/mutation/incremental.json',
  // What the tests of the core need, and nothing else.
  ignorePatterns: ['**', '!src/core/**', '!test/unit/**', '!test/golden/**', '!*.json', '!vitest*.ts'],
  tempDirName: '.coffer/mutation/sandbox',
  reporters: ['clear-text', 'html', 'progress-append-only'],
  htmlReporter: { fileName: '.coffer/mutation/report.html' },
  clearTextReporter: { allowColor: false, reportTests: false },
};
