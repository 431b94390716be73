import type { LiveFrame } from '../../protocol/frames.ts';
import type { Rec } from '../../protocol/records.ts';
import type { State } from '../../protocol/state.ts';
import type { Limits } from '../limits/limits.ts';
import type { FailedValue } from './parts.ts';
import type { Turn } from './turn.ts';
import type { ReadersWorld } from './watches.ts';

/** What the gate asks of the panes' definitions. */
export interface GateWorld extends ReadersWorld {
  /** What a failed task leaves in its part. */
  failedValue: FailedValue;
  /** Somebody may want a task first: also in the queue of its provider. */
  limits: Pick<Limits, 'prioritize'>;
}

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
  /** What is the same for all sessions. */
  readonly world: GateWorld;
  /** Bodies of this pane that have not ended. */
  bodies(pane: string): number;
  /** Aborts them: the actor that would have is dead. */
  stopBodies(pane: string): void;
}
