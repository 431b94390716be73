import { idleStage, type StageLogic } from '../pane-setup.ts';
import { endOf } from './items.ts';
import { paneActions, reports, type Does } from './pane-actions.ts';
import { allOver, setupTaskPane, type TaskPaneSetup } from './pane-setup.ts';
import { supersedes } from './runs.ts';
import { createTaskMachine } from './task.ts';
import type { TaskPaneContext, TaskPaneEvent, TaskPaneShape } from './types.ts';

/** How the open run ends when all of its tasks have. */
const ends = (['updated', 'unchanged', 'error', 'cancelled'] as const).map((end) => ({
  end,
  guard: ({ context }: { context: TaskPaneContext }) => endOf(context.items) === end,
}));

/** What is the same wherever a run is open: single tasks, and what becomes of the messages that they are about. */
function onTasks(does: Does, then: readonly Does[keyof Does][]) {
  return {
    finished: { actions: [does.finishSource, ...then] },
    gone: { actions: [does.dropSource, ...then] },
    'task.cancel': { actions: [does.cancelTask, ...then] },
    'task.retry': { actions: [does.retryTask, ...then] },
    'task.prioritize': { actions: [does.prioritize, ...then] },
  };
}

/** At work: tasks begin and end. */
function workingState(chart: TaskPaneSetup, does: Does) {
  const over = ends.map(({ end, guard }) => ({
    guard: ({ context }: { context: TaskPaneContext }) => context.unwinding === 0 && guard({ context }),
    target: `#tasks.settled.${end}`,
    actions: does.settleDone,
  }));
  const late = ends.map(({ end, guard }) => ({ guard, target: `#tasks.settled.${end}`, actions: does.settleDone }));
  const hearing = Object.fromEntries(
    reports.map((type) => [type, { actions: [does.hear, does.fill, does.pauseOthers] }]),
  );
  return chart.createStateConfig({
    initial: 'going',
    entry: does.fill,
    always: { guard: 'standing', target: '#tasks.paused' },
    on: { ...onTasks(does, [does.fill]), ...hearing, kept: { actions: does.keep } },
    states: {
      going: { always: { guard: ({ context }) => allOver(context), target: 'ending' } },
      /** Every task has ended; the body of a cancelled one may still have something to keep. */
      ending: {
        always: [{ guard: ({ context }) => !allOver(context), target: 'going' }, ...over],
        after: { drainGrace: late },
      },
    },
  });
}

/** What becomes of tasks is on record at most so often, whatever runs begin and end meanwhile. */
function reportState(chart: TaskPaneSetup, does: Does) {
  return chart.createStateConfig({
    initial: 'boot',
    states: {
      boot: { on: { start: 'quiet' } },
      quiet: { always: { guard: 'news', target: 'told' } },
      told: { entry: does.report, after: { reportEvery: 'quiet' } },
    },
  });
}

function activeState(chart: TaskPaneSetup, shape: TaskPaneShape, does: Does) {
  return chart.createStateConfig({
    tags: ['busy'],
    initial: 'draining',
    on: {
      work: [
        {
          guard: ({ context, event }) => supersedes(shape, context, event),
          target: '.draining',
          actions: does.supersede,
        },
        { actions: [does.take, does.fill] },
      ],
      cancel: [{ guard: 'thisRun', target: '.cancelling', actions: does.dropAllQueued }, { actions: does.dropQueued }],
      close: { target: '#tasks.settled.cancelled', actions: does.close },
      pause: { actions: [does.wantPause, does.pauseRunning] },
      resume: { actions: [does.resume, does.resumeRunning, does.fill] },
    },
    states: {
      /** The bodies of an earlier run have to be gone before another may begin. */
      draining: {
        tags: [`phase.${shape.phase}`],
        entry: [does.announce, does.draining],
        always: [{ guard: 'unwound', target: 'working' }],
        after: { drainGrace: { target: '#tasks.settled.error', actions: does.stuck } },
        on: {
          work: [
            {
              guard: ({ context, event }) => supersedes(shape, context, event),
              target: 'draining',
              reenter: true,
              actions: does.supersede,
            },
            { actions: does.take },
          ],
          cancel: [
            { guard: 'thisRun', target: '#tasks.settled.cancelled', actions: does.cancelByUser },
            { actions: does.dropQueued },
          ],
          resume: { actions: does.resume },
          ...onTasks(does, []),
        },
      },
      working: workingState(chart, does),
      /** Acknowledged: the user has cancelled, and what was at work has not ended yet. */
      cancelling: {
        tags: ['phase.cancelling'],
        entry: does.announceCancelling,
        always: { guard: 'unwound', target: '#tasks.settled.cancelled', actions: does.endAsCancelled },
        after: { drainGrace: { target: '#tasks.settled.cancelled', actions: does.endAsCancelled } },
        on: {
          work: { actions: does.takeBehind },
          cancel: { actions: does.dropQueued },
          kept: { actions: does.keep },
          finished: { actions: does.finishSource },
          gone: { actions: does.dropSource },
          resume: { actions: does.resume },
        },
      },
    },
  });
}

function settledState(chart: TaskPaneSetup, does: Does) {
  const phase = (name: string) => chart.createStateConfig({ tags: [`phase.${name}`] });
  return chart.createStateConfig({
    tags: ['settled'],
    initial: 'idle',
    always: [
      { guard: 'pauseWanted', target: '#tasks.paused' },
      { guard: 'wanted', target: '#tasks.active', actions: does.startNext },
    ],
    on: {
      work: { guard: brings, target: '#tasks.active', actions: does.start },
      pause: { target: '#tasks.paused', actions: does.wantPause },
      finished: { actions: does.finishSource },
      gone: { actions: does.dropSource },
    },
    states: {
      idle: phase('idle'),
      updated: phase('updated'),
      unchanged: phase('unchanged'),
      cancelled: phase('cancelled'),
      error: phase('error'),
      /** Back to how the last run ended, after a pause without a run. */
      last: { type: 'history', history: 'shallow', target: 'idle' },
    },
  });
}

const brings = ({ event }: { event: TaskPaneEvent }) => event.type === 'work' && event.tasks.length > 0;

/** Paused, with or without a run: nothing begins until `resume`. What is to come stands here as a run, so that it is on record. */
function pausedState(chart: TaskPaneSetup, shape: TaskPaneShape, does: Does) {
  return chart.createStateConfig({
    tags: ['phase.paused'],
    entry: does.announcePaused,
    always: [
      { guard: ({ context }) => context.open && allOver(context), actions: [does.settleDone] },
      {
        guard: ({ context }) => !context.open && context.queue.length > 0,
        actions: [does.startNext, does.announcePaused],
      },
    ],
    on: {
      work: [
        {
          guard: ({ context, event }) => !context.open && brings({ event }),
          actions: [does.start, does.announcePaused],
        },
        {
          guard: ({ context, event }) => supersedes(shape, context, event),
          actions: [does.supersede, does.announcePaused],
        },
        { guard: 'open', actions: does.take },
      ],
      ...onTasks(does, []),
      kept: { actions: does.keep },
      cancel: [{ guard: 'thisRun', actions: does.cancelByUser }, { actions: does.dropQueued }],
      close: { actions: does.close },
      resume: [
        { guard: 'open', target: '#tasks.active', actions: does.resume },
        { target: '#tasks.settled.last', actions: does.resume },
      ],
    },
  });
}

/**
 * The statechart of a pane whose runs are made of tasks: which run is open, which tasks are at work and in what order the others begin, who
 * stands in line. Each task at work is a chart of its own. ARCHITECTURE.md, "Tasks".
 */
export function createTaskPaneMachine(shape: TaskPaneShape, stageLogic: StageLogic = idleStage) {
  const chart = setupTaskPane(createTaskMachine(shape, stageLogic));
  const does = paneActions(chart, shape);
  const settled = ['updated', 'unchanged', 'cancelled', 'error'] as const;
  return chart.createMachine({
    id: 'task-pane',
    type: 'parallel',
    context: ({ input }) => {
      const { paused, ...rest } = input;
      return { ...rest, pauseWanted: paused, pauseReason: null, refused: 0, cancelReason: 'user', actors: 0 };
    },
    on: {
      unwound: { actions: does.unwound },
      'task.options': { actions: does.adopt },
      'xstate.done.actor.*': { actions: does.forget },
    },
    states: {
      life: {
        id: 'tasks',
        initial: 'boot',
        states: {
          boot: {
            on: {
              start: [
                { guard: ({ context }) => context.taskBoot.at === 'paused', target: 'paused' },
                { guard: ({ context }) => context.taskBoot.at === 'work', target: 'active' },
                ...settled.map((phase) => ({
                  guard: ({ context }: { context: TaskPaneContext }) =>
                    context.taskBoot.at === 'settled' && context.taskBoot.phase === phase,
                  target: `settled.${phase}` as const,
                })),
                { target: 'settled' },
              ],
            },
          },
          settled: settledState(chart, does),
          active: activeState(chart, shape, does),
          paused: pausedState(chart, shape, does),
        },
      },
      report: reportState(chart, does),
    },
  });
}

export type TaskPaneMachine = ReturnType<typeof createTaskPaneMachine>;
