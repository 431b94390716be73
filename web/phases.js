import { clockTime } from './dom.js';
import { hasTasks, offPane, tasksLight } from './tasks.js';
import { freshProgress, reasonOf, retryIn, thingOf, waitWords } from './words.js';

const titles = { history: 'Story so far', scene: 'Scene', reply: 'Reply' };
const order = ['scene', 'history', 'illustrations', 'chapters'];
const terminal = new Set(['updated', 'unchanged', 'cancelled', 'error', 'imaging_failed']);
const resting = new Set(['off', 'idle', 'queued', 'waiting', 'debouncing', 'retrying', 'paused', 'cancelling']);

export function titleOf(name) {
  return titles[name] ?? name.charAt(0).toUpperCase() + name.slice(1).replaceAll('-', ' ');
}

/** Built in, and off until a session turns them on: their place in the window is there all the same. */
const optional = ['illustrations', 'chapters'];

/** The panes beside the chat with those that this session has not turned on, once it is known at all. */
export function windowOf(view) {
  if (Object.keys(view.panes).length === 0) return {};
  const off = optional.filter((name) => view.panes[name] === undefined).map((name) => [name, offPane(name)]);
  return { ...view.panes, ...Object.fromEntries(off) };
}

/** Names of the panes beside the chat, in reading order. */
export function sidePanes(panes) {
  const rank = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
  return Object.keys(panes)
    .filter((name) => panes[name].kind !== 'reply')
    .sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

export const isTerminal = (phase) => terminal.has(phase);
export const isWorking = (phase) => !terminal.has(phase) && !resting.has(phase);
/** A run is under way, or waits for something. */
export const isBusy = (pane) => pane.phase !== 'idle' && pane.phase !== 'off' && !terminal.has(pane.phase);

/** The phase in words, with the form and colour of its light: the table of DESIGN.md. */
export function light(pane, live, now) {
  const { phase } = pane;
  if (hasTasks(pane)) {
    const own = tasksLight(pane, live, now);
    if (own !== undefined) return own;
  }
  if (pane.paused && (terminal.has(phase) || phase === 'idle')) return { text: 'paused', icon: 'i-pause' };
  switch (phase) {
    case 'idle':
      return { text: 'idle', icon: 'i-idle' };
    case 'waiting':
      return { text: 'waiting for the reply', icon: 'i-wait' };
    case 'debouncing':
      return { text: 'waiting a moment', icon: 'i-wait' };
    case 'queued':
      return { text: 'queued', icon: 'i-queue' };
    case 'cancelling':
      return { text: 'stopping…', icon: 'i-work', tone: 'work' };
    case 'retrying':
      return { text: `error: ${reasonOf(pane.error)}, ${retryIn(pane.retryAt, now)}`, icon: 'i-err', tone: 'err' };
    case 'error':
      return { text: `error: ${reasonOf(pane.error)}`, icon: 'i-err', tone: 'err' };
    case 'imaging_failed':
      return { text: `picture failed: ${reasonOf(pane.error)}`, icon: 'i-err', tone: 'err' };
    case 'updated':
      return { text: `updated ${ago(pane.since, now)}`, icon: 'i-ok', tone: 'ok' };
    case 'unchanged':
      return { text: 'unchanged', icon: 'i-same' };
    case 'cancelled':
      return { text: pane.reason === 'superseded' ? 'cancelled, newer message' : 'cancelled', icon: 'i-cancel' };
    case 'paused':
      return { text: 'paused', icon: 'i-pause' };
    default:
      return working(phase, pane, live, now);
  }
}

function working(phase, pane, live, now) {
  if (live?.wait) return { text: waitWords(live.wait, now, thingOf(pane.kind)), icon: 'i-queue' };
  const text = phase.replaceAll('_', ' ');
  if (pane.paused) return { text: `pausing after ${text}`, icon: 'i-pause' };
  const number = freshProgress(live, now);
  if (number !== null) return { text: `${text} ${number.value}/${number.max}`, icon: 'i-work', tone: 'work' };
  if (pane.counts !== null && pane.counts.total > 0)
    return { text: `${text}, ${pane.counts.done} of ${pane.counts.total}`, icon: 'i-work', tone: 'work' };
  return { text, icon: 'i-work', tone: 'work' };
}

/** The short form for tabs and lists: the text before the colon or the comma. */
export const shortLight = (full) => full.text.replace(/(: | for the| for your| for a stopped| a moment|, newer|, retry|, until| just| \d+ s ago).*/, '');

function ago(since, now) {
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1_000));
  if (seconds < 2) return 'just now';
  return seconds < 60 ? `${seconds} s ago` : clockTime(since);
}

/** Number of the newest message of a generation, as shown in the chat's margin; null if it is not in the view. */
export function messageOf(view, generation) {
  const index = view.messages.findLastIndex((message) => message.generation <= generation);
  return index < 0 || generation < 1 ? null : view.earlier + index + 1;
}

/** Number of the message that the pane's content belongs to. */
export function contentMessage(view, pane) {
  if (pane.content === null || pane.contentGeneration === null) return null;
  const final = view.messages.findLastIndex((message) => message.final);
  if (pane.fresh === true && final >= 0) return view.earlier + final + 1;
  const named = view.messages.findIndex((message) => message.id === pane.content.asOf);
  if (named >= 0) return view.earlier + named + 1;
  return messageOf(view, pane.contentGeneration);
}

const questions = { history: 'Has anything new happened?', scene: 'Has the place changed?' };

/** The foot of a pane: one sentence, and the actions that make sense now. */
export function foot(name, pane, view, live, now) {
  const target = messageOf(view, pane.generation);
  const forMessage = target === null ? 'updating' : `updating for message #${target}`;
  const again = { act: 'run', label: 'Run again' };
  const stop = { act: 'stop', label: 'Stop' };
  if (pane.paused) return pausedFoot(pane, target);
  switch (pane.phase) {
    case 'idle':
      return { say: '', acts: view.messages.length > 0 ? [{ act: 'run', label: 'Run now' }] : [] };
    case 'waiting':
      return { say: 'starts when the reply ends', acts: [stop] };
    case 'debouncing':
      return { say: 'starts when no more messages come', acts: [stop] };
    case 'cancelling':
      return { say: 'waiting until the backend has stopped', acts: [{ act: 'stopping', label: 'Stopping…' }] };
    case 'retrying':
      return { say: `attempt ${pane.attempt}`, acts: [{ act: 'run', label: 'Retry now' }, stop] };
    case 'error':
      return { say: attempts(pane.attempt), acts: [{ act: 'run', label: 'Retry now' }] };
    case 'imaging_failed':
      return { say: 'the old picture stays', acts: [{ act: 'run', label: 'Retry picture' }] };
    case 'updated':
    case 'unchanged':
      return { say: pane.fresh === false ? 'a newer message is not covered' : '', acts: [again] };
    case 'cancelled':
      return cancelledFoot(pane, view, again);
    default:
      return workingFoot(name, pane, live, now, forMessage, stop);
  }
}

function pausedFoot(pane, target) {
  const resume = { act: 'resume', label: 'Resume' };
  const acts = isBusy(pane) ? [resume, { act: 'stop', label: 'Stop' }] : [resume];
  if (isWorking(pane.phase)) return { say: 'nothing new starts', acts };
  const next = pane.phase === 'paused' && target !== null ? `continues for message #${target}` : 'nothing starts by itself';
  return { say: next, acts };
}

function cancelledFoot(pane, view, again) {
  if (pane.reason === 'superseded') {
    return { say: `message #${view.earlier + view.messages.length} came in; a new run starts`, acts: [] };
  }
  return { say: pane.reason === 'user' ? 'you stopped this run' : 'the session was closed', acts: [again] };
}

function workingFoot(name, pane, live, now, forMessage, stop) {
  if (live?.wait) return { say: live.wait.reason === 'queue' ? 'waits for a free place' : 'starts as soon as it can', acts: [{ ...stop, label: 'Cancel' }] };
  const number = freshProgress(live, now);
  const acts = [{ act: 'pause', label: 'Pause' }, stop];
  if (number !== null) return { say: `${number.unit} ${number.value} of ${number.max}`, acts };
  const say = pane.phase === 'evaluating' ? (questions[name] ?? forMessage) : forMessage;
  return { say: pane.attempt > 1 ? `${say}, attempt ${pane.attempt}` : say, acts };
}

const attempts = (count) => (count === 1 ? '1 attempt made' : `${count} attempts made`);
