import type { PaneDeclaration } from '../../../src/protocol/records.ts';
import { isOpen } from '../../../src/machines/derive.ts';
import { Random } from '../../sim/random.ts';
import { Violation } from '../rig.ts';
import { TaskRig, type TaskBody, type TaskRigOptions } from './rig.ts';

/**
 * Moves of a pane with tasks in words, such as `ask a b:k`, `done 1`, `crash`: a failing list can be printed, cut down and kept. A move that
 * cannot be made is passed over.
 */
export type Move = string;

const optionSets: readonly Partial<PaneDeclaration>[] = [
  { parallel: 1 },
  { parallel: 3 },
  { policy: 'supersede' },
  { policy: 'latest' },
  { policy: 'queue' },
  { policy: 'reject' },
];

/** Makes one move; false when there is nothing to do it to. */
export function take(rig: TaskRig, move: Move): boolean {
  const [verb = '', ...words] = move.split(' ');
  const [word = ''] = words;
  switch (verb) {
    case 'ask':
      return rig.ask(...words) !== undefined;
    case 'find':
    case 'found': {
      const [message = 'm', ...tasks] = words;
      if (rig.removed.has(message)) return false;
      const known = rig.state.view.messages.find(({ id }) => id === message);
      if (known?.final === true) return false;
      rig.find(message, verb === 'find', ...tasks);
      // One that was being written ends with what is found at its end.
      if (verb === 'found' && known !== undefined) rig.finish(message);
      return true;
    }
    case 'finish':
      if (rig.state.private.open[word] === undefined) return false;
      rig.finish(word);
      return true;
    case 'remove':
      if (!rig.state.view.messages.some(({ id }) => id === word)) return false;
      rig.remove(word);
      return true;
    case 'task.cancel':
    case 'task.retry':
    case 'task.prioritize':
      return rig.task(verb, word);
    case 'cancel':
      if (!isOpen(rig.view) && rig.view.queued.length === 0) return false;
      rig.send({
        type: 'cancel',
        run: word === 'queued' ? (rig.view.queued[0] ?? '') : word === 'run' ? rig.view.run : null,
      });
      return true;
    case 'pause':
      if (rig.view.paused) return false;
      rig.send({ type: 'pause', at: rig.clock.nowMs });
      return true;
    case 'resume':
      if (!rig.view.paused) return false;
      rig.send(word === '' ? { type: 'resume' } : { type: 'resume', input: { said: word } });
      return true;
    case 'close':
      if (!isOpen(rig.view) && rig.view.queued.length === 0) return false;
      for (const message of Object.keys(rig.state.private.open)) rig.finish(message);
      rig.send({ type: 'close', reason: 'closed' });
      return true;
    case 'options':
      rig.setOptions(optionSets[Number(word)] ?? {});
      return true;
    case 'tick':
      if (word === '' && rig.clock.dueInMs.length === 0) return false;
      rig.tick(word === '' ? undefined : Number(word));
      return true;
    case 'crash':
      rig.crash();
      return true;
    default:
      return takeBody(rig, verb, Number(word));
  }
}

/** What bodies do; one that was stopped may still answer, and then unwinds. */
function takeBody(rig: TaskRig, verb: string, index: number): boolean {
  const bodies = verb === 'unwind' || verb === 'kept' || verb === 'late' ? rig.unwinding : rig.alive;
  const body: TaskBody | undefined = bodies[index];
  if (body === undefined) return false;
  const at = rig.clock.nowMs;
  switch (verb) {
    case 'done':
      rig.done(body);
      return true;
    case 'twice':
      rig.done(body, rig.goodResult(body), 2);
      return true;
    case 'late':
      rig.done(body);
      return true;
    case 'end':
      rig.done(body, { outcome: 'done' });
      return true;
    case 'adds':
      rig.done(body, { outcome: 'done', value: 'x', add: [{ id: 'z', label: 'Task z', key: 'z', input: {} }] });
      return true;
    case 'fail':
      rig.fail(body);
      return true;
    case 'later':
      rig.fail(body, true, 2_000);
      return true;
    case 'fatal':
      rig.fail(body, false);
      return true;
    case 'heard':
      body.send({ type: 'heard', kept: false });
      rig.judge();
      return true;
    case 'held':
    case 'granted':
      body.send({ type: verb, at });
      body.held = verb === 'held';
      rig.judge();
      return true;
    case 'kept':
      rig.kept(body);
      rig.unwind(body);
      return true;
    case 'unwind':
      rig.unwind(body);
      return true;
    default:
      throw new Error(`no move ${verb}`);
  }
}

export interface Walked {
  moves: Move[];
  violation: Violation | null;
}

/** Makes these moves in a new world, and lets it come to rest. */
export function replay(options: TaskRigOptions, moves: readonly Move[], rest = true): TaskRig {
  const rig = new TaskRig(options);
  for (const move of moves) take(rig, move);
  if (rest) rig.quiesce();
  rig.stop();
  return rig;
}

/** What breaks with these moves; null = nothing. */
export function breaks(options: TaskRigOptions, moves: readonly Move[], rest = true): Violation | null {
  try {
    replay(options, moves, rest);
    return null;
  } catch (error) {
    if (error instanceof Violation) return error;
    throw error;
  }
}

/** The least of these moves that still breaks the same rule. */
export function shrinkMoves(options: TaskRigOptions, moves: readonly Move[], rule: string): Move[] {
  let left = [...moves];
  for (let size = Math.ceil(left.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < left.length;) {
      const fewer = left.toSpliced(at, size);
      if (breaks(options, fewer)?.rule === rule) left = fewer;
      else at += size;
    }
  }
  return left;
}

const weights = {
  ask: 10,
  find: 6,
  found: 2,
  finish: 3,
  remove: 2,
  'task.cancel': 5,
  'task.retry': 5,
  'task.prioritize': 2,
  cancel: 3,
  pause: 3,
  resume: 6,
  close: 0.5,
  options: 1.5,
  tick: 12,
  crash: 2.5,
  done: 18,
  twice: 3,
  late: 2,
  end: 1,
  adds: 1,
  fail: 6,
  later: 1,
  fatal: 3,
  heard: 3,
  held: 2,
  granted: 3,
  kept: 4,
  unwind: 8,
};
const asks = [
  'a',
  'b',
  'a b',
  'c:a',
  'b c:a',
  'd>a a',
  'a b>a c>b',
  'e:',
  'a! b>a',
  'a b c d e f',
  'f:a g:a',
  'f:a',
  'a! b d',
];

/** One random move. */
export function randomMove(random: Random): Move {
  const verb = random.weighted(weights);
  const id = (): string => random.pick(['a', 'b', 'c', 'd', 'f', 'g', 'm1', 'm2', 'n1']);
  switch (verb) {
    case 'ask':
      return `ask ${asks[random.int(asks.length)] ?? 'a'}`;
    case 'find':
      return random.chance(0.6) ? `find m ${random.pick(['m1', 'm2', 'm3'])}` : `find n ${random.pick(['n1', 'n2'])}`;
    case 'found':
      return random.chance(0.5) ? 'found m m4' : 'found o o1 o2';
    case 'finish':
    case 'remove':
      return `${verb} ${random.pick(['m', 'n', 'o'])}`;
    case 'task.cancel':
    case 'task.retry':
    case 'task.prioritize':
      return `${verb} ${id()}`;
    case 'cancel':
      return random.pick(['cancel', 'cancel run', 'cancel queued']);
    case 'resume':
      return random.chance(0.3) ? 'resume darker' : 'resume';
    case 'options':
      return `options ${random.int(optionSets.length)}`;
    case 'tick':
      return random.weighted({ tick: 6, 'tick 50': 2, 'tick 5000': 1, 'tick 30000': 0.5 });
    case 'pause':
    case 'close':
    case 'crash':
      return verb;
    default:
      return `${verb} ${random.int(3)}`;
  }
}

/** A day of random moves. */
export function randomDay(seed: number, length: number): { options: TaskRigOptions; moves: Move[] } {
  const random = new Random(seed);
  const options: TaskRigOptions = {
    shape: {
      stages: random.pick([['drafting'], ['drafting', 'polishing']]),
      joins: random.chance(0.6),
      keepsFailed: random.chance(0.5),
    },
    options: {
      policy: random.pick(['queue', 'queue', 'supersede', 'latest', 'reject']),
      parallel: random.between(1, 3),
      retries: random.int(3),
      taskTimeoutMs: random.pick([2_000, 20_000]),
    },
  };
  return { options, moves: Array.from({ length }, () => randomMove(random)) };
}
