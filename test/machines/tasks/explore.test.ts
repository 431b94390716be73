import { describe, expect, test } from 'vitest';
import { exploreTasks, smallWorlds } from './explore.ts';

/** EXPLORE_SIZE=1 walks through all of each world, and one move further: minutes instead of seconds. */
const size = Number(process.env['EXPLORE_SIZE'] ?? 0);

describe('a pane with tasks: every order of everything, in small worlds', () => {
  for (const [name, world] of Object.entries(smallWorlds)) {
    test(name, { timeout: size > 0 ? 3_600_000 : 30_000 }, () => {
      const { states, edges, path, violation } = exploreTasks(
        { ...world, depth: world.depth - 1 + size },
        size > 0 ? undefined : 250,
      );
      console.info(`${name}: ${states} states, ${edges} edges`);
      expect(path.join(', '), violation?.message).toBe('');
      expect(states).toBeGreaterThan(100);
    });
  }
});
