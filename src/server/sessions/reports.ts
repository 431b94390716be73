import { isTerminal } from '../../protocol/names.ts';
import type { LiveWait } from '../../protocol/frames.ts';
import type { JsonObject, Rec, Task, TaskChange } from '../../protocol/records.ts';
import type { State } from '../../protocol/state.ts';
import type { Metrics } from '../telemetry.ts';

/** The line of this session in the list of sessions. */
export function summary(state: State): JsonObject {
  const panes: JsonObject = {};
  for (const [name, { phase, queued, counts }] of Object.entries(state.view.panes))
    panes[name] = {
      phase,
      queued: queued.length,
      ...(counts === null ? {} : { done: counts.done, total: counts.total }),
    };
  return { generation: state.view.generation, panes };
}

/** What panes wait for: what their calls say, and when the next attempt begins. */
export function waitsOf(state: State, live: { [pane: string]: LiveWait }): { [pane: string]: LiveWait } {
  const waits = { ...live };
  for (const [name, pane] of Object.entries(state.view.panes)) {
    const until = pane.phase === 'retrying' ? pane.retryAt : Object.values(pane.tasks).find(isBackingOff)?.retryAt;
    if (waits[name] === undefined && until != null) waits[name] = { reason: 'backoff', until };
  }
  return waits;
}

function isBackingOff({ status, retryAt }: Task): boolean {
  return status === 'running' && retryAt !== undefined;
}

/** What a record says of tasks. (Those that a run's end cancels are told by the run.) */
function tasksOf(record: Rec): (TaskChange & { pane: string })[] {
  const tasks =
    record.type === 'tasks' || record.type === 'pane.phase'
      ? (record.tasks ?? [])
      : record.type === 'pane.content' && record.task !== undefined
        ? [record.task]
        : [];
  return 'pane' in record ? tasks.map((task) => ({ ...task, pane: record.pane })) : [];
}

/** Counts what a record says of a run. */
export function measure({ metrics }: { metrics: Metrics }, record: Rec, before: State): void {
  for (const task of tasksOf(record))
    if (task.status === 'succeeded' || task.status === 'failed' || task.status === 'cancelled')
      metrics.tasks.with({ pane: task.pane, outcome: task.status }).add();
  if (record.type !== 'pane.phase') return;
  const { pane, phase } = record;
  const old = before.view.panes[pane];
  if (old?.since !== undefined && old.since !== null && old.run === record.run) {
    metrics.phaseSeconds
      .with({ pane, phase: old.phase })
      .observe((Date.parse(record.at) - Date.parse(old.since)) / 1_000);
  }
  if (!isTerminal(phase)) return;
  metrics.runs.with({ pane, outcome: phase }).add();
  if (record.reason === 'superseded') metrics.superseded.with({ pane }).add();
}
