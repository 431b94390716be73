import type { Journal } from '../../ports/journal.ts';
import { JournalError } from '../../ports/errors.ts';
import type { SnapshotFrame, StreamFrame } from '../../protocol/frames.ts';
import type { Rec } from '../../protocol/records.ts';
import type { Subscriber, Subscription } from '../session-api.ts';
import { Batch, SharedFrame } from '../transport/stream.ts';
import { parseCursor } from './cursor.ts';
import type { Session } from './session.ts';

/** Most records replayed for a cursor; who missed more gets a snapshot. */
export const maxReplayRecords = 1_000;

/**
 * Attaches a subscriber: the missed records (usable cursor) or a snapshot, `caughtUp`, the newest live state, then all that comes. What is
 * committed while the journal is read is held back and follows; the cut is atomic.
 */
export async function attach(
  session: Session,
  journal: Journal,
  cursor: string | undefined,
  subscriber: Subscriber,
): Promise<Subscription> {
  let held: Batch[] | null = [];
  const relay: Subscriber = { push: (batch) => (held === null ? subscriber.push(batch) : void held.push(batch)) };
  const close = (): void => {
    held = [];
    session.broadcast.delete(relay);
  };
  session.broadcast.add(relay);
  const cut = session.committed.view.seq;
  let missed: Rec[] | undefined;
  try {
    const from = cursor === undefined ? undefined : usable(session, cursor, cut);
    missed = from === undefined ? undefined : await readMissed(session, journal, from, cut);
  } catch (error) {
    close();
    throw error;
  }
  // What is committed by now is in a snapshot, or among what was held back: nothing of it may come once more.
  session.broadcast.flush();
  const begin: StreamFrame[] =
    missed === undefined
      ? [snapshot(session, cursor === undefined ? 'initial' : 'reset')]
      : missed.map((record) => ({ type: 'record', session: session.id, cursor: session.cursor(record.seq), record }));
  const caughtUp = session.cursor(missed === undefined ? session.committed.view.seq : cut);
  const after = missed === undefined ? [] : held;
  held = null;
  subscriber.push(batchOf([...begin, { type: 'caughtUp', session: session.id, cursor: caughtUp }]));
  for (const batch of after) subscriber.push(batch);
  const live = session.gate.liveFrames(session.committed);
  if (live.length > 0) subscriber.push(batchOf(live));
  return { session: session.id, resync: () => resync(session), close };
}

function batchOf(frames: readonly StreamFrame[]): Batch {
  return new Batch(frames.map((frame) => new SharedFrame(frame)));
}

/** The seq to go on from; undefined = a snapshot is needed (unreadable, of another epoch, beyond the head, too far back). */
function usable(session: Session, text: string, headSeq: number): number | undefined {
  const cursor = parseCursor(text);
  if (cursor === undefined || cursor.epoch !== session.epoch || cursor.seq > headSeq) return undefined;
  return headSeq - cursor.seq > maxReplayRecords ? undefined : cursor.seq;
}

async function readMissed(session: Session, journal: Journal, after: number, upTo: number): Promise<Rec[] | undefined> {
  if (after === upTo) return [];
  const records: Rec[] = [];
  try {
    for await (const record of journal.read(session.id, after, upTo - after))
      if (record.seq <= upTo) records.push(record);
  } catch (error) {
    if (error instanceof JournalError && error.code === 'trimmed') return undefined;
    throw error;
  }
  return records;
}

function snapshot(session: Session, reason: SnapshotFrame['reason']): SnapshotFrame {
  return { type: 'snapshot', session: session.id, cursor: session.cursor(), reason, view: session.committed.view };
}

/** For a subscriber that was too slow: the state of now instead of everything queued. */
function resync(session: Session): Batch {
  session.broadcast.flush();
  return batchOf([snapshot(session, 'resync'), { type: 'caughtUp', session: session.id, cursor: session.cursor() }]);
}
