import type { Clock } from '../ports/clock.ts';
import { ProviderError } from '../ports/errors.ts';
import { type Slot, type SlotRequest, type Wait, type Waiter, WaitingLine } from './waiting-line.ts';

export type { Slot, SlotRequest, Wait };

/** What one provider host can take. */
export interface HostLimit {
  /** Calls at the same time, at least 1. */
  concurrency: number;
  /** Least time between two starts, in ms; 0 = none. */
  minIntervalMs: number;
}

/** Limits of all hosts. */
export interface LimitsOptions {
  /** By origin (scheme, host and port), as `TextModel.host` names it. */
  hosts: { readonly [origin: string]: HostLimit };
  /** For hosts that are not named. Default: 4 at the same time, no interval. */
  default?: HostLimit;
  /** Most calls waiting per host. Default 1000. */
  maxWaiting?: number;
  /** Called at each start: how long the call has waited, in ms. */
  observe?: (start: { host: string; pane: string; priority: number; waitMs: number }) => void;
}

/** Counters of one host, since the start. */
export interface HostLoad {
  running: number;
  waiting: number;
  started: number;
  /** Calls refused or displaced because the queue was full. */
  refused: number;
}

/**
 * Who may call a provider, and when: per host a number of calls at the same time and an interval between starts; strict priority, and
 * inside one priority one call of each session in turn. A call that wins a slot and is aborted in the same tick still has it: release it.
 */
export interface Limits {
  /**
   * Resolves with a slot, at once when one is free. Rejects with the signal's reason as soon as it aborts (the place in the queue is
   * free at once), or with ProviderError `provider` (retryable) when the queue is full. `onWait` is called when position or reason
   * have changed, at most once a tick, never after the promise has settled; it must not throw.
   */
  acquire(request: SlotRequest, signal: AbortSignal, onWait?: (wait: Wait) => void): Promise<Slot>;
  snapshot(): { [host: string]: HostLoad };
}

const unlimited: Slot = { release() {} };
const standard: HostLimit = { concurrency: 4, minIntervalMs: 0 };

/** Builds the limits of one process. A timer is set only while an interval since a start is running: none when idle. */
export function createLimits(options: LimitsOptions, clock: Clock): Limits {
  const hosts = new Map<string, HostQueue>();
  const queueOf = (host: string): HostQueue => {
    let queue = hosts.get(host);
    if (queue === undefined) {
      const limit = Object.hasOwn(options.hosts, host) ? options.hosts[host] : undefined;
      queue = new HostQueue(host, limit ?? options.default ?? standard, options, clock);
      hosts.set(host, queue);
    }
    return queue;
  };
  return {
    acquire(request, signal, onWait) {
      if (signal.aborted) return rejected(signal.reason);
      return request.host === null
        ? Promise.resolve(unlimited)
        : queueOf(request.host).acquire(request, signal, onWait);
    },
    snapshot: () => Object.fromEntries(Array.from(hosts, ([host, queue]) => [host, queue.load()])),
  };
}

/** The calls of one host. */
class HostQueue {
  readonly #host: string;
  readonly #limit: HostLimit;
  readonly #maxWaiting: number;
  readonly #observe: LimitsOptions['observe'];
  readonly #clock: Clock;
  readonly #line = new WaitingLine();
  #running = 0;
  #started = 0;
  #refused = 0;
  /**
   * Set while the interval since the last start is running. A timer rather than a comparison of times: the wall clock may jump, timers
   * are steady.
   */
  #interval: unknown;
  #announcing = false;

  constructor(host: string, limit: HostLimit, options: LimitsOptions, clock: Clock) {
    this.#host = host;
    this.#limit = limit;
    this.#maxWaiting = options.maxWaiting ?? 1000;
    this.#observe = options.observe;
    this.#clock = clock;
  }

  acquire(request: SlotRequest, signal: AbortSignal, onWait: ((wait: Wait) => void) | undefined): Promise<Slot> {
    if (this.#line.size >= this.#maxWaiting && !this.#displaceFor(request)) {
      this.#refused += 1;
      return rejected(this.#full());
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#line.remove(waiter);
        this.#settle();
        reject(signal.reason);
      };
      const waiter: Waiter = {
        ...request,
        sinceMs: this.#clock.now(),
        onWait,
        told: undefined,
        start: (slot) => {
          signal.removeEventListener('abort', onAbort);
          resolve(slot);
        },
        refuse: (error) => {
          signal.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#line.add(waiter);
      this.#settle();
    });
  }

  load(): HostLoad {
    return { running: this.#running, waiting: this.#line.size, started: this.#started, refused: this.#refused };
  }

  /** Starts what may start, then has the others told where they stand. */
  #settle(): void {
    while (this.#running < this.#limit.concurrency && this.#interval === undefined) {
      const next = this.#line.take();
      if (next === undefined) return;
      this.#start(next);
    }
    this.#announceSoon();
  }

  #start(waiter: Waiter): void {
    this.#running += 1;
    this.#started += 1;
    if (this.#limit.minIntervalMs > 0) {
      this.#interval = this.#clock.setTimeout(() => {
        this.#interval = undefined;
        this.#settle();
      }, this.#limit.minIntervalMs);
    }
    const { pane, priority } = waiter;
    this.#observe?.({ host: this.#host, pane, priority, waitMs: Math.max(0, this.#clock.now() - waiter.sinceMs) });
    let held = true;
    waiter.start({
      release: () => {
        if (!held) return;
        held = false;
        this.#running -= 1;
        this.#settle();
      },
    });
  }

  /** Once a tick, however many calls came and went in it: a walk over the line costs its length. */
  #announceSoon(): void {
    if (this.#announcing || this.#line.size === 0) return;
    this.#announcing = true;
    this.#clock.defer(() => {
      this.#announcing = false;
      const reason = this.#running < this.#limit.concurrency ? 'rate-limit' : 'queue';
      let position = 0;
      for (const waiter of this.#line.inOrder()) {
        position += 1;
        if (waiter.onWait === undefined) continue;
        if (waiter.told?.position === position && waiter.told.reason === reason) continue;
        waiter.told = { reason, position };
        waiter.onWait(waiter.told);
      }
    });
  }

  /**
   * A full queue must not turn the reply away for the sake of panes that have not started (PROTOCOL P9), nor a quiet session for a busy
   * one: the newest call of whoever has most of the least urgent ones gives way. False when nobody has to.
   */
  #displaceFor(request: SlotRequest): boolean {
    const victim = this.#line.displaceable(request);
    if (victim === undefined) return false;
    this.#line.remove(victim);
    this.#refused += 1;
    victim.refuse(this.#full());
    return true;
  }

  #full(): ProviderError {
    return new ProviderError(
      'provider',
      `the queue for ${this.#host} is full: ${this.#maxWaiting} calls are waiting, ${this.#running} are running`,
    );
  }
}

/** An abort's reason goes through as it is, whatever it is: that is the contract of the ports. */
function rejected(reason: unknown): Promise<never> {
  return new Promise((_resolve, reject) => {
    reject(reason);
  });
}
