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
  progress?: { value: number; max: number; unit: string };
  /** What the run waits for; null = not any more. */
  wait?: { reason: 'queue' | 'rate-limit' | 'draining' | 'yielded'; position?: number } | null;
  preview?: string;
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
