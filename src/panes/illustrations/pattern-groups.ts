import { has, maxGroups, op } from './pattern-program.ts';
import type { Program } from './pattern-program.ts';

/** Positions that a thread has noted, -1 for none. Shared between threads, never changed. */
type Slots = readonly number[];

interface Thread {
  at: number;
  slots: Slots;
}

const unset: Slots = Array.from({ length: 2 * (maxGroups + 1) }, () => -1);

/**
 * Where in a text that matches as a whole the first group is that has captured something, and how many steps it took to say so. When that takes
 * more than `maxSteps`, it is nowhere.
 */
export function firstGroup(
  program: Program,
  text: string,
  maxSteps: number,
): { from: number; to: number; steps: number } {
  const { slots, steps } = matchWhole(program, text, maxSteps);
  for (let i = 2; i + 1 < slots.length; i += 2) {
    const [from = -1, to = -1] = [slots[i], slots[i + 1]];
    if (from >= 0 && to >= 0) return { from, to, steps };
  }
  return { from: 0, to: 0, steps };
}

/** What the thread of the highest precedence has noted of those that match the whole text: the same as when the match was found. */
function matchWhole(program: Program, text: string, maxSteps: number): { slots: Slots; steps: number } {
  const { op: ops, x, sets, first } = program;
  const marks = new Int32Array(ops.length).fill(-1);
  let matched: Slots = unset;
  let now: Thread[] = [];
  let steps = 0;
  const follow = (at: number, slots: Slots, position: number, into: Thread[]): void => {
    steps += 1;
    if (marks[at] === position) return;
    marks[at] = position;
    const [arg = 0, more = 0] = [program.x[at], program.y[at]];
    const kind = ops[at];
    if (kind === op.split || kind === op.jump) {
      follow(arg, slots, position, into);
      if (kind === op.split) follow(more, slots, position, into);
    } else if (kind === op.save) follow(at + 1, noted(slots, arg, position), position, into);
    else if (kind === op.forget) follow(at + 1, forgotten(slots, arg, more), position, into);
    else if (kind !== op.match) into.push({ at, slots });
    else if (position === text.length) matched = slots;
  };
  follow(0, unset, 0, now);
  for (let position = 0; position < text.length; position += 1) {
    if (steps > maxSteps) break;
    const unit = text.charCodeAt(position);
    const next: Thread[] = [];
    for (const { at, slots } of now) {
      const arg = x[at] ?? 0;
      if (ops[at] === op.unit ? arg === unit : has(sets[arg] ?? first, unit)) follow(at + 1, slots, position + 1, next);
    }
    now = next;
  }
  return { slots: matched, steps };
}

function noted(slots: Slots, slot: number, position: number): Slots {
  const copy = slots.slice();
  copy[slot] = position;
  return copy;
}

function forgotten(slots: Slots, from: number, to: number): Slots {
  for (let slot = from; slot <= to; slot += 1) {
    // Mostly there is nothing to forget.
    if (slots[slot] !== -1) return slots.slice().fill(-1, from, to + 1);
  }
  return slots;
}
