import type { Clock } from '../../ports/clock.ts';
import type { HostLimit } from './host-limit.ts';
import { Interval } from './interval.ts';
import { RateWindow } from './rate-window.ts';

/** When the next call of a host may start, whatever slots are free: the interval, the starts and the tokens of the last minute. */
export class Pace {
  readonly #interval: Interval;
  readonly #requests: RateWindow;
  readonly #tokens: RateWindow;

  /** `opened` is called when time may have opened it. */
  constructor(limit: HostLimit, clock: Clock, opened: () => void) {
    this.#interval = new Interval(clock, limit.minIntervalMs, opened);
    this.#requests = new RateWindow(clock, limit.requestsPerMinute, opened);
    this.#tokens = new RateWindow(clock, limit.tokensPerMinute, opened);
  }

  get open(): boolean {
    return this.#interval.open && this.#requests.room && this.#tokens.room;
  }

  /** Wall clock at which it opens as far as that is known now, to be shown; undefined when it is open. */
  get opensAtMs(): number | undefined {
    const known = [this.#interval.opensAtMs, this.#requests.roomAtMs, this.#tokens.roomAtMs].filter(
      (atMs) => atMs !== undefined,
    );
    return known.length === 0 ? undefined : Math.max(...known);
  }

  started(): void {
    this.#interval.started();
    this.#requests.add(1);
  }

  spent(tokens: number): void {
    this.#tokens.add(tokens);
  }

  change(limit: HostLimit): void {
    this.#interval.change(limit.minIntervalMs);
    this.#requests.allow(limit.requestsPerMinute);
    this.#tokens.allow(limit.tokensPerMinute);
  }
}
