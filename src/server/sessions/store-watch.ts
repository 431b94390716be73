import type { Clock } from '../../ports/clock.ts';
import type { Journal } from '../../ports/journal.ts';

/** When to try again to write a store that could not be written: doubling, ms. */
export const probeTimes = { firstMs: 1_000, maxMs: 30_000 } as const;

/** What follows from the state of the store. */
export interface StoreEvents {
  /** It cannot be written; the next try is in `retryMs`. */
  failing(retryMs: number): void;
  /** A probe has succeeded. */
  works(): void;
}

/** Watches a store that has failed: one probe append for all sessions, until one succeeds. */
export class StoreWatch {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #events: StoreEvents;
  #timer: unknown;
  #stopped = false;

  constructor(journal: Journal, clock: Clock, events: StoreEvents) {
    this.#journal = journal;
    this.#clock = clock;
    this.#events = events;
  }

  get failing(): boolean {
    return this.#timer !== undefined;
  }

  /** An append has failed. */
  failed(): void {
    this.#tryIn(probeTimes.firstMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#clock.clearTimeout(this.#timer);
  }

  #tryIn(delayMs: number): void {
    if (this.#timer !== undefined || this.#stopped) return;
    this.#events.failing(delayMs);
    this.#timer = this.#clock.setTimeout(() => void this.#probe(delayMs), delayMs);
  }

  async #probe(delayMs: number): Promise<void> {
    try {
      await this.#journal.probe();
      this.#timer = undefined;
      if (!this.#stopped) this.#events.works();
    } catch {
      this.#timer = undefined;
      this.#tryIn(Math.min(probeTimes.maxMs, delayMs * 2));
    }
  }
}
