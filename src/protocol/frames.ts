import type { WireError } from './codes.ts';
import type { JsonObject, Rec } from './records.ts';
import type { View } from './view.ts';

/** Frames of the server. PROTOCOL section 3. */
export interface ReadyFrame {
  type: 'ready';
  protocol: 1;
  connection: string;
  heartbeatMs: number;
  maxFrameBytes: number;
  now: string;
  server: string;
}

export interface SnapshotFrame {
  type: 'snapshot';
  session: string;
  cursor: string;
  reason: 'initial' | 'reset' | 'resync';
  view: View;
}

export interface RecordFrame {
  type: 'record';
  session: string;
  cursor: string;
  record: Rec;
}

/** Ephemeral progress of a run, at most once. Text that an app streams has neither pane nor run. */
export interface LiveFrame {
  type: 'live';
  session: string;
  pane?: string;
  run?: string;
  attempt?: number;
  text?: { message: string; at: number; add: string };
  progress?: LiveProgress;
  /** What the run waits for; null = not any more. */
  wait?: LiveWait | null;
  /** Path of a picture that is not finished, to be had only for a short while. */
  preview?: string;
  /** Of a pane with tasks: what is new about those at work, by task. */
  tasks?: { [task: string]: LiveTask };
}

/** The backend's own numbers. */
export interface LiveProgress {
  value: number;
  max: number;
  unit: string;
}

/** Why work stands still; `until`: ISO 8601, when that is known. */
export interface LiveWait {
  reason: 'queue' | 'rate-limit' | 'backoff' | 'draining' | 'yielded';
  /** 1 = the next to start. */
  position?: number;
  until?: string;
}

/** Ephemeral news of one task. `text` belongs to the stage; `at` 0 begins it anew. */
export interface LiveTask {
  attempt?: number;
  stage?: string;
  progress?: LiveProgress;
  wait?: LiveWait | null;
  preview?: string;
  text?: { at: number; add: string };
}

export interface CaughtUpFrame {
  type: 'caughtUp';
  session: string;
  cursor: string;
}

export interface EndedFrame {
  type: 'ended';
  session: string;
  reason: 'deleted' | 'forbidden';
}

/** What a command has done; `seq` = the newest record it caused or, when it caused none, the head it was decided against. */
export interface AckFrame {
  type: 'ack';
  id: string;
  session: string;
  seq?: number;
  generation?: number;
  message?: string;
  run?: string;
  /** Durable length of a streamed message (`message.delta`). */
  at?: number;
  duplicate?: boolean;
}

export interface ErrorFrame {
  type: 'error';
  id?: string;
  session?: string;
  error: WireError;
  fatal: boolean;
}

export interface PongFrame {
  type: 'pong';
  t?: number;
}

/** Frames of a subscription: the same bytes for every subscriber of a session. */
export type StreamFrame = SnapshotFrame | RecordFrame | LiveFrame | CaughtUpFrame | EndedFrame;
export type ServerFrame = ReadyFrame | StreamFrame | AckFrame | ErrorFrame | PongFrame;

/** Frames of the client that are not commands. */
export type ControlFrame =
  | { type: 'init'; token?: string; client?: string }
  | { type: 'subscribe'; id: string; session: string; cursor?: string }
  | { type: 'unsubscribe'; id: string; session: string }
  | { type: 'ping'; t?: number };

export type { JsonObject };
