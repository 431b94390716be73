import { defineConfig } from 'vitest/config';

/** The compiled program as a process of its own, with real sockets and disks; and the play page in a real browser. */
export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts', 'test/page/**/*.test.ts'],
    globalSetup: ['test/e2e/build.ts'],
    testTimeout: 45_000,
    hookTimeout: 45_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
