import { messageIn } from '../protocol/fold.ts';
import type { LiveFrame, LiveTask } from '../protocol/frames.ts';
import { isTerminal } from '../protocol/names.ts';
import type { Rec } from '../protocol/records.ts';
import { isHighSurrogate } from '../protocol/text.ts';
import type { View } from '../protocol/view.ts';
import type { PaneLive, TaskLive } from './types.ts';

/** The whole known text of an open message, which is longer than its records, and the pane that writes it (undefined = an app). */
export interface Tail {
  text: string;
  pane: string | undefined;
}

/** What live frames have told: lost without harm. */
export interface Live {
  tails: { [message: string]: Tail };
  panes: { [pane: string]: PaneLive };
}

export const nothingLive: Live = { tails: {}, panes: {} };

/** `live` after one more frame; the same object if the frame says nothing new, belongs to no current run, or leaves a gap. */
export function takeLive(live: Live, view: View, frame: LiveFrame, now: number): Live {
  if (frame.pane !== undefined) {
    const pane = view.panes[frame.pane];
    if (pane === undefined || frame.run !== pane.run || isTerminal(pane.phase)) return live;
    if (frame.attempt !== undefined && frame.attempt < pane.attempt) return live;
  }
  const tails = frame.text === undefined ? live.tails : takeText(live.tails, view, frame.text, frame.pane);
  const panes = takePane(live.panes, frame, now);
  return tails === live.tails && panes === live.panes ? live : { tails, panes };
}

function takeText(
  tails: Live['tails'],
  view: View,
  { message: id, at, add }: NonNullable<LiveFrame['text']>,
  pane: string | undefined,
): Live['tails'] {
  const message = messageIn(view, id);
  if (message === undefined || message.final) return tails;
  const known = tails[id]?.text ?? message.text;
  if (at > known.length) return tails;
  // Recorded text is never touched by a live frame: what overlaps it is left out.
  const from = Math.max(at, message.text.length);
  const rest = add.slice(from - at);
  if (rest === '' || splitsPair(known, from, rest)) return tails;
  return { ...tails, [id]: { text: known.slice(0, from) + rest, pane } };
}

/** True where the two halves of a surrogate pair would be torn apart or put to a stranger. */
function splitsPair(known: string, from: number, rest: string): boolean {
  const high = from > 0 && isHighSurrogate(known.charCodeAt(from - 1));
  const first = rest.charCodeAt(0);
  return high !== (first >= 0xdc00 && first <= 0xdfff);
}

function takePane(panes: Live['panes'], frame: LiveFrame, at: number): Live['panes'] {
  const { pane, run, progress, wait, preview, text, tasks } = frame;
  if (pane === undefined || run === undefined) return panes;
  const old = panes[pane];
  // A number, or text, means as well that the wait is over.
  const waitOver = wait === null || progress !== undefined || text !== undefined;
  const news = tasks ?? progress ?? preview ?? wait;
  if (!news && !(waitOver && old?.wait)) return panes;
  const next: PaneLive = old?.run === run ? { ...old } : { run };
  if (waitOver) delete next.wait;
  if (progress) next.progress = { ...progress, at };
  if (wait) next.wait = { ...wait, at };
  if (preview) next.preview = { asset: preview, at };
  for (const [id, task] of Object.entries(tasks ?? {}))
    next.tasks = { ...next.tasks, [id]: takeTask(next.tasks?.[id], task) };
  return { ...panes, [pane]: next };
}

function takeTask(old: TaskLive | undefined, { text, ...news }: LiveTask): TaskLive {
  const base = old?.stage === news.stage && old?.attempt === news.attempt ? old : undefined;
  const next: TaskLive = { ...base, ...news };
  const known = base?.text ?? '';
  if (text !== undefined && text.at <= known.length) next.text = known.slice(0, text.at) + text.add;
  return next;
}

/** `live` after a record that led from `before` to `after`: records win over everything that they contradict. */
export function settle(live: Live, before: View, after: View, record: Rec): Live {
  switch (record.type) {
    case 'message.text':
      return { ...live, tails: overwrite(live.tails, after, record.text) };
    case 'message.ended':
    case 'message.edited':
    case 'message.removed':
      return { ...live, tails: omit(live.tails, record.message) };
    case 'pane.phase':
      return settlePhase(live, before, after, record.pane);
    case 'tasks':
    case 'pane.content':
      return settleTasks(live, after, record.pane);
    default:
      return live;
  }
}

function overwrite(
  tails: Live['tails'],
  after: View,
  { message: id, at, add }: { message: string; at: number; add: string },
): Live['tails'] {
  const tail = tails[id];
  if (tail === undefined) return tails;
  const recorded = messageIn(after, id)?.text ?? '';
  // Live text runs ahead of its record. What goes on from exactly the recorded text stays; anything else was of another try.
  const goesOn =
    tail.text.length > recorded.length && tail.text.startsWith(add, at) && at + add.length === recorded.length;
  return goesOn ? { ...tails, [id]: { ...tail, text: recorded + tail.text.slice(recorded.length) } } : omit(tails, id);
}

function settlePhase(live: Live, before: View, after: View, name: string): Live {
  const [old, pane] = [before.panes[name], after.panes[name]];
  if (pane === undefined) return live;
  const sameTry = old?.run === pane.run && old.attempt === pane.attempt;
  if (sameTry && old.phase === pane.phase) return live;
  const tails = keep(live.tails, (_, tail) => sameTry || tail.pane !== name);
  const panes = omit(live.panes, name);
  const { run, preview } = live.panes[name] ?? {};
  const kept = sameTry && run !== undefined && preview !== undefined && !isTerminal(pane.phase);
  return { tails, panes: kept ? { ...panes, [name]: { run, preview } } : panes };
}

/** A task that is not at work has no live values. */
function settleTasks(live: Live, after: View, name: string): Live {
  const pane = live.panes[name];
  const known = after.panes[name]?.tasks;
  if (pane?.tasks === undefined) return live;
  const tasks = keep(pane.tasks, (id) => known?.[id]?.status === 'running');
  return { ...live, panes: { ...live.panes, [name]: { ...pane, tasks } } };
}

function omit<T>(from: { [key: string]: T }, key: string): { [key: string]: T } {
  return keep(from, (other) => other !== key);
}

/** The entries for which `stays` holds; the same object if that is all of them. */
function keep<T>(from: { [key: string]: T }, stays: (key: string, value: T) => boolean): { [key: string]: T } {
  const entries = Object.entries(from);
  const kept = entries.filter(([key, value]) => stays(key, value));
  return kept.length === entries.length ? from : Object.fromEntries(kept);
}
