import type { Clock } from '../../src/ports/clock.ts';
import type { SimClock } from '../support/sim-clock.ts';

/** The clock of one simulated process: when the process is killed, its timers are gone and nothing of it ever runs again. */
export class ProcessClock implements Clock {
  alive = true;
  readonly #sim: SimClock;
  readonly #timers = new Set<unknown>();

  constructor(sim: SimClock) {
    this.#sim = sim;
  }

  /** Timers that are set and have not run. */
  get pending(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#sim.now();
  }

  setTimeout(fn: () => void, delayMs: number): unknown {
    if (!this.alive) return undefined;
    const timer = this.#sim.setTimeout(() => {
      this.#timers.delete(timer);
      if (this.alive) fn();
    }, delayMs);
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    if (this.#timers.delete(timer)) this.#sim.clearTimeout(timer);
  }

  defer(fn: () => void): void {
    this.#sim.defer(() => {
      if (this.alive) fn();
    });
  }

  kill(): void {
    this.alive = false;
    for (const timer of this.#timers) this.#sim.clearTimeout(timer);
    this.#timers.clear();
  }
}

/** Steady virtual time: ms since the start of the simulation, whatever the wall clock does. */
export class Steady {
  #jumpedMs = 0;
  readonly #sim: SimClock;
  readonly #startMs: number;

  constructor(sim: SimClock) {
    this.#sim = sim;
    this.#startMs = sim.now();
  }

  get ms(): number {
    return this.#sim.now() - this.#startMs - this.#jumpedMs;
  }

  /** Moves the wall clock alone. */
  jump(ms: number): void {
    this.#jumpedMs += ms;
    this.#sim.jump(ms);
  }
}
