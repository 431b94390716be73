import type { Clock } from '../../ports/clock.ts';
import { ProviderError } from '../../ports/errors.ts';
import type { LiveWait } from '../../protocol/frames.ts';
import {
  changed,
  checkChange,
  completed,
  maxHosts,
  type HostLimit,
  type HostLimitChange,
  type HostLimitOptions,
  type LimitProblem,
} from './host-limit.ts';
import { HostQueue, type HostLoad, type ObserveStart } from './host-queue.ts';
import { freeSlot, type Slot, type SlotRequest } from './slot.ts';

export type { HostLimit, HostLimitChange, HostLimitOptions, HostLoad, LimitProblem, Slot, SlotRequest };

/** Limits of all hosts. */
export interface LimitsOptions {
  /** By origin (scheme, host and port), as `TextModel.host` names it; at most `maxHosts`. */
  hosts: { readonly [origin: string]: HostLimitOptions };
  /** For hosts that are not named. Default: 4 at the same time, no interval, no rates. */
  default?: HostLimitOptions;
  /** Most calls waiting per host. Default 1000. */
  maxWaiting?: number;
  observe?: ObserveStart;
}

/**
 * Who may call a provider, and when: per host a number of calls at the same time, an interval between starts, starts and tokens a minute;
 * strict priority, and inside one priority one call of each session in turn. A reply that finds no slot takes one back from a call that may
 * yield. A call that wins a slot and is aborted in the same tick still has it: release it.
 */
export interface Limits {
  /**
   * Resolves with a slot, at once when one is free. Rejects with the signal's reason as soon as it aborts (the place in the queue is
   * free at once), or with ProviderError `provider` (retryable) when the queue is full. `onWait` is called when position or reason
   * have changed, at most once a tick (for the places after the 100th: once a second), never after the promise has settled; it must not
   * throw.
   */
  acquire(request: SlotRequest, signal: AbortSignal, onWait?: (wait: LiveWait) => void): Promise<Slot>;
  /**
   * New limits for one host from its next start on; what runs is not touched, what is absent stays. They are gone with the process. A
   * value out of range, or a host too many, changes nothing. Starts from before there was a rate do not count in it; a longer interval may
   * delay the next start by as much as it is longer, since it is not known how long ago the last one was.
   */
  change(host: string, values: HostLimitChange): HostLimit | LimitProblem;
  /** The same for several hosts: all or nothing. */
  changeAll(hosts: { readonly [host: string]: HostLimitChange }): LimitProblem | undefined;
  /** Moves a session's waiting calls of that pane and tag before its other ones. False when there is none. */
  prioritize(session: string, pane: string, tag: string): boolean;
  /** All hosts that have limits of their own or were called. */
  snapshot(): { [host: string]: HostLoad };
}

/** Builds the limits of one process. Timers are set only while an interval or a minute since a start is running: none when idle. */
export function createLimits(options: LimitsOptions, clock: Clock): Limits {
  const hosts = new Map<string, HostQueue>();
  const shared = { maxWaiting: options.maxWaiting ?? 1000, observe: options.observe };
  const standard = completed(options.default ?? { concurrency: 4, minIntervalMs: 0 });
  const queueOf = (host: string): HostQueue | undefined => {
    const known = hosts.get(host);
    if (known !== undefined || hosts.size >= maxHosts) return known;
    const queue = new HostQueue(host, standard, clock, shared);
    hosts.set(host, queue);
    return queue;
  };
  const changeAll: Limits['changeAll'] = (changes) => {
    for (const [host, values] of Object.entries(changes)) {
      const checked = checkChange(values);
      if ('problem' in checked) return { problem: `hosts.${host}.${checked.problem}` };
    }
    const more = Object.keys(changes).filter((host) => !hosts.has(host)).length;
    if (hosts.size + more > maxHosts)
      return { problem: `hosts: expected at most ${maxHosts} hosts in all, got ${hosts.size + more}` };
    for (const [host, values] of Object.entries(changes)) {
      const queue = queueOf(host);
      queue?.change(changed(queue.limit, values));
    }
    return undefined;
  };
  for (const [host, limit] of Object.entries(options.hosts)) queueOf(host)?.change(completed(limit));
  return {
    acquire(request, signal, onWait) {
      if (signal.aborted) return rejected(signal.reason);
      if (request.host === null) return Promise.resolve(freeSlot());
      const queue = queueOf(request.host);
      return queue === undefined ? rejected(tooMany(request.host)) : queue.acquire(request, signal, onWait);
    },
    change: (host, values) => changeAll({ [host]: values }) ?? queueOf(host)?.limit ?? standard,
    changeAll,
    prioritize: (session, pane, tag) =>
      // Not `some`: a task may have calls at several hosts.
      Array.from(hosts.values(), (queue) => queue.prioritize(session, pane, tag)).includes(true),
    snapshot: () => Object.fromEntries(Array.from(hosts, ([host, queue]) => [host, queue.load])),
  };
}

function tooMany(host: string): ProviderError {
  return new ProviderError('bad_request', `expected at most ${maxHosts} provider hosts, ${host} is one more`);
}

/** An abort's reason goes through as it is, whatever it is: that is the contract of the ports. */
function rejected(reason: unknown): Promise<never> {
  return new Promise((_resolve, reject) => {
    reject(reason);
  });
}
