import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { JournalError } from '../ports/errors.ts';
import { closeStore, openStore, type Store } from './journal-schema.ts';
import { driverName, SqliteFault, sqliteCodes, type OpenDatabase } from './sqlite-driver.ts';

/** What one commit was. */
export interface CommitObservation {
  records: number;
  /** Of the entries, as counted by `entryLimits`. */
  bytes: number;
  /** From the begin of the transaction until it is durable. */
  durationMs: number;
}

/** One write, waiting for its commit. */
export interface Write {
  records: number;
  bytes: number;
  /** Writes inside the open transaction, or says why not, having written nothing. May run again, after a rollback. */
  work(store: Store): JournalError | undefined;
  /** Whether its effect is there: asked when the outcome of its commit is unknown. Absent = it cannot tell. */
  stored?(store: Store): boolean;
  done(refusal: JournalError | undefined): void;
}

/**
 * The only writer of a store: all writes queued in one macrotask are one transaction, one fsync. A lone write does not wait for others.
 * Owns the store: reopens it after an I/O error.
 */
export class GroupCommit {
  readonly #path: string;
  readonly #open: OpenDatabase;
  readonly #observe: ((commit: CommitObservation) => void) | undefined;
  /** undefined while it has to be reopened. */
  #store: Store | undefined;
  #queue: Write[] = [];
  #scheduled = false;
  #reopening: Promise<void> | undefined;
  #closed = false;

  constructor(path: string, open: OpenDatabase, observe: ((commit: CommitObservation) => void) | undefined) {
    this.#path = path;
    this.#open = open;
    this.#observe = observe;
    this.#store = openStore(path, open);
  }

  /** The store, for reading: between commits, so only what is durable is seen. Throws JournalError closed, io. */
  get store(): Store {
    if (this.#closed) throw new JournalError('closed', `journal ${this.#path} is closed`);
    if (this.#store === undefined) throw reopeningError(this.#path);
    return this.#store;
  }

  /** Adds a write to the commit of this macrotask. */
  add(write: Write): void {
    if (this.#closed) return write.done(new JournalError('closed', `journal ${this.#path} is closed`));
    this.#queue.push(write);
    this.#schedule();
  }

  /** Commits what is queued, then ends the store. Later writes are refused. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#reopening;
    this.#flush();
    // Only when the store was lost: either it is back now, and the writes are tried once more, or they have been refused.
    await this.#reopening;
    this.#flush();
    await this.#reopening;
    this.#closed = true;
    if (this.#store !== undefined) closeStore(this.#store);
    this.#store = undefined;
  }

  #schedule(): void {
    if (this.#scheduled || this.#reopening !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#reopening === undefined) this.#flush();
    });
  }

  #flush(): void {
    let writes = this.#queue;
    if (writes.length === 0) return;
    this.#queue = [];
    if (this.#store === undefined) {
      this.#startReopening((store) => {
        if (store !== undefined) this.#queue = [...writes, ...this.#queue];
        else refuse(writes, reopeningError(this.#path));
      });
      return;
    }
    // A write that fails by itself is taken out, and the others are tried again without it.
    for (let failed = this.#attempt(this.#store, writes); failed !== undefined;) {
      const out = failed;
      writes = writes.filter((write) => write !== out);
      failed = writes.length === 0 ? undefined : this.#attempt(this.#store, writes);
    }
  }

  /** One transaction. Returns the one write that made it fail; undefined when all are settled. */
  #attempt(store: Store, writes: Write[]): Write | undefined {
    const startMs = performance.now();
    const refusals: (JournalError | undefined)[] = [];
    let current: Write | undefined;
    try {
      store.sql('BEGIN IMMEDIATE').run();
      for (current of writes) refusals.push(current.work(store));
    } catch (error) {
      store.rollback();
      if (current !== undefined && isOwnFault(error)) {
        current.done(toJournalError(this.#path, error));
        return current;
      }
      this.#fail(writes, error);
      return undefined;
    }
    try {
      store.sql('COMMIT').run();
    } catch (error) {
      this.#commitFailed(store, writes, refusals, error);
      return undefined;
    }
    this.#settle(writes, refusals, performance.now() - startMs);
    return undefined;
  }

  #settle(writes: Write[], refusals: (JournalError | undefined)[], durationMs: number): void {
    let records = 0;
    let bytes = 0;
    for (const [index, write] of writes.entries()) {
      if (refusals[index] === undefined) {
        records += write.records;
        bytes += write.bytes;
      }
      write.done(refusals[index]);
    }
    if (refusals.some((refusal) => refusal === undefined)) this.#observe?.({ records, bytes, durationMs });
  }

  /** Before COMMIT: nothing is stored. */
  #fail(writes: Write[], error: unknown): void {
    const reason = toJournalError(this.#path, error);
    refuse(writes, reason);
    if (reason.code === 'io') this.#startReopening(() => undefined);
  }

  /**
   * In COMMIT. A full disk: SQLite has undone it, and the next commit overwrites what it left in the WAL. Anything else (a failed fsync):
   * it may be in the WAL or not, and what the kernel says about these pages from now on is worth nothing. So this connection is never
   * used again; the reopened store shows what there is.
   */
  #commitFailed(store: Store, writes: Write[], refusals: (JournalError | undefined)[], error: unknown): void {
    store.rollback();
    const accepted = writes.filter((_, index) => refusals[index] === undefined);
    for (const [index, write] of writes.entries()) if (refusals[index] !== undefined) write.done(refusals[index]);
    if (error instanceof SqliteFault && error.code === sqliteCodes.full) {
      refuse(accepted, toJournalError(this.#path, error));
      return;
    }
    this.#startReopening((reopened) => refuse(accepted, this.#outcome(reopened, accepted, error)));
  }

  /** All writes of a commit are there or none: one witness is enough. */
  #outcome(reopened: Store | undefined, writes: Write[], error: unknown): JournalError {
    const witness = writes.find((write) => write.stored !== undefined);
    try {
      if (reopened !== undefined && witness?.stored?.(reopened) === false) {
        return new JournalError('io', `journal ${this.#path}: the commit failed, nothing of it is stored`, error);
      }
    } catch {
      // Then it stays unknown.
    }
    return new JournalError('unknown_outcome', `journal ${this.#path}: stored or not, read the tail again`, error);
  }

  /** `then` gets the reopened store, or undefined when that did not succeed; the next write tries again. */
  #startReopening(then: (store: Store | undefined) => void): void {
    this.#store?.abandon();
    this.#store = undefined;
    this.#reopening = this.#reopen().then((store) => {
      this.#store = store;
      this.#reopening = undefined;
      then(store);
      if (this.#queue.length > 0) this.#schedule();
    });
  }

  async #reopen(): Promise<Store | undefined> {
    for (let turn = 0; turn < reopenTurns; turn += 1) {
      try {
        const store = openStore(this.#path, this.#open);
        // What the WAL holds may never have reached the disk although its pages look clean: copied into the database and synced there, it has.
        store.sql('PRAGMA wal_checkpoint(TRUNCATE)').all();
        return store;
      } catch {
        await collectStatements();
      }
    }
    return undefined;
  }
}

/** libsql lets go of the file when its statements have been collected, a few turns after a collection. */
const reopenTurns = 8;

/** libsql cannot finalize a statement and an abandoned connection holds the lock until its statements are garbage: ask for it. */
async function collectStatements(): Promise<void> {
  if (driverName() === 'libsql') {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    collect();
  }
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function refuse(writes: Write[], reason: JournalError): void {
  for (const write of writes) write.done(reason);
}

function reopeningError(path: string): JournalError {
  return new JournalError('io', `journal ${path} had an I/O error and is being reopened`);
}

/** True for what concerns one write only: its session's rows are damaged, or it is one that the tables refuse. */
function isOwnFault(error: unknown): boolean {
  if (!(error instanceof SqliteFault)) return true;
  return ![
    sqliteCodes.busy,
    sqliteCodes.noMemory,
    sqliteCodes.readOnly,
    sqliteCodes.io,
    sqliteCodes.full,
    sqliteCodes.cannotOpen,
  ].some((code) => code === error.code);
}

/** Whatever was thrown over the store, as the error of the port. */
export function toJournalError(path: string, error: unknown): JournalError {
  if (error instanceof JournalError) return error;
  const because = error instanceof Error ? error.message : String(error);
  const code = error instanceof SqliteFault ? error.code : undefined;
  if (code === sqliteCodes.full) return new JournalError('full', `journal ${path}: no space left (${because})`, error);
  if (code === sqliteCodes.corrupt || code === sqliteCodes.notDatabase) {
    return new JournalError('corrupt', `journal ${path} is damaged: restore a backup (${because})`, error);
  }
  if (code === sqliteCodes.tooBig) return new JournalError('too_large', `journal ${path}: ${because}`, error);
  return new JournalError('io', `journal ${path}: ${because}`, error);
}
