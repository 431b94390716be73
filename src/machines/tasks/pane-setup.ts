import { setup } from 'xstate';
import { drainGraceMs } from '../pane-setup.ts';
import { isOver, running } from './items.ts';
import type { TaskMachine } from './task.ts';
import type { TaskPaneContext, TaskPaneEmitted, TaskPaneEvent, TaskPaneInput } from './types.ts';

/** Least time between two reports of what becomes of tasks, ms: at most ten a second, also by a timer that is a little early. */
export const reportEveryMs = 105;

/** Names, types, guards and delays of the chart of every pane with tasks. */
export function setupTaskPane(task: TaskMachine) {
  return setup({
    types: {
      context: {} as TaskPaneContext,
      events: {} as TaskPaneEvent,
      emitted: {} as TaskPaneEmitted,
      input: {} as TaskPaneInput,
      tags: {} as `phase.${string}` | 'busy' | 'settled',
    },
    actors: { task },
    delays: { drainGrace: drainGraceMs, reportEvery: reportEveryMs },
    guards: {
      open: ({ context }) => context.open,
      wanted: ({ context }) => context.queue.length > 0,
      pauseWanted: ({ context }) => context.pauseWanted,
      unwound: ({ context }) => context.unwinding === 0,
      news: ({ context }) => context.changed.length > 0,
      standing: ({ context }) =>
        context.pauseWanted &&
        running(context.items).length === 0 &&
        !(allOver(context) && context.streaming.length === 0),
      thisRun: ({ context, event }) => event.type === 'cancel' && (event.run === null || event.run === context.run),
    },
  });
}

export type TaskPaneSetup = ReturnType<typeof setupTaskPane>;

/** Every task of the run has ended, and no more will come. */
export function allOver(context: TaskPaneContext): boolean {
  const sources = new Set(context.items.map(({ source }) => source));
  return context.items.every(isOver) && !context.streaming.some((message) => sources.has(message));
}
