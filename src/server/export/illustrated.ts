import type { Json } from '../../protocol/records.ts';
import type { Message, View } from '../../protocol/view.ts';
import { assetNameOf, inOrder } from './parts.ts';
import { harmless, inline } from './quote.ts';

/** A picture, and which characters of a message it stands for. */
interface Illustration {
  /** The revision of the message that the place is of. */
  rev: number;
  offset: number;
  length: number;
  markdown: string;
}

/** The pictures that are there, by message. */
export function illustrationsOf(view: View): Map<string, Illustration[]> {
  const found = new Map<string, Illustration[]>();
  for (const { value } of inOrder(view.panes['illustrations']?.parts ?? {})) {
    const illustration = read(view.session, value);
    if (illustration === null) continue;
    const { message, ...place } = illustration;
    found.set(message, [...(found.get(message) ?? []), place]);
  }
  return found;
}

function read(session: string, value: Json): (Illustration & { message: string }) | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const { message, rev = 0, offset, length, prompt, asset } = value;
  const name = assetNameOf(session, asset);
  if (typeof message !== 'string' || name === null) return null;
  if (!isCount(rev) || !isCount(offset) || !isCount(length)) return null;
  const words = typeof prompt === 'string' ? inline(prompt) : '';
  return { message, rev, offset, length, markdown: `![${words}](/v1/assets/${session}/${name})` };
}

function isCount(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/**
 * The text of a message as Markdown, each picture in the place of its tag. A picture of another revision, beyond the end of the text, or over
 * another one is left out, and its tag stays.
 */
export function illustrated(message: Message, illustrations: readonly Illustration[]): string {
  const { text, rev = 0 } = message;
  const placed = illustrations
    .filter((picture) => picture.rev === rev && picture.offset + picture.length <= text.length)
    .toSorted((a, b) => a.offset - b.offset);
  let markdown = '';
  let end = 0;
  for (const picture of placed) {
    if (picture.offset < end) continue;
    markdown += harmless(text.slice(end, picture.offset)) + picture.markdown;
    end = picture.offset + picture.length;
  }
  return markdown + harmless(text.slice(end));
}
