import type { Clock } from '../../ports/clock.ts';

/** What came within a short while, counted as one: so that a window has few timers, whatever comes. */
interface Bucket {
  amount: number;
  /** Wall clock at which it leaves the window: to be shown, not to be reckoned with. */
  endsAtMs: number;
}

/** Length of the window. */
export const windowMs = 60_000;
/** What comes within so long of the first of a bucket leaves with it: at most so much later than its minute, never earlier. */
export const grainMs = 100;

/**
 * How much came within the last minute. It measures with timers alone, because the wall clock may jump, and has at most 601 of them
 * (`windowMs / grainMs`, and that of the bucket which still takes more).
 */
export class RateWindow {
  readonly #clock: Clock;
  readonly #left: () => void;
  #most: number | null;
  #used = 0;
  /** Oldest first. */
  #buckets: Bucket[] = [];
  #open: Bucket | undefined;

  /** `left` is called whenever something has left the window. */
  constructor(clock: Clock, most: number | null, left: () => void) {
    this.#clock = clock;
    this.#most = most;
    this.#left = left;
  }

  /** Whether there is room for one more. */
  get room(): boolean {
    return this.#most === null || this.#used < this.#most;
  }

  /** Wall clock at which there is room again, if nothing more comes; undefined when there is some. */
  get roomAtMs(): number | undefined {
    if (this.#most === null || this.room) return undefined;
    let used = this.#used;
    for (const bucket of this.#buckets) {
      used -= bucket.amount;
      if (used < this.#most) return bucket.endsAtMs;
    }
    return undefined;
  }

  /** Sets how much may come within a minute. What came while it was null is not known. */
  allow(most: number | null): void {
    this.#most = most;
    if (most !== null) return;
    // Their timers find them gone.
    this.#buckets = [];
    this.#open = undefined;
    this.#used = 0;
  }

  add(amount: number): void {
    if (this.#most === null || !(amount > 0)) return;
    this.#used += amount;
    if (this.#open === undefined) this.#begin();
    if (this.#open !== undefined) this.#open.amount += amount;
  }

  #begin(): void {
    const bucket: Bucket = { amount: 0, endsAtMs: this.#clock.now() + grainMs + windowMs };
    this.#buckets.push(bucket);
    this.#open = bucket;
    this.#clock.setTimeout(() => {
      if (this.#open === bucket) this.#open = undefined;
      this.#clock.setTimeout(() => this.#end(bucket), windowMs);
    }, grainMs);
  }

  #end(bucket: Bucket): void {
    // All live equally long: the one that ends is the oldest, or was forgotten by `allow`.
    if (this.#buckets[0] !== bucket) return;
    this.#buckets.shift();
    this.#used -= bucket.amount;
    this.#left();
  }
}
