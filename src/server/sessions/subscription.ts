import type { Journal } from '../../ports/journal.ts';
import { JournalError } from '../../ports/errors.ts';
import type { SnapshotFrame, StreamFrame } from '../../protocol/frames.ts';
import type { Rec } from '../../protocol/records.ts';
import type { Subscriber, Subscription } from '../session-api.ts';
import { Batch, SharedFrame } from '../stream.ts';
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
  const held: Batch[] = [];
  let replaying = true;
  let closed = false;
  const gate: Subscriber = {
    push: (batch) => {
      if (closed) return;
      if (replaying) held.push(batch);
      else subscriber.push(batch);
    },
  };
  session.broadcast.add(gate);
  const at = {
    seq: session.committed.view.seq,
    snapshot: () => snapshot(session, cursor === undefined ? 'initial' : 'reset'),
  };
  const initial = cursor === undefined ? at.snapshot() : undefined;
  const from = cursor === undefined ? undefined : usable(session, cursor, at.seq);
  const missed = from === undefined ? undefined : await readMissed(session, journal, from, at.seq);
  const frames: StreamFrame[] =
    missed === undefined
      ? [initial ?? at.snapshot()]
      : missed.map((record) => ({ type: 'record', session: session.id, cursor: session.cursor(record.seq), record }));
  // Without a replay nothing was awaited since the cut; after one, a fresh snapshot replaces what was held back.
  const upTo = missed === undefined ? session.committed.view.seq : at.seq;
  replaying = false;
  subscriber.push(
    new Batch(
      [...frames, { type: 'caughtUp', session: session.id, cursor: session.cursor(upTo) } as const].map(
        (frame) => new SharedFrame(frame),
      ),
    ),
  );
  if (missed !== undefined) for (const batch of held) subscriber.push(batch);
  const live = session.gate.liveFrames(session.committed);
  if (live.length > 0) subscriber.push(new Batch(live.map((frame) => new SharedFrame(frame))));
  return {
    session: session.id,
    resync: () => resync(session),
    close: () => {
      closed = true;
      session.broadcast.delete(gate);
    },
  };
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
  return new Batch(
    [snapshot(session, 'resync'), { type: 'caughtUp', session: session.id, cursor: session.cursor() } as const].map(
      (frame) => new SharedFrame(frame),
    ),
  );
}
