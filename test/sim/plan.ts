import type { PaneOptions } from '../../src/protocol/records.ts';
import type { Asked } from '../server/sessions/task-pane.ts';
import type { Random } from './random.ts';

/** One step of a simulation: plain JSON, so that a failing list can be printed, cut down and kept. Numbers choose by modulo. */
export type Op =
  | { op: 'say'; s: number; via: number; reply?: boolean; stale?: boolean }
  | { op: 'answer'; s: number; stars?: number }
  | { op: 'stream'; s: number; role: 'user' | 'assistant' }
  | {
      op: 'delta';
      s: number;
      pick: number;
      how: 'next' | 'again' | 'gap' | 'differs' | 'end' | 'torn' | 'stars';
      ack: boolean;
    }
  | { op: 'edit' | 'remove'; s: number; pick: number }
  | { op: 'run' | 'pause' | 'resume' | 'cancel'; s: number; pane: number; via: number }
  | { op: 'cancelRun'; s: number; pane: number; past: boolean }
  | { op: 'cancelAll' | 'close' | 'delete' | 'open'; s: number }
  | { op: 'options'; s: number; pane: number; options: Partial<PaneOptions> }
  | { op: 'retry'; pick: number; other: boolean }
  | { op: 'advance'; ms: number }
  | { op: 'attach'; who: number; from: 'own' | 'none' | 'bad' | 'beyond' }
  | { op: 'drop' | 'resync' | 'fall' | 'reload'; who: number }
  | { op: 'crash'; downMs: number }
  | { op: 'stop'; graceMs: number; downMs: number }
  | { op: 'full'; ms: number }
  | { op: 'unknown'; stored: boolean }
  | { op: 'jump'; ms: number }
  | { op: 'tasks'; s: number; via: number; tasks: Asked[] }
  | { op: 'task'; s: number; how: 'cancel' | 'retry' | 'prioritize'; pick: number }
  | { op: 'works'; s: number; how: 'pause' | 'resume' | 'cancel' | 'cancelRun' | 'cancelQueued' }
  | { op: 'worksOptions'; s: number; options: Partial<PaneOptions> }
  | { op: 'limits'; concurrency: number; minIntervalMs: number };

const weights = {
  say: 20,
  answer: 3,
  stream: 4,
  delta: 12,
  edit: 3,
  remove: 2,
  run: 6,
  pause: 2,
  resume: 4,
  cancel: 4,
  cancelRun: 2,
  cancelAll: 1,
  close: 1,
  delete: 0.7,
  open: 2,
  options: 1.5,
  retry: 5,
  advance: 30,
  attach: 6,
  drop: 3,
  resync: 1,
  fall: 2,
  reload: 1,
  crash: 2.5,
  stop: 1,
  full: 1.5,
  unknown: 1.5,
  jump: 0.5,
  tasks: 10,
  task: 10,
  works: 8,
  worksOptions: 1.5,
  limits: 1,
};

/** The steps of a seed. */
export function plan(random: Random, count: number): Op[] {
  return Array.from({ length: count }, () => step(random));
}

function step(random: Random): Op {
  const op = random.weighted(weights);
  const s = random.int(2);
  const who = random.int(4);
  switch (op) {
    case 'say':
      return {
        op,
        s,
        via: random.int(3),
        ...(random.chance(0.15) ? { reply: random.chance(0.5) } : {}),
        ...(random.chance(0.05) ? { stale: true } : {}),
      };
    case 'answer':
      return { op, s, ...(random.chance(0.6) ? { stars: random.between(1, 3) } : {}) };
    case 'tasks':
      return {
        op,
        s,
        via: random.int(3),
        tasks: Array.from({ length: random.between(1, 4) }, (_, i) => asked(random, i)),
      };
    case 'task':
      return { op, s, how: random.pick(['cancel', 'cancel', 'retry', 'retry', 'prioritize']), pick: random.int(12) };
    case 'works':
      return { op, s, how: random.weighted({ pause: 3, resume: 5, cancel: 2, cancelRun: 2, cancelQueued: 1 }) };
    case 'worksOptions':
      return { op, s, options: worksOptions(random) };
    case 'limits':
      return { op, concurrency: random.between(1, 3), minIntervalMs: random.pick([0, 0, 40, 300]) };
    case 'cancelAll':
    case 'close':
    case 'delete':
    case 'open':
      return { op, s };
    case 'stream':
      return { op, s, role: random.chance(0.7) ? 'assistant' : 'user' };
    case 'delta': {
      const how = random.weighted({ next: 6, stars: 6, again: 2, gap: 1, differs: 1, end: 3, torn: 1 });
      return { op, s, pick: random.int(8), how, ack: random.chance(0.5) };
    }
    case 'edit':
    case 'remove':
      return { op, s, pick: random.int(32) };
    case 'run':
    case 'pause':
    case 'resume':
    case 'cancel':
      return { op, s, pane: random.int(4), via: random.int(3) };
    case 'cancelRun':
      return { op, s, pane: random.int(4), past: random.chance(0.4) };
    case 'options':
      return { op, s, pane: random.int(4), options: options(random) };
    case 'retry':
      return { op, pick: random.int(20), other: random.chance(0.15) };
    case 'advance':
      return { op, ms: random.pick([0, 1, 5, 20, 60, 200, 500, 1_000, 3_000, 12_000]) };
    case 'attach':
      return { op, who, from: random.weighted({ own: 6, none: 3, bad: 1, beyond: 0.5 }) };
    case 'drop':
    case 'resync':
    case 'fall':
    case 'reload':
      return { op, who };
    case 'crash':
      return { op, downMs: random.pick([0, 10, 1_500]) };
    case 'stop':
      return { op, graceMs: random.pick([0, 200, 1_500]), downMs: random.pick([0, 500]) };
    case 'full':
      return { op, ms: random.pick([5, 300, 2_500]) };
    case 'unknown':
      return { op, stored: random.chance(0.5) };
    case 'jump':
      return { op, ms: random.pick([-3_600_000, -500, 500, 7_200_000]) };
  }
}

export function options(random: Random): Partial<PaneOptions> {
  const chosen: Partial<PaneOptions> = {};
  if (random.chance(0.5)) chosen.policy = random.pick(['supersede', 'latest', 'queue', 'reject']);
  if (random.chance(0.3)) chosen.startOn = random.pick(['message', 'reply']);
  if (random.chance(0.3)) chosen.debounceMs = random.pick([0, 50, 400]);
  if (random.chance(0.2)) chosen.retries = random.int(3);
  return chosen;
}

/** A task that somebody asks for; names come from few, so that they meet. */
function asked(random: Random, index: number): Asked {
  const id = `t${index}${random.int(3)}`;
  return {
    id,
    ...(random.chance(0.4) ? { key: `t${random.int(3)}` } : {}),
    ...(random.chance(0.4) ? { polish: true } : {}),
    ...(random.chance(0.1) ? { review: true } : {}),
    ...(random.chance(0.1) ? { adds: [`t9${random.int(3)}`] } : {}),
    ...(index > 0 && random.chance(0.3) ? { after: [`t${index - 1}${random.int(3)}`] } : {}),
  };
}

function worksOptions(random: Random): Partial<PaneOptions> {
  const chosen: Partial<PaneOptions> = { parallel: random.between(1, 3) };
  if (random.chance(0.4)) chosen.policy = random.pick(['supersede', 'latest', 'queue', 'reject']);
  if (random.chance(0.3)) chosen.taskTimeoutMs = random.pick([2_000, 15_000]);
  return chosen;
}
