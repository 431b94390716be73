import { wireError, type ErrorCode, type WireError } from '../protocol/codes.ts';
import type { Fact, JsonObject, PaneDeclaration, TaskChange } from '../protocol/records.ts';
import type { SessionEvent } from './session.ts';

/** A message wherever it is: in the view, or (older) in the transcript table; also one that was removed. */
export interface Found {
  role: string;
  text: string;
  final: boolean;
  removed: boolean;
}

/** A text that is being written, with what has come in since the last record. */
export interface DraftText {
  text: string;
  run: string | null;
}

/** What a decision needs besides the state: looked up, or made, before it. */
export interface Knowledge {
  nowMs: number;
  /** Fresh names for what the command may make. */
  ids: { message: string; run: string };
  /** Panes that can be declared: the registered ones with their options merged from defaults and configuration. */
  panes: { [name: string]: PaneDeclaration };
  find(message: string): Found | undefined;
  draft(message: string): DraftText | undefined;
  /** What a `pane.run` of a pane with tasks asks for; undefined = it has none. */
  plan(pane: string, input: JsonObject | null): Planned | undefined;
  /** The task that tries once more what this part says has failed; undefined = it does not say so. */
  retry(pane: string, key: string): TaskChange | undefined;
}

/** Tasks for a run, or why there are none. */
export type Planned = { tasks: TaskChange[]; joins: boolean; maxTasks: number } | { refused: string };

/** What the gate does with a command. */
export type Decision =
  | { kind: 'refuse'; error: WireError }
  /** Events for the session's chart, in order, after panes that are declared and facts that need no event. */
  | {
      kind: 'do';
      declare?: { [pane: string]: PaneDeclaration };
      facts?: Fact[];
      events: SessionEvent[];
      message?: string;
      run?: string;
      spawn?: string[];
    }
  /** Text of a streamed message: handed to its draft. `end` finishes it. */
  | { kind: 'write'; message: string; add: string; end: 'complete' | 'stopped' | 'failed' | null };

export const doNothing: Decision = { kind: 'do', events: [] };

export function refuse(code: ErrorCode, message: string, extra: Parameters<typeof wireError>[2] = {}): Decision {
  return { kind: 'refuse', error: wireError(code, message, extra) };
}
