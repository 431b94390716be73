import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { JournalError } from '../ports/errors.ts';
import { newerFormat } from './entry-codec.ts';
import {
  SqliteFault,
  sqliteCodes,
  type OpenDatabase,
  type Row,
  type SqlDatabase,
  type SqlStatement,
} from './sqlite-driver.ts';

/** Version of the tables (`PRAGMA user_version`). Entries have their own, see entry-codec.ts. */
export const databaseFormat = 1;

/** Marks the file as ours (`PRAGMA application_id`): "MULL". */
const applicationId = 0x4d55_4c4c;

/**
 * `entries` is a log in order of commit; a session's entries are a chain (`prev`), found from `sessions.tail`. Measured against an index
 * on (session, first) in the same rounds (libsql, 1,000 sessions, 300-B bodies, FULL): 64 entries a commit 100k/s and 7.6 us CPU each
 * against 62k/s and 11.7 us; 8 a commit 34k/s against 28k/s; 1 a commit the same. Reading costs 2.8 us an entry either way.
 *
 * All text is stored as blobs: libsql aborts the process on TEXT that is not UTF-8 (one flipped bit) and cuts TEXT at a NUL.
 * `texts` holds what was streamed into a message since its row was last written: rewriting the growing row each time would be quadratic.
 * Keys outlive their session, therefore they carry its name.
 * Names stand first in their indexes: UUIDv7s sort by time, so one commit changes a few pages at the end instead of one page a session.
 * Measured at 25 appends a commit, 50 sessions: 0.80 x the CPU and 0.43 to 0.70 x the bytes written. Journals made before have
 * (session, name) and a partial index on (session) instead: the same statements work on them.
 */
const schema = `
  CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL UNIQUE, epoch BLOB NOT NULL, head INTEGER NOT NULL, tail INTEGER NOT NULL,
    trimmed INTEGER NOT NULL, unfinished INTEGER NOT NULL, at_ms INTEGER NOT NULL, summary BLOB NOT NULL);
  CREATE INDEX sessions_unfinished ON sessions (id) WHERE unfinished = 1;
  CREATE TABLE entries (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, prev INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE TABLE messages (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, name BLOB NOT NULL, removed INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE UNIQUE INDEX messages_name ON messages (name, session);
  CREATE INDEX messages_session ON messages (session);
  CREATE TABLE texts (id INTEGER PRIMARY KEY, message INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE INDEX texts_message ON texts (message);
  CREATE TABLE states (session INTEGER PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE TABLE keys (id INTEGER PRIMARY KEY, session BLOB NOT NULL, name BLOB NOT NULL, at_ms INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE INDEX keys_name ON keys (name, session);
  CREATE TABLE probe (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
`;

/** A row of `sessions`, as far as appends need it. */
export interface SessionRow {
  id: number;
  epoch: string;
  /** Seq of the newest record. */
  head: number;
  /** Rowid of the newest entry, 0 = none. */
  tail: number;
  /** Seq up to which records are forgotten. */
  trimmed: number;
  unfinished: boolean;
}

/** Most session rows kept in memory: about 200 B each. Over it the one remembered first goes. */
const rememberedSessions = 10_000;

/** An open store: the connection, its statements, each prepared once, and the rows of recent sessions. */
export class Store {
  /** Right because nobody else has the file. Cleared with every rollback. */
  readonly sessions = new Map<string, SessionRow>();
  readonly database: SqlDatabase;
  readonly path: string;
  readonly #statements = new Map<string, SqlStatement>();

  constructor(database: SqlDatabase, path: string) {
    this.database = database;
    this.path = path;
  }

  /** The prepared statement for `sql`, a constant of the program. */
  sql(sql: string): SqlStatement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, (statement = this.database.prepare(sql)));
    return statement;
  }

  /** Keeps a session's row for the next look-up. */
  remember(session: string, row: SessionRow): void {
    if (this.sessions.size >= rememberedSessions) {
      for (const oldest of this.sessions.keys()) {
        this.sessions.delete(oldest);
        break;
      }
    }
    this.sessions.set(session, row);
  }

  /** Undoes the open transaction, if SQLite has not done so itself (it does after some faults). */
  rollback(): void {
    this.sessions.clear();
    try {
      this.database.exec('ROLLBACK');
    } catch {
      // No transaction is open.
    }
  }

  /** Ends the connection without care for the lock: see SqlDatabase.close. */
  abandon(): void {
    this.#statements.clear();
    try {
      this.database.close();
    } catch {
      // It is of no use anyway.
    }
  }
}

/**
 * Opens the journal file, creating it and its folder. Takes the data-folder lock: EXCLUSIVE before WAL holds it from here on, without a
 * shared-memory file; `kill -9` releases it. Throws JournalError: locked, format, io, full, corrupt.
 */
export function openStore(path: string, open: OpenDatabase): Store {
  makeFolder(dirname(resolve(path)), path);
  let database: SqlDatabase | undefined;
  try {
    database = open(path);
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    // Before WAL mode, so that another program's database is refused unchanged.
    const fresh = checkFormat(database, path);
    database.exec('PRAGMA journal_mode = WAL');
    // FULL = one fsync a commit. With NORMAL the newest commits are gone after a power loss, at every instant tried.
    database.exec('PRAGMA synchronous = FULL');
    database.exec('PRAGMA temp_store = MEMORY');
    database.exec('PRAGMA journal_size_limit = 67108864');
    if (fresh) create(database);
    return new Store(database, path);
  } catch (error) {
    database?.close();
    throw openError(path, error);
  }
}

/** Clean end: checkpoints, leaves WAL mode (one file remains) and gives the lock up even where statements linger. Never throws. */
export function closeStore(store: Store): void {
  try {
    store.database.exec('PRAGMA journal_mode = DELETE');
    store.database.exec('PRAGMA locking_mode = NORMAL');
    // The new locking mode takes effect at the next access.
    store.database.exec('SELECT count(*) FROM sqlite_schema');
  } catch {
    // Everything acked is in the WAL; the next open reads it.
  }
  store.abandon();
}

function create(database: SqlDatabase): void {
  database.exec('BEGIN IMMEDIATE');
  database.exec(schema);
  database.exec(`PRAGMA application_id = ${applicationId}`);
  database.exec(`PRAGMA user_version = ${databaseFormat}`);
  database.exec('COMMIT');
}

/** True for an empty database. Throws JournalError format for one that is not ours or newer. */
function checkFormat(database: SqlDatabase, path: string): boolean {
  const version = pragma(database, 'user_version');
  const owner = pragma(database, 'application_id');
  if (owner === applicationId) {
    if (version > databaseFormat) throw newerFormat(`journal ${path}`, version, databaseFormat);
    return false;
  }
  const tables = database.prepare('SELECT count(*) AS n FROM sqlite_schema').get();
  if (version === 0 && owner === 0 && tables !== undefined && int(tables, 'n') === 0) return true;
  throw new JournalError('format', `${path} is a database of another program: choose another data folder`);
}

function pragma(database: SqlDatabase, name: 'user_version' | 'application_id'): number {
  const row = database.prepare(`PRAGMA ${name}`).get();
  return row === undefined ? 0 : int(row, name);
}

function makeFolder(folder: string, path: string): void {
  try {
    const made = mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (made === undefined) return;
    // The new names must survive a power loss as well. SQLite syncs only the folder of its own file.
    for (let at = folder; at.length >= dirname(made).length; at = dirname(at)) {
      syncFolder(at);
      if (at === dirname(at)) break;
    }
  } catch (error) {
    throw openError(path, error);
  }
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function openError(path: string, error: unknown): JournalError {
  if (error instanceof JournalError) return error;
  const because = error instanceof Error ? error.message : String(error);
  const code = error instanceof SqliteFault ? error.code : undefined;
  if (code === sqliteCodes.busy) {
    return new JournalError(
      'locked',
      `journal ${path} is in use by another process: stop that one, or choose another data folder`,
      error,
    );
  }
  if (code === sqliteCodes.notDatabase) {
    return new JournalError(
      'format',
      `${path} is not a database (or its first page is damaged): choose another data folder, or restore a backup`,
      error,
    );
  }
  if (code === sqliteCodes.corrupt) {
    return new JournalError('corrupt', `journal ${path} is damaged: restore a backup (${because})`, error);
  }
  if (code === sqliteCodes.full) {
    return new JournalError('full', `journal ${path}: the disk is full, free some space (${because})`, error);
  }
  return new JournalError(
    'io',
    `journal ${path} cannot be opened: make its folder writable for this user, or choose another data folder (${because})`,
    error,
  );
}

/** The integer in a column. Throws JournalError corrupt. */
export function int(row: Row, column: string): number {
  const value = row[column];
  if (typeof value !== 'number') throw new JournalError('corrupt', `column ${column} holds no number`);
  return value;
}

/** The bytes in a column. Throws JournalError corrupt. */
export function bytes(row: Row, column: string): Uint8Array {
  const value = row[column];
  // libsql: a Buffer from `get`, an ArrayBuffer from `all`.
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (!(value instanceof Uint8Array)) throw new JournalError('corrupt', `column ${column} holds no bytes`);
  return value;
}

/** The text that a column holds as UTF-8 bytes. Throws JournalError corrupt. */
export function text(row: Row, column: string): string {
  const value = bytes(row, column);
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString();
}
