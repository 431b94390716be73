/** A clock in the hands of a test: time moves from timer to timer, without microtasks. */
export class HandClock {
  nowMs = 0;
  #order = 0;
  #timers: { dueMs: number; order: number; fn: () => void }[] = [];

  setTimeout = (fn: () => void, delayMs: number): unknown => {
    const timer = { dueMs: this.nowMs + Math.max(0, delayMs), order: (this.#order += 1), fn };
    this.#timers.push(timer);
    this.#timers.sort((a, b) => a.dueMs - b.dueMs || a.order - b.order);
    return timer;
  };

  clearTimeout = (timer: unknown): void => {
    this.#timers = this.#timers.filter((other) => other !== timer);
  };

  /** Ms until each timer, soonest first. */
  get dueInMs(): number[] {
    return this.#timers.map(({ dueMs }) => dueMs - this.nowMs);
  }

  /** Moves to the next timer and runs it, and all others of that instant. */
  next(): void {
    const [first] = this.#timers;
    if (first !== undefined) this.advance(first.dueMs - this.nowMs);
  }

  advance(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const [first] = this.#timers;
      if (first === undefined || first.dueMs > untilMs) break;
      this.clearTimeout(first);
      this.nowMs = first.dueMs;
      first.fn();
    }
    this.nowMs = untilMs;
  }
}
