import type { PaneView } from './view.ts';

/** How far a run with tasks is, from its own records only. */
export interface Progress {
  done: number;
  total: number;
  /** `done / total`; null as long as there is no total. */
  ratio: number | null;
  /** What is left, ms, if the rest takes as long as what has ended: null before one task has succeeded, and when nothing is left. */
  leftMs: number | null;
}

/** The progress of a pane's current run. Never a made-up figure: without a total no ratio, without a task that succeeded no time. */
export function progressOf({ tasks, counts }: Pick<PaneView, 'tasks' | 'counts'>, nowMs: number): Progress {
  const { done = 0, total = 0, pending = 0 } = counts ?? {};
  const spans = Object.values(tasks).flatMap(({ status, startedAt, endedAt }) =>
    startedAt === undefined || endedAt === undefined || status !== 'succeeded'
      ? []
      : [{ from: Date.parse(startedAt), to: Date.parse(endedAt) }],
  );
  const ratio = total === 0 ? null : done / total;
  if (spans.length === 0 || pending === 0) return { done, total, ratio, leftMs: null };
  // From the first start on: several at the same time make the whole faster, and a pause makes it slower.
  const perTaskMs =
    (Math.max(...spans.map(({ to }) => to)) - Math.min(...spans.map(({ from }) => from))) / spans.length;
  const sinceMs = Math.max(0, nowMs - Math.max(...spans.map(({ to }) => to)));
  return { done, total, ratio, leftMs: Math.max(0, Math.round(perTaskMs * pending - Math.min(sinceMs, perTaskMs))) };
}
