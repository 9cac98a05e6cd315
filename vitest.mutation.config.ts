import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Whole upgrades and what takes little time notice most faults; what tries thousands of cases goes last. */
class QuickFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const name = basename(moduleId);
      if (name === 'golden.test.ts') return 0;
      return name === 'actions.test.ts' || name.includes('.property.') ? 2 : 1;
    };
    return files.toSorted((a, b) => place(a) - place(b));
  }
}

/** The pure tests of the core, as `npm run mutate` runs them: once for each fault, so they must be quick. */
export default defineConfig({
  test: {
    include: ['test/unit/{core,batch}/**/*.test.ts'],
    env: { COFFER_PROPERTY_RUNS: '25', COFFER_PROPERTY_SEED: '1' },
    // On a busy machine a slow test is not a failed one.
    testTimeout: 60_000,
    // They share nothing that one of them could spoil.
    isolate: false,
    sequence: { sequencer: QuickFirst },
  },
});
