/** Control characters besides tab and line ends: a terminal that shows the file must not obey them. */
// oxlint-disable-next-line no-control-regex -- these are what is looked for
const controls = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;

/** Where HTML could begin; also at the end of a piece, since another one may follow. */
const htmlBegins = /<(?=[A-Za-z/!?]|$)/g;

/** All that can mean something in Markdown, within a line. */
const punctuation = /[\\`*_{}[\]<>()#!|~&]/g;

/**
 * A text of somebody's as Markdown in which HTML is not HTML: `<` before a letter, `/`, `!` or `?` is written `&lt;`, in code too, because
 * where code begins and ends is the writer's say. Everything else of Markdown stays.
 */
export function harmless(text: string): string {
  return text.replace(controls, '\ufffd').replace(htmlBegins, '&lt;');
}

/** Markdown as a quote: every line begins with `>`, so that none of its lines is a line of the document. Ends with a line end. */
export function quoted(markdown: string): string {
  return `> ${markdown.replace(/\r\n?|\n/g, '\n> ')}\n`.replace(/^> $/gm, '>');
}

/** A text of somebody's as one line that means nothing in Markdown: part of a heading, or the words for a picture. */
export function inline(text: string): string {
  return text
    .replace(controls, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .replace(punctuation, (character) => `\\${character}`);
}
