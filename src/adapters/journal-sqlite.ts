import { JournalError } from '../ports/errors.ts';
import type { CommandKey, Entry, Head, Journal, SessionLine, TranscriptMessage } from '../ports/journal.ts';
import type { JsonObject, Rec } from '../protocol/records.ts';
import type { Message } from '../protocol/view.ts';
import { encodeEntry } from './entry-codec.ts';
import { GroupCommit, toJournalError, type CommitObservation, type Write } from './journal-commit.ts';
import {
  findKey,
  findSession,
  findState,
  listMessages,
  countSessions,
  listSessions,
  listUnfinished,
  places,
  readEntry,
  SqliteTranscript,
  type EntryPlace,
} from './journal-rows.ts';
import type { Store } from './journal-schema.ts';
import {
  encodeState,
  eraseSession,
  expireKeys,
  trimEntries,
  writeEntry,
  writeProbe,
  writeState,
} from './journal-writes.ts';
import { openDatabase, type OpenDatabase } from './sqlite-driver.ts';

export interface SqliteJournalOptions {
  /** The database file. Its folder is created when absent; a `-wal` file stands beside it while the journal is open. */
  path: string;
  /** Called after each commit that stored something. Must not throw. */
  observe?: (commit: CommitObservation) => void;
  /** How the file is opened (default: openDatabase); tests put faults in between. */
  open?: OpenDatabase;
}

/**
 * The journal in one SQLite file, for one process. See ports/journal.ts for what it promises.
 * Throws JournalError: locked (another process has it), format (newer, or not ours), io, full, corrupt; the message names the path.
 */
export function openSqliteJournal(options: SqliteJournalOptions): Journal {
  return new SqliteJournal(options);
}

/** Entries that `read` gives before it lets other work of the process go on: some 3 us each. */
const readEntries = 256;

class SqliteJournal implements Journal {
  readonly #path: string;
  readonly #commit: GroupCommit;

  constructor({ path, observe, open }: SqliteJournalOptions) {
    this.#path = path;
    this.#commit = new GroupCommit(path, open ?? openDatabase, observe);
  }

  async append(session: string, expected: number, entry: Entry): Promise<number> {
    const encoded = encodeEntry(session, entry);
    const head = expected + entry.records.length;
    await this.#write({
      records: entry.records.length,
      bytes: encoded.bytes,
      work: (store) => writeEntry(store, session, expected, entry, encoded),
      ...(entry.records.length > 0 && { stored: (store: Store) => findSession(store, session)?.head === head }),
    });
    return head;
  }

  async *read(session: string, after: number, limit = Number.POSITIVE_INFINITY): AsyncGenerator<Rec> {
    const row = this.#read((store) => findSession(store, session));
    if (row === undefined) return;
    // A copy: the row moves on with the session, this reading does not.
    const seen = { ...row };
    if (after < seen.trimmed) throw trimmedError(session, after, seen.trimmed);
    const found: EntryPlace[] = [];
    const walk = this.#read((store) => places(store, session, seen, after));
    for (let step = this.#read(() => walk.next()); step.done !== true; step = this.#read(() => walk.next())) {
      if (found.length > 0) await nextTurn();
      found.push(...step.value);
    }
    let left = limit;
    let next = found.at(-1)?.first;
    for (const [index, place] of found.reverse().entries()) {
      if (left <= 0) return;
      if (index > 0 && index % readEntries === 0) await nextTurn();
      const records = this.#read((store) => readEntry(store, session, seen, place));
      if (records === undefined) throw trimmedError(session, after, place.first);
      for (const record of records) {
        if (record.seq !== next) {
          throw new JournalError('corrupt', `session ${session}: record ${next} is missing`);
        }
        next += 1;
        if (record.seq <= after || left <= 0) continue;
        left -= 1;
        yield record;
      }
    }
  }

  async head(session: string): Promise<Head | undefined> {
    const row = this.#read((store) => findSession(store, session));
    return row && { epoch: row.epoch, seq: row.head };
  }

  async *unfinished(): AsyncGenerator<string> {
    yield* this.#read(listUnfinished);
  }

  async command(session: string, id: string, nowMs: number): Promise<CommandKey | undefined> {
    return this.#read((store) => findKey(store, session, id, nowMs));
  }

  async message(session: string, id: string): Promise<TranscriptMessage | undefined> {
    return this.#read((store) => {
      const row = findSession(store, session);
      return row && new SqliteTranscript(store, session, row.id).find(id);
    });
  }

  async messages(session: string, before: string | null, limit: number): Promise<Message[]> {
    return this.#read((store) => listMessages(store, session, before, limit));
  }

  async saveState(session: string, seq: number, state: JsonObject): Promise<void> {
    const json = encodeState(state);
    await this.#write({ records: 0, bytes: 0, work: (store) => writeState(store, session, seq, json) });
  }

  async loadState(session: string): Promise<{ seq: number; state: JsonObject } | undefined> {
    return this.#read((store) => findState(store, session));
  }

  async trim(session: string, upTo: number): Promise<void> {
    await this.#write(plain((store) => trimEntries(store, session, upTo)));
  }

  async erase(session: string, key: CommandKey, atMs: number): Promise<void> {
    await this.#write(plain((store) => eraseSession(store, session, key, atMs)));
  }

  async sessions(limit: number): Promise<SessionLine[]> {
    return this.#read((store) => listSessions(store, limit));
  }

  async count(): Promise<number> {
    return this.#read(countSessions);
  }

  async expire(nowMs: number): Promise<number> {
    let expired = 0;
    await this.#write(
      plain((store) => {
        expired = expireKeys(store, nowMs);
      }),
    );
    return expired;
  }

  async probe(): Promise<void> {
    await this.#write(plain(writeProbe));
  }

  async close(): Promise<void> {
    await this.#commit.close();
  }

  #write(write: Omit<Write, 'done'>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#commit.add({
        ...write,
        done: (refusal) => {
          if (refusal === undefined) resolve();
          else reject(refusal);
        },
      });
    });
  }

  #read<T>(read: (store: Store) => T): T {
    try {
      return read(this.#commit.store);
    } catch (error) {
      throw toJournalError(this.#path, error);
    }
  }
}

function plain(work: (store: Store) => void): Omit<Write, 'done'> {
  return {
    records: 0,
    bytes: 0,
    work: (store) => {
      work(store);
      return undefined;
    },
  };
}

function trimmedError(session: string, after: number, trimmed: number): JournalError {
  return new JournalError(
    'trimmed',
    `session ${session}: the records after ${after} are no longer kept (trimmed to ${trimmed})`,
  );
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
