import { drainGraceMs } from '../pane-setup.ts';
import { actorOf, changeItem, nextItem, running } from './items.ts';
import type { TaskPaneSetup } from './pane-setup.ts';
import {
  dropQueued,
  settle,
  settleCancelled,
  settleDone,
  startNext,
  startWork,
  stopAll,
  supersede,
  takeBehind,
  takeWork,
} from './runs.ts';
import { announce, inputOf, noteStart, report, resume, wantPause } from './saying.ts';
import { nothing, sequence, type TaskStep } from './step.ts';
import type { TaskPaneContext, TaskPaneEvent, TaskPaneShape, TaskReport } from './types.ts';
import { cancelTask, dropSource, finishSource, hear, keep, prioritize, retryTask } from './work.ts';

/** Turns a plain step into the one action of a transition: one assign, then whose actors stop, then what is said, in order. */
function actions(chart: TaskPaneSetup) {
  return (step: (context: TaskPaneContext, event: TaskPaneEvent) => TaskStep) =>
    chart.enqueueActions(({ context, event, enqueue }) => {
      const { patch, say, stop } = step(context, event);
      if (Object.keys(patch).length > 0) enqueue.assign(patch);
      for (const item of stop) enqueue.stopChild(actorOf(item));
      for (const said of say) enqueue.emit(said);
    });
}

type Act = ReturnType<typeof actions>;

/** Begins as many tasks as may be at work. */
function fillAction(chart: TaskPaneSetup) {
  return chart.enqueueActions(({ context, enqueue }) => {
    let now = context;
    for (let next = nextItem(now); next !== undefined; next = nextItem(now)) {
      const { id, attempt, stage } = next;
      // Counted over all runs: the actor of an ended run's task may not be gone yet.
      const serial = now.actors + 1;
      const { session, pane, run, generation, options } = now;
      const input = { session, pane, run, generation, task: id, serial, attempt, stage, options };
      const items = changeItem(now.items, id, { status: 'running', serial, working: true });
      now = { ...now, items, actors: serial, ...noteStart({ ...now, items }, id, attempt).patch };
      enqueue.spawnChild('task', { id: actorOf({ id, serial }), input });
    }
    if (now !== context) enqueue.assign({ items: now.items, actors: now.actors, changed: now.changed });
  });
}

/** Tells those at work that they are to stand still, or that they need not. */
function tellRunning(chart: TaskPaneSetup, type: 'pause' | 'resume') {
  return chart.enqueueActions(({ context, enqueue }) => {
    for (const item of running(context.items)) enqueue.sendTo(actorOf(item), { type });
  });
}

/** What a task's own chart tells its pane. */
export const reports = ['task.stage', 'task.retrying', 'task.parked', 'task.done', 'task.failed'] as const;

/** The actions of the chart, each bound to the pane's shape. */
export function paneActions(chart: TaskPaneSetup, shape: TaskPaneShape) {
  const act = actions(chart);
  const onWork = (step: typeof startWork) =>
    act((context, event) => (event.type === 'work' ? step(shape, context, event) : nothing));
  const onTask = (step: (context: TaskPaneContext, task: string) => TaskStep) =>
    act((context, event) => ('task' in event ? step(context, event.task) : nothing));
  const onMessage = (step: (context: TaskPaneContext, message: string) => TaskStep) =>
    act((context, event) => ('message' in event ? step(context, event.message) : nothing));
  return {
    start: onWork(startWork),
    take: onWork(takeWork),
    takeBehind: onWork(takeBehind),
    supersede: onWork(supersede),
    startNext: act(startNext),
    cancelTask: onTask(cancelTask),
    retryTask: onTask(retryTask),
    prioritize: onTask(prioritize),
    finishSource: onMessage(finishSource),
    dropSource: onMessage(dropSource),
    keep: act((context, event) => (event.type === 'kept' ? keep(context, event) : nothing)),
    hear: act((context, event) => (isReport(event) ? hear(shape, context, event) : nothing)),
    fill: fillAction(chart),
    report: act(report),
    announce: act((context, event) => announce(context, shape.phase, inputOf(event))),
    ...pauseActions(chart, act),
    ...endActions(act),
    ...noteActions(chart, act),
  };
}

function pauseActions(chart: TaskPaneSetup, act: Act) {
  return {
    wantPause: act((context) => wantPause(context, null)),
    resume: act(resume),
    pauseRunning: tellRunning(chart, 'pause'),
    /** A review has come up while others are at work. */
    pauseOthers: chart.enqueueActions(({ context, event, enqueue }) => {
      if (!context.pauseWanted || event.type !== 'task.done') return;
      for (const item of running(context.items)) enqueue.sendTo(actorOf(item), { type: 'pause' });
    }),
    resumeRunning: tellRunning(chart, 'resume'),
    announcePaused: act((context, event) => {
      if (!context.open) return nothing;
      const reason = context.pauseReason === null ? {} : { reason: context.pauseReason };
      return announce(context, 'paused', { ...reason, ...inputOf(event) });
    }),
  };
}

function endActions(act: Act) {
  return {
    settleDone: act(settleDone),
    dropQueued: act((context, event) => (event.type === 'cancel' ? dropQueued(context, event.run, 'user') : nothing)),
    dropAllQueued: act((context, event) =>
      event.type === 'cancel' && event.run === null ? dropQueued(context, null, 'user') : nothing,
    ),
    announceCancelling: act((context) => sequence(context, stopAll, (now) => announce(now, 'cancelling'))),
    endAsCancelled: act((context) => settleCancelled(context, 'user')),
    cancelByUser: act((context, event) =>
      sequence(
        context,
        (now) => settleCancelled(now, 'user'),
        (now) => (event.type === 'cancel' && event.run === null ? dropQueued(now, null, 'user') : nothing),
      ),
    ),
    close: act((context, event) =>
      event.type === 'close'
        ? sequence(
            context,
            (now) => settleCancelled(now, event.reason),
            (now) => dropQueued(now, null, event.reason),
          )
        : nothing,
    ),
    stuck: act((context) => {
      const message = `the work of an earlier run did not end within ${drainGraceMs} ms`;
      return settle(context, 'error', { error: { code: 'internal', message, retryable: true } });
    }),
  };
}

function noteActions(chart: TaskPaneSetup, act: Act) {
  return {
    /** xstate keeps the actors that it has spawned, also when they are done: thousands in a long session. */
    forget: chart.enqueueActions(({ event, enqueue }) => {
      if ('actorId' in event) enqueue.stopChild(event.actorId);
    }),
    unwound: act((context) => ({ ...nothing, patch: { unwinding: Math.max(0, context.unwinding - 1) } })),
    draining: act((context) =>
      context.unwinding === 0
        ? nothing
        : { ...nothing, say: [{ type: 'draining', pane: context.pane, run: context.run }] },
    ),
    adopt: act((context, event) =>
      event.type === 'task.options' ? { ...nothing, patch: { options: event.options } } : nothing,
    ),
  };
}

/** All of them by name. */
export type Does = ReturnType<typeof paneActions>;

function isReport(event: TaskPaneEvent): event is TaskReport {
  return reports.some((type) => type === event.type);
}
