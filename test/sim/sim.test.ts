import { describe, expect, it } from 'vitest';
import { explain, opsOf, simulate } from './run.ts';

/** `MULLION_SEED=17 npx vitest run test/sim` runs one seed; `npm run sim` runs thousands. */
const given = process.env['MULLION_SEED'];
const groups = 10;
const seedsPerGroup = given === undefined ? 10 : 1;
const operations = 60;

describe('[P1] [P2] [P3] [P4] [P5] [P6] [P7] [P8] [P9] a whole server, simulated', () => {
  it.each(Array.from({ length: given === undefined ? groups : 1 }, (_, group) => group))(
    'keeps its promises: group %i',
    async (group) => {
      for (let i = 0; i < seedsPerGroup; i += 1) {
        const seed = given === undefined ? 1 + group * seedsPerGroup + i : Number(given);
        const outcome = await simulate(seed, opsOf(seed, operations));
        expect(outcome.violations, explain(outcome)).toEqual([]);
      }
    },
    60_000,
  );

  it('does the same again from the same seed', async () => {
    const [first, second] = [await simulate(7, opsOf(7, 60)), await simulate(7, opsOf(7, 60))];
    expect(second).toEqual(first);
  });
});
