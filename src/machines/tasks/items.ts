import type { RunError, TaskChange } from '../../protocol/records.ts';
import { isPending } from '../../protocol/fold-tasks.ts';
import type { TaskItem, TaskPaneContext } from './types.ts';

/** Control state of tasks as they are planned or recorded. */
export function itemsOf(tasks: readonly TaskChange[]): TaskItem[] {
  return byRank(tasks.map(itemOf));
}

function itemOf(task: TaskChange): TaskItem {
  const source = task.input?.['message'];
  return {
    id: task.id,
    key: task.key ?? '',
    source: typeof source === 'string' ? source : '',
    after: task.after ?? [],
    review: task.review === true,
    rank: task.rank ?? 0,
    // What was at work is not any more.
    status: task.status === 'running' ? 'queued' : (task.status ?? 'queued'),
    attempt: (task.attempt ?? 1) + (task.status === 'running' ? 1 : 0),
    stage: task.stage ?? '',
    serial: 0,
    working: false,
    error: task.error ?? null,
  };
}

/** In the order in which they begin: by rank, else as they came. */
export function byRank(items: readonly TaskItem[]): TaskItem[] {
  return items.toSorted((a, b) => a.rank - b.rank);
}

/** The name of the actor that works on a task. */
export function actorOf({ id, serial }: Pick<TaskItem, 'id' | 'serial'>): string {
  return `${id}#${serial}`;
}

export function isOver(item: TaskItem): boolean {
  return !isPending(item);
}

/** Those that have an actor. */
export function running(items: readonly TaskItem[]): TaskItem[] {
  return items.filter(({ status }) => status === 'running');
}

/** The next one to begin: its predecessors have ended, nobody writes its part, and the pane may have one more at work. */
export function nextItem({ items, options, pauseWanted }: TaskPaneContext): TaskItem | undefined {
  if (pauseWanted) return undefined;
  const busy = running(items);
  if (busy.length >= options.parallel) return undefined;
  const keys = new Set(busy.map(({ key }) => key));
  const pending = new Set(items.filter((item) => !isOver(item)).map(({ id }) => id));
  return items.find(
    ({ status, key, after }) =>
      status === 'queued' && (key === '' || !keys.has(key)) && !after.some((id) => pending.has(id)),
  );
}

/** Parts that somebody is to write, in the run at work or in line. */
export function keysInWork({ items, queue, open }: TaskPaneContext): Set<string> {
  const inWork = [...(open ? items : []), ...queue.flatMap((queued) => queued.items)].filter((item) => !isOver(item));
  return new Set(inWork.map(({ key }) => key).filter((key) => key !== ''));
}

/** Changes one item. */
export function changeItem(items: readonly TaskItem[], id: string, patch: Partial<TaskItem>): TaskItem[] {
  return items.map((item) => (item.id === id ? { ...item, ...patch } : item));
}

/** How a run ends whose tasks have all ended. */
export function endOf(items: readonly TaskItem[]): 'updated' | 'unchanged' | 'error' | 'cancelled' {
  if (items.some(({ status, key }) => status === 'succeeded' && key !== '')) return 'updated';
  if (items.some(({ status }) => status === 'failed')) return 'error';
  return items.some(({ status }) => status === 'cancelled') ? 'cancelled' : 'unchanged';
}

/** Why a run has failed none of whose tasks succeeded: the last one's reason, and how many there were. */
export function errorOf(items: readonly TaskItem[]): RunError {
  const failed = items.flatMap(({ error, status }) => (status === 'failed' && error !== null ? [error] : []));
  const last = failed.at(-1) ?? { code: 'internal' as const, message: 'no task has succeeded', retryable: true };
  return failed.length < 2
    ? last
    : { ...last, message: `none of ${failed.length} tasks succeeded; the last: ${last.message}` };
}
