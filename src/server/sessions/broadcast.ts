import type { LiveFrame, StreamFrame } from '../../protocol/frames.ts';
import type { Rec } from '../../protocol/records.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Subscriber } from '../session-api.ts';
import { Batch, SharedFrame } from '../transport/stream.ts';

/** Most live frames that wait for the record they belong to; beyond it the oldest are dropped (they are a courtesy). */
const maxHeldLive = 256;

/**
 * Sends one session's committed records and its live frames to its subscribers: each frame encoded once, everything of one tick as one
 * batch, and no live frame before the record that it builds on.
 */
export class Broadcast {
  readonly #clock: Clock;
  readonly #subscribers = new Set<Subscriber>();
  #frames: SharedFrame[] = [];
  #held: { afterSeq: number; frame: LiveFrame }[] = [];
  #committedSeq = 0;
  #scheduled = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#subscribers.size;
  }

  add(subscriber: Subscriber): void {
    // What is still to be flushed was there before this subscriber: its snapshot has it.
    this.flush();
    this.#subscribers.add(subscriber);
  }

  delete(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber);
  }

  /** Records that are durable now, with the cursor of each. */
  records(session: string, records: readonly Rec[], cursorOf: (seq: number) => string): void {
    for (const record of records) this.#queue({ type: 'record', session, cursor: cursorOf(record.seq), record });
    const last = records.at(-1);
    if (last !== undefined) this.#committedSeq = last.seq;
    this.#release();
  }

  /** A live frame that builds on what was proposed up to `afterSeq`: held until that is committed. */
  live(frame: LiveFrame, afterSeq: number): void {
    if (this.#subscribers.size === 0) return;
    if (this.#held.length === 0 && afterSeq <= this.#committedSeq) {
      this.#queue(frame);
      return;
    }
    this.#held.push({ afterSeq, frame });
    if (this.#held.length > maxHeldLive) this.#held.shift();
  }

  /** The session has this much on record (after loading it). */
  startAt(seq: number): void {
    this.#committedSeq = seq;
    this.#held = [];
  }

  /** A frame of the session's own: `ended`. */
  send(frame: StreamFrame): void {
    this.#queue(frame);
    this.flush();
  }

  /** Hands over what has gathered in this tick. */
  flush(): void {
    this.#scheduled = false;
    if (this.#frames.length === 0) return;
    const batch = new Batch(this.#frames);
    this.#frames = [];
    for (const subscriber of this.#subscribers) subscriber.push(batch);
  }

  #queue(frame: StreamFrame): void {
    if (this.#subscribers.size === 0) return;
    this.#frames.push(new SharedFrame(frame));
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.defer(() => this.flush());
  }

  #release(): void {
    while (this.#held[0] !== undefined && this.#held[0].afterSeq <= this.#committedSeq) {
      const held = this.#held.shift();
      if (held !== undefined) this.#queue(held.frame);
    }
  }
}
