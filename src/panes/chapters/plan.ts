import { limits } from '../../protocol/names.ts';
import type { JsonObject } from '../../protocol/records.ts';
import { utf8Bytes } from '../../protocol/text.ts';
import type { Plan, PlanView, TaskPlan } from '../define-tasks.ts';
import { heldIn, partOf } from './chapter.ts';
import type { WritingInput } from './chapter.ts';
import { readRequest } from './request.ts';
import type { ChapterRequest, ChaptersRequest } from './request.ts';

/** Most chapters before one that its stages look at: the nearest. */
const maxBefore = 20;

type Parts = PlanView['parts'];
type Writing = Extract<ChaptersRequest, { kind: 'writing' }>;

/** The tasks that a `pane.run` asks for: one a chapter. Pure; refuses what cannot be done as a whole, before anything is begun. */
export function planChapters(input: JsonObject | null, view: PlanView): Plan {
  const request = readRequest(input);
  if ('refused' in request) return request;
  return request.kind === 'revert' ? planRevert(request, view.parts) : planWriting(request, view);
}

function planWriting(request: Writing, { parts, tasks: inWork }: PlanView): Plan {
  /** The tasks that write chapters now, by chapter. */
  const writing = new Map(inWork.map(({ id, key }) => [key, id]));
  const refused = refusal(request, parts, writing);
  if (refused !== null) return { refused };
  const tasks: TaskPlan[] = [];
  for (const [index, chapter] of request.chapters.entries()) {
    const input = bounded({
      mode: request.mode,
      chapter: chapter.id,
      title: chapter.title ?? heldIn(partOf(parts, chapter.id)?.value)?.title ?? chapter.id,
      brief: chapter.brief ?? '',
      feedback: request.feedback,
      edit: request.edit,
      before: standingBefore(chapter, request, parts),
    });
    const bytes = bytesOf(input);
    if (bytes > limits.maxTaskBytes) {
      const room = `expected title, brief and feedback in at most ${limits.maxTaskBytes} bytes together`;
      return { refused: `chapters.${index}: ${room}, got ${bytes}` };
    }
    const others = chapter.after.flatMap((id) => writing.get(id) ?? []);
    const after = [...new Set([...waitsFor(request, index).map((id) => taskId(id, parts)), ...others])];
    tasks.push({
      id: taskId(chapter.id, parts),
      label: input.title,
      key: chapter.id,
      input,
      ...(after.length > 0 ? { after } : {}),
      ...(request.review ? { review: true as const } : {}),
    });
  }
  return { tasks };
}

/** Named after the version that it will make: no two tasks that have made something can have the same one, also in a run that was joined. */
function taskId(chapter: string, parts: Parts): string {
  return `${chapter}.${(partOf(parts, chapter)?.version ?? 0) + 1}`;
}

/** Why the request cannot be done, naming what was expected and what came; null if it can. */
function refusal(request: Writing, parts: Parts, writing: ReadonlyMap<string, string>): string | null {
  const seen = new Set<string>();
  for (const [index, { id }] of request.chapters.entries()) {
    if (seen.has(id)) return `chapters.${index}.id: expected an id of its own, got "${id}" again`;
    seen.add(id);
    if (request.mode === 'rewrite' && partOf(parts, id) === undefined)
      return `chapters.${index}.id: expected a chapter that is there, to rewrite it, got "${id}"`;
  }
  for (const [index, { after }] of request.chapters.entries()) {
    for (const [place, id] of after.entries()) {
      if (!seen.has(id) && !writing.has(id) && partOf(parts, id) === undefined)
        return `chapters.${index}.after.${place}: expected a chapter of this request, or one that is there or being written, got "${id}"`;
    }
  }
  const circle = circleIn(request);
  return circle === null ? null : `chapters: expected an order without a circle, got ${circle.join(' after ')}`;
}

/** Ids of the chapters of the request that this one waits for: what it names, and in sequence the one before it. */
function waitsFor(request: Writing, index: number): string[] {
  const inRequest = new Set(request.chapters.map(({ id }) => id));
  const named = (request.chapters[index]?.after ?? []).filter((id) => inRequest.has(id));
  const previous = request.parallel ? undefined : request.chapters[index - 1]?.id;
  return [...new Set(previous === undefined ? named : [previous, ...named])];
}

/** Chapters that wait for each other in a circle, the first one again at the end; null when there are none. */
function circleIn(request: Writing): string[] | null {
  const waits = new Map(request.chapters.map(({ id }, index) => [id, waitsFor(request, index)]));
  let before: number;
  do {
    before = waits.size;
    for (const [id, others] of waits) if (others.every((other) => !waits.has(other))) waits.delete(id);
  } while (waits.size < before);
  // Whoever is left waits for somebody who is left.
  const path: string[] = [];
  let at = [...waits.keys()][0];
  while (at !== undefined && !path.includes(at)) {
    path.push(at);
    at = waits.get(at)?.find((other) => waits.has(other));
  }
  return at === undefined ? null : [...path.slice(path.indexOf(at)), at];
}

/**
 * Ids of the chapters that stand before this one in the book, nearest last. A chapter that is new comes behind all that are there; of one that
 * is there nobody knows what stands before it but for the request: its order, and `after`.
 */
function standingBefore(chapter: ChapterRequest, request: Writing, parts: Parts): string[] {
  const order = request.chapters.map(({ id }) => id);
  const inRequest = new Set(order);
  const isNew = partOf(parts, chapter.id) === undefined;
  const outside = isNew ? Object.keys(parts).filter((id) => !inRequest.has(id)) : [];
  const preceding = order.slice(0, order.indexOf(chapter.id));
  const named = chapter.after.filter((id) => !preceding.includes(id));
  const all = [...outside.filter((id) => !named.includes(id)), ...named, ...preceding];
  return all.filter((id) => id !== chapter.id).slice(-maxBefore);
}

/** The input with as many of the chapters before it as there is room for, the nearest. */
function bounded(input: WritingInput): WritingInput {
  let room = limits.maxTaskBytes - bytesOf({ ...input, before: [] });
  const fits = input.before.toReversed().filter((id) => {
    // Quotes and a comma; ids are ASCII.
    room -= id.length + 3;
    return room >= 0;
  });
  return { ...input, before: fits.toReversed() };
}

function bytesOf(input: WritingInput): number {
  return utf8Bytes(JSON.stringify(input));
}

/** One task that puts an earlier version back. The value is in its input: by the time it runs, the version may have left the view. */
function planRevert({ id, version }: { id: string; version: number }, parts: Parts): Plan {
  const part = partOf(parts, id);
  if (part === undefined) return { refused: `revert.id: expected a chapter that is there, got "${id}"` };
  const earlier = part.earlier.find((one) => one.version === version);
  if (earlier === undefined) {
    const known = part.earlier.map((one) => one.version).join(', ');
    return {
      refused: `revert.version: expected one of the earlier versions (${known || 'there are none'}), got ${version}`,
    };
  }
  const title = heldIn(earlier.value)?.title ?? id;
  const input = { mode: 'revert', chapter: id, version, value: earlier.value };
  return { tasks: [{ id: taskId(id, parts), label: `${title} (version ${version})`, key: id, input }] };
}
