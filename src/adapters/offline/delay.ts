import { setTimeout as wait } from 'node:timers/promises';

/** Waits in real time; throws the signal's reason as soon as it aborts. Does not keep the process alive. */
export async function delay(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await wait(ms, undefined, { signal, ref: false });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
