import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/e2e/**', 'test/page/**', 'node_modules/**', 'dist/**'],
    setupFiles: ['test/support/seed.ts'],
    testTimeout: 10_000,
    // The default leaves one processor to others: on two that is half the machine.
    maxWorkers: '100%',
    pool: 'forks',
  },
});
