import { showPicture } from './assets.js';
import { button, el, icon, rebuild, setAttribute, setChildren } from './dom.js';
import { standing, titleOfPicture, versionsOf } from './illustrations.js';
import { shownEnd, tagsIn } from './markup.js';

/**
 * What is shown of a message's text: paragraphs, and pictures at their places. A tag is never shown, whether there is a picture for it or
 * not; text stays text.
 */
export function blocksOf(text, pictures, { open, markup }) {
  const end = markup ? shownEnd(text, open) : text.length;
  const cuts = [
    ...(markup ? tagsIn(text) : []).map((tag) => ({ ...tag, picture: null })),
    ...pictures.map((picture) => ({ offset: picture.offset, length: picture.length, picture })),
  ].sort((a, b) => a.offset - b.offset || (a.picture === null ? 1 : 0) - (b.picture === null ? 1 : 0));
  const blocks = [];
  let [from, piece] = [0, ''];
  const flush = () => {
    // What set a tag apart from the words around it goes with the tag.
    const whole = cuts.length === 0 ? piece : piece.replace(/^[^\S\n]*\n*[^\S\n]?(?=\S)|\s+$/g, '');
    const parts = whole.split(/\n{2,}/).filter((part) => cuts.length === 0 || part.trim() !== '');
    blocks.push(...parts.map((part) => ({ text: part })));
    piece = '';
  };
  for (const { offset, length, picture } of cuts) {
    if (offset > end) break;
    piece += text.slice(from, Math.max(from, offset));
    from = Math.max(from, Math.min(end, offset + length));
    if (picture === null) continue;
    flush();
    blocks.push({ picture });
  }
  piece += text.slice(from, Math.max(from, end));
  flush();
  if (blocks.length === 0 || (open && blocks.at(-1).picture !== undefined)) blocks.push({ text: '' });
  return blocks;
}

/** Writes blocks into `node`, touching only what differs. `figures` keeps the pictures of this message between calls. */
export function setFlow(node, blocks, caret, figures, figureOf) {
  const paragraphs = [...node.children].filter((child) => child.tagName === 'P');
  const nodes = blocks.map((block) => {
    if (block.picture !== undefined) return figureOf(block.picture);
    const p = paragraphs.shift() ?? el('p', {}, '');
    const first = p.firstChild;
    if (first?.nodeType !== Node.TEXT_NODE) p.prepend(block.text);
    else if (first.data !== block.text) first.data = block.text;
    return p;
  });
  setChildren(node, nodes);
  if (caret !== null && node.lastElementChild !== caret.parentElement) node.lastElementChild.append(caret);
  const kept = new Set(blocks.flatMap(({ picture }) => (picture === undefined ? [] : [picture.key])));
  for (const key of figures.keys()) if (!kept.has(key)) figures.delete(key);
}

/** A picture at its place in the text, or a line that says how far it is. `on.press` as in the gallery, `on.grown()` after a picture has come. */
export function updateFigure(figures, picture, pane, live, context, on) {
  let node = figures.get(picture.key);
  if (node === undefined) figures.set(picture.key, (node = el('div', { class: 'at-place' })));
  const newest = versionsOf(picture.part).at(-1);
  if (newest !== undefined) {
    setAttribute(node, 'data-status', 'done');
    rebuild(node, `asset ${newest.value.asset}`, () => [figureFor(newest.value, picture, on)]);
    return node;
  }
  const stand = standing(picture, pane, live, context.now);
  const title = titleOfPicture(picture.prompt);
  const key = `illustrations/${picture.key}`;
  const mark = context.pressed.get(key);
  const retry = stand.act.type === 'task.retry';
  const disabled = context.offline || mark !== undefined;
  setAttribute(node, 'data-status', stand.status);
  rebuild(node, JSON.stringify([title, picture.number, stand.icon, stand.tone, retry && stand.act]), () => [
    el('p', { class: 'inline-task', 'data-tone': stand.tone }, icon(stand.icon), el('b', {}, `Illustration ${picture.number}, ${title}`), el('span', { class: 'num' })),
    ...(retry ? [button('Retry', { 'aria-label': `Retry illustration ${picture.number}, ${title.slice(0, 80)}`, onclick: (event) => retryNow(event, key, stand.act, on) })] : []),
  ]);
  const count = node.querySelector('.num');
  if (count.textContent !== (mark?.label ?? stand.text)) count.textContent = mark?.label ?? stand.text;
  const again = node.querySelector('button');
  if (again !== null) {
    setAttribute(again, 'aria-disabled', disabled ? 'true' : null);
  }
  return node;
}

const retryNow = ({ currentTarget }, key, act, on) =>
  currentTarget.getAttribute('aria-disabled') === 'true' || on.press(key, 'illustrations', { pane: 'illustrations', ...act }, 'starting…');

function figureFor(value, picture, on) {
  const image = el('img', { alt: value.prompt ?? picture.prompt });
  const figure = el('figure', { class: 'in-text' }, image);
  image.addEventListener('load', () => {
    if (image.naturalWidth > 0) figure.style.setProperty('--ratio', `${image.naturalWidth} / ${image.naturalHeight}`);
    on.grown();
  });
  showPicture(image, value.asset);
  return figure;
}
