const openTag = '<think>';
const closeTag = '</think>';

/** A stateful filter over the pieces of one answer. */
export interface ThinkFilter {
  /** Takes the next piece and gives back what of it people may see. */
  push(piece: string): string;
  /** The answer is complete: gives back what was held because it looked like the start of a tag. */
  end(): string;
}

/**
 * Drops `<think>…</think>` blocks, wherever the chunks cut the tags; an unclosed block hides the rest. A stray `</think>` is dropped as a
 * tag only: what came before it is already out. White space between a block and the first visible text is dropped too.
 */
export function thinkFilter(): ThinkFilter {
  let held = '';
  let thinking = false;
  let emitted = false;
  let afterBlock = false;

  function show(text: string): string {
    const visible = afterBlock && !emitted ? text.trimStart() : text;
    if (visible !== '') emitted = true;
    return visible;
  }

  function push(piece: string): string {
    let rest = held + piece;
    let out = '';
    for (;;) {
      const tag = firstTag(rest, thinking);
      if (tag === undefined) break;
      if (!thinking) out += show(rest.slice(0, tag.at));
      thinking = tag.name === openTag;
      if (!thinking) afterBlock = true;
      rest = rest.slice(tag.at + tag.name.length);
    }
    const keep = tagStartAtEnd(rest, thinking);
    held = rest.slice(rest.length - keep);
    return thinking ? out : out + show(rest.slice(0, rest.length - keep));
  }

  function end(): string {
    const last = thinking ? '' : show(held);
    held = '';
    return last;
  }

  return { push, end };
}

function firstTag(text: string, thinking: boolean): { at: number; name: string } | undefined {
  // Almost no piece has a tag: one scan for '<' decides.
  if (!text.includes('<')) return undefined;
  const lower = lowerAscii(text);
  const close = lower.indexOf(closeTag);
  const open = thinking ? -1 : lower.indexOf(openTag);
  if (open >= 0 && (close < 0 || open < close)) return { at: open, name: openTag };
  return close >= 0 ? { at: close, name: closeTag } : undefined;
}

/** How many units at the end of `text` may be the start of a tag. */
function tagStartAtEnd(text: string, thinking: boolean): number {
  const at = text.lastIndexOf('<');
  if (at < 0) return 0;
  const tail = lowerAscii(text.slice(at));
  const tags = thinking ? [closeTag] : [openTag, closeTag];
  return tags.some((tag) => tag.startsWith(tail)) ? tail.length : 0;
}

/** Lower case without changing the length: `toLowerCase` makes two units of some letters, and offsets would slip. */
function lowerAscii(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
