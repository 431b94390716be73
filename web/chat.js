import { button, chip, clockTime, el, rebuild, setAttribute, setChildren, setChip, setParagraphs, setText } from './dom.js';
import { blocksOf, setFlow, updateFigure } from './flow.js';
import { picturesOf } from './illustrations.js';
import { contentMessage, isBusy, light, sidePanes, titleOf, windowOf } from './phases.js';
import { reasonOf } from './words.js';

const names = { user: 'You', assistant: 'Assistant', system: 'System' };
const openings = [
  'A surveyor reaches a glasshouse that no two maps agree on.',
  'The night ferry takes on one passenger more than it has tickets.',
  'Someone has been winding the town clock backwards.',
];

/** The chat's log. `on.retry()` asks for the reply again, `on.open(text)` takes an opening line. */
export function createChat(root, on) {
  const log = root.querySelector('.log');
  const latest = root.querySelector('.latest');
  const caret = el('span', { class: 'caret', 'aria-hidden': 'true' });
  const rows = new Map();
  const start = startPanel(on.open);
  const earlier = el('p', { class: 'note earlier' });
  const trouble = el('div', { class: 'facts trouble' });
  let following = true;
  let seen = 0;
  const grown = () => following && toEnd();
  const toEnd = () => log.scrollTo({ top: log.scrollHeight });
  let [lastTop, lastHeight] = [0, 0];
  log.addEventListener('scroll', () => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
    // Only the reader leaves the end: a log that became smaller or longer stays where its end is.
    if (atEnd) following = true;
    else if (log.scrollTop < lastTop && log.clientHeight === lastHeight) following = false;
    if (atEnd) latest.hidden = true;
    [lastTop, lastHeight] = [log.scrollTop, log.clientHeight];
  });
  new ResizeObserver(() => following && toEnd()).observe(log);
  latest.querySelector('button').addEventListener('click', () => {
    following = true;
    toEnd();
  });
  return {
    clear() {
      rows.clear();
      following = true;
      seen = 0;
    },
    update(state, textOf, unsent, context) {
      const { view } = state;
      const reply = Object.values(view.panes).find((pane) => pane.kind === 'reply');
      const drawing = { pane: view.panes.illustrations, live: state.live.illustrations, of: picturesOf(view, view.panes.illustrations) };
      showReplyPhase(root.querySelector('#reply-phase'), reply, state, context.now);
      const nodes = [];
      if (view.earlier > 0) {
        setText(earlier, `${view.earlier} earlier messages are not shown`);
        nodes.push(earlier);
      }
      view.messages.forEach((message, index) => {
        const row = rows.get(message.id) ?? createRow(message.role);
        rows.set(message.id, row);
        const last = index === view.messages.length - 1;
        updateRow(row, message, view.earlier + index + 1, textOf(state, message), { view, reply, last, caret, on: { ...on, grown }, context, drawing });
        nodes.push(row.node);
      });
      for (const entry of unsent) nodes.push(unsentRow(rows, entry));
      if (updateTrouble(trouble, view, reply, context, on)) nodes.push(trouble);
      if (nodes.length === 0 && context.known) nodes.push(start);
      setChildren(log, nodes);
      const keep = new Set([...view.messages.map((message) => message.id), ...unsent.map((entry) => entry.id)]);
      for (const id of rows.keys()) if (!keep.has(id)) rows.delete(id);
      if (following) toEnd();
      else if (view.messages.length > seen) {
        latest.hidden = false;
        setText(latest.firstElementChild, 'New below');
      }
      seen = view.messages.length;
    },
  };
}

function startPanel(open) {
  const lines = openings.map((line) => el('button', { type: 'button', onclick: () => open(line) }, line));
  return el(
    'div',
    { class: 'start' },
    el('h2', {}, 'Where does the story begin?'),
    el('p', {}, 'Write the first line, or take one of these. The panes beside the chat fill by themselves; the chat never waits for them.'),
    el('div', { class: 'opens' }, ...lines),
  );
}

function showReplyPhase(node, reply, state, now) {
  const last = state.view.messages.at(-1);
  node.hidden = false;
  if (reply === undefined || reply.phase === 'idle') {
    return setChip(node, last === undefined ? { text: 'new', icon: 'i-idle' } : { text: 'no reply running', icon: 'i-idle' });
  }
  const full = light(reply, state.live['reply'], now);
  const named = {
    updated: { text: 'reply complete', icon: 'i-ok', tone: 'ok' },
    unchanged: { text: 'reply complete', icon: 'i-ok', tone: 'ok' },
    cancelled: { text: 'reply stopped', icon: 'i-cancel' },
    error: { text: 'reply failed', icon: 'i-err', tone: 'err' },
  };
  return setChip(node, named[reply.phase] ?? full);
}

function createRow(role) {
  const parts = {
    number: el('span', {}),
    win: el('span', { class: 'win', role: 'img', hidden: true }),
    time: el('time', {}),
    text: el('div', { class: 'text' }),
    facts: el('div', { class: 'facts', hidden: true }),
  };
  const who = el('div', { class: 'who' }, names[role] ?? role, ' ', parts.time);
  const body = el('div', { class: 'body' }, who, parts.text, parts.facts);
  const node = el('article', { class: 'msg', 'data-role': role }, el('div', { class: 'no' }, parts.number, parts.win), body);
  return { node, parts, role, figures: new Map(), flow: null };
}

function updateRow(row, message, number, text, { view, reply, last, caret, on, context, drawing }) {
  const { node, parts, role } = row;
  setText(parts.number, `#${number}`);
  setAttribute(node, 'aria-label', `Message ${number}, ${names[role] ?? role}`);
  setText(parts.time, clockTime(message.at));
  setAttribute(parts.time, 'datetime', message.at);
  const open = !message.final;
  if (!open && parts.text.contains(caret)) caret.remove();
  updateText(row, message, text, open ? caret : null, drawing, context, on);
  updateWindow(parts.win, view, number);
  const facts = factsOf(message, last, reply, context);
  parts.facts.hidden = facts === null;
  if (facts !== null)
    rebuild(parts.facts, JSON.stringify([facts, context.offline]), () => factNodes(facts, on.retry, context.offline));
}

/** The text with its pictures. What is where is worked out again only when the text or its pictures have changed. */
function updateText(row, message, text, caret, drawing, context, on) {
  const pictures = drawing.of.get(message.id)?.pictures ?? [];
  const places = pictures.map(({ key, offset, length }) => `${key} ${offset} ${length}`).join();
  const known = row.flow;
  if (known === null || known.text !== text || known.places !== places || known.final !== message.final) {
    const blocks = blocksOf(text, pictures, { open: !message.final, markup: message.role === 'assistant' });
    if (message.cut) blocks.push({ text: '…' });
    row.flow = { text, places, final: message.final, blocks };
  }
  const byKey = new Map(pictures.map((picture) => [picture.key, picture]));
  setFlow(row.parts.text, row.flow.blocks, caret, row.figures, ({ key }) =>
    updateFigure(row.figures, byKey.get(key), drawing.pane, drawing.live, context, on),
  );
}

/** What is to be said of a message below its text, and whether its reply can be asked for again. */
function factsOf(message, last, reply, context) {
  if (!message.final || message.role !== 'assistant') return null;
  const retry = last && reply !== undefined && !isBusy(reply) && !context.asking;
  if (message.outcome === 'stopped') return { icon: 'i-cancel', text: stoppedBy(message.reason), retry: retry && 'Retry reply' };
  if (message.outcome === 'failed') {
    const why = last && reply?.error ? `: ${reasonOf(reply.error)}` : '';
    return { icon: 'i-err', tone: 'err', text: `failed${why}`, retry: retry && 'Retry reply' };
  }
  return retry ? { retry: 'Regenerate' } : null;
}

function stoppedBy(reason) {
  if (reason === 'superseded') return 'stopped, newer message';
  return reason === 'closed' ? 'stopped, session closed' : 'stopped by you';
}

function factNodes(facts, retry, offline) {
  const nodes = facts.text === undefined ? [] : [chip(facts)];
  if (facts.retry) {
    nodes.push(button(facts.retry, { 'aria-disabled': offline ? 'true' : null, onclick: () => offline || retry() }));
  }
  return nodes;
}

/** A reply that failed, or waits to be tried again, without a message of its own to say it at. */
function updateTrouble(node, view, reply, context, on) {
  const answered = view.messages.at(-1)?.role === 'assistant';
  const failed = reply?.phase === 'error' || (reply?.phase === 'cancelled' && reply.reason === 'user');
  if (reply === undefined || view.messages.length === 0) return false;
  if (reply.phase !== 'retrying' && (!failed || answered)) return false;
  const retry = context.asking ? null : reply.phase === 'retrying' ? 'Retry now' : 'Retry reply';
  const facts = { ...light(reply, undefined, context.now), retry };
  rebuild(node, JSON.stringify([facts, context.offline]), () => factNodes(facts, on.retry, context.offline));
  return true;
}

/** In the margin: which panes are as of this message, in the form in which they stand beside the chat. */
function updateWindow(win, view, number) {
  const all = windowOf(view);
  const panes = sidePanes(all);
  const here = panes.filter((name) => contentMessage(view, all[name]) === number);
  win.hidden = here.length === 0;
  if (here.length === 0) return;
  const label = `${here.map(titleOf).join(' and ')} ${here.length === 1 ? 'is' : 'are'} as of this message`;
  setAttribute(win, 'aria-label', label);
  setAttribute(win, 'title', label);
  setLights(win, panes.map((name) => (here.includes(name) ? 'ok' : null)));
}

/** The window glyph: one light a pane. */
export function setLights(win, tones) {
  setAttribute(win, 'data-lights', tones.length);
  rebuild(win, tones.join(), () => tones.map((tone) => el('i', { 'data-tone': tone })));
}

function unsentRow(rows, { id, text }) {
  let row = rows.get(id);
  if (row === undefined) {
    row = createRow('user');
    rows.set(id, row);
    setParagraphs(row.parts.text, text);
    setAttribute(row.node, 'aria-label', 'Message not sent yet');
    row.parts.facts.hidden = false;
    row.parts.facts.append(chip({ icon: 'i-wait', text: 'sends when you are back online' }));
  }
  return row.node;
}
