import { clockTime } from './dom.js';

const reasons = {
  timeout: 'timed out',
  idle_timeout: 'no answer in time',
  rate_limited: 'rate limited',
  connection: 'no connection',
  truncated: 'cut off',
  refused: 'refused',
  auth: 'not authorised',
  bad_request: 'bad request',
  provider: 'provider failed',
  interrupted: 'interrupted',
  internal: 'internal fault',
};

/** A number of the backend is shown for this long (ms); after it, the stripe says that work goes on. */
const freshMs = 3_000;

/** Why something failed, in words; takes an error or its code. */
export function reasonOf(error) {
  const code = typeof error === 'string' ? error : error?.code;
  return reasons[code] ?? code ?? 'failed';
}

/** `2 pictures`, `1 picture`. */
export const plural = (count, thing) => `${count} ${thing}${count === 1 ? '' : 's'}`;

export function retryIn(at, now) {
  const seconds = secondsUntil(at, now);
  return seconds > 0 ? `retry in ${seconds} s` : 'retrying';
}

const secondsUntil = (at, now) => (at === null || at === undefined ? 0 : Math.ceil((Date.parse(at) - now) / 1_000));

/** What work stands still for, in words; `thing` = what the provider makes. */
export function waitWords({ reason, position, until }, now, thing = 'call') {
  switch (reason) {
    case 'queue':
      return position === undefined ? 'queued' : `queued #${position}`;
    case 'rate-limit':
      return until === undefined ? 'rate limit' : `rate limit, until ${clockTime(until)}`;
    case 'backoff':
      return retryIn(until, now);
    case 'draining':
      return `waiting for a stopped ${thing} to end`;
    case 'yielded':
      return 'gave way to the reply';
    default:
      return 'waiting';
  }
}

/** What a pane's provider makes. */
export const thingOf = (kind) => (kind === 'scene' || kind === 'illustrations' ? 'picture' : 'call');

/** When each number of a task was first seen: a task's live values carry no time of their own. */
const firstSeen = new WeakMap();

/** The backend's own number while it is fresh; null = nobody knows how far it is. Works for a pane and for a task. */
export function freshProgress(live, now) {
  const progress = live?.progress;
  if (progress === undefined || progress === null || !(progress.max > 0)) return null;
  if (progress.at === undefined && !firstSeen.has(progress)) firstSeen.set(progress, now);
  return now - (progress.at ?? firstSeen.get(progress)) < freshMs ? progress : null;
}

export const percent = ({ value, max }) => String(Math.max(0, Math.min(100, (value / max) * 100)));

/** Words of a text, as its reader would count them. */
export function countWords(text) {
  return text.match(/\S*[\p{L}\p{N}]\S*/gu)?.length ?? 0;
}

export const wordsOf = (count) => `${count.toLocaleString('en')} ${count === 1 ? 'word' : 'words'}`;
