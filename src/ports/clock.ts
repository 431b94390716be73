/** Time. The only source of it for everything that has to be replayable. */
export interface Clock {
  /** Wall clock, ms since 1970. May jump; orders nothing. */
  now(): number;
  /** Calls `fn` once after at least `delayMs` of steady (monotonic) time. */
  setTimeout(fn: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Calls `fn` once in the next macrotask. */
  defer(fn: () => void): void;
}

/** Randomness and names. In tests all of it comes from one printed seed. */
export interface Ids {
  /** A UUIDv7: the name of a run, or of a message that the server makes. */
  uuid(): string;
  /** A number in [0, 1): jitter. */
  random(): number;
}
