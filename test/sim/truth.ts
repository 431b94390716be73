import { JournalError } from '../../src/ports/errors.ts';
import type { CommandKey, Entry, Head, Journal, SessionLine, TranscriptMessage } from '../../src/ports/journal.ts';
import type { MemoryJournal } from '../../src/adapters/journal-memory.ts';
import type { JsonObject, Rec } from '../../src/protocol/records.ts';
import { emptyState, foldState, type State } from '../../src/protocol/state.ts';
import type { Message } from '../../src/protocol/view.ts';
import type { Random } from './random.ts';
import type { ProcessClock, Steady } from './process.ts';

/** One life of a session, from its opening to its deletion: every record that was ever durable, trimmed ones too. */
export interface Life {
  session: string;
  epoch: string;
  records: Rec[];
  /** The fold of `records`. */
  state: State;
  /** Steady time when the record with that seq was handed to the journal, index seq - 1. */
  handedMs: number[];
  /** First seq of the append that stored it, index seq - 1. */
  entry: number[];
  erased: boolean;
}

/** What the journal has really held, as the simulation sees it from below. */
export class Truth {
  readonly lives: Life[] = [];
  readonly #handed = new Map<string, { expected: number; atMs: number }>();

  current(session: string): Life | undefined {
    return this.lives.findLast((life) => life.session === session && !life.erased);
  }

  byEpoch(session: string, epoch: string): Life | undefined {
    return this.lives.find((life) => life.session === session && life.epoch === epoch);
  }

  handed(session: string, expected: number, atMs: number): void {
    this.#handed.set(session, { expected, atMs });
  }

  /** Takes over what the journal holds beyond what is known. */
  async sync(journal: MemoryJournal, session: string): Promise<void> {
    const head = await journal.head(session);
    if (head === undefined) return;
    let life = this.byEpoch(session, head.epoch);
    if (life === undefined) {
      life = {
        session,
        epoch: head.epoch,
        records: [],
        state: emptyState(session),
        handedMs: [],
        entry: [],
        erased: false,
      };
      this.lives.push(life);
    }
    const first = life.records.length + 1;
    if (head.seq < first) return;
    const handed = this.#handed.get(session);
    for await (const record of journal.read(session, first - 1)) {
      if (record.seq !== life.records.length + 1) continue;
      life.records.push(record);
      life.state = foldState(life.state, record);
      life.handedMs.push(handed?.atMs ?? 0);
      life.entry.push(first);
    }
  }

  erased(session: string): void {
    const life = this.current(session);
    if (life !== undefined) life.erased = true;
  }
}

/** The journal as Sessions gets it: over the one in memory, with slow reads, a disk that can be full, and the truth kept beside. */
export class SimJournal implements Journal {
  full = false;
  readonly inner: MemoryJournal;
  readonly #truth: Truth;
  readonly #clock: ProcessClock;
  readonly #steady: Steady;
  readonly #random: Random;

  constructor(inner: MemoryJournal, truth: Truth, clock: ProcessClock, steady: Steady, random: Random) {
    this.inner = inner;
    this.#truth = truth;
    this.#clock = clock;
    this.#steady = steady;
    this.#random = random;
  }

  async append(session: string, expected: number, entry: Entry): Promise<number> {
    await this.#alive();
    this.#truth.handed(session, expected, this.#steady.ms);
    try {
      await this.#writable();
      return await this.inner.append(session, expected, entry);
    } finally {
      await this.#truth.sync(this.inner, session);
    }
  }

  async *read(session: string, after: number, limit?: number): AsyncGenerator<Rec> {
    await this.#slow();
    yield* this.inner.read(session, after, limit);
  }

  async head(session: string): Promise<Head | undefined> {
    await this.#slow();
    return this.inner.head(session);
  }

  async *unfinished(): AsyncGenerator<string> {
    await this.#alive();
    yield* this.inner.unfinished();
  }

  async command(session: string, id: string, nowMs: number): Promise<CommandKey | undefined> {
    await this.#slow();
    return this.inner.command(session, id, nowMs);
  }

  async message(session: string, id: string): Promise<TranscriptMessage | undefined> {
    await this.#slow();
    return this.inner.message(session, id);
  }

  async messages(session: string, before: string | null, limit: number): Promise<Message[]> {
    await this.#alive();
    return this.inner.messages(session, before, limit);
  }

  async saveState(session: string, seq: number, state: JsonObject): Promise<void> {
    await this.#writable();
    await this.inner.saveState(session, seq, state);
  }

  async loadState(session: string): Promise<{ seq: number; state: JsonObject } | undefined> {
    await this.#slow();
    return this.inner.loadState(session);
  }

  async trim(session: string, upTo: number): Promise<void> {
    await this.#writable();
    await this.inner.trim(session, upTo);
  }

  async erase(session: string, key: CommandKey, atMs: number): Promise<void> {
    await this.#writable();
    try {
      await this.inner.erase(session, key, atMs);
    } finally {
      if ((await this.inner.head(session)) === undefined) this.#truth.erased(session);
    }
  }

  sessions(limit: number): Promise<SessionLine[]> {
    return this.inner.sessions(limit);
  }

  count(): Promise<number> {
    return this.inner.count();
  }

  expire(nowMs: number): Promise<number> {
    return this.inner.expire(nowMs);
  }

  async probe(): Promise<void> {
    await this.#writable();
    await this.inner.probe();
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  /** A dead process comes no further than this. */
  #alive(): Promise<void> {
    return this.#clock.alive ? Promise.resolve() : new Promise(() => {});
  }

  async #writable(): Promise<void> {
    await this.#alive();
    if (!this.full) return;
    await this.#later(1);
    throw new JournalError('full', 'injected: no space left on device');
  }

  /** Every few reads one is slow enough that something else gets in between. */
  async #slow(): Promise<void> {
    await this.#alive();
    if (this.#random.chance(0.15)) await this.#later(this.#random.int(4));
  }

  #later(ms: number): Promise<void> {
    return new Promise((resolve) => this.#clock.setTimeout(resolve, ms));
  }
}
