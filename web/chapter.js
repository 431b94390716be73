import { el, rebuild, setAttribute, setParagraphs, setText } from './dom.js';
import { isAtWork, isPending, taskLight } from './tasks.js';
import { plainText, storedText } from './texts.js';
import { countWords, freshProgress, percent, plural, reasonOf, wordsOf } from './words.js';

const stages = { drafting: 'writing' };

/** One row: number, title, state; opened, the text with its versions and what can be done. Nodes stay: a field keeps its focus. */
export function createChapter(name, id, on) {
  const row = { name, id, on, version: null, newest: undefined, formOpen: false };
  const panel = `chapter-${name}-${id}`;
  row.number = el('span', { class: 'n' });
  row.title = el('b', {});
  row.excerpt = el('span', { class: 'excerpt' });
  row.state = el('span', { class: 'st' });
  row.button = el('button', { type: 'button', class: 'chap-head', 'aria-expanded': 'false', 'aria-controls': panel, onclick: () => on.open(id) }, row.number, row.title, row.state, row.excerpt);
  row.line = el('div', { class: 'line', hidden: true }, el('i'));
  row.acts = el('span', { class: 'do' });
  row.about = el('p', { class: 'note' });
  row.prose = el('div', { class: 'prose' });
  row.stepper = createStepper(row);
  row.rewrite = createRewrite(row);
  row.panel = el('div', { class: 'chap-text', id: panel, role: 'region', hidden: true }, el('div', { class: 'chap-tools' }, row.stepper.node, row.acts), row.about, row.rewrite.node, row.prose);
  row.node = el('li', { class: 'chap' }, row.button, row.line, row.panel);
  return row;
}

/** `chapter`: { id, part, task, number, open, place }. */
export function updateChapter(row, chapter, pane, live, context) {
  const { part, task, number, open } = chapter;
  const news = live?.tasks?.[task?.id];
  const title = part?.value?.title ?? task?.label ?? row.id;
  const pending = task !== undefined && isPending(task);
  const shownTitle = pending && task.input?.title ? task.input.title : title;
  Object.assign(row, { chapter, pane, news, context });
  setText(row.number, String(number));
  setText(row.title, shownTitle);
  const state = stateOf(row, context);
  setAttribute(row.node, 'data-status', state.status);
  setText(row.state, state.text);
  setText(row.excerpt, open ? '' : plainText(part?.value?.excerpt ?? '', title));
  setAttribute(row.button, 'aria-expanded', String(open));
  const working = pending && isAtWork(task, news, pane);
  const fresh = working ? freshProgress(news, context.now) : null;
  row.line.hidden = !working;
  row.line.classList.toggle('loading-soft', working && fresh === null);
  row.line.firstElementChild.hidden = fresh === null;
  if (fresh !== null) row.line.firstElementChild.style.setProperty('--p', percent(fresh));
  row.panel.hidden = !open;
  if (open) updatePanel(row, shownTitle);
}

/** The state at the end of the row: what was counted, never what is expected. */
function stateOf(row, { now }) {
  const { chapter, pane, news } = row;
  const { part, task } = chapter;
  if (task !== undefined && isPending(task)) {
    const full = taskLight(task, news, now, pane, chapter.place);
    if (pane.phase === 'paused') return { status: 'queued', text: pausedText(row) };
    if (full.tone !== 'work' || pane.phase === 'cancelling') return { status: full.tone === 'err' ? 'failed' : 'queued', text: full.text };
    const stage = news?.stage ?? task.stage ?? full.text;
    const words = countWords(news?.text ?? '');
    return { status: 'running', text: words > 0 ? `${stages[stage] ?? stage}, ${wordsOf(words)}` : (stages[stage] ?? stage) };
  }
  if (task?.status === 'failed') return { status: 'failed', text: `failed: ${reasonOf(task.error)}` };
  if (part === undefined) return { status: 'cancelled', text: 'cancelled' };
  const length = lengthOf(row, part.value);
  return part.value?.partial === true ? { status: 'partial', text: `cut off at ${length}` } : { status: 'done', text: length };
}

/** Between two stages, with what the last one has left. */
function pausedText(row) {
  const { task } = row.chapter;
  const draft = task.checkpoint?.draft;
  const stored = draft === undefined ? null : storedText(draft, row.on.changed);
  if (stored) return `paused, ${wordsOf(stored.words)}`;
  return task.stage === undefined || task.checkpoint === undefined ? 'queued' : `paused before ${task.stage}`;
}

/** Words are counted in the text itself; until it is here, and if it cannot be had, its length stands in. */
function lengthOf(row, value) {
  const stored = storedText(value?.asset, row.on.changed);
  if (stored) return wordsOf(stored.words);
  return plural(Number(value?.chars ?? 0), 'character');
}

// ---- the opened row

/** All that can be read of a chapter, oldest first: its versions, what was stopped beside them, what is being written. */
function sheetsOf({ chapter, news, pane }) {
  const { part, task } = chapter;
  const versions = part === undefined ? [] : [...part.earlier.toReversed(), part];
  const sheets = versions.map(({ version, value }) => ({ key: `v${version}`, version, value, path: value?.asset, label: `version ${version}` }));
  const held = sheets.some(({ path }) => path === task?.asset);
  if (task?.status === 'cancelled' && task.asset !== undefined && !held)
    sheets.push({ key: `stopped ${task.id}`, path: task.asset, label: 'stopped before its end' });
  if (task !== undefined && isPending(task)) {
    const draft = task.checkpoint?.draft;
    const text = news?.text ?? '';
    const stage = news?.stage ?? task.stage ?? pane.phase;
    if (text !== '') sheets.push({ key: 'now', text, label: `being written: ${stage}` });
    else if (draft !== undefined) sheets.push({ key: 'now', path: draft, label: `draft, ${pane.phase === 'paused' ? 'paused before' : 'waiting for'} ${stage}` });
  }
  return sheets;
}

function updatePanel(row, title) {
  const { chapter, context, pane } = row;
  const sheets = sheetsOf(row);
  const newest = chapter.part?.version ?? null;
  // A new version is looked at; an older one only by choice.
  if (row.newest !== newest) [row.newest, row.at] = [newest, newest === null ? 'now' : `v${newest}`];
  const found = sheets.findIndex(({ key }) => key === row.at);
  const at = found < 0 ? sheets.length - 1 : found;
  const sheet = sheets[at];
  setAttribute(row.panel, 'aria-label', `Chapter ${chapter.number}, ${title}`);
  row.stepper.update(sheets, at, `chapter ${chapter.number}`);
  updateText(row, sheet, title);
  setText(row.about, aboutOf(row, sheet));
  const buttons = actionsOf(row, sheet);
  const marks = buttons.map(({ key }) => context.pressed.get(key)?.label);
  rebuild(row.acts, JSON.stringify([buttons.map(({ label }) => label), marks, context.offline]), () =>
    buttons.map(({ label, key, press, expanded }, index) => {
      const disabled = () => (row.context.offline && press !== undefined) || row.context.pressed.has(key);
      return el('button', {
        type: 'button', class: 'btn quiet', 'data-act': key, 'aria-label': `${marks[index] ?? label} chapter ${chapter.number}`,
        'aria-expanded': expanded === undefined ? null : String(expanded),
        'aria-disabled': disabled() ? 'true' : null, onclick: () => disabled() || press(),
      }, marks[index] ?? label);
    }),
  );
  row.rewrite.update(pane, context);
}

/** Old text stays until the new one is here. */
function updateText(row, sheet, title) {
  if (sheet === undefined) return setParagraphs(row.prose, '');
  if (sheet.text !== undefined) return setParagraphs(row.prose, plainText(sheet.text, title));
  const stored = storedText(sheet.path, row.on.changed);
  if (stored === undefined) return row.prose.textContent === '' && setParagraphs(row.prose, sheet.value?.excerpt ?? '');
  return setParagraphs(row.prose, stored === null ? `${sheet.value?.excerpt ?? ''}\n\nThe text could not be loaded.` : plainText(stored.text, title));
}

function aboutOf(row, sheet) {
  const { part, task } = row.chapter;
  const said = task?.error && !isPending(task) ? `${task.error.message} ` : '';
  if (sheet === undefined) return said || (task !== undefined && isPending(task) ? 'Nothing is written yet.' : 'Nothing was written.');
  const current = part !== undefined && sheet.version === part.version;
  const facts = [sheet.label, ...(current && part.earlier.length > 0 ? ['the current one'] : []), ...(sheet.value?.engine ? [sheet.value.engine] : [])];
  const cut = sheet.value?.partial === true ? ' Cut off: somebody stopped it here, or before it was revised.' : '';
  return `${said}${facts.join(', ')}.${cut}`;
}

/** What can be done with the chapter, or with the version that is being looked at. */
function actionsOf(row, sheet) {
  const { name, id, on, chapter } = row;
  const { part, task } = chapter;
  const key = (act) => `${name}/${id}/${act}`;
  const send = (act, label, word, command) => ({ label, key: key(act), press: () => on.press(key(act), name, { pane: name, ...command }, word) });
  if (task !== undefined && isPending(task)) {
    const first = task.status === 'queued' && chapter.place !== 1 && task.after === undefined;
    return [
      ...(first ? [send('first', 'Put first', 'moving…', { type: 'task.prioritize', task: task.id })] : []),
      send('cancel', 'Cancel', 'Stopping…', { type: 'task.cancel', task: task.id }),
    ];
  }
  const acts = [];
  if (sheet?.version !== undefined && sheet.version !== part?.version)
    acts.push(send('revert', `Revert to ${sheet.version}`, 'Reverting…', { type: 'pane.run', input: { revert: { id, version: sheet.version } } }));
  if (task?.status === 'failed' || task?.status === 'cancelled') acts.push(send('retry', 'Retry', 'Starting…', { type: 'task.retry', task: task.id }));
  if (part !== undefined) acts.push({ label: 'Rewrite', key: key('rewrite'), expanded: row.formOpen, press: () => row.rewrite.toggle() });
  return acts;
}

function createStepper(row) {
  const step = (by) => () => {
    const { sheets, at } = stepper;
    row.at = sheets[Math.max(0, Math.min(sheets.length - 1, at + by))].key;
    row.on.changed();
  };
  const older = el('button', { type: 'button', class: 'btn-icon', onclick: step(-1) }, '‹');
  const newer = el('button', { type: 'button', class: 'btn-icon', onclick: step(1) }, '›');
  const count = el('span', {});
  const node = el('span', { class: 'stepper', hidden: true }, older, count, newer);
  const stepper = { node, sheets: [], at: 0 };
  stepper.update = (sheets, at, spoken) => {
    Object.assign(stepper, { sheets, at });
    node.hidden = sheets.length < 2;
    setText(count, `${at + 1} of ${sheets.length}`);
    setAttribute(older, 'aria-label', `Older version of ${spoken}`);
    setAttribute(newer, 'aria-label', `Newer version of ${spoken}`);
    setAttribute(older, 'aria-disabled', at === 0 ? 'true' : null);
    setAttribute(newer, 'aria-disabled', at >= sheets.length - 1 ? 'true' : null);
  };
  return stepper;
}

/** The field that says what is to be different in the next version of this chapter. */
function createRewrite(row) {
  const { name, id, on } = row;
  const field = el('textarea', { id: `feedback-${name}-${id}`, rows: 2, maxlength: 2_000 });
  const wrong = el('p', { class: 'wrong', role: 'alert', hidden: true });
  const submit = el('button', { type: 'submit', class: 'btn primary' }, 'Rewrite');
  const node = el(
    'form',
    {
      class: 'rewrite', hidden: true,
      onsubmit: async (event) => {
        event.preventDefault();
        if (row.context.offline || submit.getAttribute('aria-disabled') === 'true') return;
        setAttribute(submit, 'aria-disabled', 'true');
        const feedback = field.value.trim();
        const refused = await on.ask({ type: 'pane.run', pane: name, input: { chapters: [{ id }], mode: 'rewrite', ...(feedback !== '' && { feedback }) } });
        setAttribute(submit, 'aria-disabled', null);
        wrong.hidden = refused === null;
        setText(wrong, refused ?? '');
        if (refused !== null) return;
        field.value = '';
        toggle(false);
      },
      onkeydown: (event) => event.key === 'Escape' && (event.stopPropagation(), toggle(false)),
    },
    el('label', { for: field.id }, 'What is to be different? (optional)'),
    field,
    wrong,
    el('span', { class: 'do' }, submit, el('button', { type: 'button', class: 'btn quiet', onclick: () => toggle(false) }, 'Close')),
  );
  function toggle(open = !row.formOpen) {
    row.formOpen = open;
    node.hidden = !open;
    on.changed(true);
    if (open) field.focus();
    else row.acts.querySelector(`[data-act="${name}/${id}/rewrite"]`)?.focus();
  }
  return {
    node,
    toggle,
    update(pane, context) {
      setAttribute(submit, 'title', context.offline ? 'Offline' : null);
    },
  };
}
