/** All randomness of a simulation: one seed, forked by name so that one part's draws do not move another's. */
export class Random {
  #state: number;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    this.#state = this.#seed;
    // Neighbouring seeds begin alike: the first numbers are thrown away.
    for (let i = 0; i < 8; i += 1) this.next();
  }

  /** In [0, 1). mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** 0 … below - 1. */
  int(below: number): number {
    return Math.floor(this.next() * below);
  }

  between(from: number, to: number): number {
    return from + this.int(to - from + 1);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly [T, ...T[]]): T {
    return list[this.int(list.length)] ?? list[0];
  }

  /** One of the names, by weight. */
  weighted<K extends string>(weights: { readonly [name in K]: number }): K {
    const names: K[] = [];
    for (const name in weights) names.push(name);
    let left = this.next() * names.reduce((sum, name) => sum + weights[name], 0);
    for (const name of names) {
      left -= weights[name];
      if (left < 0) return name;
    }
    throw new Error('expected at least one weight above 0');
  }

  fork(name: string): Random {
    let hash = this.#seed ^ 0x9e3779b9;
    for (const unit of name) hash = Math.imul(hash ^ (unit.codePointAt(0) ?? 0), 0x01000193);
    return new Random(hash);
  }
}
