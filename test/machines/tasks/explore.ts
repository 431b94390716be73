import { Violation } from '../rig.ts';
import { TaskRig, type TaskRigOptions } from './rig.ts';
import { take, type Move } from './walk.ts';

/** A small world: what it begins with, and how often each move may be made. */
export interface SmallWorld {
  options: TaskRigOptions;
  begin: readonly Move[];
  moves: { readonly [move: Move]: number };
  /** Most moves after `begin`. */
  depth: number;
}

export interface Explored {
  states: number;
  edges: number;
  path: Move[];
  violation: Violation | null;
}

/**
 * Walks through every order of the moves, breadth first, over the real actors: each path is made from scratch. Paths that lead to the same
 * state are followed once. After each move all invariants hold, and from each state everything comes to an end.
 */
export function exploreTasks(world: SmallWorld, maxStates = 20_000): Explored {
  const seen = new Set<string>();
  let layer: Move[][] = [[]];
  let edges = 0;
  for (let depth = 0; depth <= world.depth; depth += 1) {
    const next: Move[][] = [];
    for (const path of layer) {
      for (const more of depth === 0 ? [[]] : stepsFrom(world, path)) {
        edges += 1;
        const longer = [...path, ...more];
        const key = walkOne(world, longer);
        if (key instanceof Violation)
          return { states: seen.size, edges, path: [...world.begin, ...longer], violation: key };
        if (key === null || seen.has(key)) continue;
        if (seen.size >= maxStates) return { states: seen.size, edges, path: [], violation: null };
        seen.add(key);
        next.push(longer);
      }
    }
    layer = next;
  }
  return { states: seen.size, edges, path: [], violation: null };
}

function stepsFrom({ moves }: SmallWorld, path: readonly Move[]): Move[][] {
  return Object.entries(moves)
    .filter(([move, most]) => path.filter((made) => made === move).length < most)
    .map(([move]) => [move]);
}

/** The state that a path leads to; null when its last move cannot be made there. */
function walkOne(world: SmallWorld, path: readonly Move[]): string | Violation | null {
  const rig = new TaskRig(world.options);
  try {
    for (const move of world.begin) take(rig, move);
    for (const [index, move] of path.entries()) if (!take(rig, move) && index === path.length - 1) return null;
    const key = `${stateKey(rig)} ${JSON.stringify(Object.keys(world.moves).map((move) => path.filter((made) => made === move).length))}`;
    rig.quiesce();
    return key;
  } catch (error) {
    if (error instanceof Violation) return error;
    throw error;
  } finally {
    rig.stop();
  }
}

/** All that what comes depends on, without names that only count. */
function stateKey(rig: TaskRig): string {
  const snapshot = rig.snapshot;
  const { phase, run, paused, queued, tasks, parts } = rig.view;
  const children = Object.values(snapshot?.children ?? {}).map((child) => {
    // The charts of tasks, of which only the state is compared.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const { value, context } = (child?.getSnapshot() ?? {}) as { value?: unknown; context?: object };
    return { value, context };
  });
  return JSON.stringify([
    phase,
    run,
    paused,
    queued,
    Object.values(tasks).map(({ id, status, attempt, stage, rank }) => [id, status, attempt, stage, rank]),
    Object.entries(parts).map(([key, { version }]) => [key, version]),
    rig.state.private.panes['works']?.queue,
    Object.keys(rig.state.private.open),
    rig.declaration.policy,
    rig.declaration.parallel,
    snapshot?.value,
    snapshot?.context,
    children,
    rig.bodies.filter(({ over }) => !over).map(({ input, stopped, held }) => [input, stopped, held]),
    rig.clock.dueInMs,
  ]);
}

/** What is walked through by the tests; `EXPLORE_SIZE` makes the paths longer. */
export const smallWorlds: { readonly [name: string]: SmallWorld } = {
  '[T45] [T40] cancel, retry and late words of two tasks with one part': {
    options: { shape: { stages: ['drafting'] }, options: { parallel: 2, retries: 1 } },
    begin: ['ask a:k b:k'],
    moves: {
      'task.cancel a': 2,
      'task.retry a': 1,
      'task.cancel b': 1,
      'done 0': 2,
      'fail 0': 1,
      'kept 0': 2,
      'unwind 0': 1,
      tick: 2,
    },
    depth: 5,
  },
  '[T46] [T68] pause, resume and crash between two stages': {
    options: { options: { parallel: 1, retries: 1 } },
    begin: ['ask a b>a'],
    moves: {
      pause: 2,
      resume: 2,
      crash: 2,
      'done 0': 3,
      'fail 0': 1,
      'held 0': 1,
      'granted 0': 1,
      tick: 2,
      'unwind 0': 1,
    },
    depth: 5,
  },
  '[T48] [T41] several requests that join or stand in line, and cancels': {
    options: { options: { parallel: 2, retries: 0 } },
    begin: ['ask a'],
    moves: {
      'ask b': 1,
      'ask c:a': 1,
      'ask a': 1,
      cancel: 1,
      'cancel run': 1,
      'cancel queued': 1,
      'done 0': 2,
      'fatal 0': 1,
      'unwind 0': 2,
      'task.prioritize a': 1,
      crash: 1,
      tick: 1,
    },
    depth: 4,
  },
  '[T23] [T27] a message that is written, ends, is removed': {
    options: { shape: { stages: ['drafting'], joins: false }, options: { parallel: 2, retries: 0 } },
    begin: ['find m m1'],
    moves: {
      'find m m2': 1,
      'finish m': 1,
      'remove m': 1,
      'done 0': 2,
      'fatal 0': 1,
      pause: 1,
      resume: 1,
      crash: 1,
      cancel: 1,
      'unwind 0': 1,
      tick: 1,
    },
    depth: 5,
  },
  '[T50] one makes way for another, one waits, options change': {
    options: {
      shape: { stages: ['drafting'], joins: false },
      options: { policy: 'supersede', parallel: 1, retries: 0 },
    },
    begin: ['ask a b'],
    moves: {
      'ask c': 2,
      'options 3': 1,
      'options 4': 1,
      pause: 1,
      resume: 1,
      'done 0': 2,
      cancel: 1,
      close: 1,
      'unwind 0': 2,
      crash: 1,
      'tick 5000': 1,
    },
    depth: 4,
  },
  '[T47] a review among others': {
    options: { options: { parallel: 2, retries: 1 } },
    begin: ['ask a! b c>a'],
    moves: {
      'done 0': 3,
      'done 1': 2,
      'fail 1': 1,
      'resume darker': 1,
      resume: 1,
      'task.cancel b': 1,
      'task.cancel c': 1,
      'ask d': 1,
      crash: 1,
      tick: 1,
    },
    depth: 4,
  },
};
