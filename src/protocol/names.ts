/** Sizes and forms that both sides of the wire agree on. PROTOCOL sections 2, 3, 6. */
export const limits = {
  /** Longest client frame and HTTP body, in bytes (default of the option). */
  maxFrameBytes: 262_144,
  /** Longest text of one message, in UTF-16 units. */
  maxTextUnits: 131_072,
  /** Deepest nesting of a client frame. */
  maxDepth: 16,
  /** Most keys and array elements in a client frame. */
  maxKeys: 1_000,
  /** Longest command id, in characters. */
  maxIdChars: 128,
  /** Most panes in a session. */
  maxPanes: 16,
  /** Most runs in phase `queued` in one pane: so that ending all runs of all panes still fits in one entry of the journal. */
  maxQueuedRuns: 12,
  /** Most tasks in a run. */
  maxTasks: 1_000,
  /** Most parts of a pane's content; beyond it the part that was committed longest ago leaves the view. */
  maxParts: 256,
  /** Earlier versions of a part that stay readable. */
  partVersions: 5,
  /** Largest value of one part, in bytes; longer text is an asset. */
  maxPartBytes: 4_096,
  /** Largest input, and largest checkpoint, of one task, in bytes. */
  maxTaskBytes: 8_192,
  /** Largest size of all tasks that one command brings, in bytes: so that those of two panes still fit in one entry of the journal. */
  maxWorkBytes: 393_216,
  /** Most messages in a view. */
  viewMessages: 200,
  /** Most text in a view, in UTF-8 bytes. */
  viewTextBytes: 262_144,
  /** Largest inline content of a pane, in bytes; longer text is an asset. */
  maxContentBytes: 65_536,
} as const;

export const sessionPattern = /^[A-Za-z0-9_-]{1,64}$/;
export const messagePattern = /^[A-Za-z0-9_-]{1,64}$/;
export const panePattern = /^[a-z][a-z0-9-]{0,31}$/;
export const assetPattern = /^([0-9a-f]{64})\.([a-z0-9]{1,8})$/;

/** WebSocket subprotocol of version 1. */
export const subprotocol = 'mullion.v1';

export const roles = ['user', 'assistant', 'system'] as const;
export type Role = (typeof roles)[number];

export const outcomes = ['complete', 'stopped', 'failed'] as const;
export type Outcome = (typeof outcomes)[number];

export const policies = ['supersede', 'latest', 'queue', 'reject'] as const;
export type Policy = (typeof policies)[number];

/** Phases that every pane has besides its own working stages. PROTOCOL section 5. */
export const restingPhases = ['idle', 'queued', 'waiting', 'debouncing', 'retrying', 'paused', 'cancelling'] as const;
export const terminalPhases = ['updated', 'unchanged', 'cancelled', 'error', 'imaging_failed'] as const;
export type TerminalPhase = (typeof terminalPhases)[number];

export function isTerminal(phase: string): phase is TerminalPhase {
  return (terminalPhases as readonly string[]).includes(phase);
}

/** A phase in which the pane's own stages are at work (not resting, not over). */
export function isWorking(phase: string): boolean {
  return !isTerminal(phase) && !(restingPhases as readonly string[]).includes(phase);
}
