import type {
  CancelReason,
  Fact,
  Json,
  JsonObject,
  PaneOptions,
  RunError,
  Task,
  TaskChange,
} from '../../protocol/records.ts';
import type { StageFailure } from '../pane-types.ts';

/** What the charts need to know of a pane with tasks: names and rules. */
export interface TaskPaneShape {
  name: string;
  /** The working phase of its runs. */
  phase: string;
  /** Stages that each task goes through, in order. */
  stages: readonly [string, ...string[]];
  /** Work on other keys joins the run at work. */
  joins: boolean;
  /** A failed task leaves something in its part. */
  keepsFailed: boolean;
  maxTasks: number;
}

/** Options that the charts read. Times in ms. */
export type TaskOptions = Pick<PaneOptions, 'policy' | 'idleTimeoutMs' | 'retries'> & {
  taskTimeoutMs: number;
  parallel: number;
};

/** Control state of one task; what it is for and what it has made live in the folded state. */
export interface TaskItem {
  id: string;
  /** The part that it writes, '' = none. */
  key: string;
  /** The message that it is about, '' = none: its removal or edit ends the task. */
  source: string;
  after: readonly string[];
  review: boolean;
  rank: number;
  status: Task['status'];
  attempt: number;
  /** The stage it is in, or goes on with; '' = the first. */
  stage: string;
  /** Which of the pane's actors works on it, or did last. */
  serial: number;
  /** A stage's body is at work. */
  working: boolean;
  /** Why it failed. */
  error: RunError | null;
}

/** A run that stands behind the current one. */
export interface QueuedWork {
  run: string;
  generation: number;
  items: TaskItem[];
}

/** How a stage of a task ended well. */
export type TaskOutcome =
  | { outcome: 'next'; checkpoint?: JsonObject }
  | { outcome: 'done'; value?: Json; asset?: string; add?: TaskChange[] };

/** What a task's own chart hears: from the body of its stage, and from its pane. */
export type TaskEvent =
  | { type: 'stage.started'; at: number; jitter: number }
  | { type: 'stage.done'; run: string; attempt: number; at: number; result: TaskOutcome }
  | { type: 'stage.failed'; run: string; attempt: number; at: number; failure: StageFailure }
  | { type: 'heard'; kept: boolean }
  | { type: 'held'; at: number }
  | { type: 'granted'; at: number }
  /** Stop at the next safe point. */
  | { type: 'pause' }
  | { type: 'resume' }
  /** Raised by the chart itself: the stream's idle timeout. */
  | { type: 'silent' };

/** What a task's chart starts with. */
export interface TaskStart {
  session: string;
  pane: string;
  run: string;
  generation: number;
  task: string;
  serial: number;
  attempt: number;
  stage: string;
  options: TaskOptions;
}

/** What a task tells its pane. `left` = the body of a stage was stopped and has to unwind. */
export type TaskReport =
  | { type: 'task.stage'; task: string; serial: number; stage: string; attempt: number; checkpoint?: JsonObject }
  | {
      type: 'task.retrying';
      task: string;
      serial: number;
      left: boolean;
      attempt: number;
      error: RunError;
      retryAt: string | null;
    }
  /** Stands still at a safe point: `stage` and `attempt` are what it goes on with. */
  | {
      type: 'task.parked';
      task: string;
      serial: number;
      left: boolean;
      stage: string;
      attempt: number;
      checkpoint?: JsonObject;
    }
  | { type: 'task.done'; task: string; serial: number; result: Extract<TaskOutcome, { outcome: 'done' }> }
  | { type: 'task.failed'; task: string; serial: number; left: boolean; error: RunError };

/** Every event of a pane with tasks. Times (`at`, ms) and names come with the event. */
export type TaskPaneEvent =
  | { type: 'start' }
  /**
   * `pane.run` and `task.retry` (`asked`), or what a watch has found. `streaming`: the message that is still being written and may bring
   * more.
   */
  | {
      type: 'work';
      run: string;
      generation: number;
      tasks: TaskChange[];
      asked: boolean;
      of?: string;
      streaming?: string;
    }
  /** Nothing more will come of this message. */
  | { type: 'finished'; message: string }
  /** What tasks of this message are for is gone. */
  | { type: 'gone'; message: string }
  | { type: 'task.cancel'; task: string }
  | { type: 'task.retry'; task: string }
  | { type: 'task.prioritize'; task: string }
  /** A cancelled task's body has kept what it had. */
  | { type: 'kept'; run: string; task: string; attempt: number; asset: string; value?: Json }
  | { type: 'cancel'; run: string | null }
  | { type: 'pause'; at: number }
  | { type: 'resume'; input?: JsonObject }
  | { type: 'close'; reason: Extract<CancelReason, 'closed' | 'deleted'> }
  | { type: 'task.options'; options: TaskOptions }
  /** A body that was stopped has really ended. */
  | { type: 'unwound' }
  | TaskReport
  /** The chart of a task is over: from xstate. */
  | { type: `xstate.done.actor.${string}`; actorId: string };

/** What a pane with tasks says while it takes an event; one append takes it all. */
export type TaskPaneEmitted =
  | { type: 'fact'; fact: Fact }
  /** `pane.run` became this run: for the ack. */
  | { type: 'accepted'; pane: string; run: string }
  | { type: 'draining'; pane: string; run: string }
  /** A task has made this part: version and record are the gate's. */
  | { type: 'commit'; pane: string; run: string; key: string; value: Json; task: TaskChange }
  /** A task has failed for good. */
  | { type: 'failed'; pane: string; run: string; key: string; task: TaskChange }
  /** A person wants this task first: also in the queue of its provider. */
  | { type: 'prioritized'; pane: string; task: string };

/** Where a pane with tasks goes on, from its recorded state. */
export type TaskBoot = { at: 'settled'; phase: string } | { at: 'work' } | { at: 'paused' };

/** What the chart of a pane with tasks starts with. */
export interface TaskPaneInput {
  session: string;
  pane: string;
  options: TaskOptions;
  taskBoot: TaskBoot;
  /** The current run, or the last one; '' = none yet. */
  run: string;
  generation: number;
  attempt: number;
  open: boolean;
  /** Key of the last announcement, so that recovery repeats none. */
  announced: string;
  /** Tasks of the current run, in the order in which they begin. */
  items: TaskItem[];
  queue: QueuedWork[];
  /** Messages that are still being written and may bring more tasks. */
  streaming: string[];
  paused: boolean;
  unwinding: number;
  /** News of tasks that is not on record yet: at most ten records a second. */
  changed: TaskChange[];
}

/** Control state. */
export interface TaskPaneContext extends Omit<TaskPaneInput, 'paused'> {
  pauseWanted: boolean;
  /** Why it pauses by itself. */
  pauseReason: string | null;
  /** Tasks that did not fit in the run. */
  refused: number;
  /** What the tasks that were cancelled were cancelled for. */
  cancelReason: CancelReason;
  /** Counts the actors that tasks have had. */
  actors: number;
}
