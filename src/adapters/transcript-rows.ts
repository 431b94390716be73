import type { TranscriptMessage } from '../ports/journal.ts';
import { messageOf } from '../protocol/fold.ts';
import type { Rec } from '../protocol/records.ts';
import type { Message } from '../protocol/view.ts';

/** The transcript of one session, as a journal keeps it. All messages ever added, removed ones as tombstones with no text. */
export interface TranscriptRows {
  /** The message with its whole text. */
  find(id: string): TranscriptMessage | undefined;
  /** Adds a message at the end. */
  insert(message: TranscriptMessage): void;
  /** Replaces the row of `message.id`, text included. */
  replace(message: TranscriptMessage): void;
  /** Remembers a piece of streamed text of a message that is there and not removed; else does nothing. See `joinText`. */
  addText(id: string, at: number, add: string): void;
}

/**
 * Brings the transcript up to date with one more record: the same rules as `fold` for the view (src/protocol/fold.ts), but for messages
 * of any age and with whole texts.
 */
export function deriveTranscript(rows: TranscriptRows, record: Rec): void {
  switch (record.type) {
    case 'message.added':
      return addMessage(rows, record);
    case 'message.text':
      return rows.addText(record.text.message, record.text.at, record.text.add);
    case 'message.ended':
      return endMessage(rows, record.message, record.outcome, record.reason);
    case 'message.edited': {
      const old = rows.find(record.message);
      if (old !== undefined && !old.removed) rows.replace({ ...old, text: record.text, rev: (old.rev ?? 0) + 1 });
      return;
    }
    case 'message.removed':
      return removeMessage(rows, record.message);
    case 'session.opened':
    case 'session.closed':
    case 'session.recovered':
    case 'pane.phase':
    case 'pane.paused':
    case 'pane.content':
    case 'tasks':
  }
}

/** The text after one more streamed piece, in UTF-16 units; a piece beyond the known end is dropped, as in the view. */
export function joinText(text: string, at: number, add: string): string {
  return at > text.length ? text : text.slice(0, at) + add;
}

/** A transcript row as a client sees it. */
export function shown(row: TranscriptMessage): Message {
  const { removed: _, ...message } = row;
  return message;
}

function addMessage(rows: TranscriptRows, record: Rec & { type: 'message.added' }): void {
  const { id, text, final, replaces } = record.message;
  // Ids are never reused; the gate refuses it. Should it happen all the same, the first one stands.
  if (rows.find(id) !== undefined) return;
  rows.insert({ ...messageOf(record), removed: false });
  if (final && replaces !== undefined && text !== '') removeMessage(rows, replaces);
}

function endMessage(rows: TranscriptRows, id: string, outcome: Message['outcome'], reason?: string): void {
  const old = rows.find(id);
  if (old === undefined || old.removed) return;
  rows.replace({ ...old, final: true, outcome, ...(reason === undefined ? {} : { reason }) });
  if (old.replaces !== undefined && old.text !== '') removeMessage(rows, old.replaces);
}

function removeMessage(rows: TranscriptRows, id: string): void {
  const old = rows.find(id);
  if (old !== undefined && !old.removed) rows.replace({ ...old, text: '', removed: true });
}
