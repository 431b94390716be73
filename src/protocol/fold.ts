import { isTerminal, limits } from './names.ts';
import type { PaneDeclaration, PhaseFact, Rec, Task } from './records.ts';
import { utf8Bytes, utf8Prefix } from './text.ts';
import type { Message, PaneView, TaskCounts, View } from './view.ts';

/**
 * The view after one more record. Pure, total, the same code on server and client (PROTOCOL sections 1 and 6): for every n ≤ m,
 * folding records n+1..m over the snapshot at n gives the snapshot at m.
 */
export function fold(view: View, record: Rec): View {
  return { ...step(view, record), seq: record.seq };
}

function step(view: View, record: Rec): View {
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
      return endMessage(view, record.message, record.seq, record.outcome, record.reason);
    case 'message.edited': {
      const edited = changeMessage(view, record.message, ({ cut: _, ...old }) => ({ ...old, text: record.text }));
      return moveTranscript({ ...edited, generation: record.generation }, record.seq);
    }
    case 'message.removed':
      return moveTranscript({ ...removeMessage(view, record.message), generation: record.generation }, record.seq);
    case 'pane.phase':
      return changePane(view, record.pane, (pane) => foldPhase(pane, record, record.at, view.transcript));
    case 'pane.paused':
      return changePane(view, record.pane, (pane) => ({ ...pane, paused: record.paused }));
    case 'pane.content':
      return changePane(view, record.pane, (pane) => ({
        ...pane,
        parts: { ...pane.parts, [record.key]: { value: record.value, version: record.version, run: record.run } },
      }));
    case 'task':
      return changePane(view, record.pane, (pane) => {
        if (pane.run !== record.run) return pane;
        const tasks = { ...pane.tasks, [record.task.id]: record.task };
        return { ...pane, tasks, counts: countTasks(tasks) };
      });
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
function moveTranscript(view: View, seq: number): View {
  const panes: View['panes'] = {};
  for (const [name, pane] of Object.entries(view.panes))
    panes[name] = pane.fresh === true ? { ...pane, fresh: false } : pane;
  return { ...view, transcript: seq, panes };
}

/** The message that a record adds. */
export function messageOf({ at, message }: Rec & { type: 'message.added' }): Message {
  const { id, role, text, generation, final, replaces } = message;
  const outcome = final && role === 'assistant' ? 'complete' : null;
  return { id, role, text, generation, at, final, outcome, ...(replaces === undefined ? {} : { replaces }) };
}

function addMessage(view: View, record: Rec & { type: 'message.added' }): View {
  const { text, generation, final, replaces } = record.message;
  const message = messageOf(record);
  const messages = [...view.messages, message];
  totals.set(messages, totalBytes(view.messages) + messageBytes(message));
  const added = fit({ ...view, generation, messages });
  if (!final) return added;
  // It is there as it ends: only what it replaces and the transcript are left to do.
  const whole = replaces !== undefined && text !== '' ? removeMessage(added, replaces) : added;
  return moveTranscript(whole, record.seq);
}

function endMessage(view: View, id: string, seq: number, outcome: Message['outcome'], reason?: string): View {
  const how = reason === undefined ? { final: true, outcome } : { final: true, outcome, reason };
  const ended = changeMessage(view, id, (old) => ({ ...old, ...how }));
  const message = ended.messages.find((candidate) => candidate.id === id);
  const replaced =
    message !== undefined && message.replaces !== undefined && message.text !== ''
      ? removeMessage(ended, message.replaces)
      : ended;
  return moveTranscript(replaced, seq);
}

function changeMessage(view: View, id: string, change: (old: Message) => Message): View {
  const index = view.messages.findIndex((message) => message.id === id);
  const old = view.messages[index];
  if (old === undefined) return view;
  const changed = change(old);
  const messages = view.messages.with(index, changed);
  totals.set(messages, totalBytes(view.messages) - messageBytes(old) + messageBytes(changed));
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
  let bytes = totalBytes(messages);
  let from = 0;
  while (from < messages.length && (messages.length - from > limits.viewMessages || bytes > limits.viewTextBytes)) {
    const message = messages[from];
    if (message !== undefined) bytes -= messageBytes(message);
    from += 1;
  }
  if (from === 0) return view;
  const last = messages.at(-1);
  const kept = from === messages.length && last !== undefined ? [cutMessage(last)] : messages.slice(from);
  if (from < messages.length) totals.set(kept, bytes);
  return { ...view, messages: kept, earlier: view.earlier + messages.length - kept.length };
}

/** Text of a list of messages in bytes, remembered, so that one more message is not a reason to add all of them up again. */
const totals = new WeakMap<readonly Message[], number>();

function totalBytes(messages: readonly Message[]): number {
  let bytes = totals.get(messages);
  if (bytes === undefined) {
    bytes = messages.reduce((sum, message) => sum + messageBytes(message), 0);
    totals.set(messages, bytes);
  }
  return bytes;
}

const bytesOf = new WeakMap<Message, number>();

function messageBytes(message: Message): number {
  let bytes = bytesOf.get(message);
  if (bytes === undefined) bytesOf.set(message, (bytes = utf8Bytes(message.text)));
  return bytes;
}

function cutMessage(message: Message): Message {
  return { ...message, text: utf8Prefix(message.text, limits.viewTextBytes), cut: true };
}

function changePane(view: View, name: string, change: (old: PaneView) => PaneView): View {
  const old = view.panes[name];
  return old === undefined ? view : { ...view, panes: { ...view.panes, [name]: change(old) } };
}

function foldPhase(pane: PaneView, fact: PhaseFact, at: string, transcript: number): PaneView {
  if (fact.phase === 'queued')
    return pane.queued.includes(fact.run) ? pane : { ...pane, queued: [...pane.queued, fact.run] };
  if (isTerminal(fact.phase) && fact.run !== pane.run && pane.queued.includes(fact.run)) {
    return { ...pane, queued: pane.queued.filter((run) => run !== fact.run) };
  }
  const next: PaneView = {
    ...pane,
    phase: fact.phase,
    generation: fact.generation,
    run: fact.run,
    attempt: fact.attempt,
    since: at,
    reason: fact.reason ?? null,
    error: fact.error ?? null,
    retryAt: fact.retryAt ?? null,
    queued: pane.queued.includes(fact.run) ? pane.queued.filter((run) => run !== fact.run) : pane.queued,
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
  return next;
}

/** Failed counts as done, never as ok; `pending` is what is neither. */
function countTasks(tasks: { [id: string]: Task }): TaskCounts {
  const counts: TaskCounts = { total: 0, done: 0, ok: 0, failed: 0, pending: 0 };
  for (const task of Object.values(tasks)) {
    counts.total += 1;
    if (task.status === 'queued' || task.status === 'running') counts.pending += 1;
    else counts.done += 1;
    if (task.status === 'succeeded') counts.ok += 1;
    if (task.status === 'failed') counts.failed += 1;
  }
  return counts;
}
