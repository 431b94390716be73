import { isHighSurrogate, wholeCharacters } from '../../protocol/text.ts';
import type { TaskContext } from '../define-tasks.ts';
import { withoutMarkup } from '../prompts.ts';
import { heldIn, partOf } from './chapter.ts';

/** A chapter that is there, as far as it is read. */
export interface EarlierChapter {
  title: string;
  text: string;
}

/** How much of the chapters before one its stages read, and of the version that it replaces, in UTF-16 units. */
export const earlierBounds = { total: 12_000, least: 500, current: 12_000 } as const;

const gap = '[…]\n';

/**
 * The chapters of these ids that are there, in order. The nearest gets half of the room, the one before it half of what is left, and so on:
 * of each its end, for that is what the next one goes on from. One that failed, or whose text is gone, is simply not there.
 */
export async function readEarlier(context: TaskContext, ids: readonly string[]): Promise<EarlierChapter[]> {
  const nearestFirst: EarlierChapter[] = [];
  let room: number = earlierBounds.total;
  for (const id of ids.toReversed()) {
    if (room < earlierBounds.least) break;
    const chapter = await readChapter(context, id);
    if (chapter === null) continue;
    const text = endOf(chapter.text, Math.floor(room / 2));
    room -= text.length;
    nearestFirst.push({ title: chapter.title, text });
  }
  return nearestFirst.toReversed();
}

/** The text of a chapter as it is now, its beginning and its end; '' when there is none. */
export async function readCurrent(context: TaskContext, id: string): Promise<string> {
  const text = (await readChapter(context, id))?.text ?? '';
  if (text.length <= earlierBounds.current) return text;
  const half = Math.floor((earlierBounds.current - gap.length - 1) / 2);
  return `${wholeCharacters(text.slice(0, half))}\n${endOf(text, half + gap.length)}`;
}

async function readChapter(context: TaskContext, id: string): Promise<EarlierChapter | null> {
  const held = heldIn(partOf(context.parts, id)?.value);
  if (held === null) return null;
  const whole = await context.load(held.asset).catch(() => '');
  // Also a load that an abort has ended.
  if (context.signal.aborted) throw context.signal.reason;
  const text = withoutMarkup(whole).trim();
  return text === '' ? null : { title: withoutMarkup(held.title).trim(), text };
}

/** The end of a text, at most `maxChars` units, from the beginning of a sentence if there is one in its first half. */
function endOf(text: string, maxChars: number): string {
  if (text.length <= maxChars) return text;
  const tail = text.slice(text.length - (maxChars - gap.length));
  const start = /(?:[.!?…]["'”’»)]?\s+|[。！？][」』”]?)/u.exec(tail.slice(0, tail.length / 2));
  if (start !== null) return gap + tail.slice(start.index + start[0].length);
  return gap + (isHighSurrogate(text.charCodeAt(text.length - tail.length - 1)) ? tail.slice(1) : tail);
}
