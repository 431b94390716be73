import { limits } from '../protocol/names.ts';
import type { CancelReason, Fact, JsonObject, PhaseFact, RunError } from '../protocol/records.ts';
import type {
  ChartOptions,
  NextRun,
  PaneContext,
  PaneEmitted,
  PaneEvent,
  PaneShape,
  StageFailure,
} from './pane-types.ts';

/** What a transition does: a change of the context and what is said. Steps are plain functions, so that the chart is only wiring. */
export interface Step {
  patch: Partial<PaneContext>;
  say: PaneEmitted[];
}

type Extra = Partial<
  Pick<PhaseFact, 'reason' | 'error' | 'supersededBy' | 'of' | 'input' | 'checkpoint' | 'content' | 'stage'>
>;

/** Identity of an announcement: the same twice is said once. */
export function announcement(run: string, generation: number, phase: string, attempt: number): string {
  return `${run} ${generation} ${phase} ${attempt}`;
}

function phaseFact(context: PaneContext, phase: string, extra: Extra): Fact {
  const { pane, run, generation, attempt } = context;
  return { type: 'pane.phase', pane, run, generation, phase, attempt, ...extra };
}

/** Says a phase of the current run, unless it was the last thing said. */
export function announce(context: PaneContext, phase: string, extra: Extra = {}, where: { stage?: string } = {}): Step {
  const announced = announcement(context.run, context.generation, phase, context.attempt);
  if (announced === context.announced && Object.keys(extra).length === 0) return { patch: {}, say: [] };
  return { patch: { announced }, say: [{ type: 'fact', fact: phaseFact(context, phase, { ...extra, ...where }) }] };
}

/** Says that another attempt follows after `retryInMs`; the gate, which has the clock, makes `retryAt` of it. */
export function announceRetry(context: PaneContext, error: RunError, retryInMs: number): Step {
  const announced = announcement(context.run, context.generation, 'retrying', context.attempt);
  return {
    patch: { announced, backoffMs: retryInMs },
    say: [{ type: 'fact', fact: phaseFact(context, 'retrying', { error }), retryInMs }],
  };
}

/** Says the one terminal phase of the current run; nothing when it has none open. */
export function settle(context: PaneContext, phase: string, extra: Extra = {}): Step {
  if (!context.open) return { patch: {}, say: [] };
  return {
    patch: { open: false, begun: false, announced: '', backoffMs: null, direct: false },
    say: [{ type: 'fact', fact: phaseFact(context, phase, extra) }],
  };
}

export function cancelled(context: PaneContext, reason: CancelReason, supersededBy?: string): Step {
  return settle(context, 'cancelled', supersededBy === undefined ? { reason } : { reason, supersededBy });
}

/** Takes up a new run. Its first phase is announced on entry of the state it starts in. */
export function begin(shape: PaneShape, context: PaneContext, next: NextRun, nowMs: number): Partial<PaneContext> {
  return {
    run: next.run,
    generation: next.generation,
    direct: next.direct,
    stage: next.direct ? shape.runFrom : firstStage(shape),
    attempt: 1,
    open: true,
    begun: false,
    announced: '',
    burstStartMs: null,
    nowMs,
    remainingMs: context.options.timeoutMs,
    sinceMs: null,
    retriesUsed: 0,
    backoffMs: null,
    kept: false,
    next: null,
  };
}

export function firstStage(shape: PaneShape): string {
  return shape.stages[0] ?? shape.runFrom;
}

/** The run that an `update` or `run` event proposes. */
export function proposed(event: PaneEvent & { type: 'update' | 'run' }): NextRun {
  return { run: event.run, generation: event.generation, direct: event.type === 'run' };
}

function accepted(context: PaneContext, event: PaneEvent, run: string): PaneEmitted[] {
  return event.type === 'run' ? [{ type: 'accepted', pane: context.pane, run }] : [];
}

function holdOf(event: PaneEvent & { type: 'update' | 'run' }): Partial<PaneContext> {
  return event.type === 'update' ? { hold: event.hold } : {};
}

/** Starts the run that the event proposes, after ending the open one as `superseded` (or as `user`, when it was being cancelled). */
export function startOver(
  shape: PaneShape,
  context: PaneContext,
  event: PaneEvent & { type: 'update' | 'run' },
  reason: CancelReason,
): Step {
  const ended = cancelled(context, reason, reason === 'superseded' ? event.run : undefined);
  // What still stands in a queue from an earlier policy is outdated as well: it must not come after this run.
  const outdated =
    context.options.policy === 'supersede' ? dropQueued(context, null, 'superseded') : { patch: {}, say: [] };
  return {
    patch: { ...ended.patch, ...outdated.patch, ...begin(shape, context, proposed(event), event.at), ...holdOf(event) },
    say: [...ended.say, ...outdated.say, ...accepted(context, event, event.run)],
  };
}

/** New options. A policy other than `queue` keeps at most one run in line, the newest: older ones would come after it. */
export function adopt(context: PaneContext, options: ChartOptions): Step {
  const newest = context.queue.at(-1);
  if (options.policy === 'queue' || newest === undefined) return { patch: { options }, say: [] };
  const older = context.queue.slice(0, -1).map(({ run }) => run);
  const dropped = sequence(context, ...older.map((run) => (now: PaneContext) => dropQueued(now, run, 'superseded')));
  return { patch: { ...dropped.patch, options }, say: dropped.say };
}

/** A run that has not begun work goes on with the newer generation; `pane.run` makes it start at once. */
export function move(shape: PaneShape, context: PaneContext, event: PaneEvent & { type: 'update' | 'run' }): Step {
  const direct = context.direct || event.type === 'run';
  return {
    patch: {
      generation: event.generation,
      direct,
      stage: direct ? shape.runFrom : firstStage(shape),
      nowMs: event.at,
      ...holdOf(event),
    },
    say: accepted(context, event, context.run),
  };
}

/** The policies other than supersede, while a run works: keep the newest (latest, reject) or line up (queue). */
export function keepForLater(context: PaneContext, event: PaneEvent & { type: 'update' | 'run' }): Step {
  const hold = holdOf(event);
  const waiting = context.queue.at(-1);
  const full = context.queue.length >= limits.maxQueuedRuns;
  const lineUp = context.options.policy === 'queue' ? !full : event.type === 'run' && waiting === undefined;
  if (lineUp) {
    return {
      patch: { queue: [...context.queue, proposed(event)], ...hold },
      say: [queued(context, event, event.run), ...accepted(context, event, event.run)],
    };
  }
  if (waiting === undefined) return { patch: { next: proposed(event), ...hold }, say: [] };
  const moved = { ...waiting, generation: event.generation, direct: waiting.direct || event.type === 'run' };
  return {
    // The transcript's move outlives a cancel of the run that it moves.
    patch: {
      queue: [...context.queue.slice(0, -1), moved],
      ...(event.type === 'update' ? { next: proposed(event) } : {}),
      ...hold,
    },
    say: event.type === 'run' ? [queued(context, event, waiting.run), ...accepted(context, event, waiting.run)] : [],
  };
}

function queued(context: PaneContext, event: PaneEvent & { type: 'update' | 'run' }, run: string): PaneEmitted {
  // An input marks the run as asked for by `pane.run`, also after a restart.
  const extra = event.type === 'run' ? { input: {}, ...inputOf(event) } : {};
  const { pane } = context;
  const { generation } = event;
  return { type: 'fact', fact: { type: 'pane.phase', pane, run, generation, phase: 'queued', attempt: 1, ...extra } };
}

export function inputOf(event: PaneEvent): { input?: JsonObject; of?: string } {
  const extra: { input?: JsonObject; of?: string } = {};
  if ((event.type === 'run' || event.type === 'resume') && event.input !== undefined) extra.input = event.input;
  if (event.type === 'run' && event.of !== undefined) extra.of = event.of;
  return extra;
}

/** Ends queued runs: one, or (run null) all of them, and forgets what was to come. */
export function dropQueued(context: PaneContext, run: string | null, reason: CancelReason): Step {
  const dropped = context.queue.filter((queued) => run === null || queued.run === run);
  const say = dropped.map((queued): PaneEmitted => {
    const { run, generation } = queued;
    return {
      type: 'fact',
      fact: { type: 'pane.phase', pane: context.pane, run, generation, phase: 'cancelled', attempt: 1, reason },
    };
  });
  return {
    patch: {
      queue: context.queue.filter((queued) => !dropped.includes(queued)),
      ...(run === null ? { next: null } : {}),
    },
    say,
  };
}

/** Takes up the run that waits longest, queued before latest. */
export function startNext(shape: PaneShape, context: PaneContext): Step {
  const [first, ...queue] = context.queue;
  const next = first ?? context.next;
  if (next === null || next === undefined) return { patch: {}, say: [] };
  return { patch: { ...begin(shape, context, next, context.nowMs), queue }, say: [] };
}

/** How long to stay in debouncing, ms: quiet time, but no longer than `debounceMaxMs` after the burst began. */
export function debounceDelayMs(context: PaneContext): number {
  const { debounceMs, debounceMaxMs } = context.options;
  const latest = (context.burstStartMs ?? context.nowMs) + debounceMaxMs;
  return Math.max(0, Math.min(debounceMs, latest - context.nowMs));
}

/** What is left of the run's timeout at `atMs`. */
export function spend(context: PaneContext, atMs: number): Partial<PaneContext> {
  if (context.sinceMs === null) return {};
  return { remainingMs: Math.max(0, context.remainingMs - Math.max(0, atMs - context.sinceMs)), sinceMs: null };
}

/** 250 ms · 2ⁿ with full jitter, at most 8 s; or what the provider asked for. */
export function backoffMs(context: PaneContext, failure: StageFailure | null): number {
  if (failure?.retryAfterMs !== undefined) return failure.retryAfterMs;
  return retryDelayMs(context.retriesUsed, context.jitter);
}

/** The wait before the next attempt after `retriesUsed` retries; `jitter` in [0, 1). */
export function retryDelayMs(retriesUsed: number, jitter: number): number {
  return Math.round(Math.min(8_000, 250 * 2 ** retriesUsed) * jitter);
}

/** Another attempt is worth it: retryable, retries left, nothing of the run on record yet, and the wait fits in the run's timeout. */
export function mayRetry(context: PaneContext, failure: StageFailure | null, atMs: number | null): boolean {
  if (context.kept || context.retriesUsed >= context.options.retries) return false;
  if (failure !== null && !failure.error.retryable) return false;
  const left = atMs === null ? context.remainingMs : (spend(context, atMs).remainingMs ?? context.remainingMs);
  return backoffMs(context, failure) < left;
}

/** Where a failing stage ends: a failed picture keeps the old one. */
export function failPhase(shape: PaneShape, context: PaneContext): 'error' | 'imaging_failed' {
  return shape.imaging.includes(context.stage) ? 'imaging_failed' : 'error';
}

export function fail(shape: PaneShape, context: PaneContext, error: RunError): Step {
  return settle(context, failPhase(shape, context), { error });
}

/** Runs several steps, each seeing what the one before changed. */
export function sequence(context: PaneContext, ...steps: ((context: PaneContext) => Step)[]): Step {
  let patch: Partial<PaneContext> = {};
  const say: PaneEmitted[] = [];
  for (const step of steps) {
    const result = step({ ...context, ...patch });
    patch = { ...patch, ...result.patch };
    say.push(...result.say);
  }
  return { patch, say };
}
