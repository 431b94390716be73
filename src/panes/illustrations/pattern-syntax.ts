/** A set of UTF-16 units: ranges, both ends in it. */
export type Units = readonly (readonly [from: number, to: number])[];

/** A pattern as a tree. */
export type Node =
  | { kind: 'units'; units: Units }
  | { kind: 'sequence'; items: Node[] }
  | { kind: 'choice'; options: Node[] }
  | { kind: 'group'; index: number; item: Node }
  | { kind: 'repeat'; item: Node; min: number; max: number; greedy: boolean; groups: { from: number; to: number } };

const digits: Units = [[0x30, 0x39]];
const word: Units = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
const blanks: Units = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const lineEnds: Units = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const controls: { readonly [letter: string]: number } = { t: 9, n: 10, v: 11, f: 12, r: 13, '0': 0 };

/** The tree of a pattern and how many groups it captures. Throws an Error that says what is wrong with it, or not understood here. */
export function parsePattern(source: string): { node: Node; groups: number } {
  // The engine's own opinion first: it knows every rule of the syntax, and names what is broken.
  void new RegExp(source);
  const reader = new Reader(source);
  const node = reader.choice();
  return { node, groups: reader.groups };
}

/** True if the node matches the empty text. */
export function canBeEmpty(node: Node): boolean {
  switch (node.kind) {
    case 'units':
      return false;
    case 'sequence':
      return node.items.every(canBeEmpty);
    case 'choice':
      return node.options.some(canBeEmpty);
    case 'group':
      return canBeEmpty(node.item);
    case 'repeat':
      return node.min === 0 || canBeEmpty(node.item);
  }
}

/** Reads what `new RegExp` has accepted, and refuses what cannot be matched in one pass. */
class Reader {
  groups = 0;
  #at = 0;
  readonly #source: string;

  constructor(source: string) {
    this.#source = source;
  }

  choice(): Node {
    const options = [this.#sequence()];
    while (this.#eat('|')) options.push(this.#sequence());
    const [only] = options;
    return options.length === 1 && only !== undefined ? only : { kind: 'choice', options };
  }

  #sequence(): Node {
    const items: Node[] = [];
    while (this.#at < this.#source.length && !this.#sees('|') && !this.#sees(')')) {
      const before = this.groups;
      const item = this.#atom();
      items.push(this.#repeated(item, { from: before + 1, to: this.groups }));
    }
    return { kind: 'sequence', items };
  }

  #repeated(item: Node, groups: { from: number; to: number }): Node {
    const start = this.#at;
    const bounds = this.#bounds();
    if (bounds === undefined) return item;
    const greedy = !this.#eat('?');
    const sign = this.#source.slice(start, this.#at);
    if (bounds.max === 0) throw new Error(`${sign} repeats nothing`);
    if (canBeEmpty(item)) throw new Error(`${sign} repeats what can be empty; leave out one of the two signs`);
    return { kind: 'repeat', item, ...bounds, greedy, groups };
  }

  #bounds(): { min: number; max: number } | undefined {
    if (this.#eat('*')) return { min: 0, max: Infinity };
    if (this.#eat('+')) return { min: 1, max: Infinity };
    if (this.#eat('?')) return { min: 0, max: 1 };
    const counted = /^\{(\d+)(,?)(\d*)\}/.exec(this.#source.slice(this.#at));
    if (counted === null) return undefined;
    const [all, min = '', comma, max = ''] = counted;
    this.#at += all.length;
    return { min: Number(min), max: comma === '' ? Number(min) : max === '' ? Infinity : Number(max) };
  }

  #atom(): Node {
    const sign = this.#next();
    switch (sign) {
      case '(':
        return this.#group();
      case '[':
        return { kind: 'units', units: this.#class() };
      case '\\':
        return { kind: 'units', units: this.#escape(false) };
      case '.':
        return { kind: 'units', units: complement(lineEnds) };
      case '^':
      case '$':
        throw new Error(`${sign} is not possible: a prompt is found wherever it stands in a growing text`);
      default:
        return { kind: 'units', units: one(sign.charCodeAt(0)) };
    }
  }

  #group(): Node {
    const rest = this.#source.slice(this.#at, this.#at + 3);
    if (/^\?(?:[=!]|<[=!])/.test(rest)) throw new Error(`lookaround "(${rest.slice(0, 3)}" is not possible`);
    let index: number | undefined;
    if (rest.startsWith('?:')) this.#at += 2;
    else if (rest.startsWith('?<')) {
      this.#at = this.#source.indexOf('>', this.#at) + 1;
      index = this.groups += 1;
    } else if (rest.startsWith('?')) throw new Error(`"(${rest.slice(0, 2)}" is not possible`);
    else index = this.groups += 1;
    const item = this.choice();
    this.#at += 1;
    return index === undefined ? item : { kind: 'group', index, item };
  }

  #class(): Units {
    const negated = this.#eat('^');
    const units: (readonly [number, number])[] = [];
    while (!this.#eat(']')) {
      const from = this.#classItem();
      const [first] = from;
      if (this.#sees('-') && this.#source[this.#at + 1] !== ']') {
        this.#at += 1;
        const to = this.#classItem();
        const [last] = to;
        // As in a browser: a hyphen next to a class such as \w is a hyphen.
        if (isOne(from) && isOne(to) && first !== undefined && last !== undefined) units.push([first[0], last[0]]);
        else units.push(...from, ...one(0x2d), ...to);
      } else units.push(...from);
    }
    return negated ? complement(units) : units;
  }

  #classItem(): Units {
    const sign = this.#next();
    return sign === '\\' ? this.#escape(true) : one(sign.charCodeAt(0));
  }

  #escape(inClass: boolean): Units {
    const sign = this.#next();
    switch (sign) {
      case 'd':
        return digits;
      case 'D':
        return complement(digits);
      case 'w':
        return word;
      case 'W':
        return complement(word);
      case 's':
        return blanks;
      case 'S':
        return complement(blanks);
      case 'x':
        return one(this.#hex(2));
      case 'u':
        return one(this.#hex(4));
      case 'b':
        if (inClass) return one(0x08);
    }
    const control = controls[sign];
    if (control !== undefined && !/^\d/.test(this.#source.slice(this.#at))) return one(control);
    if (/[0-9k]/.test(sign)) throw new Error(`back reference "\\${sign}" is not possible`);
    if (/[a-zA-Z]/.test(sign)) throw new Error(`"\\${sign}" is not possible`);
    return one(sign.charCodeAt(0));
  }

  #hex(length: number): number {
    const text = this.#source.slice(this.#at, this.#at + length);
    if (text.length !== length || !/^[0-9a-fA-F]+$/.test(text))
      throw new Error(`expected ${length} hexadecimal digits after "${this.#source.slice(this.#at - 2, this.#at)}"`);
    this.#at += length;
    return Number.parseInt(text, 16);
  }

  #next(): string {
    const sign = this.#source.charAt(this.#at);
    this.#at += 1;
    return sign;
  }

  #sees(sign: string): boolean {
    return this.#source.charAt(this.#at) === sign;
  }

  #eat(sign: string): boolean {
    if (!this.#sees(sign)) return false;
    this.#at += 1;
    return true;
  }
}

function one(unit: number): Units {
  return [[unit, unit]];
}

function isOne(units: Units): boolean {
  const [first] = units;
  return units.length === 1 && first !== undefined && first[0] === first[1];
}

function complement(units: Units): Units {
  const gaps: (readonly [number, number])[] = [];
  let next = 0;
  for (const [from, to] of units.toSorted((a, b) => a[0] - b[0])) {
    if (from > next) gaps.push([next, from - 1]);
    next = Math.max(next, to + 1);
  }
  return next > 0xffff ? gaps : [...gaps, [next, 0xffff]];
}
