import type { LiveWait } from '../../src/protocol/frames.ts';
import {
  createLimits,
  type HostLimit,
  type Limits,
  type LimitsOptions,
  type Slot,
  type SlotRequest,
} from '../../src/server/limits/limits.ts';
import { SimClock } from './sim-clock.ts';

/** The one provider host of a `CallBench`. */
export const host = 'http://127.0.0.1:11434';

/** Priority of each pane, as the definitions have it. */
export const priorities: { readonly [pane: string]: number } = { reply: 0, history: 1, scene: 2, other: 3 };

/** A call that asked for a slot, and what has become of it. */
export interface BenchCall {
  name: string;
  session: string;
  priority: number;
  controller: AbortController;
  waits: LiveWait[];
  slot: Slot | undefined;
  error: unknown;
}

/** Calls by name to one host under a simulated clock, and the order in which they started. */
export class CallBench {
  readonly clock = new SimClock();
  readonly limits: Limits;
  readonly started: string[] = [];
  readonly waited: number[] = [];

  constructor(options: Partial<LimitsOptions> & Partial<HostLimit> = {}) {
    const { concurrency = 1, minIntervalMs = 0, requestsPerMinute = null, tokensPerMinute = null, ...rest } = options;
    const observe: LimitsOptions['observe'] = (start) => this.waited.push(start.waitMs);
    const limit = { concurrency, minIntervalMs, requestsPerMinute, tokensPerMinute };
    this.limits = createLimits({ hosts: { [host]: limit }, observe, ...rest }, this.clock);
  }

  call(
    session: string,
    pane = 'history',
    name = `${session}/${pane}`,
    more: Pick<SlotRequest, 'tag' | 'yielded' | 'mayYield'> = {},
  ): BenchCall {
    const controller = new AbortController();
    const priority = priorities[pane] ?? 3;
    const call: BenchCall = { name, session, priority, controller, waits: [], slot: undefined, error: undefined };
    this.limits
      .acquire({ host, priority, session, pane, ...more }, controller.signal, (wait) => call.waits.push(wait))
      .then(
        (slot) => {
          call.slot = slot;
          this.started.push(name);
        },
        (error: unknown) => {
          call.error = error;
        },
      );
    return call;
  }

  get load() {
    return this.limits.snapshot()[host];
  }

  /** Releases whoever runs until nobody is left. */
  async runAll(calls: BenchCall[]): Promise<void> {
    await this.clock.settle();
    for (let running = held(calls); running.length > 0; running = held(calls)) {
      running.forEach(end);
      await this.clock.settle();
    }
  }
}

/** Those that have a slot. */
export const held = (calls: readonly BenchCall[]): BenchCall[] => calls.filter((call) => call.slot !== undefined);

/** Gives the call's slot back. */
export function end(call: BenchCall | undefined): void {
  call?.slot?.release();
  if (call !== undefined) call.slot = undefined;
}
