import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real brokers and real database servers: slow machines must be waited for, not failed.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 240_000 } },
    // Two cores; integration suites start servers of their own.
    maxWorkers: 2,
  },
});
