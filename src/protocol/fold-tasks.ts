import { maxParts, partVersions } from './client-limits.ts';
import type { Rec, Task, TaskChange, TaskStatus } from './records.ts';
import type { PaneView, TaskCounts } from './view.ts';

type Tasks = { [id: string]: Task };

/** The pane after news of its tasks, all from one moment. */
export function changeTasks(pane: PaneView, changes: readonly TaskChange[], at: string): PaneView {
  if (changes.length === 0) return pane;
  // A map: `__proto__` is a name like any other.
  const known = new Map(Object.entries(pane.tasks));
  for (const change of changes) known.set(change.id, changeTask(known.get(change.id), change, at));
  const tasks = Object.fromEntries(known);
  return { ...pane, tasks, counts: countTasks(tasks) };
}

function changeTask(old: Task | undefined, change: TaskChange, at: string): Task {
  const base = { label: '', key: '', status: 'queued', attempt: 1, input: {}, ...old, ...change };
  const known = Object.entries(base).filter(([, value]) => value !== null && value !== undefined);
  // Every field of a task is in `base`, and null only takes optional ones away.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const task = Object.fromEntries(known) as unknown as Task;
  if (change.status === undefined) return task;
  if (isPending(task)) delete task.endedAt;
  else task.endedAt = at;
  if (task.status === 'running') task.startedAt ??= at;
  return task;
}

/** Neither ended well nor badly. */
export function isPending({ status }: Pick<Task, 'status'>): boolean {
  return status === 'queued' || status === 'running';
}

/** The run has ended: what had not is cancelled. */
export function endTasks(pane: PaneView, at: string): PaneView {
  const open = Object.values(pane.tasks).filter(isPending);
  return changeTasks(
    pane,
    open.map(({ id }) => ({ id, status: 'cancelled', retryAt: null })),
    at,
  );
}

/** The pane with one more version of a part; the newest `maxParts` parts stay. */
export function commitPart(pane: PaneView, record: Rec & { type: 'pane.content' }): PaneView {
  const { key, value, version, run, seq } = record;
  const old = Object.hasOwn(pane.parts, key) ? pane.parts[key] : undefined;
  const earlier = old === undefined ? [] : [{ value: old.value, version: old.version, run: old.run }, ...old.earlier];
  const parts: PaneView['parts'] = {
    ...pane.parts,
    [key]: { value, version, run, seq, earlier: earlier.slice(0, partVersions) },
  };
  if (Object.keys(parts).length > maxParts) {
    const [oldest] = Object.entries(parts).reduce((a, b) => (b[1].seq < a[1].seq ? b : a));
    delete parts[oldest];
  }
  const next = { ...pane, parts };
  return record.task === undefined || pane.run !== run ? next : changeTasks(next, [record.task], record.at);
}

/** Failed counts as done, never as ok; `pending` is what is neither. */
export function countTasks(tasks: Tasks): TaskCounts {
  const all = Object.values(tasks);
  const count = (status: TaskStatus): number => all.filter((task) => task.status === status).length;
  const pending = all.filter(isPending).length;
  return { total: all.length, done: all.length - pending, ok: count('succeeded'), failed: count('failed'), pending };
}
