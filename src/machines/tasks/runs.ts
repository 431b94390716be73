import { limits } from '../../protocol/names.ts';
import type { CancelReason, PhaseFact, TaskChange } from '../../protocol/records.ts';
import { byRank, endOf, errorOf, itemsOf, keysInWork, running } from './items.ts';
import { type TaskStep, type WorkEvent, nothing, step, sequence } from './step.ts';
import { type Extra, phase, tell, tasksFact } from './saying.ts';
import type { QueuedWork, TaskItem, TaskPaneContext, TaskPaneEmitted, TaskPaneEvent, TaskPaneShape } from './types.ts';

/** Says the one terminal phase of the current run; nothing when it has none open. What was at work is stopped. */
export function settle(context: TaskPaneContext, name: string, extra: Extra = {}): TaskStep {
  if (!context.open) return nothing;
  return sequence(context, stopAll, (now) =>
    step({ open: false, announced: '', changed: [], refused: 0, pauseReason: null }, [
      phase(now, name, withRefused(now, extra)),
    ]),
  );
}

function withRefused({ refused, items }: TaskPaneContext, extra: Extra): Extra {
  if (refused === 0 || extra.reason !== undefined) return extra;
  return { ...extra, reason: `${refused} more were asked for than the ${items.length} tasks that a run may have` };
}

export function settleCancelled(context: TaskPaneContext, reason: CancelReason, supersededBy?: string): TaskStep {
  return settle(context, 'cancelled', supersededBy === undefined ? { reason } : { reason, supersededBy });
}

/** Ends a run whose tasks have all ended, as they did. */
export function settleDone(context: TaskPaneContext): TaskStep {
  const end = endOf(context.items);
  if (end === 'error') return settle(context, end, { error: errorOf(context.items) });
  return end === 'cancelled' ? settleCancelled(context, context.cancelReason) : settle(context, end);
}

/** Stops what is at work, to have it cancelled: the bodies have yet to unwind. */
export function stopAll(context: TaskPaneContext): TaskStep {
  const stopped = running(context.items);
  if (stopped.length === 0) return nothing;
  const items = context.items.map((item): TaskItem =>
    stopped.includes(item) ? { ...item, status: 'cancelled', working: false } : item,
  );
  return step({ items, unwinding: context.unwinding + stopped.filter(({ working }) => working).length }, [], stopped);
}

/** Takes up a run. Its first phase is announced on entry of the state it starts in, with its tasks. */
function begin(context: TaskPaneContext, work: QueuedWork, tasks: TaskChange[], refused = 0): TaskStep {
  const { run, generation, items } = work;
  return step({
    run,
    generation,
    items,
    attempt: 1,
    open: true,
    announced: '',
    changed: tasks,
    refused,
    cancelReason: 'user',
  });
}

/** A run of its own for what the event brings. Nothing happens without a task. */
export function startWork(shape: TaskPaneShape, context: TaskPaneContext, event: WorkEvent): TaskStep {
  const tasks = event.tasks.slice(0, shape.maxTasks);
  if (tasks.length === 0) return nothing;
  const work = { run: event.run, generation: event.generation, items: itemsOf(tasks) };
  return sequence(
    context,
    (now) => begin(now, work, tasks, event.tasks.length - tasks.length),
    (now) => step(streamingWith(now, event), accepted(now, event, event.run)),
  );
}

/** Takes up the run that waits longest. What it is made of is on record with its queueing. */
export function startNext(context: TaskPaneContext): TaskStep {
  const [first, ...queue] = context.queue;
  if (first === undefined) return nothing;
  return sequence(
    context,
    () => step({ queue }),
    (now) => begin(now, first, []),
  );
}

function streamingWith({ streaming }: TaskPaneContext, event: WorkEvent): Partial<TaskPaneContext> {
  const { streaming: message } = event;
  return message === undefined || streaming.includes(message) ? {} : { streaming: [...streaming, message] };
}

function accepted({ pane }: TaskPaneContext, event: WorkEvent, run: string): TaskPaneEmitted[] {
  return event.asked ? [{ type: 'accepted', pane, run }] : [];
}

/** What a run that is open does with more work: takes it in, gives way to it, or has it stand in line. */
export function takeWork(shape: TaskPaneShape, context: TaskPaneContext, event: WorkEvent): TaskStep {
  return take(shape, context, event, runFor(shape, context, event));
}

/** What a run that is being cancelled does with more work: it stands in line, since nothing of this run goes on. */
export function takeBehind(shape: TaskPaneShape, context: TaskPaneContext, event: WorkEvent): TaskStep {
  return take(shape, context, event, event.asked ? null : queuedFor(context, event));
}

function take(shape: TaskPaneShape, context: TaskPaneContext, event: WorkEvent, into: string | null): TaskStep {
  const known = step(streamingWith(context, event));
  const taken = (now: TaskPaneContext): TaskStep => {
    if (into === context.run) return addTasks(shape, now, event);
    return into === null ? lineUp(shape, now, event) : addToQueued(shape, now, event, into);
  };
  return sequence(context, () => known, taken);
}

/** True when the open run ends for the sake of this event. */
export function supersedes(shape: TaskPaneShape, context: TaskPaneContext, event: TaskPaneEvent): boolean {
  return event.type === 'work' && context.options.policy === 'supersede' && runFor(shape, context, event) === null;
}

export function supersede(shape: TaskPaneShape, context: TaskPaneContext, event: WorkEvent): TaskStep {
  return sequence(
    context,
    (now) => settleCancelled(now, 'superseded', event.run),
    (now) => dropQueued(now, null, 'superseded'),
    (now) => startWork(shape, now, event),
  );
}

/** The run that the work belongs to: the one that has the same message, or one that it may join; null = one of its own. */
function runFor(shape: TaskPaneShape, context: TaskPaneContext, event: WorkEvent): string | null {
  if (!event.asked) return hasSource(context.items, event) ? context.run : queuedFor(context, event);
  const keys = keysInWork(context);
  const ids = new Set(context.items.map(({ id }) => id));
  // A name is for one task of a run: what is to be made once more needs a run of its own.
  const joins = itemsOf(event.tasks).every(({ id, key }) => !ids.has(id) && (key === '' || !keys.has(key)));
  return shape.joins && joins ? context.run : null;
}

function hasSource(items: readonly TaskItem[], event: WorkEvent): boolean {
  const sources = new Set(itemsOf(event.tasks).map(({ source }) => source));
  return items.some(({ source }) => source !== '' && sources.has(source));
}

/** The run in line that has the same message. */
function queuedFor({ queue }: TaskPaneContext, event: WorkEvent): string | null {
  // A line that is full takes what is found in texts all the same: nobody could be told that it was refused.
  const full = queue.length >= limits.maxQueuedRuns ? queue.at(-1) : undefined;
  return (queue.find(({ items }) => hasSource(items, event)) ?? full)?.run ?? null;
}

export function addTasks(shape: TaskPaneShape, context: TaskPaneContext, event: WorkEvent): TaskStep {
  const { fresh, refused } = roomFor(shape, context.items, event.tasks);
  return sequence(
    context,
    () => step({ items: byRank([...context.items, ...itemsOf(fresh)]), refused: context.refused + refused }),
    (now) => (fresh.length === 0 ? nothing : tell(now, ...fresh)),
    (now) => step({}, accepted(now, event, now.run)),
  );
}

/** Tasks that are not there yet, as many as the run has room for. */
function roomFor(shape: TaskPaneShape, items: readonly TaskItem[], tasks: readonly TaskChange[]) {
  const ids = new Set(items.map(({ id }) => id));
  const unknown = tasks.filter(({ id }) => !ids.has(id));
  const fresh = unknown.slice(0, Math.max(0, shape.maxTasks - items.length));
  return { fresh, refused: unknown.length - fresh.length };
}

function addToQueued(shape: TaskPaneShape, context: TaskPaneContext, event: WorkEvent, run: string): TaskStep {
  const queued = context.queue.find((other) => other.run === run);
  const { fresh } = roomFor(shape, queued?.items ?? [], event.tasks);
  if (queued === undefined || fresh.length === 0) return nothing;
  const items = byRank([...queued.items, ...itemsOf(fresh)]);
  const queue = context.queue.map((other) => (other === queued ? { ...queued, items } : other));
  return step({ queue }, [tasksFact(context, run, fresh), ...accepted(context, event, run)]);
}

/** Policies other than supersede, while a run works: `queue` keeps all, the others only the newest. */
function lineUp(shape: TaskPaneShape, context: TaskPaneContext, event: WorkEvent): TaskStep {
  const tasks = event.tasks.slice(0, shape.maxTasks);
  if (tasks.length === 0) return nothing;
  const { run, generation } = event;
  const older = (now: TaskPaneContext) =>
    context.options.policy === 'queue' ? nothing : dropQueued(now, null, 'superseded');
  const fact: PhaseFact = {
    type: 'pane.phase',
    pane: context.pane,
    run,
    generation,
    phase: 'queued',
    attempt: 1,
    tasks,
  };
  if (event.of !== undefined) fact.of = event.of;
  return sequence(context, older, (now) =>
    step({ queue: [...now.queue, { run, generation, items: itemsOf(tasks) }] }, [
      { type: 'fact', fact },
      ...accepted(context, event, run),
    ]),
  );
}

/** Ends queued runs: one, or (null) all of them. */
export function dropQueued(context: TaskPaneContext, run: string | null, reason: CancelReason): TaskStep {
  const dropped = context.queue.filter((queued) => run === null || queued.run === run);
  if (dropped.length === 0) return nothing;
  const { pane } = context;
  const say = dropped.map((queued): TaskPaneEmitted => {
    const { run, generation } = queued;
    return {
      type: 'fact',
      fact: { type: 'pane.phase', pane, run, generation, phase: 'cancelled', attempt: 1, reason },
    };
  });
  return step({ queue: context.queue.filter((queued) => !dropped.includes(queued)) }, say);
}
