import { createChapter, updateChapter } from './chapter.js';
import { createChapterForm } from './chapter-form.js';
import { el, setAttribute, setChildren } from './dom.js';
import { placesOf, taskOfKey, tasksOf } from './tasks.js';

/** Chapters that are there and those to come, in the order of the book. */
function chaptersOf(pane) {
  const ids = [...new Set([...Object.keys(pane.parts), ...tasksOf(pane).map(({ key }) => key)])].filter((id) => id !== '');
  // Chapters that work at the same time come in any order; names that count say where they belong.
  const number = (id) => Number(/(\d+)$/.exec(id)?.[1]);
  if (ids.every((id) => !Number.isNaN(number(id)))) ids.sort((a, b) => number(a) - number(b));
  return ids.map((id) => ({ id, part: Object.hasOwn(pane.parts, id) ? pane.parts[id] : undefined, task: taskOfKey(pane, id) }));
}

/** The view of the pane `chapters`. `on.press` sends what a button says; `on.ask(command)` resolves with a refusal, or null. */
export function createChapters(name, body, on) {
  const rows = new Map();
  let current = null;
  const list = el('ol', { class: 'chapters' });
  const form = createChapterForm(name, on);
  const begin = el('button', { type: 'button', class: 'btn', onclick: () => form.toggle(true) }, 'Write chapters');
  const blank = el('div', { class: 'blank-note' }, el('p', {}, 'Write the story so far as chapters.'), begin);

  return {
    /** Opens or closes the form; without an argument, the other way round. */
    toggleForm: (open) => form.toggle(open),
    formOpen: () => !form.node.hidden,
    update(pane, view, live, context) {
      const chapters = chaptersOf(pane);
      const places = placesOf(pane, live);
      form.update(context, view.session, chapters);
      const nodes = chapters.map((chapter, index) => {
        const row = rows.get(chapter.id) ?? createChapter(name, chapter.id, { ...on, open: (id) => { current = current === id ? null : id; on.changed(); } });
        rows.set(chapter.id, row);
        updateChapter(row, { ...chapter, number: index + 1, open: current === chapter.id, place: places.get(chapter.task?.id) }, pane, live, context);
        return row.node;
      });
      setChildren(list, nodes);
      for (const id of rows.keys()) if (!chapters.some((chapter) => chapter.id === id)) rows.delete(id);
      setAttribute(begin, 'aria-disabled', context.offline ? 'true' : null);
      setChildren(body, [form.node, ...(chapters.length > 0 ? [list] : form.node.hidden ? [blank] : [])]);
    },
  };
}
