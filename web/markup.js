/** Prompts for pictures in an assistant's text, as the server's built-in scanner reads them. */
const prompt = String.raw`(?:[^"\\]|\\[\s\S]){0,2000}`;
const blank = String.raw`\s{0,32}`;
const complete = new RegExp(
  [
    `<!--${blank}img[-_]prompt${blank}=${blank}"${prompt}"${blank}-->`,
    `<img[-_]prompt${blank}=${blank}"${prompt}"${blank}>`,
  ].join('|'),
  'gi',
);

/** Each unit of a tag, so that the beginning of one can be told from text. */
const units = (opening, closing) => [
  ...opening,
  blank + 'i', 'm', 'g', '[-_]', 'p', 'r', 'o', 'm', 'p', 't', blank + '=', blank + '"',
  `${prompt}\\\\?`,
  '"', ...closing,
];
/** The text from here to its end is the beginning of a tag. */
const beginningOf = (parts) => parts.reduceRight((rest, part) => `${part}(?:${blank}$${rest === '' ? '' : `|${rest}`})`, '');
const unclosed = new RegExp(
  `^(?:${beginningOf(units(['<', '!', '-', '-'], [`${blank}-`, '-']))}|${beginningOf(['<', ...units([], []).map((part, at) => (at === 0 ? 'i' : part))])})`,
  'i',
);
const opened = /^<(?:!--\s{0,32})?img[-_]prompt\s{0,32}=\s{0,32}"/i;

/** Longest tag that can still be unclosed, in UTF-16 units. */
const mostUnits = 2_300;

/** Tags in a text: [{ offset, length }], in order. */
export function tagsIn(text) {
  if (!text.includes('<')) return [];
  return [...text.matchAll(complete)].map((match) => ({ offset: match.index, length: match[0].length }));
}

/**
 * Where a tag begins that the text does not close; its length if it closes all. In a message that is being written the first letters of one
 * are hidden too; in one that has ended they are text.
 */
export function shownEnd(text, open) {
  const from = Math.max(0, text.length - mostUnits);
  for (let at = text.indexOf('<', from); at >= 0; at = text.indexOf('<', at + 1)) {
    const rest = text.slice(at);
    if (unclosed.test(rest) && (open || opened.test(rest))) return at;
  }
  return text.length;
}
