import { isTerminal } from '../../protocol/names.ts';
import type { CommandKey } from '../../ports/journal.ts';
import { entryLimits } from '../../ports/journal.ts';
import type { Fact, Rec } from '../../protocol/records.ts';
import type { State } from '../../protocol/state.ts';

/** All that one cause (a command, a report of a stage, a timer) has made: stored together or not at all. */
export interface Turn {
  /** The command that caused it. */
  by: string | undefined;
  records: Rec[];
  key: CommandKey | undefined;
  /** The run that `pane.run` became. */
  accepted: string | undefined;
  /** The proposed state after it. */
  after: State;
  /** Called once: durable (no error) or not stored. */
  done: (error: Error | undefined) => void;
}

/** Takes from the front as many turns as fit in one entry, at least one. */
export function takeEntry(turns: Turn[]): Turn[] {
  let records = 0;
  let bytes = 0;
  let count = 0;
  for (const turn of turns) {
    records += turn.records.length;
    bytes += turn.records.reduce((sum, record) => sum + weight(record), 0);
    if (count > 0 && (records > entryLimits.records || bytes > entryLimits.bytes)) break;
    count += 1;
  }
  return turns.splice(0, count);
}

/** An upper bound of a record's size in bytes, without encoding it. */
function weight(record: Rec): number {
  const base = 600;
  switch (record.type) {
    case 'message.added':
      return base + record.message.text.length * 6;
    case 'message.text':
      return base + record.text.add.length * 6;
    case 'message.edited':
      return base + record.text.length * 6;
    case 'pane.phase':
      return base + sizeOf(record.content) + sizeOf(record.checkpoint) + sizeOf(record.input) + sizeOf(record.tasks);
    case 'pane.content':
      return base + sizeOf(record.value) + sizeOf(record.task);
    case 'tasks':
      return base + sizeOf(record.tasks);
    default:
      return base * 4;
  }
}

function sizeOf(value: unknown): number {
  return value === undefined ? 0 : JSON.stringify(value).length * 3;
}

/** A turn that has made nothing yet. */
export function newTurn(by: string | undefined, after: State): Turn {
  return { by, records: [], key: undefined, accepted: undefined, after, done: () => undefined };
}

/** The record of a fact behind the state `before`. Its time never goes back, whatever the clock does. */
export function recordOf(fact: Fact, before: State, { by }: Turn, nowMs: number): Rec {
  const nowIso = new Date(nowMs).toISOString();
  const at = nowIso > before.private.at ? nowIso : before.private.at;
  return { seq: before.view.seq + 1, at, ...(by === undefined ? {} : { by }), ...fact };
}

/** The run that answers: the one that was named for it, or the one that stood there already and has moved; undefined when there is neither. */
export function runOnRecord(records: readonly Rec[], named: string | undefined): string | undefined {
  if (named === undefined) return undefined;
  const replies = records.flatMap((record) =>
    record.type === 'pane.phase' && record.pane === 'reply' && !isTerminal(record.phase) ? [record.run] : [],
  );
  return replies.includes(named) ? named : replies.at(-1);
}
