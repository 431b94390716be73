import { setImmediate as nextTurn } from 'node:timers/promises';
import { JournalError } from '../../ports/errors.ts';
import type { Head, Journal, TranscriptMessage } from '../../ports/journal.ts';
import { wireError } from '../../protocol/codes.ts';
import type { Rec } from '../../protocol/records.ts';
import { emptyState, foldState, type State } from '../../protocol/state.ts';
import { utf8Bytes } from '../../protocol/text.ts';
import type { Message, View } from '../../protocol/view.ts';
import type { Refused } from '../session-api.ts';
import { absentSession } from '../transport/edge.ts';
import { savedState } from '../sessions/live-sessions.ts';

/** A session as of one record: the view, and all messages with their whole texts. */
export interface Transcript {
  view: View;
  /** Time of the newest record, ISO 8601. */
  at: string;
  /** Oldest first. */
  messages: Message[];
  /** Older messages that did not fit in the bounds. */
  leftOut: number;
}

/** Bounds of one reading. */
export const transcriptBounds = {
  /** Text of the messages in UTF-8 bytes, with `messageOverheadBytes` for each; the newest that fit are kept. */
  maxBytes: 16_777_216,
  /** Messages asked for at once. */
  pageMessages: 50,
  /** Times that the session may have moved on while it was read. */
  maxRounds: 200,
};

/** What a message costs besides its text. */
export const messageOverheadBytes = 128;

const maxAttempts = 3;

/**
 * Reads a session from its journal, whether it is in memory or not, without waking it and without holding it up. The session may go on
 * meanwhile: what its new records touch is read again until there are no new ones, so that the result is the fold of one prefix and never a
 * mixture. `folded`: a state to begin from, of what is durable. Refuses: NOT_FOUND, OVERLOADED (it never stood still). Rejects with JournalError.
 */
export async function readTranscript(
  journal: Journal,
  session: string,
  folded: () => State | undefined,
  bounds = transcriptBounds,
): Promise<Transcript | Refused> {
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    try {
      const head = await journal.head(session);
      if (head === undefined) return { refused: absentSession(session) };
      const reading = new Reading(journal, session, head, bounds);
      if (await reading.run(folded())) return reading.result();
    } catch (error) {
      // Trimmed while it was read: what is saved now is newer.
      if (!(error instanceof JournalError) || error.code !== 'trimmed') throw error;
    }
  }
  const message = `session ${session} changes faster than it can be read`;
  return { refused: wireError('OVERLOADED', message, { retryAfterMs: 1_000 }) };
}

class Reading {
  readonly #journal: Journal;
  readonly #session: string;
  readonly #epoch: string;
  readonly #bounds: typeof transcriptBounds;
  #state: State;
  /** Oldest first. */
  readonly #messages: Message[] = [];
  #bytes = 0;
  /** The message before which the next page ends: it may have been removed, its place stays. */
  #oldest: string | null = null;
  #complete = false;

  constructor(journal: Journal, session: string, head: Head, bounds: typeof transcriptBounds) {
    this.#journal = journal;
    this.#session = session;
    this.#epoch = head.epoch;
    this.#bounds = bounds;
    this.#state = emptyState(session);
  }

  /** False: the session was erased meanwhile, or it did not stand still. */
  async run(folded: State | undefined): Promise<boolean> {
    this.#state = folded ?? (await this.#savedState());
    await this.#news();
    for (let round = 1; round <= this.#bounds.maxRounds; round += 1) {
      await this.#readPages();
      const head = await this.#journal.head(this.#session);
      if (head?.epoch !== this.#epoch) return false;
      // Each row was read after the last record that touches it: all are of this state.
      if (head.seq === this.#state.view.seq) return true;
      await this.#readAgain(await this.#news());
    }
    return false;
  }

  /** The newest messages that fit. */
  result(): Transcript {
    const { view, private: known } = this.#state;
    let from = 0;
    for (let bytes = this.#bytes; bytes > this.#bounds.maxBytes; from += 1) bytes -= costOf(this.#messages[from]);
    const messages = this.#messages.slice(from);
    return { view, at: known.at, messages, leftOut: view.earlier + view.messages.length - messages.length };
  }

  async #savedState(): Promise<State> {
    const saved = await this.#journal.loadState(this.#session);
    return saved === undefined ? emptyState(this.#session) : savedState(this.#session, saved.state);
  }

  /** Folds what the journal has beyond the state. */
  async #news(): Promise<Rec[]> {
    const records: Rec[] = [];
    let state = this.#state;
    for await (const record of this.#journal.read(this.#session, this.#state.view.seq)) {
      records.push(record);
      // One by one: the journal lets other work have its turn between them.
      state = foldState(state, record);
    }
    this.#state = state;
    return records;
  }

  /** Pages towards the beginning, until there are no more or the bound is passed. */
  async #readPages(): Promise<void> {
    const { maxBytes, pageMessages } = this.#bounds;
    while (!this.#complete && this.#bytes <= maxBytes) {
      const page = await this.#journal.messages(this.#session, this.#oldest, pageMessages);
      this.#complete = page.length < pageMessages;
      this.#oldest = page[0]?.id ?? this.#oldest;
      this.#messages.unshift(...page);
      for (const message of page) this.#bytes += costOf(message);
      await nextTurn();
    }
  }

  async #readAgain(records: readonly Rec[]): Promise<void> {
    const added = new Set(records.flatMap((record) => (record.type === 'message.added' ? [record.message.id] : [])));
    for (const id of new Set(records.flatMap(touched))) {
      const row = await this.#journal.message(this.#session, id);
      if (row === undefined) continue;
      this.#put(row, added.has(id));
      // It goes when the one that takes its place ends.
      const replaced =
        row.replaces === undefined ? undefined : await this.#journal.message(this.#session, row.replaces);
      if (replaced !== undefined) this.#put(replaced, false);
    }
  }

  /** A row that is not here is new, or stands before the pages that were read. */
  #put({ removed, ...message }: TranscriptMessage, isNew: boolean): void {
    const found = this.#messages.findLastIndex(({ id }) => id === message.id);
    if (found < 0 && (!isNew || removed)) return;
    const index = found < 0 ? this.#messages.length : found;
    const [old] = this.#messages.splice(index, 1, ...(removed ? [] : [message]));
    this.#bytes += (removed ? 0 : costOf(message)) - costOf(old);
  }
}

function costOf(message: Message | undefined): number {
  return message === undefined ? 0 : utf8Bytes(message.text) + messageOverheadBytes;
}

/** The messages that a record changes. */
function touched(record: Rec): string[] {
  switch (record.type) {
    case 'message.added':
      return [record.message.id];
    case 'message.text':
      return [record.text.message];
    case 'message.ended':
    case 'message.edited':
    case 'message.removed':
      return [record.message];
    default:
      return [];
  }
}
