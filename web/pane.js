import { showPicture } from './assets.js';
import { button, chip, el, icon, rebuild, setAttribute, setChip, setParagraphs, setText } from './dom.js';
import { createChapters } from './chapters.js';
import { createGallery, preview } from './gallery.js';
import { picturesOf } from './illustrations.js';
import { contentMessage, foot, isBusy, isWorking, light, messageOf, titleOf } from './phases.js';
import { hasTasks, isAtWork, tallyOf, tasksFoot, tasksOf, updateLites } from './tasks.js';
import { freshProgress, percent } from './words.js';

const views = { illustrations: createGallery, chapters: createChapters };

/** The section of one pane, and a function that brings it up to date. `on.act(name, action)` is called when a button is pressed. */
export function createPane(name, on) {
  const title = titleOf(name);
  const parts = {
    engine: el('small', { hidden: true }),
    chip: chip({ text: 'idle', icon: 'i-idle' }),
    asof: el('span', { class: 'asof' }),
    bar: el('div', { class: 'pane-bar' }, el('i', { hidden: true })),
    body: el('div', { class: 'pane-body', tabindex: 0, role: 'group', 'aria-label': `${title}, content` }),
    say: el('span', { class: 'say' }),
    acts: el('span', { class: 'do' }),
  };
  const guidance = createGuidance(name);
  const view = views[name]?.(name, parts.body, on);
  const tools = el('div', { class: 'pane-tools' }, ...(view?.toggleForm === undefined ? [] : [formTool(view, name)]));
  const heading = el('h2', { class: 'pane-name', id: `h-${name}` }, title, ' ', parts.engine);
  const node = el(
    'section',
    { class: 'pane', id: `p-${name}`, 'data-pane': name, 'aria-labelledby': `h-${name}` },
    el('header', { class: 'pane-head' }, heading, tools, el('div', { class: 'pane-meta' }, parts.chip, parts.asof)),
    parts.bar,
    parts.body,
    guidance.node,
    el('footer', { class: 'pane-foot' }, parts.say, parts.acts),
  );
  const act = (action) => {
    if (action === 'form') view.toggleForm(true);
    else if (action === 'resume') on.act(name, action, guidance.take());
    else on.act(name, action);
  };
  const shown = view === undefined ? plainBody(name, parts.body) : view.update;
  let committed;
  return {
    node,
    focusTool: () => tools.querySelector('button')?.focus(),
    update(pane, whole, live, context) {
      const { now } = context;
      setAttribute(node, 'data-phase', pane.phase);
      setAttribute(node, 'aria-busy', isBusy(pane) ? 'true' : null);
      setChip(parts.chip, light(pane, live, now));
      const engine = engineOf(pane);
      setText(parts.engine, engine);
      parts.engine.hidden = engine === '';
      setText(parts.asof, asOf(pane, whole));
      updateBar(node, parts.bar, title, pane, live, now);
      // Old text goes to the second ink only once something new is certainly being made for it.
      const stale = pane.content !== null && isStale(pane);
      node.classList.toggle('stale', stale);
      node.classList.toggle('stale-picture', pane.phase === 'imaging_failed');
      guidance.update(pane, whole.session);
      shown(pane, whole, live, context, stale);
      tools.firstElementChild?.setAttribute('aria-expanded', String(view.formOpen()));
      updateFoot(parts, name, title, pane, whole, live, context, act);
      const commit = commitOf(pane);
      if (committed !== undefined && commit !== null && commit !== committed && context.pulse) pulse(node);
      committed = commit;
    },
  };
}

const formTool = (view, name) =>
  el('button', { type: 'button', class: 'btn-icon', 'data-tool': name, 'aria-label': 'Write chapters', title: 'Write chapters', 'aria-expanded': 'false', onclick: () => view.toggleForm() }, icon('i-plus', 16));

/** What a person says when a run goes on after a review. */
function createGuidance(name) {
  const field = el('textarea', { id: `guidance-${name}`, rows: 2, maxlength: 2_000 });
  const node = el('div', { class: 'pane-ask', hidden: true }, el('label', { for: field.id }, 'What should the next ones do differently? (optional)'), field);
  let run = null;
  return {
    node,
    take() {
      const feedback = node.hidden ? '' : field.value.trim();
      return feedback === '' ? undefined : { feedback };
    },
    update(pane) {
      node.hidden = !(pane.phase === 'paused' && pane.reason === 'review');
      const now = `${pane.run} ${pane.counts?.done}`;
      // What was said before one chapter is not said again before the next.
      if (!node.hidden && run !== now) [run, field.value] = [now, ''];
    },
  };
}

/** Who made what is newest. */
function engineOf(pane) {
  const newest = Object.values(pane.parts).reduce((a, b) => (a !== null && a.seq > b.seq ? a : b), null);
  const engine = pane.content?.engine ?? newest?.value?.engine;
  return typeof engine === 'string' ? engine : '';
}

function asOf(pane, view) {
  if (hasTasks(pane)) {
    const shown = pane.kind === 'illustrations'
      ? [...picturesOf(view, pane).values()].flatMap(({ pictures }) => pictures).filter(({ part }) => part?.value.status === 'ready').length
      : Object.keys(pane.parts).length;
    return tallyOf(pane, shown);
  }
  const message = contentMessage(view, pane);
  return message === null ? '' : `as of message #${message}`;
}

/** Changes with every commit; null before the first. */
function commitOf(pane) {
  const newest = Math.max(0, ...Object.values(pane.parts).map(({ seq }) => seq));
  if (pane.contentGeneration === null && newest === 0) return pane.kind === 'illustrations' || pane.kind === 'chapters' ? 'nothing' : null;
  return JSON.stringify([pane.content, pane.contentGeneration, newest]);
}

const isStale = (pane) =>
  pane.phase !== 'evaluating' && (isWorking(pane.phase) || ['cancelling', 'retrying', 'error'].includes(pane.phase));

function updateBar(node, bar, title, pane, live, now) {
  const lites = hasTasks(pane) && pane.counts !== null && pane.counts.total > 0;
  bar.classList.toggle('lites', lites);
  if (lites) {
    node.classList.toggle('loading-soft', isWorking(pane.phase) && tasksOf(pane).some((task) => isAtWork(task, live?.tasks?.[task.id], pane)));
    return updateLites(bar, title, pane, live);
  }
  if (!bar.firstElementChild?.matches('i:only-child')) bar.replaceChildren(el('i', { hidden: true }));
  setAttribute(bar.firstElementChild, 'data-tone', null);
  setAttribute(bar, 'aria-valuetext', null);
  const working = isWorking(pane.phase) || pane.phase === 'cancelling';
  const number = working && live?.wait === undefined ? freshProgress(live, now) : null;
  const stripe = working && number === null && live?.wait === undefined;
  node.classList.toggle('loading-soft', stripe);
  setAttribute(node, 'data-progress', number !== null);
  setAttribute(bar, 'role', working ? 'progressbar' : null);
  setAttribute(bar, 'aria-label', working ? `${title} progress` : null);
  setAttribute(bar, 'aria-valuemin', number && 0);
  setAttribute(bar, 'aria-valuemax', number && number.max);
  setAttribute(bar, 'aria-valuenow', number && number.value);
  const fill = bar.firstElementChild;
  fill.hidden = number === null;
  if (number !== null) fill.style.setProperty('--p', percent(number));
}

function updateFoot(parts, name, title, pane, view, live, context, act) {
  const last = view.messages.findLast((message) => message.role === 'assistant' && message.final);
  const bare = last !== undefined && !(pane.kind === 'illustrations' && picturesOf(view, pane).has(last.id));
  const { say, acts } = hasTasks(pane) ? tasksFoot(pane, live, context.now, bare) : foot(name, pane, view, live, context.now);
  const pressed = context.pressed.get(name);
  const sentence = context.notices.get(name)?.text ?? say;
  parts.say.parentElement.hidden = sentence === '' && acts.length === 0;
  setText(parts.say, sentence);
  setAttribute(parts.say, 'title', sentence);
  const shown = acts.map((action) => {
    if (pressed?.act === action.act) return { ...action, label: pressed.label, waiting: true };
    return { ...action, waiting: action.act === 'stopping' };
  });
  const key = JSON.stringify([shown, context.offline]);
  rebuild(parts.acts, key, () =>
    shown.map((action) => {
      const disabled = action.waiting || context.offline;
      return button(action.label, {
        'aria-label': `${action.label} ${title}`,
        'aria-disabled': disabled ? 'true' : null,
        title: context.offline ? 'Offline' : null,
        'data-act': action.act,
        onclick: () => disabled || act(action.act),
      });
    }),
  );
}

function plainBody(name, body) {
  return (pane, view, live, context, stale) => {
    if (pane.kind === 'scene' || name === 'scene') return updateScene(body, pane, view, live, stale);
    if (pane.kind === 'history' || name === 'history') return updateStory(body, pane, view);
    return updatePlain(body, pane);
  };
}

const words = (...values) => values.find((value) => typeof value === 'string' && value !== '') ?? '';

function updateStory(body, pane, view) {
  const text = words(pane.content?.text, pane.content?.summary);
  if (text === '') return blank(body, firstWords(pane, view, 'summary', 'Nothing has happened yet. The summary starts with your first message.'));
  const threads = Array.isArray(pane.content.threads) ? pane.content.threads.filter((line) => typeof line === 'string') : [];
  rebuild(body, JSON.stringify([text, threads]), () => {
    const prose = el('div', { class: 'prose' });
    setParagraphs(prose, text);
    if (threads.length === 0) return [prose];
    const list = el('ul', {}, ...threads.map((line) => el('li', {}, line)));
    return [prose, el('div', { class: 'threads' }, el('h3', {}, 'Open threads'), list)];
  });
}

/** What stands where content will be: what is true now, not what was true before the first message. */
function firstWords(pane, view, thing, beforeAll) {
  if (view.messages.length === 0) return beforeAll;
  return isBusy(pane) ? `The first ${thing} is on its way.` : `No ${thing} yet.`;
}

function updateScene(body, pane, view, live, stale) {
  const description = words(pane.content?.description, pane.content?.text);
  const image = words(pane.content?.image);
  const first = firstWords(pane, view, 'picture', 'The first picture appears after the first reply.');
  rebuild(body, JSON.stringify(['scene', description, image, description === '' ? first : '']), () => {
    const picture = el('div', { class: image === '' ? 'picture blank' : 'picture' });
    if (image !== '') picture.append(showPicture(el('img', { alt: description }), image));
    const note =
      description === ''
        ? el('p', { class: 'note' }, first)
        : el('p', { class: 'prose' }, description);
    return [el('div', { class: 'scene' }, picture, note)];
  });
  const picture = body.querySelector('.picture');
  const target = messageOf(view, pane.generation);
  const old = contentMessage(view, pane);
  const tag =
    image === '' ? '' : stale && isBusy(pane) && target !== null ? `updating for message #${target}`
    : pane.phase === 'imaging_failed' && old !== null ? `picture as of message #${old}` : '';
  label(picture, tag);
  preview(picture, isWorking(pane.phase) ? live?.preview?.asset : undefined);
}

function label(picture, text) {
  const tag = picture.querySelector('.tag');
  if (text === '') tag?.remove();
  else if (tag === null) picture.append(el('span', { class: 'tag' }, text));
  else setText(tag, text);
}

/** Whatever else runs beside the chat: its text, its other values, its parts, its tasks. */
function updatePlain(body, pane) {
  const { text, engine: _, asOf: __, ...rest } = pane.content ?? {};
  const parts = Object.fromEntries(Object.entries(pane.parts).map(([key, part]) => [key, part.value]));
  const tasks = Object.values(pane.tasks);
  const fields = Object.entries({ ...rest, ...parts });
  if (words(text) === '' && fields.length === 0 && tasks.length === 0) return blank(body, 'Nothing here yet.');
  rebuild(body, JSON.stringify([text, fields, tasks]), () => {
    const prose = el('div', { class: 'prose' });
    if (words(text) !== '') setParagraphs(prose, text);
    const list = el('dl', { class: 'plain' });
    for (const [key, value] of fields) list.append(el('dt', {}, key), el('dd', {}, show(value)));
    for (const task of tasks) list.append(el('dt', {}, task.label), el('dd', {}, task.status));
    return [prose, list];
  });
}

const show = (value) => (typeof value === 'string' ? el('p', { class: 'prose' }, value) : el('pre', {}, JSON.stringify(value, null, 2)));

function blank(body, note) {
  rebuild(body, note, () => [el('p', { class: 'blank-note' }, note)]);
}

/** One ring on a commit, begun anew for a second one. */
function pulse(node) {
  node.classList.remove('updating-soft');
  void node.offsetWidth;
  node.classList.add('updating-soft');
  // Without motion there is no animationend; the class must not stay.
  setTimeout(() => node.classList.remove('updating-soft'), 620);
}
