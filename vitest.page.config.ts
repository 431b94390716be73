import { defineConfig } from 'vitest/config';

/** The play page in a real browser; apart from the other tests, because it needs Chromium and takes longer. */
export default defineConfig({
  test: {
    include: ['test/page/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    pool: 'forks',
    fileParallelism: false,
  },
});
