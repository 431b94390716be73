import { randomUUID } from 'node:crypto';
import type { JournalError } from '../ports/errors.ts';
import type { CommandKey, Entry } from '../ports/journal.ts';
import type { JsonObject } from '../protocol/records.ts';
import { expireBatch, keyLifeMs, refuseAppend, refuseState, seal, type EncodedEntry } from './entry-codec.ts';
import { entryContext, findSession, keyContext, places, SqliteTranscript, stateContext } from './journal-rows.ts';
import { int, type SessionRow, type Store } from './journal-schema.ts';
import { deriveTranscript } from './transcript-rows.ts';

// Each function writes inside the transaction that journal-commit.ts has opened. One that returns a JournalError has written nothing.

/** Stores an entry: its records, what follows from them for the transcript, its keys, and where the session now stands. */
export function writeEntry(
  store: Store,
  session: string,
  expected: number,
  entry: Entry,
  encoded: EncodedEntry,
): JournalError | undefined {
  const found = findSession(store, session);
  const refusal = refuseAppend(session, found?.head ?? 0, expected, entry);
  if (refusal !== undefined) return refusal;
  const row = found ?? createSession(store, session, entry);
  if (entry.records.length > 0) writeRecords(store, session, row, entry, encoded);
  for (const key of encoded.keys) writeKey(store, session, key.id, key.json, entry.atMs);
  store
    .sql('UPDATE sessions SET head = ?, tail = ?, at_ms = ?, summary = ? WHERE id = ?')
    .run(row.head, row.tail, entry.atMs, Buffer.from(encoded.summary), row.id);
  // Apart, as it seldom changes: a statement that names the column rewrites its partial index each time.
  if (row.unfinished !== entry.unfinished) {
    store.sql('UPDATE sessions SET unfinished = ? WHERE id = ?').run(Number(entry.unfinished), row.id);
    row.unfinished = entry.unfinished;
  }
  return undefined;
}

function createSession(store: Store, session: string, entry: Entry): SessionRow {
  const epoch = entry.epoch ?? randomUUID();
  const { rowid } = store
    .sql(
      `INSERT INTO sessions (name, epoch, head, tail, trimmed, unfinished, at_ms, summary)
       VALUES (?, ?, 0, 0, 0, 0, ?, ?)`,
    )
    .run(Buffer.from(session), Buffer.from(epoch), entry.atMs, Buffer.from('{}'));
  const row: SessionRow = { id: rowid, epoch, head: 0, tail: 0, trimmed: 0, unfinished: false };
  store.remember(session, row);
  return row;
}

function writeRecords(store: Store, session: string, row: SessionRow, entry: Entry, encoded: EncodedEntry): void {
  const first = row.head + 1;
  const last = row.head + entry.records.length;
  const { rowid } = store
    .sql('INSERT INTO entries (session, first, last, prev, body) VALUES (?, ?, ?, ?, ?)')
    .run(row.id, first, last, row.tail, seal(entryContext(row.id, first, last), encoded.records));
  row.head = last;
  row.tail = rowid;
  const transcript = new SqliteTranscript(store, session, row.id);
  for (const record of entry.records) deriveTranscript(transcript, record);
}

function writeKey(store: Store, session: string, id: string, json: string, atMs: number): void {
  store
    .sql('INSERT INTO keys (session, name, at_ms, body) VALUES (?, ?, ?, ?)')
    .run(Buffer.from(session), Buffer.from(id), atMs, seal(keyContext(session, id), json));
}

/** Saves a state, unless a newer one is there. */
export function writeState(store: Store, session: string, seq: number, json: string): JournalError | undefined {
  const row = findSession(store, session);
  const refusal = refuseState(session, row?.head, seq);
  if (row === undefined || refusal !== undefined) return refusal;
  store
    .sql(
      `INSERT INTO states (session, seq, body) VALUES (?, ?, ?)
       ON CONFLICT (session) DO UPDATE SET seq = excluded.seq, body = excluded.body WHERE excluded.seq >= seq`,
    )
    .run(row.id, seq, seal(stateContext(row.id, seq), json));
  return undefined;
}

/** Forgets whole entries up to `upTo`: never the newest one, never one that reaches beyond the saved state. */
export function trimEntries(store: Store, session: string, upTo: number): void {
  const row = findSession(store, session);
  const saved = row && store.sql('SELECT seq FROM states WHERE session = ?').get(row.id);
  if (row === undefined || saved === undefined) return;
  const limit = Math.min(upTo, int(saved, 'seq'));
  let kept = row.head + 1;
  let trimmed = row.trimmed;
  const gone: number[] = [];
  for (const step of places(store, session, row, row.trimmed)) {
    for (const place of step) {
      // Newest first: an entry ends where the one seen before begins.
      const last = kept - 1;
      if (last <= limit && place.id !== row.tail) {
        gone.push(place.id);
        trimmed = Math.max(trimmed, last);
      }
      kept = place.first;
    }
  }
  if (trimmed === row.trimmed) return;
  // One statement for all: each has its price, and a session that is busy trims as many entries as it writes.
  store.sql('DELETE FROM entries WHERE id IN (SELECT value FROM json_each(?))').run(JSON.stringify(gone));
  store.sql('UPDATE sessions SET trimmed = ? WHERE id = ?').run(trimmed, row.id);
  row.trimmed = trimmed;
}

/** Erases all of a session but its keys, and adds one. */
export function eraseSession(store: Store, session: string, key: CommandKey, atMs: number): void {
  const row = findSession(store, session);
  if (row !== undefined) {
    eraseEntries(store, session, row);
    store.sql('DELETE FROM texts WHERE message IN (SELECT id FROM messages WHERE session = ?)').run(row.id);
    store.sql('DELETE FROM messages WHERE session = ?').run(row.id);
    store.sql('DELETE FROM states WHERE session = ?').run(row.id);
    store.sql('DELETE FROM sessions WHERE id = ?').run(row.id);
    store.sessions.delete(session);
  }
  writeKey(store, session, key.id, JSON.stringify({ digest: key.digest, ack: key.ack }), atMs);
}

function eraseEntries(store: Store, session: string, row: SessionRow): void {
  try {
    for (const step of places(store, session, row, row.trimmed)) {
      for (const place of step) store.sql('DELETE FROM entries WHERE id = ?').run(place.id);
    }
  } catch {
    // The chain is broken: nothing of an erased session may stay, so look at every entry of the store.
    store.sql('DELETE FROM entries WHERE session = ?').run(row.id);
  }
}

/** Deletes old keys among the oldest of the store; how many. */
export function expireKeys(store: Store, nowMs: number): number {
  return store
    .sql(
      `DELETE FROM keys WHERE id IN
         (SELECT id FROM (SELECT id, at_ms FROM keys ORDER BY id LIMIT ${expireBatch}) WHERE at_ms < ?)`,
    )
    .run(nowMs - keyLifeMs).changes;
}

/** Writes and deletes a row that needs pages of its own: on a full disk it fails like an append. */
export function writeProbe(store: Store): void {
  store.sql('INSERT INTO probe (body) VALUES (zeroblob(16384))').run();
  store.sql('DELETE FROM probe').run();
}

/** The JSON of a state, made at the call, so that later changes of the caller's object do nothing. */
export function encodeState(state: JsonObject): string {
  return JSON.stringify(state);
}
