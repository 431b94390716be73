import { connect, textOf } from './client.js';
import { createAnnouncer } from './announce.js';
import { token } from './assets.js';
import { createChat } from './chat.js';
import { createComposer, signIn } from './composer.js';
import { el, icon, setAttribute, setText } from './dom.js';
import { unsent } from './drafts.js';
import { createLights } from './lights.js';
import { isBusy, isTerminal } from './phases.js';
import { isPending, tasksOf } from './tasks.js';
import { createSessions, rememberTitle, titles } from './sessions.js';
import { createTransom } from './transom.js';

const $ = (selector) => document.querySelector(selector);
const frame = $('.frame');
const link = $('#link');
const stopAll = $('#stop-all');
const lastKey = 'mullion.last';

/** What was pressed and is not confirmed yet, per pane: { act, label, run }. */
const pressed = new Map();
/** Why an action was refused, per pane, until the pane moves. */
const notices = new Map();
let client;
let session = '';
let refused = null;
let opening = false;
/** The first state of a session is not news: no pulse, no announcement, no dot. */
let known = false;
let drawing = false;

const chat = createChat($('.chat'), { retry: () => act('reply', 'run'), open: (text) => say(text), press });
const composer = createComposer($('.chat'), { send: say, stopReply: () => act('reply', 'stop') });
const lights = createLights($('.panes'), { act, press, ask, turnOn, changed: (now) => (now ? draw() : schedule()) });
const sessions = createSessions($('.sessions'));
const transom = createTransom($('.transom-area'), { retry: () => client.retryNow(), changed: draw });
const announcer = createAnnouncer($('#status'), $('#alerts'));

function open(id) {
  client?.close();
  session = id;
  localStorage.setItem(lastKey, id);
  pressed.clear();
  notices.clear();
  for (const part of [chat, lights, announcer]) part.clear();
  [refused, opening, known] = [null, false, false];
  composer.open(id);
  const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/v1/ws`;
  client = connect(url, { session: id, ...(token.get() !== undefined && { token: token.get() }) });
  client.subscribe(schedule);
  for (const entry of unsent.get(id)) deliver(entry);
  void sessions.refresh().then(draw);
  draw();
}

function say(text) {
  const entry = { id: crypto.randomUUID(), text };
  unsent.add(session, entry);
  refused = null;
  deliver(entry);
}

function deliver({ id, text }) {
  const to = session;
  client.send({ type: 'message.add', id, role: 'user', text }).then(
    () => unsent.remove(to, id),
    (error) => {
      // Closed is no answer: the message stays in the list and goes out again at the next start.
      if (error.code === 'CLOSED' || error.code === 'UNAUTHENTICATED') return;
      unsent.remove(to, id);
      if (to !== session) return;
      refused = `Not sent: ${error.message}`;
      composer.giveBack(text);
    },
  ).finally(schedule);
}

const actions = {
  run: { label: 'Starting…', send: (name) => client.run(name) },
  stop: { label: 'Stopping…', send: (name, run) => client.cancel(name, run ?? undefined) },
  pause: { label: 'Pausing…', send: (name) => client.pause(name) },
  resume: { label: 'Resuming…', send: (name, _, input) => (input === undefined ? client.resume(name) : client.send({ type: 'pane.resume', pane: name, input })) },
  again: { label: 'Starting…', send: retryFailed },
};

/** Presses a button: it says so until the server confirms, and a refusal is said in its place. */
function act(name, action, input) {
  const { label, send } = actions[action];
  const pane = client.getSnapshot().view.panes[name];
  if (pane === undefined || pressed.get(name)?.act === action) return;
  notices.delete(name);
  const mark = { act: action, label, run: pane.run };
  pressed.set(name, mark);
  const release = () => pressed.get(name) === mark && pressed.delete(name);
  send(name, pane.run, input)
    .then(
      // An acked stop is not a stopped run: that is confirmed by the run's last phase.
      () => action === 'stop' || release(),
      (error) => {
        release();
        refuse(name, error);
      },
    )
    .finally(schedule);
  draw();
}

/** Each failed task once more: in its run while that is open, else all of them in one new run. */
function retryFailed(name) {
  const pane = client.getSnapshot().view.panes[name];
  const failed = tasksOf(pane).filter((task) => task.status === 'failed');
  // A new run would take the place of what is known of the old one's other tasks.
  const together = name === 'chapters' && failed.length > 1 && isTerminal(pane.phase) && failed.every((task) => typeof task.input.brief === 'string');
  if (!together) return Promise.all(failed.map((task) => client.send({ type: 'task.retry', pane: name, task: task.id })));
  const { mode, edit, feedback } = failed[0].input;
  const chapters = failed.map(({ key, input }) => ({ id: key, title: input.title, brief: input.brief }));
  return client.send({ type: 'pane.run', pane: name, input: { chapters, mode, edit, ...(feedback && { feedback }) } });
}

/** Presses a button of one task: it says `word` until the server confirms, a cancelled task until it has ended. */
function press(key, name, command, word) {
  if (pressed.has(key)) return;
  notices.delete(name);
  const mark = { act: command.type, label: word, pane: name, task: command.type === 'task.cancel' ? command.task : undefined };
  pressed.set(key, mark);
  const release = () => pressed.get(key) === mark && pressed.delete(key);
  client.send(command).then(
    () => mark.task !== undefined || release(),
    (error) => {
      release();
      refuse(name, error);
    },
  ).finally(schedule);
  draw();
}

/** Sends the command of a form; resolves with why it was refused, or null. */
function ask(command) {
  return client.send(command).then(
    () => null,
    (error) => (error.code === 'CLOSED' ? 'Not confirmed yet; look whether it has begun.' : error.message),
  ).finally(schedule);
}

function turnOn(name) {
  press(`${name}/on`, name, { type: 'session.open', panes: { [name]: { enabled: true, ...(name === 'illustrations' && { propose: 2 }) } } }, 'Turning on…');
}

/** Why something was refused is said until the pane moves. */
function refuse(name, error) {
  if (error.code !== 'CLOSED') notices.set(name, { text: error.message, at: stateOf(client.getSnapshot().view.panes[name]) });
}

const stateOf = (pane) => `${pane?.run} ${pane?.phase} ${pane?.counts?.done}`;

function schedule() {
  if (drawing) return;
  drawing = true;
  // A hidden tab gets no frames, and needs none.
  requestAnimationFrame(() => {
    drawing = false;
    draw();
  });
}

function settlePressed(panes) {
  for (const [name, mark] of pressed) {
    if (mark.pane !== undefined) {
      const task = panes[mark.pane]?.tasks[mark.task];
      if (mark.task !== undefined && (task === undefined || !isPending(task))) pressed.delete(name);
      continue;
    }
    const pane = panes[name];
    if (mark.act === 'stop' && (pane === undefined || pane.run !== mark.run || isTerminal(pane.phase))) pressed.delete(name);
  }
  for (const [name, { at }] of notices) if (stateOf(panes[name]) !== at) notices.delete(name);
}

function draw() {
  const state = client.getSnapshot();
  const { view } = state;
  const now = Date.now();
  openIfAbsent(state);
  settlePressed(view.panes);
  const offline = transom.update(state, now);
  const pulse = known;
  if (state.status === 'live' && view.seq > 0) known = true;
  const context = { now, offline, pressed, notices, pulse, known: state.status === 'live', asking: pressed.has('reply') };
  frame.dataset.link = offline ? 'off' : 'live';
  drawHead(state, offline);
  const signedOut = state.error?.code === 'UNAUTHENTICATED';
  $('.composer').hidden = signedOut;
  if (signedOut) signIn($('.log'), el, useToken, token.get() !== undefined);
  else chat.update(state, textOf, offline ? unsent.get(session) : [], context);
  lights.update(view, state.live, context);
  drawComposer(view, offline);
  announcer.update(view, now);
  drawTitle(view);
  sessions.update(state, now);
}

function drawComposer(view, offline) {
  const reply = view.panes.reply;
  const streaming = reply !== undefined && isBusy(reply);
  const stopping = streaming && (reply.phase === 'cancelling' || pressed.get('reply')?.act === 'stop');
  composer.update({ streaming, stopping, offline, empty: view.messages.length === 0, notice: notices.get('reply')?.text ?? refused });
}

function drawHead(state, offline) {
  const word = state.status === 'closed' ? 'closed' : offline ? 'offline' : state.status === 'live' ? 'live' : 'connecting';
  if (link.lastElementChild.textContent !== word) {
    link.replaceChildren(icon(word === 'live' ? 'i-live' : 'i-off'), el('span', {}, word));
  }
  const busy = Object.values(state.view.panes).filter(isBusy).length;
  stopAll.hidden = busy === 0;
  setText(stopAll, `Stop all (${busy})`);
  setAttribute(stopAll, 'aria-disabled', offline ? 'true' : null);
}

function drawTitle(view) {
  const first = view.earlier === 0 ? view.messages.find((message) => message.role === 'user') : undefined;
  if (first !== undefined) rememberTitle(session, titleOf(first.text));
  const title = titles()[session] ?? 'Untitled';
  setText($('#title'), title);
  document.title = `${title} · Mullion`;
}

/** A new session exists on the server once it is opened; its panes are then there from the start. */
function openIfAbsent(state) {
  if (opening || state.status !== 'live' || state.error?.code !== 'NOT_FOUND') return;
  opening = true;
  client.send({ type: 'session.open' }).catch((error) => {
    refused = error.message;
    schedule();
  });
}

function useToken(value) {
  token.set(value);
  open(session);
}

function drawer(opened) {
  frame.dataset.drawer = opened ? 'open' : 'closed';
  $('.to-sessions').setAttribute('aria-expanded', String(opened));
  if (opened) void sessions.refresh().then(draw);
}

/** The session is in the address, so that a reload, a bookmark and the back button find it. */
function route() {
  const asked = /^#s=([A-Za-z0-9_-]{1,64})$/.exec(location.hash)?.[1];
  if (asked === undefined) location.replace(`#s=${localStorage.getItem(lastKey) ?? crypto.randomUUID()}`);
  else if (asked !== session) open(asked);
  if (asked !== undefined) drawer(false);
}

function shade() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  localStorage.setItem('mullion.theme', root.dataset.theme);
}

const theme = localStorage.getItem('mullion.theme');
if (theme !== null) document.documentElement.dataset.theme = theme;
$('#theme').addEventListener('click', shade);
$('#new-session').addEventListener('click', () => {
  location.hash = `s=${crypto.randomUUID()}`;
  $('#say').focus();
});
$('.to-sessions').addEventListener('click', () => drawer(frame.dataset.drawer !== 'open'));
stopAll.addEventListener('click', () => {
  if (stopAll.getAttribute('aria-disabled') === 'true') return;
  for (const [name, pane] of Object.entries(client.getSnapshot().view.panes))
    if (isBusy(pane)) pressed.set(name, { act: 'stop', label: 'Stopping…', run: pane.run });
  client.cancel().catch((error) => {
    pressed.clear();
    refused = error.message;
  }).finally(schedule);
  draw();
});
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || frame.dataset.drawer !== 'open') return;
  drawer(false);
  $('.to-sessions').focus();
});
addEventListener('hashchange', route);
// Seconds in the chips and the end of a fresh number need a look now and then.
setInterval(() => document.hidden || draw(), 1_000);
setInterval(() => document.hidden || void sessions.refresh(), 15_000);
document.addEventListener('visibilitychange', () => document.hidden || draw());
route();

/** The beginning of the first message, in whole words. */
function titleOf(text) {
  const line = text.replace(/\s+/g, ' ').trim();
  if (line.length <= 60) return line;
  return `${line.slice(0, Math.max(30, line.lastIndexOf(' ', 58)))}…`;
}
