import { withoutMarkup } from '../prompts.ts';
import { compileProgram, has, maxGroups, op } from './pattern-program.ts';
import type { Program } from './pattern-program.ts';
import { firstGroup } from './pattern-groups.ts';
import { canBeEmpty, parsePattern } from './pattern-syntax.ts';
import type { Node } from './pattern-syntax.ts';
import { cleanPrompt, maxPromptUnits } from './scan.ts';
import type { Found, Scanner } from './scan.ts';

/** Longest pattern, in UTF-16 units. */
const maxPatternUnits = 500;

/** Most patterns of one configuration. */
const maxPatterns = 16;

/** Longest match of a pattern, in UTF-16 units: a prompt and what stands around it. A longer one is given up. */
export const maxMatchUnits = 2_400;

/**
 * Effort is counted in steps of the program that are visited. Each new unit brings so much, and at most `maxEffort` is saved up: so a piece costs
 * at most its length times the one and once the other, whatever the patterns and the text. Ordinary patterns need 1 to 15 a unit. Where effort
 * runs out, what has begun to match is given up.
 */
const unitEffort = 24;
const maxEffort = 100_000;

/** Effort that has to be there for each unit that is read again: behind a match that was decided late, or a beginning that was given up. */
const againEffort = 16;

/** What it costs to work out groups, by step: more than to find a match. */
const groupEffort = 4;

/** What the patterns of a configuration find. */
interface Patterns {
  readonly scanner: () => Scanner;
}

/**
 * Patterns of one's own: JavaScript regular expressions without flags, of which the first group that has matched is the prompt. They are
 * not run by the regular expressions of the engine, which can take for ever, but as a machine that reads each unit once: groups, classes,
 * choices and repetitions, greedy and lazy, have the same meaning there; back references, lookaround, anchors and word boundaries are refused.
 * Throws an Error that names the pattern and what is wrong with it.
 */
export function compilePatterns(patterns: readonly string[]): Patterns {
  if (patterns.length === 0 || patterns.length > maxPatterns)
    throw new Error(`expected 1 to ${maxPatterns} patterns, got ${patterns.length}`);
  const nodes: Node[] = [];
  for (const [index, source] of patterns.entries()) {
    try {
      nodes.push(checked(source));
      compileProgram(nodes, true);
    } catch (error) {
      const shown = JSON.stringify(source.length > 80 ? `${source.slice(0, 80)}…` : source);
      const what = error instanceof Error ? error.message : 'unreadable';
      throw new Error(`pattern ${index + 1}, ${shown}: ${what}`, { cause: error });
    }
  }
  const [finding, noting] = [compileProgram(nodes, false), compileProgram(nodes, true)];
  return { scanner: () => new PatternScanner(finding, noting) };
}

function checked(source: string): Node {
  if (source.length > maxPatternUnits)
    throw new Error(`expected at most ${maxPatternUnits} characters, got ${source.length}`);
  const { node, groups } = parsePattern(source);
  if (groups === 0) throw new Error('expected a group "(…)" around the prompt, there is none');
  if (groups > maxGroups) throw new Error(`expected at most ${maxGroups} groups, got ${groups}; write (?:…)`);
  if (canBeEmpty(node)) throw new Error('it matches the empty text');
  return node;
}

/** In place of a step that has been visited for the list already. */
const visited = -1;

/** Threads in the order of their precedence: earlier beginnings first. */
class Threads {
  /** The step at which each waits for a unit. */
  readonly at: Int32Array;
  /** Where in the text each has begun. */
  readonly from: Int32Array;
  size = 0;

  constructor(steps: number) {
    this.at = new Int32Array(steps);
    this.from = new Int32Array(steps);
  }
}

/**
 * All ways to go on are followed at the same time, at most one thread at each step of the program: what another thread of lower precedence
 * would do there is the same. So it finds what backtracking finds, at a cost for each unit that does not depend on the text. What the groups
 * have captured is worked out once, for what has matched.
 */
class PatternScanner implements Scanner {
  readonly #program: Program;
  readonly #noting: Program;
  #now: Threads;
  #next: Threads;
  /** Which steps have been visited for the list that is being made: those marked with its number. */
  readonly #marks: Int32Array;
  #list = 1;
  readonly #stack: Int32Array;
  /** The best match so far; it stands when no thread of higher precedence is left. */
  #match: { from: number; end: number } | undefined;
  #isCut = false;
  /** The text from `#textAt` on: what a thread may still need. */
  #text = '';
  #textAt = 0;
  /** The next unit to read. */
  #at = 0;
  /** Units before this one have been read at least once. */
  #readTo = 0;
  #effort = maxEffort;

  constructor(program: Program, noting: Program) {
    this.#program = program;
    this.#noting = noting;
    this.#now = new Threads(program.op.length);
    this.#next = new Threads(program.op.length);
    this.#marks = new Int32Array(program.op.length);
    this.#stack = new Int32Array(program.op.length);
  }

  push(chunk: string): Found[] {
    const found: Found[] = [];
    this.#text += chunk;
    this.#read(found);
    const needed = this.#oldest() ?? this.#at;
    this.#text = this.#text.slice(needed - this.#textAt);
    this.#textAt = needed;
    return found;
  }

  end(): Found[] {
    const found: Found[] = [];
    while (this.#match !== undefined) {
      this.#settle(found);
      this.#read(found);
    }
    this.#clear();
    return found;
  }

  #read(found: Found[]): void {
    const { first } = this.#program;
    const end = this.#textAt + this.#text.length;
    while (this.#at < end) {
      const unit = this.#text.charCodeAt(this.#at - this.#textAt);
      this.#effort -= 1;
      if (this.#now.size > 0 || (this.#effort > 0 && has(first, unit))) this.#step(unit);
      this.#at += 1;
      if (this.#at > this.#readTo) {
        this.#readTo = this.#at;
        this.#effort = Math.min(maxEffort, this.#effort + unitEffort);
      }
      if (this.#now.size > 0) this.#giveUp();
      if (this.#match !== undefined && this.#now.size === 0) this.#settle(found);
    }
  }

  #step(unit: number): void {
    const { op: ops, x, sets, first } = this.#program;
    const now = this.#now;
    const next = this.#next;
    this.#isCut = false;
    if (this.#match === undefined && has(first, unit)) this.#follow(0, this.#at, now);
    next.size = 0;
    this.#list += 1;
    const { at: steps, from, size } = now;
    this.#effort -= size;
    for (let i = 0; i < size && !this.#isCut; i += 1) {
      const at = steps[i] ?? 0;
      const arg = x[at] ?? 0;
      const fits = ops[at] === op.unit ? arg === unit : has(sets[arg] ?? first, unit);
      if (fits) this.#follow(at + 1, from[i] ?? 0, next);
    }
    this.#now = next;
    this.#next = now;
  }

  /** Adds the threads that begin at this step without reading a unit. The hot loop: a stack of its own instead of recursion. */
  #follow(start: number, from: number, into: Threads): void {
    const { op: ops, x, y } = this.#program;
    const marks = this.#marks;
    const list = this.#list;
    const stack = this.#stack;
    let top = 0;
    let at = start;
    for (;;) {
      this.#effort -= 1;
      const kind = marks[at] === list ? visited : (ops[at] ?? 0);
      marks[at] = list;
      if (kind === op.split) {
        stack[top] = y[at] ?? 0;
        top += 1;
        at = x[at] ?? 0;
        continue;
      }
      if (kind === op.jump) {
        at = x[at] ?? 0;
        continue;
      }
      if (kind === op.match) {
        // What comes after this in the order of precedence does not count any more.
        this.#match = { from, end: this.#at + 1 };
        this.#isCut = true;
        return;
      }
      if (kind !== visited) {
        into.at[into.size] = at;
        into.from[into.size] = from;
        into.size += 1;
      }
      if (top === 0) return;
      top -= 1;
      at = stack[top] ?? 0;
    }
  }

  /** A beginning that has come to nothing in so many units is none: reads on behind it, to find what it has hidden. */
  #giveUp(): void {
    if (this.#effort < 0) this.#drop();
    const oldest = this.#oldest() ?? this.#at;
    if (this.#at - oldest < maxMatchUnits || this.#rewind(oldest + 1)) return;
    const { at, from, size } = this.#now;
    let gone = 0;
    while (gone < size && from[gone] === oldest) gone += 1;
    at.copyWithin(0, gone, size);
    from.copyWithin(0, gone, size);
    this.#now.size = size - gone;
    // Where they stood, a new beginning may stand.
    this.#list += 1;
    for (let i = 0; i < this.#now.size; i += 1) this.#marks[at[i] ?? 0] = this.#list;
  }

  /** The match stands: reads on behind it; behind its beginning if its prompt is too long to be one. */
  #settle(found: Found[]): void {
    const match = this.#match;
    if (match === undefined) return;
    const { from: offset, end } = match;
    const text = this.#text.slice(offset - this.#textAt, end - this.#textAt);
    const { from, to, steps } = firstGroup(this.#noting, text, this.#effort / groupEffort);
    this.#effort -= steps * groupEffort;
    const isTooLong = to - from > maxPromptUnits;
    const prompt = isTooLong ? '' : cleanPrompt(text.slice(from, to));
    if (prompt !== '') found.push({ offset, length: end - offset, prompt });
    if (!this.#rewind(isTooLong ? offset + 1 : end)) this.#clear();
  }

  /** Forgets all threads and goes back, if there is the effort to read so much again. */
  #rewind(to: number): boolean {
    if ((this.#at - to) * againEffort > this.#effort) return false;
    this.#clear();
    this.#at = to;
    return true;
  }

  #clear(): void {
    this.#drop();
    this.#match = undefined;
  }

  #drop(): void {
    this.#now.size = 0;
    this.#list += 1;
  }

  #oldest(): number | undefined {
    return this.#now.size > 0 ? this.#now.from[0] : undefined;
  }
}

/** Takes prompts for pictures out of a text, those of the tags and what these patterns find, and the pictures too: none reaches a model. */
export function promptRemover(patterns: readonly string[] | undefined): (text: string) => string {
  if (patterns === undefined || patterns.length === 0) return withoutMarkup;
  const { scanner } = compilePatterns(patterns);
  return (text) => {
    const one = scanner();
    const found = [...one.push(text), ...one.end()];
    let kept = '';
    let at = 0;
    for (const { offset, length } of found) {
      kept += text.slice(at, offset);
      at = offset + length;
    }
    return withoutMarkup(found.length === 0 ? text : kept + text.slice(at));
  };
}
