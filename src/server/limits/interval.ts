import type { Clock } from '../../ports/clock.ts';

/**
 * Time since the last start, as far as timers have proven it: the wall clock may jump, timers are steady. A new interval holds from the
 * next start on and never lets one come too early; while it is not known how long ago the last one was, it waits for the proof.
 */
export class Interval {
  readonly #clock: Clock;
  readonly #over: () => void;
  #ms: number;
  /** At least so long ago was the last start. */
  #provenMs = Infinity;
  /** The one that counts from the last start, and the one that counts from a change to a shorter interval: the first of both opens. */
  #timers: unknown[] = [];
  #overAtMs: number | undefined;

  /** `over` is called when time has opened it. */
  constructor(clock: Clock, ms: number, over: () => void) {
    this.#clock = clock;
    this.#ms = ms;
    this.#over = over;
  }

  get open(): boolean {
    return this.#provenMs >= this.#ms;
  }

  /** Wall clock at which it opens, to be shown; undefined when it is open. */
  get opensAtMs(): number | undefined {
    return this.open ? undefined : this.#overAtMs;
  }

  /** A start: closed for the interval from now on. */
  started(): void {
    this.#clear();
    this.#provenMs = 0;
    if (!this.open) this.#wait();
  }

  change(ms: number): void {
    const before = this.#ms;
    this.#ms = ms;
    if (this.open) return this.#clear();
    if (this.#timers.length === 0) this.#wait();
    else if (ms < before) {
      // How much of the old one is over is not known: the new one from now on is long enough, and so is what is left of the old one.
      this.#clock.clearTimeout(this.#timers[1]);
      this.#timers.length = 1;
      const overAtMs = this.#overAtMs ?? Infinity;
      this.#wait();
      this.#overAtMs = Math.min(overAtMs, this.#overAtMs ?? Infinity);
    } else this.#overAtMs = (this.#overAtMs ?? this.#clock.now()) + ms - before;
  }

  #wait(): void {
    const fromMs = this.#provenMs;
    const ms = this.#ms - fromMs;
    this.#overAtMs = this.#clock.now() + ms;
    const timer = this.#clock.setTimeout(() => {
      this.#provenMs = Math.max(this.#provenMs, fromMs + ms);
      this.#clear();
      if (this.open) this.#over();
      else this.#wait();
    }, ms);
    this.#timers.push(timer);
  }

  #clear(): void {
    for (const timer of this.#timers) this.#clock.clearTimeout(timer);
    this.#timers = [];
  }
}
