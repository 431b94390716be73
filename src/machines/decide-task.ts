import { isPending } from '../protocol/fold-tasks.ts';
import type { CommandOf } from '../protocol/commands.ts';
import { limits } from '../protocol/names.ts';
import type { Task, TaskChange } from '../protocol/records.ts';
import { utf8Bytes } from '../protocol/text.ts';
import type { State } from '../protocol/state.ts';
import type { PaneView } from '../protocol/view.ts';
import { refuse, doNothing, type Decision, type Knowledge, type Planned } from './decision.ts';
import { isOpen } from './derive.ts';

type TaskCommand = CommandOf<'task.cancel' | 'task.retry' | 'task.prioritize'>;

/** What a command does to one task. PROTOCOL section 4. */
export function decideTask(state: State, command: TaskCommand, known: Knowledge): Decision {
  const { pane, task } = command;
  const view = state.view.panes[pane];
  if (view === undefined) return refuse('NOT_FOUND', `no pane ${pane} in this session`);
  const queued =
    state.private.panes[pane]?.queue.some(({ tasks = [] }) => tasks.some(({ id }) => id === task)) === true;
  const found = view.tasks[task];
  if (command.type === 'task.retry') return decideRetry(state, command, found, queued, known);
  if (found === undefined && !queued) return refuse('NOT_FOUND', `no task ${task} in pane ${pane}`);
  if (!queued && (found === undefined || !isPending(found) || !isOpen(view))) return doNothing;
  return { kind: 'do', events: [{ type: 'tell', pane, event: { type: command.type, task } }], spawn: [pane] };
}

function decideRetry(
  state: State,
  command: TaskCommand,
  found: Task | undefined,
  queued: boolean,
  known: Knowledge,
): Decision {
  const { pane, task } = command;
  const view = state.view.panes[pane];
  if (view === undefined || queued) return doNothing;
  if (found?.status === 'succeeded')
    return refuse('CONFLICT', `task ${task} has succeeded: pane.run makes something anew`, { data: { task } });
  if (found !== undefined && isOpen(view) && view.phase !== 'cancelling') {
    if (isPending(found)) return doNothing;
    return { kind: 'do', events: [{ type: 'tell', pane, event: { type: 'task.retry', task } }], spawn: [pane] };
  }
  const left = state.private.panes[pane]?.left?.findLast((one) => one.task.id === task);
  const old = found ?? left?.task;
  const again = old === undefined ? known.retry(pane, task) : againOf(old);
  if (again === undefined) return refuse('NOT_FOUND', `no task ${task} in pane ${pane}`);
  const of = found === undefined && left !== undefined ? left.run : (view.run ?? undefined);
  return decideWork(state, pane, { tasks: [again], joins: false, maxTasks: 1 }, known, of);
}

/** A task that has failed or was cancelled, for another run: it goes on where it was. */
function againOf({ id, label, key, input, attempt, stage, checkpoint }: Task): TaskChange {
  return {
    id,
    label,
    key,
    input,
    status: 'queued',
    attempt: attempt + 1,
    ...(stage === undefined ? {} : { stage }),
    ...(checkpoint === undefined ? {} : { checkpoint }),
  };
}

/** Gives tasks to a pane: whether they join a run, stand in line or take over is its chart's decision. Refused is what cannot fit or may not. */
export function decideWork(
  state: State,
  pane: string,
  { tasks, joins, maxTasks }: Extract<Planned, { tasks: unknown }>,
  known: Knowledge,
  of?: string,
): Decision {
  const view = state.view.panes[pane];
  const own = state.private.panes[pane];
  const declaration = own?.declaration ?? known.panes[pane];
  if (declaration === undefined) return refuse('NOT_FOUND', `no pane ${pane} in this session`);
  const busy = view !== undefined && isOpen(view);
  const taken = keysTaken(view, own?.queue ?? []);
  const clash = tasks.map(({ key }) => key ?? '').find((key) => taken.has(key));
  // The names of its tasks are taken, and nothing joins a run that is being cancelled.
  const open = view?.phase !== 'cancelling' && tasks.every(({ id }) => view?.tasks[id] === undefined);
  const joining = busy && joins && open && clash === undefined;
  if (busy && !joining && declaration.policy === 'reject') {
    const what = clash === undefined ? '' : `; somebody is writing ${clash}`;
    return refuse('CONFLICT', `pane ${pane} is busy with run ${view.run ?? ''}${what}`, { data: { run: view.run } });
  }
  const there = joining ? Object.keys(view.tasks).length : 0;
  if (there + tasks.length > maxTasks)
    return refuse(
      'OVERLOADED',
      `a run of pane ${pane} may have ${maxTasks} tasks; asked for ${tasks.length}, it has ${there}`,
    );
  const bytes = utf8Bytes(JSON.stringify(tasks));
  if (bytes > limits.maxWorkBytes)
    return refuse(
      'TOO_LARGE',
      `all tasks of a command may have ${limits.maxWorkBytes} bytes together, these have ${bytes}`,
    );
  const lines = busy && !joining && declaration.policy === 'queue';
  if (lines && view.queued.length >= limits.maxQueuedRuns)
    return refuse('OVERLOADED', `${view.queued.length} runs of pane ${pane} are queued already`, {
      retryAfterMs: 5_000,
    });
  const { generation } = state.view;
  const work = { type: 'work', run: known.ids.run, generation, tasks, asked: true } as const;
  return {
    kind: 'do',
    // Its first `pane.run` turns such a pane on.
    ...(own === undefined ? { declare: { [pane]: { ...declaration, enabled: true } } } : {}),
    events: [{ type: 'tell', pane, event: of === undefined ? work : { ...work, of } }],
    spawn: [pane],
  };
}

/** Parts that somebody is to write, in the open run or in line. */
function keysTaken(view: PaneView | undefined, queue: readonly { tasks?: TaskChange[] }[]): Set<string> {
  const open = view !== undefined && isOpen(view) ? Object.values(view.tasks).filter(isPending) : [];
  const waiting = queue.flatMap(({ tasks = [] }) => tasks.filter(({ status }) => status !== 'cancelled'));
  return new Set([...open, ...waiting].map(({ key }) => key ?? '').filter((key) => key !== ''));
}
