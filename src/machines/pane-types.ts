import type { CancelReason, Fact, JsonObject, PaneOptions, RunError } from '../protocol/records.ts';

/** What a chart needs to know of a pane's definition: names only. */
export interface PaneShape {
  name: string;
  /** Working phases in order, at least one. */
  stages: readonly string[];
  /** The stage with which `pane.run` starts. */
  runFrom: string;
  /** Stages whose failure ends in `imaging_failed`. */
  imaging: readonly string[];
}

/**
 * Whether a reply to the newest message is on its way: `none` = nothing to wait for; `expected` = somebody is to answer and has not begun
 * (waited for at most `replyWaitMs`); `replying` = it is being written (it always ends). PROTOCOL section 7, `startOn`.
 */
export type Hold = 'none' | 'expected' | 'replying';

/** Options that the chart reads. Times in ms. */
export type ChartOptions = Pick<
  PaneOptions,
  'policy' | 'startOn' | 'replyWaitMs' | 'debounceMs' | 'debounceMaxMs' | 'timeoutMs' | 'idleTimeoutMs' | 'retries'
>;

/** A run that stands behind the current one. `direct` = asked for by `pane.run`: no debounce, no evaluation. */
export interface NextRun {
  run: string;
  generation: number;
  direct: boolean;
}

/** How a stage's body ended badly. */
export interface StageFailure {
  error: RunError;
  retryAfterMs?: number;
}

/** How a stage's body ended well. */
export type StageOutcome =
  | { outcome: 'next'; checkpoint?: JsonObject }
  | { outcome: 'unchanged' }
  | { outcome: 'updated'; content?: JsonObject };

/** Every event carries the time (`at`, ms) where the chart needs one, and proposed names where it may need one: it makes neither itself. */
export type PaneEvent =
  /** Once, after the emitted events are listened to. */
  | { type: 'start' }
  /** The transcript moved. `run` names the run if this starts one. */
  | { type: 'update'; run: string; generation: number; hold: Hold; at: number }
  | { type: 'hold'; hold: Hold; at: number }
  /** `pane.run`. */
  | { type: 'run'; run: string; generation: number; at: number; input?: JsonObject; of?: string }
  /** null = everything of this pane. */
  | { type: 'cancel'; run: string | null }
  /** What the run is for is gone: it ends `superseded` without a successor. */
  | { type: 'outdate' }
  | { type: 'pause'; at: number }
  | { type: 'resume'; input?: JsonObject }
  | { type: 'close'; reason: Extract<CancelReason, 'closed' | 'deleted'> }
  | { type: 'options'; options: ChartOptions }
  /** From a stage's body, only while it is the current one. */
  | { type: 'stage.started'; at: number; jitter: number }
  | { type: 'stage.done'; run: string; attempt: number; at: number; result: StageOutcome }
  | { type: 'stage.failed'; run: string; attempt: number; at: number; failure: StageFailure }
  /** Bytes came in; `kept` = text of this run is on record, so it is not retried by itself any more. */
  | { type: 'heard'; kept: boolean }
  /** Stands in a queue for a slot / has got one: that time is not the run's. */
  | { type: 'held'; at: number }
  | { type: 'granted'; at: number }
  /** A body that was stopped has really ended. */
  | { type: 'unwound' }
  /** Raised by the chart itself: the stream's idle timeout. */
  | { type: 'silent' };

/** What a pane says while it takes an event; one append takes it all. */
export type PaneEmitted =
  | { type: 'fact'; fact: Fact; retryInMs?: number }
  /** `pane.run` became this run: for the ack. */
  | { type: 'accepted'; pane: string; run: string }
  /** Waits for the body of an earlier run to unwind. */
  | { type: 'draining'; pane: string; run: string };

/** Where a pane goes on, from its recorded state. Made by `recover`. */
export type Boot =
  | { at: 'settled'; phase: string }
  | { at: 'start' }
  | { at: 'work'; stage: string; backoffMs: number | null }
  | { at: 'paused' };

/** What a pane's chart starts with, and goes on to keep. */
export interface PaneInput {
  session: string;
  pane: string;
  options: ChartOptions;
  boot: Boot;
  /** The current run, or the last one; '' = none yet. */
  run: string;
  generation: number;
  attempt: number;
  /** The run has not ended. */
  open: boolean;
  /** Has announced a working phase: a newer generation ends it instead of moving it. */
  begun: boolean;
  /** The stage to work on, or at work. */
  stage: string;
  /** Asked for by `pane.run`: no debounce, no evaluation. */
  direct: boolean;
  /** Key of the last announcement, so that recovery repeats none. */
  announced: string;
  queue: NextRun[];
  paused: boolean;
  hold: Hold;
  /** Bodies of earlier charts of this pane that have not ended yet (after a crash of the actor). */
  unwinding: number;
}

/** Control state only: content, inputs and checkpoints live in the folded state. */
export interface PaneContext extends Omit<PaneInput, 'paused'> {
  /** Under `latest`: the transcript moved while the run works. Not recorded: `covers` tells after a restart. */
  next: NextRun | null;
  pauseWanted: boolean;
  /** First entry into debouncing of this run, ms. */
  burstStartMs: number | null;
  /** Time of the newest timed event, ms. */
  nowMs: number;
  /** What is left of the run's timeout, ms, as of `sinceMs` (null: the clock has not begun to count). */
  remainingMs: number;
  sinceMs: number | null;
  retriesUsed: number;
  backoffMs: number | null;
  /** In [0, 1), for the next backoff. */
  jitter: number;
  /** Text of the run is on record: it is not retried by itself any more. */
  kept: boolean;
}
