import type { Node, Units } from './pattern-syntax.ts';

/** What a step of a program does. `x` and `y` are its arguments. */
export const op = {
  /** Goes on if the unit is `x`. */
  unit: 0,
  /** Goes on if the unit is in the set number `x`. */
  set: 1,
  /** Goes on at `x`; if that leads to nothing, at `y`. */
  split: 2,
  jump: 3,
  /** Notes the position in slot `x`: 2i for the beginning of group i, 2i + 1 for its end. */
  save: 4,
  /** Forgets the slots from `x` to `y`. */
  forget: 5,
  match: 6,
} as const;

/** Steps of a machine that reads each unit once, whatever the pattern. */
export interface Program {
  op: Uint8Array;
  x: Int32Array;
  y: Int32Array;
  /** Bit sets over the 65,536 units. */
  sets: readonly Uint8Array[];
  /** The units that a match can begin with. */
  first: Uint8Array;
}

/** Most steps of all patterns together: the cost of a unit is at most this many steps. */
const maxSteps = 256;

/** Most capturing groups of one pattern. */
export const maxGroups = 8;

/**
 * One program for all patterns; where two match at the same place, the one that comes first. `noting`: with the steps that note where groups
 * begin and end. Throws an Error when it gets too large.
 */
export function compileProgram(patterns: readonly Node[], noting: boolean): Program {
  const writer = new Writer(noting);
  writer.choice(patterns);
  writer.add(op.match);
  return writer.program();
}

/** True if the unit is in the set. */
export function has(set: Uint8Array, unit: number): boolean {
  return (((set[unit >> 3] ?? 0) >> (unit & 7)) & 1) === 1;
}

class Writer {
  readonly #steps: { op: number; x: number; y: number }[] = [];
  readonly #sets: Uint8Array[] = [];
  readonly #setNumbers = new Map<string, number>();
  readonly #noting: boolean;

  constructor(noting: boolean) {
    this.#noting = noting;
  }

  add(op: number, x = 0, y = 0): number {
    if (this.#steps.length >= maxSteps)
      throw new Error(`too large: more than ${maxSteps} steps, all patterns together; write * or + instead of {n,m}`);
    return this.#steps.push({ op, x, y }) - 1;
  }

  choice(options: readonly Node[]): void {
    const exits: number[] = [];
    for (const [index, option] of options.entries()) {
      if (index === options.length - 1) this.#node(option);
      else {
        const split = this.add(op.split);
        this.#node(option);
        exits.push(this.add(op.jump));
        this.#aim(split, split + 1, this.#here);
      }
    }
    for (const exit of exits) this.#aim(exit, this.#here);
  }

  program(): Program {
    const first = new Uint8Array(8_192);
    this.#collect(0, first, new Set());
    return {
      op: Uint8Array.from(this.#steps, (step) => step.op),
      x: Int32Array.from(this.#steps, (step) => step.x),
      y: Int32Array.from(this.#steps, (step) => step.y),
      sets: this.#sets,
      first,
    };
  }

  get #here(): number {
    return this.#steps.length;
  }

  #aim(at: number, x: number, y = 0): void {
    const step = this.#steps[at];
    if (step !== undefined) Object.assign(step, { x, y });
  }

  #node(node: Node): void {
    switch (node.kind) {
      case 'units':
        this.#units(node.units);
        break;
      case 'sequence':
        for (const item of node.items) this.#node(item);
        break;
      case 'choice':
        this.choice(node.options);
        break;
      case 'group':
        if (this.#noting) this.add(op.save, 2 * node.index);
        this.#node(node.item);
        if (this.#noting) this.add(op.save, 2 * node.index + 1);
        break;
      case 'repeat':
        this.#repeat(node);
        break;
    }
  }

  #units(units: Units): void {
    const [first] = units;
    if (units.length === 1 && first !== undefined && first[0] === first[1]) this.add(op.unit, first[0]);
    else this.add(op.set, this.#setNumber(units));
  }

  #setNumber(units: Units): number {
    const key = units.join(';');
    const known = this.#setNumbers.get(key);
    if (known !== undefined) return known;
    const set = new Uint8Array(8_192);
    for (const [from, to] of units) putAll(set, from, to);
    this.#setNumbers.set(key, this.#sets.length);
    return this.#sets.push(set) - 1;
  }

  #repeat(node: Node & { kind: 'repeat' }): void {
    const { min, max } = node;
    const endless = max === Infinity;
    for (let i = 0; i < (endless ? min - 1 : min); i += 1) this.#round(node);
    if (endless) this.#loop(node);
    else this.#optional(node, max - min);
  }

  #loop(node: Node & { kind: 'repeat' }): void {
    const skip = node.min === 0 ? this.add(op.split) : undefined;
    const begin = this.#here;
    this.#round(node);
    const again = this.add(op.split);
    this.#choose(again, node.greedy, begin, this.#here);
    if (skip !== undefined) this.#choose(skip, node.greedy, begin, this.#here);
  }

  #optional(node: Node & { kind: 'repeat' }, most: number): void {
    const splits: number[] = [];
    for (let i = 0; i < most; i += 1) {
      splits.push(this.add(op.split));
      this.#round(node);
    }
    for (const split of splits) this.#choose(split, node.greedy, split + 1, this.#here);
  }

  #choose(split: number, greedy: boolean, more: number, out: number): void {
    if (greedy) this.#aim(split, more, out);
    else this.#aim(split, out, more);
  }

  /** One round of a repetition knows nothing of what the groups in it have captured before. */
  #round(node: Node & { kind: 'repeat' }): void {
    const { from, to } = node.groups;
    if (this.#noting && to >= from) this.add(op.forget, 2 * from, 2 * to + 1);
    this.#node(node.item);
  }

  #collect(at: number, first: Uint8Array, seen: Set<number>): void {
    const step = this.#steps[at];
    if (step === undefined || seen.has(at)) return;
    seen.add(at);
    if (step.op === op.unit) put(first, step.x);
    else if (step.op === op.set) this.#sets[step.x]?.forEach((byte, i) => (first[i] = (first[i] ?? 0) | byte));
    else if (step.op === op.split || step.op === op.jump) this.#collect(step.x, first, seen);
    else this.#collect(at + 1, first, seen);
    if (step.op === op.split) this.#collect(step.y, first, seen);
  }
}

function putAll(set: Uint8Array, from: number, to: number): void {
  const [firstWhole, lastWhole] = [(from + 7) >> 3, (to + 1) >> 3];
  if (firstWhole < lastWhole) set.fill(0xff, firstWhole, lastWhole);
  for (let unit = from; unit <= to; unit += 1) {
    if (unit >> 3 >= firstWhole && unit >> 3 < lastWhole) unit = lastWhole * 8 - 1;
    else put(set, unit);
  }
}

function put(set: Uint8Array, unit: number): void {
  set[unit >> 3] = (set[unit >> 3] ?? 0) | (1 << (unit & 7));
}
