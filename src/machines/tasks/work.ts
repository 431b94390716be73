import type { CancelReason, TaskChange } from '../../protocol/records.ts';
import { byRank, changeItem, isOver, running } from './items.ts';
import { type TaskStep, nothing, step, sequence } from './step.ts';
import { tell, tasksFact, note, takeNews, wantPause } from './saying.ts';
import { addTasks, dropQueued } from './runs.ts';
import type {
  QueuedWork,
  TaskItem,
  TaskPaneContext,
  TaskPaneEmitted,
  TaskPaneEvent,
  TaskPaneShape,
  TaskReport,
} from './types.ts';

/** Ends those tasks of the run, and of the runs in line, for which `which` holds. */
function cancelTasks(context: TaskPaneContext, which: (item: TaskItem) => boolean, reason: CancelReason): TaskStep {
  const own = context.open ? context.items.filter((item) => !isOver(item) && which(item)) : [];
  const stopped = running(own);
  const ended = (items: readonly TaskItem[]) =>
    items.map((item): TaskItem =>
      !isOver(item) && which(item) ? { ...item, status: 'cancelled', working: false } : item,
    );
  const changes = own.map(({ id }): TaskChange => ({ id, status: 'cancelled', retryAt: null }));
  return sequence(
    context,
    (now) =>
      own.length === 0
        ? nothing
        : step(
            {
              items: ended(now.items),
              unwinding: now.unwinding + stopped.filter(({ working }) => working).length,
              cancelReason: reason,
            },
            [],
            stopped,
          ),
    (now) => (changes.length === 0 ? nothing : tell(now, ...changes)),
    ...context.queue.map((queued) => (now: TaskPaneContext) => cancelQueuedTasks(now, queued, which, reason)),
  );
}

function cancelQueuedTasks(
  context: TaskPaneContext,
  queued: QueuedWork,
  which: (item: TaskItem) => boolean,
  reason: CancelReason,
): TaskStep {
  const gone = queued.items.filter((item) => !isOver(item) && which(item));
  if (gone.length === 0) return nothing;
  const items = queued.items.map((item): TaskItem => (gone.includes(item) ? { ...item, status: 'cancelled' } : item));
  if (items.every(isOver)) return dropQueued(context, queued.run, reason);
  const changes = gone.map(({ id }): TaskChange => ({ id, status: 'cancelled' }));
  const queue = context.queue.map((other) => (other === queued ? { ...queued, items } : other));
  return step({ queue }, [tasksFact(context, queued.run, changes)]);
}

export function cancelTask(context: TaskPaneContext, task: string): TaskStep {
  return cancelTasks(context, ({ id }) => id === task, 'user');
}

/** The message is gone, or its text is another: nobody wants what was made for it. */
export function dropSource(context: TaskPaneContext, message: string): TaskStep {
  return sequence(
    context,
    (now) => cancelTasks(now, ({ source }) => source === message, 'superseded'),
    (now) => finishSource(now, message),
  );
}

/** Nothing more will come of the message. */
export function finishSource({ streaming }: TaskPaneContext, message: string): TaskStep {
  return streaming.includes(message) ? step({ streaming: streaming.filter((other) => other !== message) }) : nothing;
}

/** Tries a task of the open run once more. */
export function retryTask(context: TaskPaneContext, task: string): TaskStep {
  const item = context.items.find(({ id }) => id === task);
  if (item === undefined || (item.status !== 'failed' && item.status !== 'cancelled')) return nothing;
  const attempt = item.attempt + 1;
  return sequence(
    context,
    () => step({ items: changeItem(context.items, task, { status: 'queued', attempt, error: null }) }),
    (now) => tell(now, { id: task, status: 'queued', attempt, error: null, retryAt: null }),
  );
}

/** Puts a task in front of all others; one of a run in line brings its run to the front of the line. */
export function prioritize(context: TaskPaneContext, task: string): TaskStep {
  const first: TaskPaneEmitted = { type: 'prioritized', pane: context.pane, task };
  // Below all in line, too: after a restart the ranks say which run is next.
  const others = context.queue.flatMap((queued) => queued.items);
  const ranked = (items: readonly TaskItem[]) => {
    const rank = Math.min(0, ...[...items, ...others].map((item) => item.rank)) - 1;
    return { rank, items: byRank(changeItem(items, task, { rank })) };
  };
  if (context.items.some(({ id }) => id === task)) {
    const { rank, items } = ranked(context.items);
    return sequence(
      context,
      () => step({ items }, [first]),
      (now) => tell(now, { id: task, rank }),
    );
  }
  const queued = context.queue.find(({ items }) => items.some(({ id }) => id === task));
  if (queued === undefined) return nothing;
  const { rank, items } = ranked(queued.items);
  const queue = [{ ...queued, items }, ...context.queue.filter((other) => other !== queued)];
  return step({ queue }, [tasksFact(context, queued.run, [{ id: task, rank }])]);
}

/** A cancelled task's body has kept what it had. It comes too late for a part that somebody else writes, or has written, since. */
export function keep(context: TaskPaneContext, event: TaskPaneEvent & { type: 'kept' }): TaskStep {
  const { run, task, attempt, asset, value } = event;
  const item = context.items.find(({ id }) => id === task);
  if (!context.open || run !== context.run || item?.status !== 'cancelled' || item.attempt !== attempt) return nothing;
  const change: TaskChange = { id: task, status: 'cancelled', asset };
  const late = context.items.some(
    ({ key, status }) => key === item.key && (status === 'running' || status === 'succeeded'),
  );
  if (value === undefined || item.key === '' || late) return tell(context, change);
  const { task: told, rest } = takeNews(context, change);
  return step(rest, [{ type: 'commit', pane: context.pane, run, key: item.key, value, task: told }]);
}

/** What a task's own chart reports; late reports find nobody. */
export function hear(shape: TaskPaneShape, context: TaskPaneContext, event: TaskReport): TaskStep {
  const item = context.items.find(({ id, serial }) => id === event.task && serial === event.serial);
  if (item === undefined || item.status !== 'running') return nothing;
  const { id } = item;
  const left = 'left' in event && event.left ? 1 : 0;
  const change = (patch: Partial<TaskItem>) => () =>
    step({ items: changeItem(context.items, id, patch), unwinding: context.unwinding + left });
  switch (event.type) {
    case 'task.stage': {
      const { stage, attempt, checkpoint } = event;
      const news: TaskChange = { id, stage, attempt, retryAt: null, error: null };
      return sequence(context, change({ stage, attempt, working: true }), (now) =>
        // What a stage has made is on record before the next one begins.
        checkpoint === undefined ? note(now, news) : tell(now, { ...news, checkpoint }),
      );
    }
    case 'task.retrying': {
      const { error, retryAt } = event;
      return sequence(context, change({ working: false }), (now) => note(now, { id, error, retryAt }));
    }
    case 'task.parked': {
      const { stage, attempt, checkpoint } = event;
      const news: TaskChange = { id, status: 'queued', stage, attempt, retryAt: null };
      return sequence(context, change({ status: 'queued', working: false, stage, attempt }), (now) =>
        tell(now, checkpoint === undefined ? news : { ...news, checkpoint }),
      );
    }
    case 'task.done':
      return done(shape, context, item, event.result);
    case 'task.failed': {
      const { error } = event;
      const news: TaskChange = { id, status: 'failed', error, retryAt: null };
      return sequence(context, change({ status: 'failed', working: false, error }), (now) => {
        if (!shape.keepsFailed || item.key === '') return note(now, news);
        const { task, rest } = takeNews(now, news);
        return step(rest, [{ type: 'failed', pane: now.pane, run: now.run, key: item.key, task }]);
      });
    }
  }
}

function done(
  shape: TaskPaneShape,
  context: TaskPaneContext,
  item: TaskItem,
  { value, asset, add }: (TaskReport & { type: 'task.done' })['result'],
): TaskStep {
  const news: TaskChange = {
    id: item.id,
    status: 'succeeded',
    stage: null,
    checkpoint: null,
    retryAt: null,
    error: null,
  };
  if (asset !== undefined) news.asset = asset;
  return sequence(
    context,
    (now) => step({ items: changeItem(now.items, item.id, { status: 'succeeded', working: false }) }),
    (now) => {
      if (value === undefined || item.key === '') return note(now, news);
      const { task, rest } = takeNews(now, news);
      return step(rest, [{ type: 'commit', pane: now.pane, run: now.run, key: item.key, value, task }]);
    },
    (now) => (add === undefined ? nothing : addFound(shape, now, add)),
    (now) => (item.review && now.items.some((other) => !isOver(other)) ? wantPause(now, 'review') : nothing),
  );
}

function addFound(shape: TaskPaneShape, context: TaskPaneContext, tasks: TaskChange[]): TaskStep {
  const { run, generation } = context;
  return addTasks(shape, context, { type: 'work', run, generation, tasks, asked: false });
}
