import { el, setAttribute, setChildren } from './dom.js';
import { freshProgress, plural, reasonOf, retryIn, thingOf, waitWords } from './words.js';

const kinds = new Set(['illustrations', 'chapters']);
const terminal = new Set(['updated', 'unchanged', 'cancelled', 'error']);

/** Its runs are lists of tasks. */
export const hasTasks = (pane) => kinds.has(pane.kind) || pane.counts !== null;

export const tasksOf = (pane) => Object.values(pane.tasks ?? {});
export const isPending = (task) => task.status === 'queued' || task.status === 'running';

/** The newest task of the pane's current run that writes this part. */
export const taskOfKey = (pane, key) => tasksOf(pane).findLast((task) => task.key === key);

/** What a task is doing, in words, with the form and colour of its light. `place` = its place in the line of its run. */
export function taskLight(task, live, now, pane, place) {
  const ended = terminal.has(pane.phase);
  switch (task.status) {
    case 'succeeded':
      return { text: 'done', icon: 'i-ok', tone: 'ok' };
    case 'failed':
      return { text: reasonOf(task.error), icon: 'i-err', tone: 'err' };
    case 'cancelled':
      return { text: 'cancelled', icon: 'i-cancel' };
    default:
  }
  if (pane.phase === 'cancelling') return { text: 'stopping…', icon: 'i-work', tone: 'work' };
  if (pane.phase === 'paused') return { text: 'paused', icon: 'i-pause' };
  if (task.retryAt !== undefined && !ended)
    return { text: `${reasonOf(task.error)}, ${retryIn(task.retryAt, now)}`, icon: 'i-err', tone: 'err' };
  if (live?.wait) return { text: waitWords(live.wait, now, thingOf(pane.kind)), icon: 'i-queue' };
  if (task.status === 'queued') return { text: place === undefined ? 'queued' : `queued #${place}`, icon: 'i-queue' };
  const number = freshProgress(live, now);
  const text = number === null ? (live?.stage ?? task.stage ?? pane.phase) : `${number.value}/${number.max}`;
  return { text, icon: 'i-work', tone: 'work' };
}

/** Somebody is at work on it: it is not waiting for a place, a time or a person. */
export function isAtWork(task, live, pane) {
  return task.status === 'running' && !live?.wait && task.retryAt === undefined && pane.phase !== 'paused';
}

/**
 * Places in the line of the run, from its records, by task. While one of its tasks stands in the line of a provider, that line's number is
 * the one to be shown, and these would only look like it.
 */
export function placesOf(pane, live) {
  const waiting = Object.values(live?.tasks ?? {}).some((task) => task.wait?.reason === 'queue');
  if (waiting) return new Map();
  const line = tasksOf(pane).filter((task) => task.status === 'queued' && task.retryAt === undefined);
  line.sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0));
  return new Map(line.map((task, index) => [task.id, index + 1]));
}

/** The phase of a pane with tasks; undefined = the words that every pane has are right. */
export function tasksLight(pane, live, now) {
  const { counts, phase } = pane;
  // What the first request turns on is not off to whoever asks.
  if (phase === 'off') return { text: pane.kind === 'chapters' ? 'idle' : 'off', icon: 'i-idle' };
  if (counts === null || counts.total === 0) return undefined;
  if (phase === 'paused' && pane.reason === 'review') return { text: 'paused for your review', icon: 'i-pause' };
  const { total, failed } = counts;
  if (terminal.has(phase)) {
    if (failed === 0 || phase === 'cancelled') return undefined;
    const failures = tasksOf(pane).filter((task) => task.status === 'failed');
    const reasons = [...new Set(failures.map((task) => reasonOf(task.error)))];
    const why = reasons.length === 1 ? `: ${reasons[0]}` : '';
    return { text: `${failed} of ${total} failed${why}`, icon: 'i-err', tone: 'err' };
  }
  if (phase !== 'imaging' && phase !== 'writing') return undefined;
  if (pane.paused) return { text: pausing(pane, live), icon: 'i-pause' };
  if (live?.wait) return { text: waitWords(live.wait, now, thingOf(pane.kind)), icon: 'i-queue' };
  const atWork = tasksOf(pane).filter((task) => isAtWork(task, live?.tasks?.[task.id], pane));
  const open = tasksOf(pane).find(isPending);
  if (atWork.length === 0 && open !== undefined) {
    const first = tasksOf(pane).find((task) => task.status === 'running') ?? open;
    const full = taskLight(first, live?.tasks?.[first.id], now, pane, placesOf(pane, live).get(first.id));
    return full;
  }
  return { text: counted(pane, counts), icon: 'i-work', tone: 'work' };
}

/** `imaging, 2 of 6`: made; `writing 4 of 8`: the one at work. */
function counted({ kind, phase }, { total, done, ok }) {
  return kind === 'chapters' ? `${phase} ${Math.min(done + 1, total)} of ${total}` : `${phase}, ${ok} of ${total}`;
}

/** Where a pause comes to a stop. */
function pausing(pane, live) {
  const running = tasksOf(pane).filter((task) => isAtWork(task, live?.tasks?.[task.id], pane));
  if (running.length === 0) return 'pausing';
  if (pane.kind === 'illustrations') return `pausing after ${plural(running.length, 'picture')}`;
  const stages = [...new Set(running.map((task) => live?.tasks?.[task.id]?.stage ?? task.stage ?? pane.phase))];
  return `pausing after ${stages.join(' and ')}`;
}

/** What stands at the right of the chip: how many there are, and how many are not. */
export function tallyOf(pane, shown) {
  const { counts } = pane;
  const working = counts !== null && counts.pending > 0;
  if (pane.kind === 'chapters') {
    if (working) return `${counts.ok} done`;
    return shown === 0 ? '' : plural(shown, 'chapter');
  }
  if (working && counts.failed > 0) return `${counts.failed} failed`;
  return shown === 0 ? '' : plural(shown, 'picture');
}

/** One sentence, and the actions that make sense now. `last` = there is a reply that can be illustrated. */
export function tasksFoot(pane, live, now, last) {
  const stop = { act: 'stop', label: 'Stop' };
  const failed = tasksOf(pane).filter((task) => task.status === 'failed').length;
  const again = failed > 0 ? [{ act: 'again', label: failed === 1 ? 'Retry failed' : `Retry ${failed} failed` }] : [];
  const begin = pane.kind === 'chapters' ? [{ act: 'form', label: 'Write chapters' }]
    : pane.kind === 'illustrations' && last ? [{ act: 'run', label: 'Illustrate last reply' }] : [];
  const line = pane.queued.length > 0 ? `${plural(pane.queued.length, 'run')} in line` : '';
  switch (pane.phase) {
    case 'off':
      return { say: '', acts: [] };
    case 'idle':
      return { say: '', acts: begin };
    case 'cancelling':
      return { say: 'waiting until the backend has stopped', acts: [{ act: 'stopping', label: 'Stopping…' }] };
    case 'updated':
    case 'unchanged':
      return { say: failed > 0 ? `${pane.counts.ok} of ${pane.counts.total} made` : line, acts: [...again, ...begin] };
    case 'error':
      return { say: 'nothing was made', acts: [...again, ...begin] };
    case 'cancelled':
      return { say: cancelledBy(pane), acts: begin };
    case 'paused':
      return { say: continuesWith(pane), acts: [{ act: 'resume', label: pane.reason === 'review' ? 'Continue' : 'Resume' }, stop] };
    default:
  }
  if (pane.paused) return { say: 'nothing new starts', acts: [{ act: 'resume', label: 'Resume' }, stop] };
  if (pane.phase !== 'imaging' && pane.phase !== 'writing') return { say: 'starts in a moment', acts: [stop] };
  const at = tasksOf(pane).filter((task) => isAtWork(task, live?.tasks?.[task.id], pane)).length;
  const rest = tasksOf(pane).filter(isPending).length - at;
  const say = [...(at > 0 ? [`${at} at work`] : []), ...(rest > 0 ? [`${rest} waiting`] : []), ...(line === '' ? [] : [line])].join(', ');
  return { say, acts: [...again, { act: 'pause', label: 'Pause' }, stop] };
}

const cancelledBy = ({ reason }) =>
  reason === 'superseded' ? 'a newer message came in' : reason === 'user' ? 'you stopped this run; what was made stays' : 'the session was closed';

function continuesWith(pane) {
  if (pane.reason === 'review') return 'the next one waits for you';
  const next = tasksOf(pane).find(isPending);
  if (next === undefined) return 'nothing starts by itself';
  return pane.kind === 'chapters' && next.stage ? `continues with ${next.stage}` : `${plural(tasksOf(pane).filter(isPending).length, 'task')} to go`;
}

const tones = { succeeded: 'done', failed: 'err', cancelled: 'off' };

/** One light a task in the bar of its pane. */
export function updateLites(bar, title, pane, live) {
  const tasks = tasksOf(pane);
  const nodes = tasks.map((task, index) => {
    const node = bar.children[index] ?? el('i');
    const at = isAtWork(task, live?.tasks?.[task.id], pane);
    node.hidden = false;
    setAttribute(node, 'data-tone', tones[task.status] ?? (at ? 'work' : null));
    return node;
  });
  setChildren(bar, nodes);
  const { done, total, failed } = pane.counts;
  setAttribute(bar, 'role', 'progressbar');
  setAttribute(bar, 'aria-label', `${title} progress`);
  setAttribute(bar, 'aria-valuemin', 0);
  setAttribute(bar, 'aria-valuemax', total);
  setAttribute(bar, 'aria-valuenow', done);
  setAttribute(bar, 'aria-valuetext', `${done} of ${total}${failed > 0 ? `, ${failed} failed` : ''}`);
}

/** A pane that this session has not turned on. */
export function offPane(kind) {
  const nothing = { generation: 0, run: null, attempt: 0, since: null, reason: null, error: null, retryAt: null };
  const rest = { paused: false, queued: [], content: null, contentGeneration: null, covers: null, fresh: null };
  return { kind, phase: 'off', ...nothing, ...rest, parts: {}, tasks: {}, counts: null };
}
