import type { WireError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import type { AckFrame, LiveWait } from '../protocol/frames.ts';
import type { JsonObject } from '../protocol/records.ts';
import type { Message, View } from '../protocol/view.ts';
import type { Transcript } from './export/transcript.ts';
import type { Batch } from './transport/stream.ts';

/** A refusal instead of a result. */
export interface Refused {
  refused: WireError;
}

/** Where the frames of one subscription go. Calls are synchronous and must not throw. */
export interface Subscriber {
  push(batch: Batch): void;
}

/** One attached subscription. After `close()`, or after a pushed `ended` frame, nothing more is pushed. */
export interface Subscription {
  readonly session: string;
  /** The state of now, to take the place of everything queued for this subscriber: one `resync` snapshot and `caughtUp`. */
  resync(): Batch;
  close(): void;
}

/** One line of `GET /v1/sessions`. */
export interface SessionSummary {
  session: string;
  seq: number;
  /** ISO 8601: last activity. */
  at: string;
  unfinished: boolean;
  live: boolean;
  summary: JsonObject;
  /** What panes of a live session wait for at the moment. */
  waits?: { [pane: string]: LiveWait };
}

/** All sessions of one server, as the transports (WebSocket, SSE, REST) and the library API see them. Nothing here rejects. */
export interface SessionHost {
  /** Resolves after the command is durable (or refused). The same id and content again: the same ack, `duplicate: true`. */
  command(command: Command): Promise<AckFrame | Refused>;
  /**
   * Attaches: pushes the missed records (usable cursor) or one snapshot, then one `caughtUp`, then the newest live state of each busy
   * pane, then everything as it comes; the cut is atomic.
   */
  subscribe(session: string, cursor: string | undefined, subscriber: Subscriber): Promise<Subscription | Refused>;
  view(session: string): Promise<{ view: View; cursor: string } | Refused>;
  /** Older messages, oldest first; `before` null = the newest. */
  messages(session: string, before: string | null, limit: number): Promise<{ messages: Message[] } | Refused>;
  /** The whole session as of one record, for an export. Does not wake it, and does not keep it in memory. */
  transcript(session: string): Promise<Transcript | Refused>;
  list(limit: number): Promise<SessionSummary[]>;
  asset(session: string, name: string): Promise<Uint8Array | undefined>;
}
