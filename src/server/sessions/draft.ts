import { wholeCharacters } from '../../protocol/text.ts';
import type { Clock } from '../../ports/clock.ts';

/** How often text travels. PROTOCOL section 5, `message.text`, and section 1.4. */
export const draftTimes = {
  /** Live text: the first at once, then coalesced, ms. */
  liveMs: 40,
  /** First record after this, ms. */
  firstRecordMs: 250,
  /** Then one each, ms … */
  recordMs: 1_000,
  /** … or each this many UTF-16 units. */
  recordUnits: 4_096,
  /** A delta that wants an ack is on record within this, ms. */
  ackMs: 200,
} as const;

/** A piece of text and where it stands. */
export interface TextPiece {
  message: string;
  at: number;
  add: string;
}

/** Where the text of a message that is being written goes. */
export interface DraftSink {
  live(piece: TextPiece): void;
  record(piece: TextPiece): void;
}

/**
 * The text of one message while it is written: all of it, how much is on record, how much was sent live. Coalesces both; never cuts a
 * surrogate pair. `finish` stops its timers.
 */
export class Draft {
  readonly message: string;
  /** The run that writes it; null = an app. */
  readonly run: string | null;
  text: string;
  #recorded: number;
  #sent: number;
  #everRecorded = false;
  #liveTimer: unknown;
  #recordTimer: unknown;
  #recordDueMs = Number.POSITIVE_INFINITY;
  readonly #clock: Clock;
  readonly #sink: DraftSink;

  constructor(from: { message: string; run: string | null; text: string }, clock: Clock, sink: DraftSink) {
    this.message = from.message;
    this.run = from.run;
    this.text = from.text;
    this.#recorded = from.text.length;
    this.#sent = from.text.length;
    this.#clock = clock;
    this.#sink = sink;
  }

  /** Length on record (handed to the journal), in UTF-16 units. */
  get recorded(): number {
    return this.#recorded;
  }

  append(add: string, options: { ackWanted?: boolean } = {}): void {
    this.text += add;
    this.#scheduleLive();
    if (this.text.length - this.#recorded >= draftTimes.recordUnits) this.#record();
    else
      this.#scheduleRecord(
        options.ackWanted === true
          ? draftTimes.ackMs
          : this.#everRecorded
            ? draftTimes.recordMs
            : draftTimes.firstRecordMs,
      );
  }

  /** What is not on record yet, without stopping anything: for the last record and for late subscribers. */
  rest(): TextPiece {
    return { message: this.message, at: this.#recorded, add: this.text.slice(this.#recorded) };
  }

  /** Puts on record what there is of the text by now. */
  flush(): void {
    this.#record();
  }

  /** Stops the timers. The rest is the caller's. */
  finish(): void {
    this.#clock.clearTimeout(this.#liveTimer);
    this.#clock.clearTimeout(this.#recordTimer);
    this.#liveTimer = undefined;
    this.#recordTimer = undefined;
  }

  #scheduleLive(): void {
    if (this.#liveTimer !== undefined) return;
    this.#sendLive();
    this.#liveTimer = this.#clock.setTimeout(() => {
      this.#liveTimer = undefined;
      if (wholeCharacters(this.text).length > this.#sent) this.#scheduleLive();
    }, draftTimes.liveMs);
  }

  #sendLive(): void {
    const whole = wholeCharacters(this.text);
    if (whole.length <= this.#sent) return;
    this.#sink.live({ message: this.message, at: this.#sent, add: whole.slice(this.#sent) });
    this.#sent = whole.length;
  }

  #scheduleRecord(delayMs: number): void {
    const dueMs = this.#clock.now() + delayMs;
    if (this.#recordTimer !== undefined) {
      if (dueMs >= this.#recordDueMs) return;
      this.#clock.clearTimeout(this.#recordTimer);
    }
    this.#recordDueMs = dueMs;
    this.#recordTimer = this.#clock.setTimeout(() => this.#record(), delayMs);
  }

  #record(): void {
    this.#clock.clearTimeout(this.#recordTimer);
    this.#recordTimer = undefined;
    const whole = wholeCharacters(this.text);
    if (whole.length <= this.#recorded) return;
    const piece = { message: this.message, at: this.#recorded, add: whole.slice(this.#recorded) };
    this.#everRecorded = true;
    this.#recorded = whole.length;
    this.#sink.record(piece);
  }
}
