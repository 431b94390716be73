import { isTerminal, isWorking } from '../protocol/names.ts';
import type { PhaseFact } from '../protocol/records.ts';
import type { Message, PaneView, View } from '../protocol/view.ts';
import type { PrivatePane, State } from '../protocol/state.ts';
import type { Hold } from './pane-types.ts';

/** Everything here is derived from the folded state, so that it holds after a restart as well. */

/** A run of the pane has not ended. */
export function isOpen(pane: PaneView): boolean {
  return pane.run !== null && pane.phase !== 'idle' && !isTerminal(pane.phase);
}

/** A text is being written, and goes on by itself. (A restart can find a reply that is to pause with its message begun: that stands still.) */
function isWriting(state: State): boolean {
  const paused = Object.values(state.view.panes).flatMap(({ run, phase }) => (phase === 'paused' ? [run] : []));
  return Object.values(state.private.open).some(({ run }) => run === null || !paused.includes(run));
}

/** A run of the pane has not ended, or stands in line; it may be paused. */
export function hasWork(state: State, name: string): boolean {
  const pane = state.view.panes[name];
  return pane !== undefined && (isOpen(pane) || pane.queued.length > 0);
}

/** Whether a reply is on its way: what panes with `startOn: reply` wait for. PROTOCOL section 7. */
export function replyHold(state: State): Hold {
  if (isWriting(state)) return 'replying';
  const reply = state.view.panes['reply'];
  if (reply !== undefined && isOpen(reply)) {
    return isWorking(reply.phase) || reply.phase === 'retrying' || reply.phase === 'cancelling'
      ? 'replying'
      : 'expected';
  }
  return state.private.appReplies ? 'expected' : 'none';
}

/** The panes that hear of every move of the transcript. */
export function drivenPanes(state: State): string[] {
  return Object.entries(state.private.panes)
    .filter(([, pane]) => pane.declaration.driven && pane.declaration.enabled)
    .map(([name]) => name);
}

/**
 * The transcript has moved and nothing on record says that the pane has yet to follow: what it kept for later went with the process. It is
 * due an update: a settled pane that does not cover the transcript, and a `latest` pane whose run began before it moved.
 */
export function owesRun(view: PaneView, pane: PrivatePane, transcript: number): boolean {
  const { driven, enabled, policy } = pane.declaration;
  if (!driven || !enabled || transcript === 0) return false;
  if (isOpen(view)) return pane.began && (policy === 'latest' || policy === 'reject') && pane.sees !== transcript;
  const settled = view.phase === 'idle' || view.phase === 'updated' || view.phase === 'unchanged';
  return settled && !view.paused && (view.covers ?? 0) !== transcript;
}

/** Something of this session goes on by itself: an open run that is not paused, or a message that is being written. */
export function isUnfinished(state: State): boolean {
  return (
    isWriting(state) ||
    Object.values(state.view.panes).some(
      (pane) => (isOpen(pane) && pane.phase !== 'paused') || (pane.queued.length > 0 && !pane.paused),
    )
  );
}

/** Runs that were going on by themselves. */
export function unfinishedRuns(state: State): string[] {
  return Object.values(state.view.panes).flatMap((pane) =>
    isOpen(pane) && pane.phase !== 'paused' && pane.run !== null ? [pane.run] : [],
  );
}

/** The newest user message: what the reply pane answers. */
export function answeredMessage(view: View): Message | undefined {
  return view.messages.findLast((message) => message.role === 'user');
}

/** The answer that a new reply takes the place of: the last assistant message after the newest user message. */
export function replacedReply(view: View): Message | undefined {
  const last = view.messages.findLast((message) => message.role !== 'system');
  return last !== undefined && last.role === 'assistant' && last.final ? last : undefined;
}

/** The panes that go on by themselves when a session wakes: those at work, and (also among them) those that are due an update. */
export function panesToWake(state: State): { busy: string[]; due: string[] } {
  const busy: string[] = [];
  const due: string[] = [];
  for (const [name, view] of Object.entries(state.view.panes)) {
    const pane = state.private.panes[name];
    if (isOpen(view) ? view.phase !== 'paused' : view.queued.length > 0 && !view.paused) busy.push(name);
    if (pane !== undefined && owesRun(view, pane, state.view.transcript)) due.push(name);
  }
  return { busy, due };
}

/** `updated` and `unchanged` of a transcript-driven pane say which transcript the run saw when its work began. PROTOCOL section 5. */
export function coversOf(state: State, fact: PhaseFact): number | undefined {
  const pane = state.private.panes[fact.pane];
  if (pane?.declaration.driven !== true || (fact.phase !== 'updated' && fact.phase !== 'unchanged')) return undefined;
  return pane.sees ?? state.view.transcript;
}

/** How the open run of a pane ends whose actor has crashed; undefined = it has none. */
export function crashEnd(state: State, pane: string): PhaseFact | undefined {
  const view = state.view.panes[pane];
  if (view === undefined || view.run === null || !isOpen(view)) return undefined;
  const { run, generation, attempt } = view;
  const message = 'the pane failed; the log of the server says why';
  const error = { code: 'internal', message, retryable: true } as const;
  return { type: 'pane.phase', pane, run, generation, phase: 'error', attempt, error };
}
