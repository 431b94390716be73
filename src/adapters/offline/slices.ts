import { setImmediate as nextTurn } from 'node:timers/promises';

/** Longest stretch of work without a look at the event loop, in ms: below the 10 ms that anybody else would notice. */
const sliceMs = 5;

/** Called between small steps of long work: lets the event loop go on when the slice is used up; throws the signal's reason after an abort. */
export type Breathe = () => Promise<void> | undefined;

/** Cuts work into slices. Call `breathe()` after each step and await it only if it returns something: a promise per step would cost more than the step. */
export function slices(signal: AbortSignal): Breathe {
  let began = performance.now();
  return () => {
    signal.throwIfAborted();
    if (performance.now() - began < sliceMs) return undefined;
    return nextTurn().then(() => {
      signal.throwIfAborted();
      began = performance.now();
    });
  };
}
