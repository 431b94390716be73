import type { Fact, JsonObject, PhaseFact, TaskChange } from '../../protocol/records.ts';
import { announcement } from '../pane-steps.ts';
import { type TaskStep, nothing, step } from './step.ts';
import type { TaskPaneContext, TaskPaneEmitted, TaskPaneEvent } from './types.ts';

export type Extra = Partial<Pick<PhaseFact, 'reason' | 'error' | 'supersededBy' | 'of' | 'input'>>;

/** A phase of the current run, with what is new about its tasks. */
export function phase(context: TaskPaneContext, name: string, extra: Extra = {}): TaskPaneEmitted {
  const { pane, run, generation, attempt, changed } = context;
  const tasks = changed.length === 0 ? {} : { tasks: changed };
  return {
    type: 'fact',
    fact: { type: 'pane.phase', pane, run, generation, phase: name, attempt, ...extra, ...tasks },
  };
}

/** Says a phase, unless it was the last thing said and there is nothing new to say. */
export function announce(context: TaskPaneContext, name: string, extra: Extra = {}): TaskStep {
  const announced = announcement(context.run, context.generation, name, context.attempt);
  if (announced === context.announced && context.changed.length === 0 && Object.keys(extra).length === 0)
    return nothing;
  return step({ announced, changed: [] }, [phase(context, name, extra)]);
}

/** News of tasks, on record at once, with whatever waits to be said. */
export function tell(context: TaskPaneContext, ...changes: TaskChange[]): TaskStep {
  const changed = changes.reduce(merge, context.changed);
  return changed.length === 0 ? nothing : step({ changed: [] }, [tasksFact(context, context.run, changed)]);
}

export function tasksFact({ pane }: TaskPaneContext, run: string, tasks: TaskChange[]): TaskPaneEmitted {
  const fact: Fact = { type: 'tasks', pane, run, tasks };
  return { type: 'fact', fact };
}

/** News of a task that may wait for the next report. */
export function note(context: TaskPaneContext, change: TaskChange): TaskStep {
  return step({ changed: merge(context.changed, change) });
}

function merge(changed: readonly TaskChange[], change: TaskChange): TaskChange[] {
  const old = changed.find(({ id }) => id === change.id);
  return old === undefined
    ? [...changed, change]
    : changed.map((other) => (other === old ? { ...old, ...change } : other));
}

/** A task has begun. */
export function noteStart(context: TaskPaneContext, id: string, attempt: number): TaskStep {
  return note(context, { id, status: 'running', attempt, retryAt: null });
}

/** Says what has gathered. */
export function report(context: TaskPaneContext): TaskStep {
  return tell(context);
}

/** What is said of one task in a record of its own: what waits to be said of it goes along, the rest goes on waiting. */
export function takeNews(
  context: TaskPaneContext,
  change: TaskChange,
): { task: TaskChange; rest: Partial<TaskPaneContext> } {
  const waiting = context.changed.find(({ id }) => id === change.id);
  return { task: { ...waiting, ...change }, rest: { changed: context.changed.filter((other) => other !== waiting) } };
}

export function wantPause(context: TaskPaneContext, reason: string | null): TaskStep {
  if (context.pauseWanted) return nothing;
  const fact: Fact = { type: 'pane.paused', pane: context.pane, paused: true };
  return step({ pauseWanted: true, pauseReason: reason }, [{ type: 'fact', fact }]);
}

export function resume(context: TaskPaneContext): TaskStep {
  if (!context.pauseWanted) return nothing;
  const fact: Fact = { type: 'pane.paused', pane: context.pane, paused: false };
  return step({ pauseWanted: false, pauseReason: null }, [{ type: 'fact', fact }]);
}

/** The phase that a run goes on in after a pause, with what the person said. */
export function inputOf(event: TaskPaneEvent): { input?: JsonObject; of?: string } {
  if (event.type === 'resume' && event.input !== undefined) return { input: event.input };
  return event.type === 'work' && event.of !== undefined ? { of: event.of } : {};
}
