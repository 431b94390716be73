import { foldKnown } from '../protocol/fold.ts';
import type { LiveFrame, RecordFrame, SnapshotFrame } from '../protocol/frames.ts';
import { wholeCharacters } from '../protocol/text.ts';
import { emptyView, type Message, type PaneView, type View } from '../protocol/view.ts';
import { nothingLive, settle, takeLive, type Live } from './live.ts';
import type { CaughtUp, ClientState, Saved } from './types.ts';

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
      for (const [name, pane] of Object.entries(frame.view.panes))
        if (committed(this.view.panes[name]) !== committed(pane)) this.#count(name);
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
    const before = this.view;
    const after = record.seq === before.seq + 1 ? foldKnown(before, record) : null;
    this.lost = after === null;
    if (after === null) return false;
    this.view = after;
    this.live = settle(this.live, before, after, record);
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

  stopCounting(): CaughtUp | undefined {
    const panes = this.#counts;
    this.#counts = null;
    return panes === null ? undefined : { panes, updates: Object.values(panes).reduce((sum, count) => sum + count, 0) };
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

function committed(pane: PaneView | undefined): string {
  return JSON.stringify([pane?.content ?? null, pane?.parts ?? {}]);
}

/** The text of a message as far as it is known: recorded, and while it is open, live. */
export function textOf(state: ClientState, message: Message): string {
  return state.text[message.id] ?? message.text;
}
