import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/e2e/**', 'test/page/**', 'node_modules/**', 'dist/**'],
    setupFiles: ['test/support/seed.ts'],
    testTimeout: 10_000,
    pool: 'forks',
  },
});
