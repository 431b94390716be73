import type { Outcome, Role } from './names.ts';
import type { Json, JsonObject, RunError, Task } from './records.ts';

/** One message as clients see it. */
export interface Message {
  id: string;
  role: Role;
  text: string;
  generation: number;
  at: string;
  /** False while it is being streamed. */
  final: boolean;
  outcome: Outcome | null;
  /** Why it ended other than complete: user, superseded, closed, or the code of an error. */
  reason?: string;
  /** True when the view holds only the beginning of a text too long for it. */
  cut?: boolean;
  replaces?: string;
  /** How often its text was edited; absent = never. */
  rev?: number;
}

export interface TaskCounts {
  total: number;
  done: number;
  ok: number;
  failed: number;
  pending: number;
}

/** A version of a part. */
export interface PartVersion {
  value: Json;
  version: number;
  run: string;
}

/** A keyed part of a pane's content, committed in mid-run. */
export interface Part extends PartVersion {
  /** The record that committed it. */
  seq: number;
  /** The versions before this one, newest first, at most `limits.partVersions`. */
  earlier: PartVersion[];
}

/** One pane as clients see it. PROTOCOL section 6. */
export interface PaneView {
  kind: string;
  phase: string;
  generation: number;
  run: string | null;
  attempt: number;
  since: string | null;
  reason: string | null;
  error: RunError | null;
  retryAt: string | null;
  paused: boolean;
  /** Runs in phase `queued`, oldest first. */
  queued: string[];
  /** The last good content; never removed by a failing run. */
  content: JsonObject | null;
  contentGeneration: number | null;
  covers: number | null;
  /** `covers` equals the session's `transcript`; null for panes that the transcript does not drive. */
  fresh: boolean | null;
  parts: { [key: string]: Part };
  tasks: { [id: string]: Task };
  counts: TaskCounts | null;
}

/** All that a client knows of a session: the fold of its records. PROTOCOL section 6. */
export interface View {
  session: string;
  generation: number;
  transcript: number;
  seq: number;
  messages: Message[];
  /** Messages before the first one of `messages`. */
  earlier: number;
  panes: { [name: string]: PaneView };
}

/** The view of a session before its first record. */
export function emptyView(session: string): View {
  return { session, generation: 0, transcript: 0, seq: 0, messages: [], earlier: 0, panes: {} };
}
