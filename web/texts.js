import { authorised } from './assets.js';
import { countWords } from './words.js';

const mostTexts = 600;
/** A text that could not be had is asked for again after this (ms). */
const againMs = 5_000;
/** Stored texts by their path: { text, words }, or a promise, or null for one that could not be had. They never change. */
const texts = new Map();

/** The text behind a path if it is here; else undefined, and `arrived()` is called once it is. null = it cannot be had. */
export function storedText(path, arrived) {
  if (typeof path !== 'string' || !/^\/v1\/assets\/[\w./-]+$/.test(path)) return null;
  const known = texts.get(path);
  if (known instanceof Promise) return undefined;
  if (known !== undefined) return known;
  const coming = authorised(path)
    .then(async (response) => (response.ok ? await response.text() : null))
    .catch(() => null)
    .then((text) => {
      texts.set(path, text === null ? null : { text, words: countWords(text) });
      if (text === null) setTimeout(() => texts.delete(path), againMs);
      if (texts.size > mostTexts) texts.delete(texts.keys().next().value);
      arrived();
    });
  texts.set(path, coming);
  return undefined;
}

/** Markdown as plain paragraphs: what marks headings and rules is left out, words are not, save a title that stands above the text already. */
export function plainText(markdown, title = '') {
  const text = markdown.replace(/^#{1,6}\s+/gm, '').replace(/^\s*(?:[-*_]\s*){3,}$/gm, '').trim();
  return title !== '' && text.startsWith(title) && /^\s/.test(text.slice(title.length)) ? text.slice(title.length).trimStart() : text;
}
