import { randomUUID } from 'node:crypto';
import { JournalError, type JournalErrorCode } from '../ports/errors.ts';
import type { CommandKey, Entry, Head, Journal, SessionLine, TranscriptMessage } from '../ports/journal.ts';
import type { JsonObject, Rec } from '../protocol/records.ts';
import type { Message } from '../protocol/view.ts';
import { encodeEntry, expireBatch, keyLifeMs, refuseAppend, refuseState, type EncodedEntry } from './entry-codec.ts';
import { deriveTranscript, joinText, shown, type TranscriptRows } from './transcript-rows.ts';

export interface MemoryJournalOptions {
  /** Calls `fn` once, later: when the queued writes are committed. Default: setImmediate, as in the SQLite journal. */
  defer?: (fn: () => void) => void;
  /** Called after each commit that stored something; `bytes` as counted by `entryLimits`. */
  observe?: (commit: { records: number; bytes: number; durationMs: number }) => void;
}

interface MemorySession {
  epoch: string;
  head: number;
  trimmed: number;
  unfinished: boolean;
  atMs: number;
  /** Order of the commits: which of two sessions of the same ms was active last. */
  turn: number;
  summary: string;
  entries: { first: number; last: number; json: string }[];
  messages: Map<string, TranscriptMessage>;
  state: { seq: number; json: string } | undefined;
}

interface MemoryKey {
  session: string;
  id: string;
  json: string;
  atMs: number;
}

interface Write {
  records: number;
  bytes: number;
  work(): JournalError | undefined;
  done(refusal: JournalError | undefined): void;
}

/** What a crash leaves. */
interface Durable {
  sessions: Map<string, MemorySession>;
  keys: MemoryKey[];
}

/** The journal in memory, with the same contract as the SQLite one, for tests and simulations; faults and crashes on demand. */
export class MemoryJournal implements Journal {
  readonly #options: MemoryJournalOptions;
  #sessions = new Map<string, MemorySession>();
  #keys: MemoryKey[] = [];
  #queue: Write[] = [];
  #scheduled = false;
  #closed = false;
  #crashed = false;
  #turn = 0;
  #faults: { code: JournalErrorCode; stored: boolean }[] = [];

  constructor(options: MemoryJournalOptions = {}) {
    this.#options = options;
  }

  /**
   * The next commit (each call: one more) rejects all its writes with `code`; nothing of it is stored. Only with unknown_outcome can
   * `stored` be true: then all of it is stored, and rejected all the same.
   */
  failNext(code: JournalErrorCode, { stored = false } = {}): void {
    this.#faults.push({ code, stored: stored && code === 'unknown_outcome' });
  }

  /**
   * The journal as the next process finds it: what was committed, without what was queued. This one is dead: queued promises never
   * settle (nobody is left to see it), later calls reject with closed.
   */
  crash(): MemoryJournal {
    const next = new MemoryJournal(this.#options);
    const durable: Durable = structuredClone({ sessions: this.#sessions, keys: this.#keys });
    next.#sessions = durable.sessions;
    next.#keys = durable.keys;
    next.#turn = this.#turn;
    this.#queue = [];
    this.#closed = true;
    this.#crashed = true;
    return next;
  }

  async append(session: string, expected: number, entry: Entry): Promise<number> {
    const encoded = encodeEntry(session, entry);
    const copy = structuredClone(entry);
    const { bytes } = encoded;
    await this.#write(() => this.#store(session, expected, copy, encoded), { records: entry.records.length, bytes });
    return expected + entry.records.length;
  }

  async *read(session: string, after: number, limit = Number.POSITIVE_INFINITY): AsyncGenerator<Rec> {
    const found = this.#find(session);
    if (found === undefined) return;
    if (after < found.trimmed) {
      throw new JournalError('trimmed', `session ${session}: the records after ${after} are no longer kept`);
    }
    let left = limit;
    for (const entry of found.entries.filter(({ last }) => last > after)) {
      const records: Rec[] = JSON.parse(entry.json);
      for (const record of records) {
        if (record.seq <= after) continue;
        if (left <= 0) return;
        left -= 1;
        yield record;
      }
    }
  }

  async head(session: string): Promise<Head | undefined> {
    const found = this.#find(session);
    return found && { epoch: found.epoch, seq: found.head };
  }

  async *unfinished(): AsyncGenerator<string> {
    this.#check();
    for (const [session, { unfinished }] of this.#byActivity()) if (unfinished) yield session;
  }

  async command(session: string, id: string, nowMs: number): Promise<CommandKey | undefined> {
    this.#check();
    const key = this.#keys.findLast((candidate) => candidate.session === session && candidate.id === id);
    if (key === undefined || nowMs - key.atMs > keyLifeMs) return undefined;
    const { digest, ack }: Pick<CommandKey, 'digest' | 'ack'> = JSON.parse(key.json);
    return { id, digest, ack };
  }

  async message(session: string, id: string): Promise<TranscriptMessage | undefined> {
    const message = this.#find(session)?.messages.get(id);
    return message && { ...message };
  }

  async messages(session: string, before: string | null, limit: number): Promise<Message[]> {
    const all = [...(this.#find(session)?.messages.values() ?? [])];
    const end = before === null ? all.length : all.findIndex(({ id }) => id === before);
    const left = all.slice(0, Math.max(0, end)).filter(({ removed }) => !removed);
    return left.slice(Math.max(0, left.length - limit)).map(shown);
  }

  async saveState(session: string, seq: number, state: JsonObject): Promise<void> {
    const json = JSON.stringify(state);
    await this.#write(() => {
      const found = this.#sessions.get(session);
      const refusal = refuseState(session, found?.head, seq);
      if (found === undefined || refusal !== undefined) return refusal;
      if (seq >= (found.state?.seq ?? 0)) found.state = { seq, json };
      return undefined;
    });
  }

  async loadState(session: string): Promise<{ seq: number; state: JsonObject } | undefined> {
    const saved = this.#find(session)?.state;
    if (saved === undefined) return undefined;
    const state: JsonObject = JSON.parse(saved.json);
    return { seq: saved.seq, state };
  }

  async trim(session: string, upTo: number): Promise<void> {
    await this.#write(() => {
      const found = this.#sessions.get(session);
      if (found?.state === undefined) return undefined;
      const limit = Math.min(upTo, found.state.seq);
      while (found.entries.length > 1) {
        const [oldest] = found.entries;
        if (oldest === undefined || oldest.last > limit) break;
        found.trimmed = oldest.last;
        found.entries.shift();
      }
      return undefined;
    });
  }

  async erase(session: string, key: CommandKey, atMs: number): Promise<void> {
    const json = JSON.stringify({ digest: key.digest, ack: key.ack });
    await this.#write(() => {
      this.#sessions.delete(session);
      this.#keys.push({ session, id: key.id, json, atMs });
      return undefined;
    });
  }

  async sessions(limit: number): Promise<SessionLine[]> {
    this.#check();
    return this.#byActivity()
      .slice(0, limit)
      .map(([session, { head, atMs, unfinished, summary }]) => {
        const parsed: JsonObject = JSON.parse(summary);
        return { session, seq: head, atMs, unfinished, summary: parsed };
      });
  }

  async count(): Promise<number> {
    this.#check();
    return this.#sessions.size;
  }

  async expire(nowMs: number): Promise<number> {
    let expired = 0;
    await this.#write(() => {
      const before = this.#keys.length;
      this.#keys = this.#keys.filter(({ atMs }, index) => index >= expireBatch || nowMs - atMs <= keyLifeMs);
      expired = before - this.#keys.length;
      return undefined;
    });
    return expired;
  }

  async probe(): Promise<void> {
    await this.#write(() => undefined);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
  }

  #store(session: string, expected: number, entry: Entry, encoded: EncodedEntry): JournalError | undefined {
    const found = this.#sessions.get(session);
    const refusal = refuseAppend(session, found?.head ?? 0, expected, entry);
    if (refusal !== undefined) return refusal;
    const row = found ?? freshSession(entry.epoch ?? randomUUID());
    this.#sessions.set(session, row);
    if (entry.records.length > 0) {
      row.entries.push({ first: row.head + 1, last: row.head + entry.records.length, json: encoded.records });
      row.head += entry.records.length;
      const rows = transcriptOf(row);
      for (const record of entry.records) deriveTranscript(rows, record);
    }
    for (const { id, json } of encoded.keys) this.#keys.push({ session, id, json, atMs: entry.atMs });
    this.#turn += 1;
    Object.assign(row, { unfinished: entry.unfinished, atMs: entry.atMs, turn: this.#turn, summary: encoded.summary });
    return undefined;
  }

  #find(session: string): MemorySession | undefined {
    this.#check();
    return this.#sessions.get(session);
  }

  #check(): void {
    if (this.#closed) throw new JournalError('closed', 'the journal is closed');
  }

  #byActivity(): [string, MemorySession][] {
    return [...this.#sessions].toSorted(([, a], [, b]) => b.atMs - a.atMs || b.turn - a.turn);
  }

  #write(work: Write['work'], size: { records: number; bytes: number } = { records: 0, bytes: 0 }): Promise<void> {
    this.#check();
    return new Promise((resolve, reject) => {
      const done: Write['done'] = (refusal) => (refusal === undefined ? resolve() : reject(refusal));
      this.#queue.push({ ...size, work, done });
      if (this.#scheduled) return;
      this.#scheduled = true;
      (this.#options.defer ?? setImmediate)(() => {
        this.#scheduled = false;
        if (!this.#crashed) this.#flush();
      });
    });
  }

  #flush(): void {
    const writes = this.#queue;
    if (writes.length === 0) return;
    this.#queue = [];
    const fault = this.#faults.shift();
    const startMs = performance.now();
    const stored = { records: 0, bytes: 0, writes: 0 };
    for (const write of writes) {
      const refusal = fault === undefined || fault.stored ? write.work() : undefined;
      if (fault === undefined && refusal === undefined) {
        stored.writes += 1;
        stored.records += write.records;
        stored.bytes += write.bytes;
      }
      write.done(fault === undefined ? refusal : new JournalError(fault.code, `injected: ${fault.code}`));
    }
    const { records, bytes } = stored;
    if (stored.writes > 0) this.#options.observe?.({ records, bytes, durationMs: performance.now() - startMs });
  }
}

function freshSession(epoch: string): MemorySession {
  return {
    epoch,
    head: 0,
    trimmed: 0,
    unfinished: false,
    atMs: 0,
    turn: 0,
    summary: '{}',
    entries: [],
    messages: new Map(),
    state: undefined,
  };
}

/** Messages in a Map stand in the order of their insertion, also after `set` on an old id. */
function transcriptOf({ messages }: MemorySession): TranscriptRows {
  return {
    find: (id) => messages.get(id),
    insert: (message) => void messages.set(message.id, message),
    replace: (message) => void messages.set(message.id, message),
    addText: (id, at, add) => {
      const old = messages.get(id);
      if (old === undefined || old.removed) return;
      messages.set(id, { ...old, text: joinText(old.text, at, add) });
    },
  };
}
