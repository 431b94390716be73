/** A token bucket: `rate` a second on average, `burst` at once. Wall-clock jumps never refuse more: backwards counts as no time passed. */
export class Bucket {
  readonly #ratePerMs: number;
  readonly #burst: number;
  #left: number;
  #at: number;

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#ratePerMs = perSecond / 1000;
    this.#burst = burst;
    this.#left = burst;
    this.#at = nowMs;
  }

  /** Takes one token; false = none is left. */
  take(nowMs: number): boolean {
    this.#left = Math.min(this.#burst, this.#left + Math.max(0, nowMs - this.#at) * this.#ratePerMs);
    this.#at = nowMs;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
