import type { LiveFrame } from '../../protocol/frames.ts';
import type { Rec } from '../../protocol/records.ts';
import type { State } from '../../protocol/state.ts';
import type { FailedValue } from './parts.ts';
import type { Turn } from './turn.ts';
import type { Reader } from './watches.ts';

/** What the gate tells its session. */
export interface GateEvents {
  /** A turn is over and has made something. */
  turned(turn: Turn): void;
  /** A record was proposed: for metrics. */
  proposed(record: Rec, before: State): void;
  live(frame: LiveFrame, afterSeq: number): void;
  crashed(pane: string, error: unknown): void;
  /** A turn threw: nothing of it may stay. */
  broken(error: unknown, turn: Turn): void;
  /** This server knows the pane; a session of an earlier configuration may have others. */
  registered(pane: string): boolean;
  /** The panes that are on in this state and read messages as they are written. */
  readers(state: State): Reader[];
  /** What a failed task leaves in its part. */
  failedValue: FailedValue;
  /** Somebody wants this task first: also in the queue of its provider. */
  prioritized(pane: string, task: string): void;
  /** Bodies of this pane that have not ended. */
  bodies(pane: string): number;
  /** Aborts them: the actor that would have is dead. */
  stopBodies(pane: string): void;
}
