import { seed } from '../../support/seed.ts';
import { describe, expect, test } from 'vitest';
import { breaks, randomDay, shrinkMoves, type Move } from './walk.ts';
import type { TaskRigOptions } from './rig.ts';

/** RUNTIME_DAYS=100000 for a long run; SEED begins elsewhere. */
const days = Number(process.env['RUNTIME_DAYS'] ?? 200);

/** Moves that once broke a promise, cut down to what is needed. */
const once: { what: string; options: TaskRigOptions; moves: Move[] }[] = [
  {
    what: '[T41] [T48] what is asked for while a run is being cancelled does not join it',
    options: {},
    moves: ['ask a', 'cancel', 'ask b'],
  },
  {
    what: '[T48] a task of a name that the run has had gets a run of its own',
    options: {},
    moves: ['ask a b', 'end 0', 'ask a'],
  },
  {
    what: '[T40] what a cancelled task keeps does not take the place of the work of another',
    options: {},
    moves: ['ask f:a g:a', 'task.cancel f', 'tick', 'kept 0'],
  },
  {
    what: '[T40] what an earlier attempt has kept is not committed as that of a later one',
    options: { shape: { stages: ['drafting'] } },
    moves: ['ask a', 'task.cancel a', 'task.retry a', 'task.cancel a', 'kept 0', 'kept 0'],
  },
  {
    what: '[T35] [T68] of two runs in line that were put first the later one is, also after a restart',
    options: { shape: { joins: false } },
    moves: ['ask a', 'ask d>a a', 'task.prioritize d', 'ask a b>a c>b', 'task.prioritize b'],
  },
  {
    what: '[T40] an actor that is done is gone, and takes no other with it',
    options: { options: { parallel: 1 } },
    moves: ['ask a b', 'done 0', 'done 0'],
  },
];

describe('a pane with tasks: random days over the real actors', () => {
  test.each(once)('$what', ({ options, moves }) => {
    expect(breaks(options, moves)?.message).toBeUndefined();
  });

  test(
    '[T27] [T28] [T35] [T40] [T45] [T46] [T48] [T49] [T50] [T68] whatever people, providers and the process do',
    { timeout: 3_600_000 },
    () => {
      for (let i = 0; i < days; i += 1) {
        const { options, moves } = randomDay(seed + i, 50);
        const violation = breaks(options, moves);
        if (violation === null) continue;
        const least = shrinkMoves(options, moves, violation.rule);
        expect.fail(`seed ${seed + i}: ${violation.message}\n${JSON.stringify(least)} ${JSON.stringify(options)}`);
      }
    },
  );
});
