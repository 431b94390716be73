import type { TaskPaneEmitted } from '../../machines/tasks/types.ts';
import { limits } from '../../protocol/names.ts';
import type { Fact, Json, PhaseFact, RunError, Task, TaskChange } from '../../protocol/records.ts';
import type { State } from '../../protocol/state.ts';

type Commit = Extract<TaskPaneEmitted, { type: 'commit' }>;
type Failed = Extract<TaskPaneEmitted, { type: 'failed' }>;

/** What a failed task leaves in its part; undefined = nothing. */
export type FailedValue = (pane: string, task: Task, error: RunError) => Json | undefined;

/** The record of a part that a task has made: the next version of it. */
export function contentFact(state: State, { pane, run, key, value, task }: Commit): Fact {
  const version = (state.view.panes[pane]?.parts[key]?.version ?? 0) + 1;
  return { type: 'pane.content', pane, run, key, value, version, task };
}

/** The record of a task that has failed for good. What is there already stays: a failure never takes the place of a good part. */
export function failedFact(state: State, { pane, run, key, task }: Failed, failedValue: FailedValue): Fact {
  const view = state.view.panes[pane];
  const known = view?.tasks[task.id];
  const value = known === undefined || task.error == null ? undefined : failedValue(pane, known, task.error);
  const old = view?.parts[key];
  if (value === undefined || (old !== undefined && !isFailed(old.value)))
    return { type: 'tasks', pane, run, tasks: [task] };
  return contentFact(state, { type: 'commit', pane, run, key, value, task });
}

function isFailed(value: Json): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && value['status'] === 'failed';
}

/** A run that has stood in line says with its first phase what it is made of. */
export function withQueuedTasks(state: State, fact: PhaseFact): PhaseFact {
  if (fact.phase === 'queued' || state.view.panes[fact.pane]?.run === fact.run) return fact;
  const queued = state.private.panes[fact.pane]?.queue.find(({ run }) => run === fact.run)?.tasks;
  if (queued === undefined || fact.phase === 'cancelled') return fact;
  const tasks = new Map<string, TaskChange>(queued.map((task) => [task.id, task]));
  for (const task of fact.tasks ?? []) tasks.set(task.id, { ...tasks.get(task.id), ...task });
  return { ...fact, tasks: [...tasks.values()] };
}

/** Why a task's result cannot be kept; undefined = it can. */
export function tooLarge(
  what: string,
  value: Json | undefined,
  maxBytes: number = limits.maxPartBytes,
): string | undefined {
  if (value === undefined) return undefined;
  const bytes = Buffer.byteLength(JSON.stringify(value));
  return bytes <= maxBytes
    ? undefined
    : `${what} has ${bytes} bytes, expected at most ${maxBytes}: keep long texts as assets`;
}
