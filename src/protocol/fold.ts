import { viewMessages, viewTextBytes } from './client-limits.ts';
import { changeTasks, commitPart, endTasks } from './fold-tasks.ts';
import { isTerminal } from './names.ts';
import type { PaneDeclaration, PhaseFact, Rec, Stamp } from './records.ts';
import { utf8Bytes, utf8Prefix } from './text.ts';
import type { Message, PaneView, View } from './view.ts';

/**
 * The view after one more record. Pure, total, the same code on server and client (PROTOCOL sections 1 and 6): for every n ≤ m,
 * folding records n+1..m over the snapshot at n gives the snapshot at m.
 */
export function fold(view: View, record: Rec): View {
  return foldKnown(view, record) ?? { ...view, seq: record.seq };
}

/** The same; null if this version does not know the record's type: it comes from a newer server. */
export function foldKnown(view: View, record: Rec): View | null {
  const next = step(view, record);
  return next && { ...next, seq: record.seq };
}

function step(view: View, record: Rec): View | null {
  switch (record.type) {
    case 'session.opened':
      return { ...view, panes: openPanes(view, record.panes) };
    case 'session.closed':
    case 'session.recovered':
      return view;
    case 'message.added':
      return addMessage(view, record);
    case 'message.text': {
      const { message, at, add } = record.text;
      return changeMessage(view, message, (old) =>
        old.cut === true || at > old.text.length ? old : { ...old, text: old.text.slice(0, at) + add },
      );
    }
    case 'message.ended':
      return endMessage(view, record);
    case 'message.edited': {
      const edited = changeMessage(view, record.message, ({ cut: _, ...old }) => ({
        ...old,
        text: record.text,
        rev: (old.rev ?? 0) + 1,
      }));
      return moveTranscript(edited, record);
    }
    case 'message.removed':
      return moveTranscript(removeMessage(view, record.message), record);
    case 'pane.phase':
      return changePane(view, record.pane, (pane) => foldPhase(pane, record, view.transcript));
    case 'pane.paused':
      return changePane(view, record.pane, (pane) => ({ ...pane, paused: record.paused }));
    case 'pane.content':
      return changePane(view, record.pane, (pane) => commitPart(pane, record));
    case 'tasks':
      return changePane(view, record.pane, (pane) =>
        pane.run === record.run ? changeTasks(pane, record.tasks, record.at) : pane,
      );
    default:
      record satisfies never;
      return null;
  }
}

function openPanes(view: View, declared: { [pane: string]: PaneDeclaration }): View['panes'] {
  const panes = { ...view.panes };
  for (const [name, declaration] of Object.entries(declared)) panes[name] ??= idlePane(declaration, view.transcript);
  return panes;
}

function idlePane(declaration: PaneDeclaration, transcript: number): PaneView {
  return {
    kind: declaration.kind,
    phase: 'idle',
    generation: 0,
    run: null,
    attempt: 0,
    since: null,
    reason: null,
    error: null,
    retryAt: null,
    paused: false,
    queued: [],
    content: null,
    contentGeneration: null,
    covers: null,
    fresh: declaration.driven ? transcript === 0 : null,
    parts: {},
    tasks: {},
    counts: null,
  };
}

/** `transcript` = seq of the last record that made a message final, edited or removed one. */
function moveTranscript(view: View, { seq, generation = view.generation }: { seq: number; generation?: number }): View {
  const panes: View['panes'] = {};
  for (const [name, pane] of Object.entries(view.panes))
    panes[name] = pane.fresh === true ? { ...pane, fresh: false } : pane;
  return { ...view, generation, transcript: seq, panes };
}

/** The message that a record adds. */
export function messageOf({ at, message }: Rec & { type: 'message.added' }): Message {
  const { id, role, text, generation, final, replaces } = message;
  const outcome = final && role === 'assistant' ? 'complete' : null;
  return { id, role, text, generation, at, final, outcome, ...(replaces !== undefined && { replaces }) };
}

function addMessage(view: View, record: Rec & { type: 'message.added' }): View {
  const message = messageOf(record);
  const messages = [...view.messages, message];
  const added = fit({ ...view, generation: message.generation, messages });
  return message.final ? completeMessage(added, message.id, record.seq) : added;
}

function endMessage(view: View, { message: id, outcome, reason, seq }: Rec & { type: 'message.ended' }): View {
  const how = { final: true, outcome, ...(reason !== undefined && { reason }) };
  return completeMessage(
    changeMessage(view, id, (old) => ({ ...old, ...how })),
    id,
    seq,
  );
}

/** A message is final: what it replaces goes, if it has a text, and the transcript moves. */
function completeMessage(view: View, id: string, seq: number): View {
  const message = messageIn(view, id);
  const replaced = message?.text === '' ? undefined : message?.replaces;
  return moveTranscript(replaced === undefined ? view : removeMessage(view, replaced), { seq });
}

/** The message with this id, if the view has it. */
export function messageIn({ messages }: View, id: string): Message | undefined {
  return messages.findLast((message) => message.id === id);
}

function changeMessage(view: View, id: string, change: (old: Message) => Message): View {
  const old = messageIn(view, id);
  if (old === undefined) return view;
  const changed = change(old);
  const messages = view.messages.with(view.messages.lastIndexOf(old), changed);
  return fit({ ...view, messages });
}

function removeMessage(view: View, id: string): View {
  const messages = view.messages.filter((message) => message.id !== id);
  if (messages.length < view.messages.length) return { ...view, messages };
  return { ...view, earlier: Math.max(0, view.earlier - 1) };
}

/** Keeps the newest messages that fit in the view's limits, at least one; a single message too long for it is cut. */
function fit(view: View): View {
  const { messages } = view;
  let bytes = 0;
  const out = messages.findLastIndex(
    (message, index) => messages.length - index > viewMessages || (bytes += messageBytes(message)) > viewTextBytes,
  );
  if (out < 0) return view;
  const last = messages.at(-1);
  const kept = messages.slice(out + 1);
  if (last !== undefined && kept.length === 0)
    kept.push({ ...last, text: utf8Prefix(last.text, viewTextBytes), cut: true });
  return { ...view, messages: kept, earlier: view.earlier + messages.length - kept.length };
}

const bytesOf = new WeakMap<Message, number>();

function messageBytes(message: Message): number {
  let bytes = bytesOf.get(message);
  if (bytes === undefined) bytesOf.set(message, (bytes = utf8Bytes(message.text)));
  return bytes;
}

function changePane(view: View, name: string, change: (old: PaneView) => PaneView): View {
  const old = view.panes[name];
  return old === undefined ? view : { ...view, panes: { ...view.panes, [name]: change(old) } };
}

function foldPhase(pane: PaneView, fact: PhaseFact & Stamp, transcript: number): PaneView {
  const queued = pane.queued.filter((run) => run !== fact.run);
  const inLine = queued.length < pane.queued.length;
  if (fact.phase === 'queued') return inLine ? pane : { ...pane, queued: [...queued, fact.run] };
  if (isTerminal(fact.phase) && fact.run !== pane.run && inLine) return { ...pane, queued };
  const next: PaneView = {
    ...pane,
    phase: fact.phase,
    generation: fact.generation,
    run: fact.run,
    attempt: fact.attempt,
    since: fact.at,
    reason: fact.reason ?? null,
    error: fact.error ?? null,
    retryAt: fact.retryAt ?? null,
    queued,
  };
  if (fact.run !== pane.run) {
    next.tasks = {};
    next.counts = null;
  }
  if (fact.phase === 'updated' && fact.content !== undefined) {
    next.content = fact.content;
    next.contentGeneration = fact.generation;
  }
  if (fact.covers !== undefined) next.covers = fact.covers;
  if (pane.fresh !== null) next.fresh = (next.covers ?? 0) === transcript;
  const told = changeTasks(next, fact.tasks ?? [], fact.at);
  return isTerminal(fact.phase) ? endTasks(told, fact.at) : told;
}
