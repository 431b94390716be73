import type { Planned } from '../../machines/decision.ts';
import { isOpen } from '../../machines/derive.ts';
import type { TaskPaneDefinition } from '../../panes/define-tasks.ts';
import { isPending } from '../../protocol/fold-tasks.ts';
import { limits } from '../../protocol/names.ts';
import type { JsonObject, PaneDeclaration, TaskChange } from '../../protocol/records.ts';
import type { State } from '../../protocol/state.ts';
import type { AnyPaneDefinition } from './body.ts';
import { maxTasksOf } from './pane-registry.ts';
import { tooLarge, type FailedValue } from './parts.ts';
import type { Reader } from './watches.ts';

type Definitions = ReadonlyMap<string, AnyPaneDefinition>;

/** The definition of a pane with tasks; undefined = it has none, or is not known here. */
function taskPane(definitions: Definitions, pane: string): TaskPaneDefinition | undefined {
  const definition = definitions.get(pane);
  return definition !== undefined && 'plan' in definition ? definition : undefined;
}

/** What a `pane.run` asks for, checked: its tasks have names of their own and fit in a record. */
export function planWork(
  definitions: Definitions,
  declared: { [pane: string]: PaneDeclaration },
  state: State,
  pane: string,
  input: JsonObject | null,
): Planned | undefined {
  const definition = taskPane(definitions, pane);
  const options = state.private.panes[pane]?.declaration ?? declared[pane];
  if (definition === undefined || options === undefined) return undefined;
  const { messages, panes } = state.view;
  const parts = panes[pane]?.parts ?? {};
  const plan = definition.plan(input, { messages, parts, tasks: inWork(state, pane), options });
  if ('refused' in plan) return plan;
  const problem = problemOf(plan.tasks);
  if (problem !== undefined) return { refused: problem };
  return { tasks: plan.tasks, joins: definition.joins ?? false, maxTasks: maxTasksOf(definition) };
}

/** Tasks of the open run and of the runs in line that have not ended. */
function inWork(state: State, pane: string): { id: string; key: string }[] {
  const view = state.view.panes[pane];
  const open = view !== undefined && isOpen(view) ? Object.values(view.tasks).filter(isPending) : [];
  const queued = state.private.panes[pane]?.queue.flatMap(({ tasks = [] }) => tasks) ?? [];
  return [...open, ...queued.filter(({ status }) => status !== 'cancelled')].map(({ id, key }) => ({
    id,
    key: key ?? '',
  }));
}

function problemOf(tasks: readonly TaskChange[]): string | undefined {
  if (tasks.length === 0) return 'expected something to do, got an input without any task';
  if (new Set(tasks.map(({ id }) => id)).size < tasks.length) return 'two tasks have the same name';
  for (const { id, input } of tasks) {
    const problem =
      id.length > limits.maxIdChars ? 'its name is too long' : tooLarge('its input', input ?? {}, limits.maxTaskBytes);
    if (problem !== undefined) return `task ${id.slice(0, 60)}: ${problem}`;
  }
  return undefined;
}

/** The task that tries once more what a part says has failed. */
export function planRetry(definitions: Definitions, state: State, pane: string, key: string): TaskChange | undefined {
  const part = state.view.panes[pane]?.parts[key];
  return part === undefined ? undefined : taskPane(definitions, pane)?.retry?.(key, part.value);
}

/** The panes that are on and read messages. */
export function readersOf(definitions: Definitions, state: State): Reader[] {
  return Object.entries(state.private.panes).flatMap(([pane, { declaration }]) => {
    const definition = declaration.enabled ? taskPane(definitions, pane) : undefined;
    if (definition?.watch === undefined) return [];
    return [{ pane, watch: (message) => definition.watch?.(message, declaration) }];
  });
}

/** What a failed task leaves in its part. */
export function failedValueOf(definitions: Definitions): FailedValue {
  return (pane, task, error) => taskPane(definitions, pane)?.failed?.(task, error);
}
