import { JournalError } from '../ports/errors.ts';
import type { CommandKey, SessionLine, TranscriptMessage } from '../ports/journal.ts';
import type { JsonObject, Rec } from '../protocol/records.ts';
import type { Message } from '../protocol/view.ts';
import { keyLifeMs, seal, unseal } from './entry-codec.ts';
import { bytes, int, text, type SessionRow, type Store } from './journal-schema.ts';
import type { Row } from './sqlite-driver.ts';
import { joinText, shown, type TranscriptRows } from './transcript-rows.ts';

/** Where an entry lies: rowid and first seq, both ends included. */
export interface EntryPlace {
  id: number;
  first: number;
}

/** The row of a session; undefined when it does not exist. Writers change the row in place, after having changed its table. */
export function findSession(store: Store, session: string): SessionRow | undefined {
  const known = store.sessions.get(session);
  if (known !== undefined) return known;
  const row = store
    .sql('SELECT id, CAST(epoch AS BLOB) AS epoch, head, tail, trimmed, unfinished FROM sessions WHERE name = ?')
    .get(Buffer.from(session));
  if (row === undefined) return undefined;
  const found: SessionRow = {
    id: int(row, 'id'),
    epoch: text(row, 'epoch'),
    head: int(row, 'head'),
    tail: int(row, 'tail'),
    trimmed: int(row, 'trimmed'),
    unfinished: int(row, 'unfinished') === 1,
  };
  store.remember(session, found);
  return found;
}

/** Links of the chain that one step of `places` reads: about 2 ms. */
const walkRows = 2_000;

/**
 * The places of the entries that hold records after `after`, newest first, in steps, so that the caller can let others go on between
 * them. Throws JournalError corrupt when the chain is broken.
 */
export function* places(store: Store, session: string, row: SessionRow, after: number): Generator<EntryPlace[]> {
  let next = row.tail;
  let first = row.head + 1;
  while (next !== 0 && first > after + 1) {
    const links = store
      .sql(
        `WITH RECURSIVE chain (id, first, prev, n) AS (
           SELECT id, first, prev, 1 FROM entries WHERE id = ?1
           UNION ALL
           SELECT e.id, e.first, e.prev, n + 1 FROM chain JOIN entries e ON e.id = chain.prev WHERE chain.first > ?2 AND n < ${walkRows})
         SELECT id, first, prev FROM chain`,
      )
      .all(next, after + 1);
    const last = links.at(-1);
    if (last === undefined) break;
    next = int(last, 'prev');
    first = int(last, 'first');
    yield links.map((link) => ({ id: int(link, 'id'), first: int(link, 'first') }));
  }
  if (first > Math.max(after, row.trimmed) + 1) {
    throw new JournalError('corrupt', `session ${session}: the records before ${first} are missing`);
  }
}

/** The records of one entry, checked: its checksum, and that it begins with `first`. undefined = trimmed or erased meanwhile. */
export function readEntry(store: Store, session: string, row: SessionRow, place: EntryPlace): Rec[] | undefined {
  const found = store
    .sql('SELECT session, first, last, CAST(body AS BLOB) AS body FROM entries WHERE id = ?')
    .get(place.id);
  if (found === undefined) return undefined;
  const first = int(found, 'first');
  if (int(found, 'session') !== row.id || first !== place.first) {
    throw new JournalError(
      'corrupt',
      `session ${session}: another entry stands where that of record ${place.first} was`,
    );
  }
  const what = `session ${session}: the entry of record ${first}`;
  // The checksum has proved that these are the bytes which JSON.stringify made of a Rec[].
  const records: Rec[] = JSON.parse(
    unseal(entryContext(row.id, first, int(found, 'last')), bytes(found, 'body'), what),
  );
  return records;
}

/** What an entry's checksum covers besides its body. */
export function entryContext(session: number, first: number, last: number): string {
  return `entry ${session} ${first} ${last}`;
}

/** The remembered command, if it is not older than 24 h. */
export function findKey(store: Store, session: string, id: string, nowMs: number): CommandKey | undefined {
  const row = store
    .sql('SELECT at_ms, CAST(body AS BLOB) AS body FROM keys WHERE session = ? AND name = ? ORDER BY id DESC LIMIT 1')
    .get(Buffer.from(session), Buffer.from(id));
  if (row === undefined || nowMs - int(row, 'at_ms') > keyLifeMs) return undefined;
  const json = unseal(keyContext(session, id), bytes(row, 'body'), `session ${session}: the command ${id}`);
  const { digest, ack }: Pick<CommandKey, 'digest' | 'ack'> = JSON.parse(json);
  return { id, digest, ack };
}

/** What a key's checksum covers besides its body. */
export function keyContext(session: string, id: string): string {
  return `key ${session} ${id}`;
}

/** The saved state. */
export function findState(store: Store, session: string): { seq: number; state: JsonObject } | undefined {
  const row = findSession(store, session);
  const found = row && store.sql('SELECT seq, CAST(body AS BLOB) AS body FROM states WHERE session = ?').get(row.id);
  if (row === undefined || found === undefined) return undefined;
  const seq = int(found, 'seq');
  const json = unseal(stateContext(row.id, seq), bytes(found, 'body'), `session ${session}: the state at ${seq}`);
  const state: JsonObject = JSON.parse(json);
  return { seq, state };
}

/** What a state's checksum covers besides its body. */
export function stateContext(session: number, seq: number): string {
  return `state ${session} ${seq}`;
}

/** The newest sessions by activity. Reads the whole table: it is one row a session and asked for rarely, an index would cost each append. */
export function listSessions(store: Store, limit: number): SessionLine[] {
  return store
    .sql(
      `SELECT CAST(name AS BLOB) AS name, head, at_ms, unfinished, CAST(summary AS BLOB) AS summary
       FROM sessions ORDER BY at_ms DESC, tail DESC LIMIT ?`,
    )
    .all(limit)
    .map((row) => ({
      session: text(row, 'name'),
      seq: int(row, 'head'),
      atMs: int(row, 'at_ms'),
      unfinished: int(row, 'unfinished') === 1,
      summary: parseSummary(text(row, 'summary')),
    }));
}

/** Sessions that are not erased. */
export function countSessions(store: Store): number {
  const row = store.sql('SELECT COUNT(*) AS sessions FROM sessions').get();
  return row === undefined ? 0 : int(row, 'sessions');
}

/** One damaged summary must not hide all other sessions from the list. */
function parseSummary(json: string): JsonObject {
  try {
    const summary: JsonObject = JSON.parse(json);
    return summary;
  } catch {
    return {};
  }
}

/** Names of the sessions to look at after a restart. */
export function listUnfinished(store: Store): string[] {
  return store
    .sql('SELECT CAST(name AS BLOB) AS name FROM sessions WHERE unfinished = 1 ORDER BY at_ms DESC, tail DESC')
    .all()
    .map((row) => text(row, 'name'));
}

/** Up to `limit` messages before `before` (null = from the newest), oldest first, without removed ones. */
export function listMessages(store: Store, session: string, before: string | null, limit: number): Message[] {
  const row = findSession(store, session);
  if (row === undefined) return [];
  let end = Number.MAX_SAFE_INTEGER;
  if (before !== null) {
    const at = store.sql('SELECT id FROM messages WHERE session = ? AND name = ?').get(row.id, Buffer.from(before));
    if (at === undefined) return [];
    end = int(at, 'id');
  }
  const rows = new SqliteTranscript(store, session, row.id);
  return store
    .sql(
      `SELECT id, CAST(name AS BLOB) AS name, CAST(body AS BLOB) AS body FROM messages
       WHERE session = ? AND removed = 0 AND id < ? ORDER BY id DESC LIMIT ?`,
    )
    .all(row.id, end, limit)
    .reverse()
    .map((found) => shown(rows.decode(found, text(found, 'name'))));
}

/** The transcript of one session in its tables. */
export class SqliteTranscript implements TranscriptRows {
  readonly #store: Store;
  readonly #session: string;
  readonly #id: number;

  constructor(store: Store, session: string, id: number) {
    this.#store = store;
    this.#session = session;
    this.#id = id;
  }

  find(id: string): TranscriptMessage | undefined {
    const row = this.#store
      .sql('SELECT id, CAST(body AS BLOB) AS body FROM messages WHERE session = ? AND name = ?')
      .get(this.#id, Buffer.from(id));
    return row === undefined ? undefined : this.decode(row, id);
  }

  /** The message in a row with `id` and `body`, with what has been streamed since the row was written. */
  decode(row: Row, name: string): TranscriptMessage {
    const what = `session ${this.#session}: the message ${name}`;
    const message: TranscriptMessage = JSON.parse(unseal(this.#context(name), bytes(row, 'body'), what));
    const pieces = this.#store
      .sql('SELECT CAST(body AS BLOB) AS body FROM texts WHERE message = ? ORDER BY id')
      .all(int(row, 'id'));
    for (const piece of pieces) {
      const { at, add }: Piece = JSON.parse(unseal(this.#context(name), bytes(piece, 'body'), what));
      message.text = joinText(message.text, at, add);
    }
    return message;
  }

  insert(message: TranscriptMessage): void {
    this.#store
      .sql('INSERT INTO messages (session, name, removed, body) VALUES (?, ?, ?, ?)')
      .run(this.#id, Buffer.from(message.id), Number(message.removed), this.#seal(message));
  }

  replace(message: TranscriptMessage): void {
    const name = Buffer.from(message.id);
    this.#store
      .sql('DELETE FROM texts WHERE message = (SELECT id FROM messages WHERE session = ? AND name = ?)')
      .run(this.#id, name);
    this.#store
      .sql('UPDATE messages SET removed = ?, body = ? WHERE session = ? AND name = ?')
      .run(Number(message.removed), this.#seal(message), this.#id, name);
  }

  addText(id: string, at: number, add: string): void {
    const piece: Piece = { at, add };
    this.#store
      .sql(
        'INSERT INTO texts (message, body) SELECT id, ? FROM messages WHERE session = ? AND name = ? AND removed = 0',
      )
      .run(seal(this.#context(id), JSON.stringify(piece)), this.#id, Buffer.from(id));
  }

  #seal(message: TranscriptMessage): Buffer {
    return seal(this.#context(message.id), JSON.stringify(message));
  }

  #context(message: string): string {
    return `message ${this.#id} ${message}`;
  }
}

interface Piece {
  at: number;
  add: string;
}
