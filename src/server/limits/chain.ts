/** What can stand in a chain, in one at a time. */
export interface Link<T> {
  before: T | undefined;
  after: T | undefined;
}

/** A list that lets go of any of its items at once, and takes them at both ends. An item must stand in the chain that it is removed from. */
export class Chain<T extends Link<T>> {
  #first: T | undefined;
  #last: T | undefined;
  #size = 0;

  get first(): T | undefined {
    return this.#first;
  }

  get last(): T | undefined {
    return this.#last;
  }

  get size(): number {
    return this.#size;
  }

  push(item: T): void {
    item.before = this.#last;
    item.after = undefined;
    if (this.#last === undefined) this.#first = item;
    else this.#last.after = item;
    this.#last = item;
    this.#size += 1;
  }

  unshift(item: T): void {
    item.before = undefined;
    item.after = this.#first;
    if (this.#first === undefined) this.#last = item;
    else this.#first.before = item;
    this.#first = item;
    this.#size += 1;
  }

  remove(item: T): void {
    const { before, after } = item;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    item.before = undefined;
    item.after = undefined;
    this.#size -= 1;
  }

  /** First to last; the chain must not change meanwhile. */
  *[Symbol.iterator](): Iterator<T> {
    for (let item = this.#first; item !== undefined; item = item.after) yield item;
  }
}
