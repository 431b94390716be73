import type { TaskItem, TaskPaneContext, TaskPaneEmitted, TaskPaneEvent } from './types.ts';

/** What a transition does: a change of the context, what is said, and whose actors are stopped. Plain functions: the chart is only wiring. */
export interface TaskStep {
  patch: Partial<TaskPaneContext>;
  say: TaskPaneEmitted[];
  stop: TaskItem[];
}

export type WorkEvent = TaskPaneEvent & { type: 'work' };

export const nothing: TaskStep = { patch: {}, say: [], stop: [] };

export const step = (
  patch: Partial<TaskPaneContext>,
  say: TaskPaneEmitted[] = [],
  stop: TaskItem[] = [],
): TaskStep => ({
  patch,
  say,
  stop,
});

/** Runs several steps, each seeing what the one before changed. */
export function sequence(context: TaskPaneContext, ...steps: ((context: TaskPaneContext) => TaskStep)[]): TaskStep {
  let all = nothing;
  for (const next of steps) {
    const { patch, say, stop } = next({ ...context, ...all.patch });
    all = { patch: { ...all.patch, ...patch }, say: [...all.say, ...say], stop: [...all.stop, ...stop] };
  }
  return all;
}
