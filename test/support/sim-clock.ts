import type { Clock } from '../../src/ports/clock.ts';

interface Timer {
  dueMs: number;
  /** Breaks ties: timers of the same instant run in the order in which they were set. */
  order: number;
  fn: () => void;
}

/** 2026-01-01T00:00:00.000Z, in ms: where a simulated wall clock begins. */
export const simStartMs = 1_767_225_600_000;

/**
 * A deterministic Clock: time stands still until `advance` moves it. Timers run in the order of their due times, also those that are set
 * while it advances; after each one everything that it has set going (microtasks, `defer`) runs before the next.
 */
export class SimClock implements Clock {
  #steadyMs = 0;
  #skewMs = simStartMs;
  #order = 0;
  /** Sorted: the next one is last. */
  readonly #timers: Timer[] = [];
  #deferred: (() => void)[] = [];

  now(): number {
    return this.#steadyMs + this.#skewMs;
  }

  setTimeout(fn: () => void, delayMs: number): unknown {
    const timer: Timer = { dueMs: this.#steadyMs + Math.max(0, delayMs), order: (this.#order += 1), fn };
    this.#timers.splice(this.#place(timer), 0, timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    const index = this.#timers.findIndex((candidate) => candidate === timer);
    if (index !== -1) this.#timers.splice(index, 1);
  }

  defer(fn: () => void): void {
    this.#deferred.push(fn);
  }

  /** Timers that are set and have not run. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Ms until the next timer; undefined when there is none. */
  get nextInMs(): number | undefined {
    const next = this.#timers.at(-1);
    return next === undefined ? undefined : next.dueMs - this.#steadyMs;
  }

  /** Moves the wall clock alone, as an operator or NTP does; timers do not notice. */
  jump(ms: number): void {
    this.#skewMs += ms;
  }

  /** Runs everything that is due now without moving time: microtasks and `defer`, until nothing is left. */
  async settle(): Promise<void> {
    await macrotask();
    while (this.#deferred.length > 0) {
      // One generation is one macrotask: what these defer comes after their microtasks.
      const batch = this.#deferred;
      this.#deferred = [];
      for (const fn of batch) fn();
      await macrotask();
    }
  }

  /** Lets `ms` of time pass; resolves when all that was due has run and settled. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#steadyMs + ms;
    await this.settle();
    for (let next = this.#takeDue(untilMs); next !== undefined; next = this.#takeDue(untilMs)) {
      this.#steadyMs = Math.max(this.#steadyMs, next.dueMs);
      next.fn();
      await this.settle();
    }
    this.#steadyMs = untilMs;
  }

  /** Advances from timer to timer until none is left; rejects after `limitMs`, since somebody sets timers for ever. */
  async drain(limitMs = 3_600_000): Promise<void> {
    const endMs = this.#steadyMs + limitMs;
    await this.settle();
    for (let inMs = this.nextInMs; inMs !== undefined; inMs = this.nextInMs) {
      if (this.#steadyMs + inMs > endMs)
        throw new Error(`expected all timers to be over within ${limitMs} ms, ${this.pending} are set`);
      await this.advance(inMs);
    }
  }

  #takeDue(untilMs: number): Timer | undefined {
    const next = this.#timers.at(-1);
    return next !== undefined && next.dueMs <= untilMs ? this.#timers.pop() : undefined;
  }

  /** Binary search for the index that keeps the list sorted, latest first. */
  #place(timer: Timer): number {
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#timers[middle];
      const otherIsLater =
        other !== undefined &&
        (other.dueMs > timer.dueMs || (other.dueMs === timer.dueMs && other.order > timer.order));
      if (otherIsLater) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** All microtasks and `process.nextTick`s that are queued now have run when it resolves. */
function macrotask(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
