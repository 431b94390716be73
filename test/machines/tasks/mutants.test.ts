/* oxlint-disable typescript/no-unsafe-type-assertion -- changes the configuration of charts, whatever its types */
import { createMachine, enqueueActions } from 'xstate';
import { describe, expect, test } from 'vitest';
import type { TaskPaneMachine } from '../../../src/machines/tasks/pane.ts';
import { recoverTasks } from '../../../src/machines/tasks/recover.ts';
import type { TaskPaneContext, TaskPaneEvent } from '../../../src/machines/tasks/types.ts';
import type { TaskFaults } from './rig.ts';
import { breaks, randomDay, type Move } from './walk.ts';

/**
 * Seeded faults: each must be found by an invariant on random days, or the invariants prove nothing. A mutant is the real chart with one
 * place of its configuration changed, or another recovery.
 */

/** A piece of a chart's configuration, open to change. */
interface Piece {
  [key: string]: Piece;
}

function mutant(change: (config: Piece) => void): NonNullable<TaskFaults['mutate']> {
  return (machine) => {
    const config = copy(machine.config as unknown as Piece);
    change(config);
    return createMachine(config as never, machine.implementations as never) as unknown as TaskPaneMachine;
  };
}

/** The same with the chart of the tasks. */
function taskMutant(change: (config: Piece) => void): NonNullable<TaskFaults['mutate']> {
  return (machine) => {
    const task = machine.implementations.actors['task'] as unknown as TaskPaneMachine;
    return machine.provide({
      actors: { task: mutant(change)(task, {} as never) as never },
    });
  };
}

function copy<T>(value: T): T {
  if (Array.isArray(value)) return value.map(copy) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, copy(inner)])) as T;
}

function at(config: Piece, path: string): Piece {
  return path.split('.').reduce((piece, key) => {
    const next = piece[key];
    if (next === undefined) throw new Error(`no ${key} of ${path} in the chart: the mutant needs a new place`);
    return next;
  }, config);
}

/** Leaves out one action of a list. */
function without(place: Piece, index: number): void {
  place['actions'] = (place['actions'] as unknown as unknown[]).toSpliced(index, 1) as unknown as Piece;
}

type Enqueue = { assign(patch: Partial<TaskPaneContext>): void; emit(said: unknown): void };
const acting = (act: (args: { context: TaskPaneContext; event: TaskPaneEvent; enqueue: Enqueue }) => void): Piece =>
  enqueueActions(act as never) as unknown as Piece;
const none = [] as unknown as Piece;
const always = (() => true) as unknown as Piece;

const working = 'states.life.states.active.states.working';

interface Mutant {
  /** One of these finds it. */
  rules: string[];
  change?: (config: Piece) => void;
  /** In the chart of the tasks. */
  task?: (config: Piece) => void;
  recover?: typeof recoverTasks;
  /** Shown by these moves, where random days seldom come by. */
  moves?: Move[];
}

const mutants: { [name: string]: Mutant } = {
  'does not wait for the bodies of an earlier run': {
    rules: ['T41', 'T40'],
    change: (config) => {
      (at(config, 'states.life.states.active.states.draining.always') as unknown as Piece[])[0] = {
        target: 'working' as unknown as Piece,
      };
    },
  },
  'does not count a body that unwinds': {
    rules: ['T40', 'T50', 'T49'],
    change: (config) => {
      at(config, 'on.unwound')['actions'] = none;
    },
  },
  'begins tasks in spite of a pause': {
    rules: ['T46'],
    change: (config) => {
      at(config, 'states.life.states.active.on.pause')['actions'] = acting(({ context, enqueue }) => {
        enqueue.emit({ type: 'fact', fact: { type: 'pane.paused', pane: context.pane, paused: true } });
      });
    },
  },
  'does not tell those at work that they are to stand still': {
    rules: ['T46'],
    change: (config) => without(at(config, 'states.life.states.active.on.pause'), 1),
  },
  'pauses at a review and lets the others go on': {
    rules: ['T46'],
    moves: ['ask a! b', 'done 0', 'done 1', 'done 0'],
    change: (config) => {
      for (const report of ['task.stage', 'task.retrying', 'task.parked', 'task.done', 'task.failed'])
        without(at(config, `${working}.on`)[report] as Piece, 2);
    },
  },
  'forgets to begin the next task': {
    rules: ['T50'],
    change: (config) => without(at(config, `${working}.on`)['task.done'] as Piece, 1),
  },
  'forgets what a message has ended with': {
    rules: ['T50', 'T68'],
    change: (config) => {
      at(config, `${working}.on.finished`)['actions'] = none;
    },
  },
  'settles without a word': {
    rules: ['T49', 'T50'],
    change: (config) => {
      for (const over of (at(config, `${working}.states.ending`)['always'] as unknown as Piece[]).slice(1))
        over['actions'] = none;
    },
  },
  'settles before its last body is gone': {
    rules: ['T41', 'T40', 'T49'],
    change: (config) => {
      for (const over of (at(config, `${working}.states.ending`)['always'] as unknown as Piece[]).slice(1)) {
        const guard = over['guard'] as unknown as (args: { context: TaskPaneContext }) => boolean;
        over['guard'] = (({ context }: { context: TaskPaneContext }) =>
          guard({ context: { ...context, unwinding: 0 } })) as unknown as Piece;
      }
      at(config, 'states.life.states.active.states.draining.always.0')['guard'] = always;
    },
  },
  'ends a run while tasks are left': {
    rules: ['T49', 'T50', 'T28', 'T40'],
    change: (config) => {
      at(config, `${working}.states.going.always`)['guard'] = (({ context }: { context: TaskPaneContext }) =>
        context.items.some(({ status }) => status === 'succeeded')) as unknown as Piece;
    },
  },
  'cancels a run and goes on': {
    rules: ['T40', 'T45', 'T49', 'T50'],
    change: (config) => {
      at(config, 'states.life.states.active.states.cancelling')['entry'] = none;
    },
  },
  'never ends cancelling': {
    rules: ['T50'],
    change: (config) => {
      const cancelling = at(config, 'states.life.states.active.states.cancelling');
      delete cancelling['always'];
      delete cancelling['after'];
    },
  },
  'lets work join a run that is being cancelled': {
    rules: ['T41', 'T48'],
    change: (config) => {
      at(config, 'states.life.states.active.states.cancelling.on.work')['actions'] = at(
        config,
        'states.life.states.active.on.work.1.actions.0',
      );
    },
  },
  'drops the line when a run ends': {
    rules: ['T50'],
    change: (config) => {
      at(config, 'states.life.states.settled')['always'] = at(config, 'states.life.states.settled.always.0');
    },
  },
  'takes up the next run and keeps it in line': {
    rules: ['T48', 'T49'],
    change: (config) => {
      const wanted = at(config, 'states.life.states.settled.always.1');
      const startNext = wanted['actions'];
      wanted['actions'] = [
        acting(({ context, enqueue }) => enqueue.assign({ queue: [...context.queue, ...context.queue.slice(0, 1)] })),
        startNext,
      ] as unknown as Piece;
    },
  },
  'reports everything at once': {
    rules: ['T28'],
    moves: ['ask a b', 'fatal 0', ...Array.from({ length: 6 }, () => ['task.retry a', 'fatal 1']).flat()],
    change: (config) => {
      delete at(config, 'states.report.states')['told']?.['after'];
      at(config, 'states.report.states.told')['always'] = 'quiet' as unknown as Piece;
    },
  },
  'reports nothing': {
    rules: ['T27', 'T68', 'T28', 'T50'],
    change: (config) => {
      at(config, 'states.report.states.told')['entry'] = acting(({ enqueue }) => enqueue.assign({ changed: [] }));
    },
  },
  'takes work and says nothing of it': {
    rules: ['T48', 'T27'],
    change: (config) => {
      at(config, 'states.life.states.active.on.work.1')['actions'] = none;
    },
  },
  'a task goes on with its next stage in spite of a pause': {
    rules: ['T46'],
    task: (config) => {
      const done = at(config, 'states.work.states.stage.states.drafting.on')['stage.done'] as unknown as Piece[];
      if (done.length > 2) done.splice(0, 1);
    },
  },
  'a task that is done does not say so': {
    rules: ['T50', 'T40'],
    task: (config) => {
      for (const stage of ['drafting', 'polishing']) {
        const done = config['states']?.['work']?.['states']?.['stage']?.['states']?.[stage]?.['on']?.[
          'stage.done'
        ] as unknown as Piece[] | undefined;
        for (const way of done ?? []) if ((way['target'] as unknown) === '#task.over') way['actions'] = none;
      }
    },
  },
  'a task has no end to its time': {
    rules: ['T50'],
    task: (config) => delete at(config, 'states.work.states.clock.states.running')['after'],
  },
  'a task tries again at once, with the same number': {
    rules: ['T40', 'T28'],
    task: (config) => {
      const backoff = at(config, 'states.work.states.stage.states.retrying.after.backoff');
      backoff['actions'] = none;
    },
  },
  'recovers and drops the line': {
    rules: ['T48', 'T50'],
    recover: (...args) => {
      const input = recoverTasks(...args);
      return input === undefined ? undefined : { ...input, queue: [] };
    },
  },
  'recovers with the attempt that died': {
    rules: ['T28', 'T40'],
    recover: (state, ...rest) => {
      const input = recoverTasks(state, ...rest);
      const tasks = state.view.panes['works']?.tasks ?? {};
      return input === undefined
        ? undefined
        : {
            ...input,
            changed: [],
            items: input.items.map((item) => ({ ...item, attempt: (tasks[item.id]?.attempt ?? 1) - 1 })),
          };
    },
  },
  'recovers and forgets the messages that are being written': {
    rules: ['T27', 'T49', 'T50', 'T68'],
    recover: (...args) => {
      const input = recoverTasks(...args);
      return input === undefined ? undefined : { ...input, items: input.items.slice(0, -1) };
    },
  },
  'recovers unpaused': {
    rules: ['T46', 'T27'],
    recover: (...args) => {
      const input = recoverTasks(...args);
      return input === undefined ? undefined : { ...input, paused: false, taskBoot: { at: 'work' } };
    },
  },
};

/** The rule that finds it, and on which day. */
function foundBy(
  faults: TaskFaults,
  given?: Move[],
  days = 250,
): { rule: string; day: number; message: string } | null {
  for (let seed = 1; seed <= (given === undefined ? days : 1); seed += 1) {
    const { options, moves } =
      given === undefined ? randomDay(seed, 30) : { options: { shape: { keepsFailed: false } }, moves: given };
    const violation = breaks({ ...options, ...faults }, moves);
    if (violation !== null) return { rule: violation.rule, day: seed, message: violation.message };
  }
  return null;
}

describe('a pane with tasks: seeded faults', () => {
  test.each(Object.entries(mutants))('%s', { timeout: 60_000 }, (name, { rules, change, task, recover, moves }) => {
    const mutate = change === undefined ? (task === undefined ? undefined : taskMutant(task)) : mutant(change);
    const found = foundBy(
      { ...(mutate === undefined ? {} : { mutate }), ...(recover === undefined ? {} : { recover }) },
      moves,
    );
    console.info(`${name}: ${found === null ? 'NOT FOUND' : `day ${found.day}: ${found.message}`}`);
    expect(rules).toContain(found?.rule);
  });

  test('the chart without a fault is not found, also not through the copy', { timeout: 60_000 }, () => {
    expect(foundBy({ mutate: mutant(() => undefined) }, undefined, 40)).toBeNull();
    expect(foundBy({ mutate: taskMutant(() => undefined) }, undefined, 40)).toBeNull();
  });
});
