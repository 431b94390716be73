import type { RunErrorCode } from './codes.ts';
import type { Outcome, Policy, Role } from './names.ts';

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A JSON object. */
export type JsonObject = { [key: string]: Json };

/** Who is expected to answer a user message. */
export type ReplyBy = 'pane' | 'app' | 'none';

/** Options of a pane (PROTOCOL section 7). Times in ms. */
export interface PaneOptions {
  enabled: boolean;
  policy: Policy;
  startOn: 'message' | 'reply';
  replyWaitMs: number;
  debounceMs: number;
  debounceMaxMs: number;
  timeoutMs: number;
  idleTimeoutMs: number;
  /** Retries a run, after retryable provider errors. */
  retries: number;
  /** Longest text of the pane, in UTF-16 units. */
  maxChars: number;
  /** Messages given to the model. */
  window: number;
  /** Panes with tasks: longest time of one task's provider work, retries included, not in a queue for a slot. */
  taskTimeoutMs?: number;
  /** Panes with tasks: how many work at the same time, within the limits of the provider. */
  parallel?: number;
  /** illustrations: pictures that one more model call proposes for a message without prompts of its own; 0 = none. */
  propose?: number;
}

/** What `session.opened` says of a pane: its kind, its working phases, and all its options. */
export interface PaneDeclaration extends PaneOptions {
  kind: string;
  /** The pane's own working phases, in order. */
  phases: string[];
  /** Outdated by what happens to the transcript (false: reply, illustrations, chapters). */
  driven: boolean;
  /** Its runs are made of tasks. */
  tasks?: true;
}

/** Why a run ended in `error` (or `imaging_failed`). */
export interface RunError {
  code: RunErrorCode;
  message: string;
  retryable: boolean;
}

export interface AddedMessage {
  id: string;
  role: Role;
  text: string;
  generation: number;
  final: boolean;
  reply: ReplyBy;
  /** The message that this one takes the place of, once it ends with text. */
  replaces?: string;
  /** The run of the reply pane that writes it. */
  run?: string;
}

export type TaskStatus = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

/** One countable unit of work of a run. */
export interface Task {
  /** Unique in its run. */
  id: string;
  /** For people. */
  label: string;
  /** The part of the pane's content that it writes; '' = none. One writer a key at any time. */
  key: string;
  status: TaskStatus;
  attempt: number;
  /** What it is to do, as planned. */
  input: JsonObject;
  /** Tasks of the same run that have to end before it begins. */
  after?: string[];
  /** The run pauses when it has ended, for somebody to look at it. */
  review?: true;
  /** Smaller goes first; absent = 0. `task.prioritize` gives one below all others. */
  rank?: number;
  /** The stage it is in, or goes on with. */
  stage?: string;
  /** What its stages so far have made. */
  checkpoint?: JsonObject;
  /** Waits for another attempt until then. */
  retryAt?: string;
  error?: RunError;
  asset?: string;
  startedAt?: string;
  endedAt?: string;
}

/** Something new about a task: only the fields that differ. null = not there any more. The fold adds the times. */
export type TaskChange = { id: string } & {
  [K in Exclude<keyof Task, 'id' | 'startedAt' | 'endedAt'>]?: Task[K] | null;
};

export type CancelReason = 'superseded' | 'user' | 'closed' | 'deleted';

/** One step of a run. Fields besides the first five depend on the phase (PROTOCOL section 5). */
export interface PhaseFact {
  type: 'pane.phase';
  pane: string;
  run: string;
  generation: number;
  phase: string;
  attempt: number;
  /** A CancelReason in `cancelled`; elsewhere a short word or sentence. */
  reason?: string;
  error?: RunError;
  retryAt?: string;
  supersededBy?: string;
  of?: string;
  input?: JsonObject;
  /** What the stages so far have made, for going on after a crash or a pause. */
  checkpoint?: JsonObject;
  /** In `paused`, when work has begun: the stage that `resume` goes on with. */
  stage?: string;
  /** The transcript that the run saw when its work began. */
  covers?: number;
  content?: JsonObject;
  /** Of a pane with tasks: all of them with the run's first phase and its queueing; later what is new about them. */
  tasks?: TaskChange[];
}

/** A record without its position, time and cause: what a statechart can say. PROTOCOL section 5. */
export type Fact =
  | { type: 'session.opened'; panes: { [pane: string]: PaneDeclaration } }
  | { type: 'session.closed'; reason: string }
  | { type: 'session.recovered'; runs: string[] }
  | { type: 'message.added'; message: AddedMessage }
  | { type: 'message.text'; text: { message: string; at: number; add: string } }
  | { type: 'message.ended'; message: string; outcome: Outcome; reason?: string }
  | { type: 'message.edited'; message: string; text: string; generation: number }
  | { type: 'message.removed'; message: string; generation: number }
  | PhaseFact
  | { type: 'pane.paused'; pane: string; paused: boolean }
  | { type: 'pane.content'; pane: string; run: string; key: string; value: Json; version: number; task?: TaskChange }
  | { type: 'tasks'; pane: string; run: string; tasks: TaskChange[] };

/** Where and when a fact stands in its session's journal. */
export interface Stamp {
  /** 1, 2, 3 … without gaps, per session. */
  seq: number;
  /** ISO 8601, UTC, ms; never decreasing in a session. */
  at: string;
  /** The id of the command that caused it. */
  by?: string;
}

/** A durable fact. */
export type Rec = Stamp & Fact;
