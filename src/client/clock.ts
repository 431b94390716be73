/** Time as the client needs it; injected in tests. */
export interface ClientClock {
  /** ms */
  now(): number;
  /** Runs `task` once after `ms`, unless the returned function is called before. */
  after(ms: number, task: () => void): () => void;
}

/** The system's time. */
export const systemClock: ClientClock = {
  now: () => Date.now(),
  after(ms, task) {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
};

/** Longest wait between two attempts to connect, in ms. */
export const maxBackoffMs = 30_000;

/**
 * Wait before attempt `failures` + 1: anything from 0 to a ceiling that doubles (full jitter), so that clients of a server that went
 * away do not come back together. A server that says it restarts or is overloaded (1012, 1013) gets a wider first spread.
 */
export function backoffMs(failures: number, closeCode: number | undefined, random: () => number): number {
  const base = closeCode === 1012 || closeCode === 1013 ? 2_000 : 500;
  return Math.floor(random() * Math.min(maxBackoffMs, base * 2 ** Math.min(failures, 10)));
}
