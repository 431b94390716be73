import type { JsonObject, Rec } from '../protocol/records.ts';
import type { Message } from '../protocol/view.ts';

/** The remembered answer to a command: the same id and digest again gets the same ack. Kept 24 h. PROTOCOL section 4. */
export interface CommandKey {
  id: string;
  /** SHA-256 (hex) of the command's canonical JSON. */
  digest: string;
  /** The fields of the ack. */
  ack: JsonObject;
}

/** What one append stores, all or nothing. */
export interface Entry {
  /** Consecutive: `expected + 1`, `expected + 2`, … May be empty (a command that changes nothing is remembered all the same). */
  records: Rec[];
  keys: CommandKey[];
  /** Some run of the session has no terminal phase, or a message is open: look at it after a restart. */
  unfinished: boolean;
  /** Phase per pane, for the list of sessions: small (≤ 2 KiB). */
  summary: JsonObject;
  /** Wall clock at the append, ms: last activity of the session and age of the keys. */
  atMs: number;
  /** Only with `expected` 0: names this life of the session; part of each cursor. */
  epoch?: string;
}

/** Where a session's journal ends. */
export interface Head {
  epoch: string;
  seq: number;
}

/** A line of the list of sessions. */
export interface SessionLine {
  session: string;
  seq: number;
  atMs: number;
  unfinished: boolean;
  summary: JsonObject;
}

/** A message in the transcript table: whole text, also when the view has evicted it. */
export interface TranscriptMessage extends Message {
  removed: boolean;
}

/** Limits of one entry. */
export const entryLimits = { records: 256, bytes: 1_048_576 } as const;

/**
 * The durable log of all sessions. Single writer per session, fenced by `expected`. Every promise that resolves after a write means: it
 * survives `kill -9` and power loss. Rejections are `JournalError`s.
 * The journal also keeps the transcript (each message with its whole text, derived from the records in the same transaction), the command
 * keys, the saved states and the index of sessions with unfinished runs.
 */
export interface Journal {
  /** Stores one entry after `expected` (the current head; 0 creates the session) and resolves with the new head. Rejects: stale_writer, unknown_outcome, full, io, too_large, closed. */
  append(session: string, expected: number, entry: Entry): Promise<number>;
  /** The records after `after`, in order. Rejects: trimmed (when `after` lies below the trim point), corrupt. */
  read(session: string, after: number, limit?: number): AsyncIterable<Rec>;
  /** undefined = no such session (or erased). */
  head(session: string): Promise<Head | undefined>;
  /** Sessions whose last entry was `unfinished`, newest activity first. */
  unfinished(): AsyncIterable<string>;
  /** The remembered command, also of an erased session; undefined when older than 24 h. */
  command(session: string, id: string, nowMs: number): Promise<CommandKey | undefined>;
  /** One message with its whole text, also a removed one (whose id must not be used again). */
  message(session: string, id: string): Promise<TranscriptMessage | undefined>;
  /** Up to `limit` messages that stand before message `before` (null = the newest), oldest first, without removed ones. */
  messages(session: string, before: string | null, limit: number): Promise<Message[]>;
  /** Stores the state at `seq` (≤ head). Only the newest one is kept. */
  saveState(session: string, seq: number, state: JsonObject): Promise<void>;
  loadState(session: string): Promise<{ seq: number; state: JsonObject } | undefined>;
  /** Forgets records up to `upTo`: never the newest entry, never what lies after the saved state. */
  trim(session: string, upTo: number): Promise<void>;
  /** Erases records, transcript and state; keeps the command keys, adds `key`, for 24 h. */
  erase(session: string, key: CommandKey, atMs: number): Promise<void>;
  /** Newest activity first. */
  sessions(limit: number): Promise<SessionLine[]>;
  /** How many sessions there are. */
  count(): Promise<number>;
  /** Deletes command keys older than 24 h, a bounded number a call; resolves with how many. */
  expire(nowMs: number): Promise<number>;
  /** One durable write: resolves when the store can be written again. */
  probe(): Promise<void>;
  close(): Promise<void>;
}
