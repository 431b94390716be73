import { fold } from '../protocol/fold.ts';
import type { LiveFrame, RecordFrame, SnapshotFrame } from '../protocol/frames.ts';
import type { Rec } from '../protocol/records.ts';
import { wholeCharacters } from '../protocol/text.ts';
import { emptyView, type Message, type View } from '../protocol/view.ts';
import { nothingLive, settle, takeLive, type Live } from './live.ts';
import type { CaughtUp, ClientState, Saved } from './types.ts';

/** All types that `fold` knows; a record of another one comes from a newer server and cannot be folded. */
const known: { [T in Rec['type']]: true } = {
  'session.opened': true,
  'session.closed': true,
  'session.recovered': true,
  'message.added': true,
  'message.text': true,
  'message.ended': true,
  'message.edited': true,
  'message.removed': true,
  'pane.phase': true,
  'pane.paused': true,
  'pane.content': true,
  task: true,
};

/** The session's view at a cursor, and the live values beside it. Knows nothing of sockets and time. */
export class Store {
  view: View;
  cursor: string | undefined;
  live: Live = nothingLive;
  /** True from a gap until the next snapshot: what comes in between has no place. */
  lost = false;
  /** Commits since `startCounting`. */
  #counts: { [pane: string]: number } | null = null;
  #text: { of: Live['tails']; texts: ClientState['text'] } = { of: nothingLive.tails, texts: {} };

  constructor(session: string, saved: Saved | null) {
    this.view = saved?.view ?? emptyView(session);
    this.cursor = saved?.cursor;
  }

  takeSnapshot(frame: SnapshotFrame): void {
    if (this.#counts !== null) {
      for (const [name, pane] of Object.entries(frame.view.panes)) {
        const { content, parts } = this.view.panes[name] ?? { content: null, parts: {} };
        if (JSON.stringify([content, parts]) !== JSON.stringify([pane.content, pane.parts])) this.#count(name);
      }
    }
    this.view = frame.view;
    this.cursor = frame.cursor;
    this.live = nothingLive;
    this.lost = false;
  }

  /** Folds a record in, exactly once; false if there is a hole before it or its type is unknown: the caller asks for a snapshot. */
  takeRecord(frame: RecordFrame): boolean {
    const { record } = frame;
    if (this.lost || record.seq <= this.view.seq) return true;
    if (record.seq !== this.view.seq + 1 || !Object.hasOwn(known, record.type)) {
      this.lost = true;
      return false;
    }
    const before = this.view;
    this.view = fold(before, record);
    this.live = settle(this.live, before, this.view, record);
    this.cursor = frame.cursor;
    if (record.type === 'pane.content' || (record.type === 'pane.phase' && record.phase === 'updated'))
      this.#count(record.pane);
    return true;
  }

  /** True if the frame told something new. */
  takeLive(frame: LiveFrame, now: number): boolean {
    const old = this.live;
    if (!this.lost) this.live = takeLive(old, this.view, frame, now);
    return this.live !== old;
  }

  /** The session is gone. */
  forget(): void {
    this.view = emptyView(this.view.session);
    this.cursor = undefined;
    this.live = nothingLive;
  }

  /** From the loss of a connection on, commits are counted (over several attempts). */
  startCounting(): void {
    this.#counts ??= {};
  }

  stopCounting(): CaughtUp | null {
    const panes = this.#counts;
    this.#counts = null;
    return panes && { panes, updates: Object.values(panes).reduce((sum, count) => sum + count, 0) };
  }

  /** The same object until a text has changed. */
  text(): ClientState['text'] {
    const { tails } = this.live;
    if (tails !== this.#text.of) {
      const texts = Object.entries(tails).map(([message, tail]) => [message, wholeCharacters(tail.text)]);
      this.#text = { of: tails, texts: Object.fromEntries(texts) };
    }
    return this.#text.texts;
  }

  #count(pane: string): void {
    if (this.#counts !== null) this.#counts[pane] = (this.#counts[pane] ?? 0) + 1;
  }
}

/** The text of a message as far as it is known: recorded, and while it is open, live. */
export function textOf(state: ClientState, message: Message): string {
  return state.text[message.id] ?? message.text;
}
