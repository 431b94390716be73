import type { LiveFrame } from '../protocol/frames.ts';
import { isTerminal } from '../protocol/names.ts';
import type { Rec } from '../protocol/records.ts';
import { isHighSurrogate } from '../protocol/text.ts';
import type { View } from '../protocol/view.ts';
import type { PaneLive } from './types.ts';

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
  const message = view.messages.findLast((candidate) => candidate.id === id);
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
  const { pane, run, progress, wait, preview, text } = frame;
  if (pane === undefined || run === undefined) return panes;
  const old = panes[pane];
  // A number, or text, means as well that the wait is over.
  const waitOver = wait === null || progress !== undefined || text !== undefined;
  const news = progress !== undefined || preview !== undefined || (wait !== undefined && wait !== null);
  if (!news && !(waitOver && old?.wait !== undefined)) return panes;
  const next: PaneLive = old?.run === run ? { ...old } : { run };
  if (waitOver) delete next.wait;
  if (progress !== undefined) next.progress = { ...progress, at };
  if (wait !== undefined && wait !== null) next.wait = { ...wait, at };
  if (preview !== undefined) next.preview = { asset: preview, at };
  return { ...panes, [pane]: next };
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
  const recorded = after.messages.findLast((message) => message.id === id)?.text ?? '';
  // Live text runs ahead of its record. What goes on from exactly the recorded text stays; anything else was of another try.
  const goesOn =
    tail.text.length > recorded.length && tail.text.startsWith(add, at) && at + add.length === recorded.length;
  return goesOn ? { ...tails, [id]: { ...tail, text: recorded + tail.text.slice(recorded.length) } } : omit(tails, id);
}

function settlePhase(live: Live, before: View, after: View, name: string): Live {
  const [old, pane] = [before.panes[name], after.panes[name]];
  if (pane === undefined) return live;
  const sameTry = old?.run === pane.run && old.attempt === pane.attempt;
  const stale = sameTry ? [] : Object.keys(live.tails).filter((id) => live.tails[id]?.pane === name);
  const tails = stale.reduce((rest, id) => omit(rest, id), live.tails);
  if (old === pane || (sameTry && old.phase === pane.phase)) return tails === live.tails ? live : { ...live, tails };
  const preview = live.panes[name]?.preview;
  const kept = preview !== undefined && pane.run !== null && sameTry && !isTerminal(pane.phase);
  const panes = omit(live.panes, name);
  return { tails, panes: kept && pane.run !== null ? { ...panes, [name]: { run: pane.run, preview } } : panes };
}

function omit<T>(from: { [key: string]: T }, key: string): { [key: string]: T } {
  if (!(key in from)) return from;
  const { [key]: _, ...rest } = from;
  return rest;
}
