/* oxlint-disable typescript/no-unsafe-type-assertion -- budgets by name */
import { describe, expect, test } from 'vitest';
import { explore, worlds } from './explorer.ts';

/** EXPLORE_SIZE=1 walks through the larger worlds: minutes instead of seconds. */
const size = Number(process.env['EXPLORE_SIZE'] ?? 0);

describe('every order of everything, in small worlds', () => {
  for (const [name, world] of Object.entries(worlds)) {
    test(`[P1] [P2] [P3] [P6] ${name}`, { timeout: size > 0 ? 3_600_000 : 30_000 }, () => {
      const moves = { ...world.moves };
      for (const [move, more] of Object.entries(size > 0 ? (world.more ?? {}) : {})) {
        const name = move as keyof typeof moves;
        moves[name] = (moves[name] ?? 0) + more * size;
      }
      const startedMs = performance.now();
      const { states, edges, violation, whole, phases } = explore({ ...world, moves }, size > 0 ? 5_000_000 : 200_000);
      console.info(
        `${name}: ${states} states, ${edges} edges, ${phases.size} phases, ${Math.round(performance.now() - startedMs)} ms`,
      );
      expect(violation?.path.join(' > ') ?? '', violation?.message).toBe('');
      expect(whole).toBe(true);
    });
  }
});
