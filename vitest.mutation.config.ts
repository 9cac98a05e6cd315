import { defineConfig } from 'vitest/config';

/** The pure tests of the core, as `npm run mutate` runs them: once for each fault, so they must be quick. */
export default defineConfig({
  test: {
    include: ['test/unit/core/**/*.test.ts', 'test/unit/catalogue.test.ts'],
    env: { COFFER_PROPERTY_RUNS: '25', COFFER_PROPERTY_SEED: '1' },
  },
});
