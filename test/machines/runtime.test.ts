import { seed } from '../support/seed.ts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { day, live, lived } from './runtime.ts';

/** RUNTIME_DAYS=100000 for a long run; SEED repeats one. */
const numRuns = Number(process.env['RUNTIME_DAYS'] ?? 300);

describe('random days over the real actors', () => {
  test('[P1] [P2] [P3] [P6] [P8] whatever providers, users and the process do', { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(day, (one) => live(one)),
      { numRuns, seed },
    );
    const { days, steps, bodies, ends, crashes } = lived;
    console.info(
      `seed ${seed}: ${days} days, ${steps} steps, ${bodies} bodies, ${ends} runs ended, ${crashes} crashes`,
    );
    expect(ends).toBeGreaterThan(days / 2);
  });
});
