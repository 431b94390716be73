import { isPending, placesOf, taskLight, tasksOf } from './tasks.js';
import { reasonOf } from './words.js';

const whole = (value) => Number.isInteger(value) && value >= 0;

/** The place and the prompt in a part's value or a task's input; null for anything else. */
function placeIn(value) {
  if (typeof value !== 'object' || value === null) return null;
  const { message, rev, offset, length, prompt } = value;
  const sound = typeof message === 'string' && typeof prompt === 'string' && whole(rev) && whole(offset) && whole(length);
  return sound ? { message, rev, offset, length, prompt } : null;
}

/**
 * The pictures of each message that still has the text they were asked for in: `Map(message id → { number, pictures, choosing })`, each
 * picture with its place, what was committed (`part`) and what is being done about it (`task`). `choosing`: tasks that look for pictures.
 */
export function picturesOf(view, pane) {
  const byMessage = new Map();
  if (pane === undefined) return byMessage;
  view.messages.forEach(({ id, rev = 0 }, index) => {
    byMessage.set(id, { rev, number: view.earlier + index + 1, pictures: new Map(), choosing: [] });
  });
  const add = (key, place, what) => {
    const group = byMessage.get(place.message);
    if (group === undefined || group.rev !== place.rev) return;
    group.pictures.set(key, { ...place, key, ...group.pictures.get(key), ...what });
  };
  for (const [key, part] of Object.entries(pane.parts)) {
    const place = placeIn(part.value);
    if (place !== null) add(key, place, { part });
  }
  for (const task of tasksOf(pane)) {
    const place = placeIn(task.input);
    if (place !== null) add(task.key, place, { task });
    else if (task.key === '' && task.status !== 'succeeded') byMessage.get(task.input?.message)?.choosing.push(task);
  }
  for (const [id, group] of byMessage) {
    const pictures = [...group.pictures.values()].sort((a, b) => a.offset - b.offset || a.key.localeCompare(b.key));
    if (pictures.length === 0 && group.choosing.length === 0) byMessage.delete(id);
    else byMessage.set(id, { ...group, pictures: pictures.map((picture, index) => ({ ...picture, number: index + 1 })) });
  }
  return byMessage;
}

/** The versions of a picture that can be seen, oldest first. */
export function versionsOf(part) {
  if (part === undefined) return [];
  return [...part.earlier.toReversed(), part].filter(({ value }) => typeof value?.asset === 'string' && value.status !== 'failed');
}

/**
 * How a picture stands: `status` done, running, queued, failed or cancelled, in words and light, with the action that makes sense.
 * `act.task` is a task's id, or the key of a part that an older run left failed.
 */
export function standing({ key, part, task }, pane, live, now) {
  const drawn = versionsOf(part).length > 0;
  const news = live?.tasks?.[task?.id];
  if (task !== undefined && isPending(task)) {
    const place = placesOf(pane, live).get(task.id);
    const light = taskLight(task, news, now, pane, place);
    const status = task.status === 'running' && light.tone === 'work' ? 'running' : 'queued';
    const first = status === 'queued' && (news?.wait?.position ?? place) !== 1 && pane.phase !== 'paused';
    return { ...light, status, drawn, news, act: { type: 'task.cancel', task: task.id }, first };
  }
  if (task?.status === 'failed' && (drawn || part === undefined))
    return { text: reasonOf(task.error), icon: 'i-err', tone: 'err', status: 'failed', drawn, act: { type: 'task.retry', task: task.id } };
  if (drawn) return { text: 'done', icon: 'i-ok', tone: 'ok', status: 'done', drawn, act: { type: 'pane.run', input: { picture: key, mode: 'replace' } } };
  if (task?.status === 'cancelled') return { text: 'cancelled', icon: 'i-cancel', status: 'cancelled', drawn, act: { type: 'task.retry', task: task.id } };
  return {
    text: reasonOf(part?.value?.error), icon: 'i-err', tone: 'err', status: 'failed', drawn,
    act: { type: 'task.retry', task: task?.status === 'failed' ? task.id : key },
  };
}

/** One line of a prompt. */
export const titleOfPicture = (prompt) => prompt.replace(/\s+/g, ' ').trim();
