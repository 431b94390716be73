import { isTerminal } from '../../protocol/names.ts';
import type { PaneDeclaration, TaskChange } from '../../protocol/records.ts';
import type { State } from '../../protocol/state.ts';
import type { PaneView } from '../../protocol/view.ts';
import { isOpen } from '../derive.ts';
import { announcement } from '../pane-steps.ts';
import { itemsOf } from './items.ts';
import type { QueuedWork, TaskBoot, TaskOptions, TaskPaneInput } from './types.ts';

/** What the chart of a pane with tasks starts from: one pure function of the state, whatever it starts after. */
export function recoverTasks(state: State, name: string, unwinding = 0): TaskPaneInput | undefined {
  const view = state.view.panes[name];
  const pane = state.private.panes[name];
  if (view === undefined || pane === undefined) return undefined;
  const taskBoot = bootOf(view);
  const open = isOpen(view);
  const items = itemsOf(Object.values(view.tasks));
  const stopped = open ? items.filter(({ id }) => view.tasks[id]?.status === 'running') : [];
  return {
    session: state.view.session,
    pane: name,
    options: taskOptions(pane.declaration),
    taskBoot,
    run: view.run ?? '',
    generation: view.generation,
    // A run that was at work goes on in another attempt; one that stands still has kept its own.
    attempt: taskBoot.at === 'work' ? view.attempt + 1 : view.attempt,
    open,
    announced: open && view.run !== null ? announcement(view.run, view.generation, view.phase, view.attempt) : '',
    items,
    queue: queueOf(pane.queue),
    // Nobody reads for a pane that is off.
    streaming: pane.declaration.enabled ? Object.keys(state.private.open) : [],
    paused: view.paused,
    unwinding,
    // What was at work when the process ended is not any more.
    changed: stopped.map(({ id, attempt }) => ({ id, status: 'queued', attempt })),
  };
}

/** Which of several runs in line is next: the one with the task that somebody put first, else as they came. */
function queueOf(queue: readonly { run: string; generation: number; tasks?: TaskChange[] }[]): QueuedWork[] {
  const rankOf = ({ items }: QueuedWork) => Math.min(0, ...items.map(({ rank }) => rank));
  return queue
    .map(({ run, generation, tasks = [] }) => ({ run, generation, items: itemsOf(tasks) }))
    .toSorted((a, b) => rankOf(a) - rankOf(b));
}

function bootOf(view: PaneView): TaskBoot {
  if (isOpen(view)) return view.paused ? { at: 'paused' } : { at: 'work' };
  return view.paused ? { at: 'paused' } : { at: 'settled', phase: isTerminal(view.phase) ? view.phase : 'idle' };
}

/** The options that the charts read. */
export function taskOptions(options: PaneDeclaration): TaskOptions {
  const { policy, idleTimeoutMs, retries, taskTimeoutMs = 300_000, parallel = 1 } = options;
  return { policy, idleTimeoutMs, retries, taskTimeoutMs, parallel };
}
