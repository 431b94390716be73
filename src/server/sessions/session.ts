import type { Knowledge } from '../../machines/decision.ts';
import type { SessionMachine } from '../../machines/session.ts';
import type { StageInput } from '../../machines/pane-setup.ts';
import type { Kept } from '../../panes/define-tasks.ts';
import { JournalError } from '../../ports/errors.ts';
import type { CommandKey, Entry, Journal } from '../../ports/journal.ts';
import { wireError, type WireError } from '../../protocol/codes.ts';
import type { Command, CommandOf } from '../../protocol/commands.ts';
import type { AckFrame, LiveFrame } from '../../protocol/frames.ts';
import type { JsonObject, Rec } from '../../protocol/records.ts';
import { foldState, type State } from '../../protocol/state.ts';
import { isUnfinished } from '../../machines/derive.ts';
import type { Refused } from '../session-api.ts';
import { Broadcast } from './broadcast.ts';
import { formatCursor } from './cursor.ts';
import { DeltaAnswers } from './delta-answers.ts';
import { Gate } from './gate.ts';
import type { FailedValue } from './parts.ts';
import { measure, summary } from './reports.ts';
import type { StageSession } from './body.ts';
import { Stages, type StagesWorld } from './stages.ts';
import { takeEntry, type Turn } from './turn.ts';
import type { Reader } from './watches.ts';

/** Records between two saved states; as many stay readable for cursors. */
export const saveEveryRecords = 200;

/** What a session needs from its host. */
export interface SessionWorld extends StagesWorld {
  journal: Journal;
  machine: SessionMachine;
  /** The panes that are on in this state and read messages as they are written. */
  readers(state: State): Reader[];
  failedValue: FailedValue;
  /** Records of the session have become durable. */
  committed?: (session: string) => void;
  /** The store cannot be written: seal, and unseal when a probe succeeds. */
  storeFailed(session: Session, error: JournalError): void;
}

const overloadedMs = 1_500;

/**
 * One live session: its gate, the state that is *committed* (what the journal holds; all that subscribers see) beside the one that is
 * *proposed*, one append in flight, and the bodies of its stages. ARCHITECTURE.md, "One gate, one order".
 */
export class Session implements StageSession {
  readonly id: string;
  readonly broadcast: Broadcast;
  readonly gate: Gate;
  readonly stages: Stages;
  committed: State;
  epoch: string;
  /** Set while nothing can be stored: when to try again, ms. */
  sealedMs: number | null = null;
  readonly #world: SessionWorld;
  readonly #deltas = new DeltaAnswers();
  #turns: Turn[] = [];
  #inFlight: Turn[] | null = null;
  #savedSeq: number;
  #waiting: { seq: number; resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(world: SessionWorld, id: string, epoch: string, state: State, savedSeq: number) {
    this.#world = world;
    this.id = id;
    this.epoch = epoch;
    this.committed = state;
    this.#savedSeq = savedSeq;
    this.broadcast = new Broadcast(world.clock);
    this.broadcast.startAt(state.view.seq);
    this.stages = new Stages(world, this, (pane) => {
      if (this.sealedMs === null) this.gate.unwound(pane);
    });
    this.gate = new Gate(state, world.machine, world.clock, world.ids, {
      turned: (turn) => this.#turned(turn),
      proposed: (record, before) => measure(world, record, before),
      live: (frame: LiveFrame, afterSeq) => this.broadcast.live(frame, afterSeq),
      crashed: (pane, error) => world.logger.error({ session: id, pane, error: String(error) }, 'a pane crashed'),
      broken: (error, turn) => this.#broken(error, turn),
      registered: (pane) => world.definition(pane) !== undefined,
      world,
      bodies: (pane) => this.stages.count(pane),
      stopBodies: (pane) => this.stages.abort(pane),
    });
  }

  get proposed(): State {
    return this.gate.proposed;
  }

  /** Nothing in memory would be missed: no work, no subscriber, nothing to store. */
  get idle(): boolean {
    return this.quiet && this.broadcast.size === 0;
  }

  /** No work and nothing to store; there may be subscribers. */
  get quiet(): boolean {
    return this.gate.idle && this.stages.size === 0 && this.#inFlight === null && this.#turns.length === 0;
  }

  cursor(seq = this.committed.view.seq): string {
    return formatCursor({ epoch: this.epoch, seq });
  }

  /** Decides and does a command; resolves when it is durable. */
  command(command: Command, digest: string, known: Knowledge): Promise<AckFrame | Refused> {
    if (this.sealedMs !== null) return Promise.resolve({ refused: notStored(this.sealedMs) });
    const { promise, resolve } = withResolvers<AckFrame | Refused>();
    const length = command.type === 'message.delta' ? knownLength(command, known) : 0;
    let done = false;
    const refused = this.gate.command(command, known, (turn, made) => {
      done = true;
      const { seq, generation } = this.proposed.view;
      const ack: JsonObject = { seq: turn.records.at(-1)?.seq ?? seq, generation, ...made };
      // Deltas are idempotent by their place in the text; a delete is remembered with the erasure.
      if (command.id !== undefined && command.type !== 'message.delta' && command.type !== 'session.delete') {
        turn.key = { id: command.id, digest, ack };
      }
      const answer = (error?: Error): void =>
        resolve(error === undefined ? this.#ack(command, ack, length) : { refused: notStored(overloadedMs) });
      if (turn.records.length > 0 || turn.key !== undefined) turn.done = answer;
      else this.#whenWritten(command, answer);
    });
    if (refused !== null) return Promise.resolve({ refused });
    // A turn that threw has been undone.
    return done ? promise : Promise.resolve({ refused: notStored(overloadedMs) });
  }

  durable(): Promise<void> {
    const { seq } = this.proposed.view;
    if (this.sealedMs !== null) return Promise.reject(new JournalError('io', 'the session is sealed'));
    if (seq <= this.committed.view.seq) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ seq, resolve, reject }));
  }

  turn(fn: () => void): void {
    if (this.sealedMs === null) this.gate.turn(fn);
  }

  write(input: StageInput, add: string): void {
    this.gate.write(input, add);
  }

  live(frame: Omit<LiveFrame, 'type' | 'session'>): void {
    this.gate.live(frame);
  }

  kept(input: StageInput, kept: Kept): void {
    this.gate.kept(input, kept);
  }

  /** Stops all work without a record and forgets what is not committed: sealing, and the end of the process. */
  drop(error: Error): void {
    this.gate.stop();
    this.gate.reset(this.committed);
    this.broadcast.startAt(this.committed.view.seq);
    const lost = [...(this.#inFlight ?? []), ...this.#turns];
    this.#turns = [];
    this.#inFlight = null;
    for (const turn of lost) turn.done(error);
    this.#deltas.drop(error);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) reject(error);
  }

  /** Goes on with what the committed state says was unfinished. `texts`: of `openTexts`. */
  begin(texts: ReadonlyMap<string, string>): void {
    this.gate.start(texts);
  }

  /** After sealing: begins again from what the journal really holds. Subscribers get what they have missed. */
  async start(): Promise<void> {
    const missed: Rec[] = [];
    for await (const record of this.#world.journal.read(this.id, this.committed.view.seq)) missed.push(record);
    const texts = await this.openTexts();
    this.committed = missed.reduce(foldState, this.committed);
    this.gate.reset(this.committed);
    this.broadcast.records(this.id, missed, (seq) => this.cursor(seq));
    if (missed.length > 0) this.#world.committed?.(this.id);
    this.broadcast.startAt(this.committed.view.seq);
    this.sealedMs = null;
    this.begin(texts);
  }

  /** Whole texts of the messages that apps are writing: the view may have cut them. */
  async openTexts(): Promise<Map<string, string>> {
    const texts = new Map<string, string>();
    for (const [message, open] of Object.entries(this.committed.private.open)) {
      if (open.run !== null) continue;
      texts.set(message, (await this.#world.journal.message(this.id, message))?.text ?? '');
    }
    return texts;
  }

  /** Stores the state when enough has come since the last one, so that a wake is fast and the journal short. */
  async save(atLeast = saveEveryRecords): Promise<void> {
    const { seq } = this.committed.view;
    if (seq - this.#savedSeq < atLeast) return;
    const keepFrom = this.#savedSeq;
    this.#savedSeq = seq;
    try {
      // The state is plain JSON by construction: views and private parts hold nothing else.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      await this.#world.journal.saveState(this.id, seq, this.committed as unknown as JsonObject);
      await this.#world.journal.trim(this.id, keepFrom);
    } catch (error) {
      this.#savedSeq = keepFrom;
      this.#world.logger.warn({ session: this.id, error: String(error) }, 'the state could not be saved');
    }
  }

  /** `length`: of the whole text, for a message that has ended. */
  #ack(command: Command, fields: JsonObject, length: number): AckFrame {
    const at =
      command.type === 'message.delta' ? (this.committed.private.open[command.message]?.length ?? length) : undefined;
    return {
      type: 'ack',
      id: command.id ?? '',
      session: this.id,
      ...fields,
      ...(at === undefined ? {} : { at }),
      duplicate: false,
    };
  }

  /** A command that has made no record: its answer waits for those before it, a delta's for its draft's next one (within 250 ms). */
  #whenWritten(command: Command, answer: (error?: Error) => void): void {
    if (command.type === 'message.delta' && command.id === undefined) answer();
    else if (
      command.type !== 'message.delta' ||
      !this.#deltas.keep(command, this.gate.draft(command.message), this.proposed, answer)
    )
      this.durable().then(() => answer(), answer);
  }

  #turned(turn: Turn): void {
    this.#turns.push(turn);
    this.#append();
  }

  #append(): void {
    if (this.#inFlight !== null || this.#turns.length === 0 || this.sealedMs !== null) return;
    const turns = takeEntry(this.#turns);
    const after = turns.at(-1)?.after ?? this.committed;
    this.#inFlight = turns;
    const entry: Entry = {
      records: turns.flatMap((turn) => turn.records),
      keys: turns.flatMap((turn): CommandKey[] => (turn.key === undefined ? [] : [turn.key])),
      unfinished: isUnfinished(after),
      summary: summary(after),
      atMs: this.#world.clock.now(),
      ...(this.committed.view.seq === 0 ? { epoch: this.epoch } : {}),
    };
    this.#world.journal.append(this.id, this.committed.view.seq, entry).then(
      () => this.#stored(turns, entry.records, after),
      (error: unknown) => this.#notStored(turns, entry, after, error),
    );
  }

  #stored(turns: Turn[], records: Rec[], after: State): void {
    if (this.#inFlight !== turns) return;
    this.#inFlight = null;
    this.committed = after;
    for (const turn of turns) turn.done(undefined);
    this.broadcast.records(this.id, records, (seq) => this.cursor(seq));
    if (records.length > 0) this.#world.committed?.(this.id);
    this.#release();
    this.#append();
    void this.save();
  }

  #release(): void {
    const { seq } = this.committed.view;
    const due = this.#waiting.filter((waiting) => waiting.seq <= seq);
    if (due.length > 0) this.#waiting = this.#waiting.filter((waiting) => waiting.seq > seq);
    for (const { resolve } of due) resolve();
    this.#deltas.release(this.committed);
  }

  #notStored(turns: Turn[], entry: Entry, after: State, error: unknown): void {
    if (this.#inFlight !== turns) return;
    const failure = error instanceof JournalError ? error : new JournalError('io', String(error), error);
    if (failure.code === 'unknown_outcome') {
      void this.#resolveOutcome(turns, entry, after, failure);
      return;
    }
    this.#seal(failure);
  }

  /** Stored or not? The tail of the journal knows. */
  async #resolveOutcome(turns: Turn[], entry: Entry, after: State, failure: JournalError): Promise<void> {
    try {
      const head = await this.#world.journal.head(this.id);
      if (head !== undefined && head.seq === after.view.seq && entry.records.length > 0) {
        this.#stored(turns, entry.records, after);
        return;
      }
    } catch (error) {
      this.#world.logger.warn({ session: this.id, error: String(error) }, 'the tail of the journal could not be read');
    }
    this.#seal(failure);
  }

  #seal(failure: JournalError): void {
    this.sealedMs = overloadedMs;
    this.drop(failure);
    this.#world.storeFailed(this, failure);
  }

  #broken(error: unknown, turn: Turn): void {
    this.#world.logger.error(
      { session: this.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) },
      'a turn failed',
    );
    this.sealedMs = overloadedMs;
    const failure = new JournalError('io', 'a turn failed', error);
    this.drop(failure);
    turn.done(failure);
    this.#world.storeFailed(this, failure);
  }
}

/** Length of a streamed message with this delta in it. */
function knownLength(delta: CommandOf<'message.delta'>, known: Knowledge): number {
  const text = known.draft(delta.message)?.text ?? known.find(delta.message)?.text ?? '';
  return Math.max(text.length, delta.at + delta.text.length);
}

/** The refusal while nothing can be stored. */
export function notStored(retryAfterMs: number): WireError {
  return wireError('OVERLOADED', 'the session cannot be stored at the moment; nothing of this command was kept', {
    retryAfterMs,
  });
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
