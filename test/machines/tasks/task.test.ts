/* oxlint-disable typescript/no-unsafe-type-assertion -- changes the configuration of a chart, whatever its types */
import { createMachine } from 'xstate';
import { describe, expect, test } from 'vitest';
import type { TaskMachine } from '../../../src/machines/tasks/task.ts';
import { walkTask, type TaskWalkOptions } from './task-walk.ts';

/** EXPLORE_SIZE=1 walks two moves further. */
const size = Number(process.env['EXPLORE_SIZE'] ?? 0);

const shapes: { [name: string]: TaskWalkOptions } = {
  'one stage, one retry': { stages: ['drafting'], retries: 1 },
  'two stages, one retry': { stages: ['drafting', 'polishing'], retries: 1 },
  'two stages, no retry': { stages: ['drafting', 'polishing'], retries: 0 },
};

interface Piece {
  [key: string]: Piece;
}

function copy<T>(value: T): T {
  if (Array.isArray(value)) return value.map(copy) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, copy(inner)])) as T;
}

/** The chart with one place of its configuration changed. */
const mutant =
  (change: (states: Piece) => void) =>
  (machine: TaskMachine): TaskMachine => {
    const config = copy(machine.config as unknown as Piece);
    change(place(config, 'states.work.states'));
    return createMachine(config as never, machine.implementations as never) as unknown as TaskMachine;
  };

const isEnd = (way: Piece): boolean => (way['target'] as unknown) === '#task.over';
const place = (states: Piece, path: string): Piece =>
  path.split('.').reduce((piece, key) => piece[key] as Piece, states);
const always = (() => true) as unknown as Piece;

const mutants: { [name: string]: { rules: string[]; change: (states: Piece) => void } } = {
  'has no end to its time': {
    rules: ['timeout'],
    change: (states) => delete place(states, 'clock.states.running')['after'],
  },
  'tries again for ever': {
    rules: ['retries', 'timeout'],
    change: (states) => {
      place(states, 'stage.states.drafting.on')['stage.failed'] = [{ target: 'retrying' }] as unknown as Piece;
    },
  },
  'stands still for ever in a queue': {
    rules: ['stuck', 'timeout'],
    change: (states) => {
      place(states, 'clock.states.held')['on'] = {};
    },
  },
  'says that it has left a body when it has not': {
    rules: ['left'],
    change: (states) => {
      const stage = place(states, 'stage.states.drafting');
      place(stage, 'on')['heard'] = { target: 'retrying' } as unknown as Piece;
    },
  },
  'says twice how it ended': {
    rules: ['one end'],
    change: (states) => {
      const ways = place(states, 'stage.states.drafting.on')['stage.done'] as unknown as Piece[];
      for (const way of ways) if (isEnd(way)) way['actions'] = [way['actions'], way['actions']] as unknown as Piece;
    },
  },
  'does not end when it has ended': {
    rules: ['stuck', 'one end'],
    change: (states) => {
      const ways = place(states, 'stage.states.drafting.on')['stage.done'] as unknown as Piece[];
      for (const way of ways) if (isEnd(way)) way['target'] = 'retrying' as unknown as Piece;
    },
  },
  'waits again in spite of its last chance': {
    rules: ['retries', 'timeout', 'attempt'],
    change: (states) => {
      const ways = place(states, 'stage.states.drafting.on')['silent'] as unknown as Piece[];
      (ways[0] as Piece)['guard'] = always;
    },
  },
};

describe('the chart of one task: every order of what it can hear', () => {
  test.each(Object.entries(shapes))('[T45] [T46] [T49] %s', { timeout: 600_000 }, (name, options) => {
    const { states, edges, ends, path, violation } = walkTask(options, 5 + 2 * size);
    console.info(`${name}: ${states} states, ${edges} edges`);
    expect(path.join(', '), violation?.message).toBe('');
    expect([...ends].toSorted()).toEqual(['task.done', 'task.failed', 'task.parked']);
  });

  test.each(Object.entries(mutants))('a fault is found: it %s', { timeout: 60_000 }, (_, { rules, change }) => {
    const { path, violation } = walkTask({ stages: ['drafting'], retries: 1, mutate: mutant(change) }, 6);
    expect(rules, `${violation?.message} ${path.join(', ')}`).toContain(violation?.rule);
  });
});
