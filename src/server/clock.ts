import { uuidv7 } from 'uuidv7';
import type { Clock, Ids } from '../ports/clock.ts';

/** The longest delay that the platform's timers take; longer ones would fire at once. */
const longestMs = 2_147_483_647;

interface LongTimer {
  timer: ReturnType<typeof setTimeout>;
}

/**
 * The clock of this machine. Timers do not keep the process alive: what has to go on (a listening socket, a provider call) does that by
 * itself, and a stop must not wait for a debounce or a retry.
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout(fn, delayMs) {
    const dueMs = performance.now() + delayMs;
    const arm = (leftMs: number): ReturnType<typeof setTimeout> =>
      setTimeout(fire, Math.min(Math.max(0, leftMs), longestMs)).unref();
    const fire = (): void => {
      // The platform rounds down by up to 1 ms, the port promises "at least"; the tolerance keeps that from costing a second timer.
      const leftMs = dueMs - performance.now();
      if (leftMs < 1) fn();
      else handle.timer = arm(Math.ceil(leftMs));
    };
    const handle: LongTimer = { timer: arm(delayMs) };
    return handle;
  },
  clearTimeout(handle) {
    if (isLongTimer(handle)) clearTimeout(handle.timer);
  },
  defer(fn) {
    setImmediate(fn);
  },
};

function isLongTimer(handle: unknown): handle is LongTimer {
  return typeof handle === 'object' && handle !== null && 'timer' in handle;
}

/** Names and randomness of this machine. UUIDs sort in the order in which this process made them. */
export const systemIds: Ids = {
  uuid: () => uuidv7(),
  random: () => Math.random(),
};
