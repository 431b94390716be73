import { sendParent, setup } from 'xstate';
import type { RunError } from '../../protocol/records.ts';
import { idleStage, type StageLogic } from '../pane-setup.ts';
import { retryDelayMs } from '../pane-steps.ts';
import type { StageFailure } from '../pane-types.ts';
import type { TaskEvent, TaskOutcome, TaskPaneShape, TaskReport, TaskStart } from './types.ts';

/** Control state of one task at work. */
export interface TaskControl extends TaskStart {
  pauseWanted: boolean;
  /** The body of a stage is at work. */
  working: boolean;
  /** What is left of the task's time, ms, as of `sinceMs` (null: the clock has not begun to count). */
  remainingMs: number;
  sinceMs: number | null;
  retriesUsed: number;
  backoffMs: number;
  jitter: number;
}

function setupTask(stageLogic: StageLogic) {
  return setup({
    types: {
      context: {} as TaskControl,
      events: {} as TaskEvent,
      input: {} as TaskStart,
      tags: {} as `stage.${string}`,
    },
    actors: { stage: stageLogic },
    delays: {
      timeout: ({ context }) => context.remainingMs,
      idleTimeout: ({ context }) => context.options.idleTimeoutMs,
      backoff: ({ context }) => context.backoffMs,
    },
    guards: {
      pauseWanted: ({ context }) => context.pauseWanted,
      mayRetry: ({ context, event }) => mayRetry(context, event),
    },
  });
}

type TaskSetup = ReturnType<typeof setupTask>;
type Told = { context: TaskControl; event: TaskEvent };

/** A report of the current attempt; anything else is late. */
function isCurrent({ context, event }: Told): boolean {
  return (
    (event.type === 'stage.done' || event.type === 'stage.failed') &&
    event.run === context.run &&
    event.attempt === context.attempt
  );
}

function resultOf(event: TaskEvent): TaskOutcome | null {
  return event.type === 'stage.done' ? event.result : null;
}

function failureOf(context: TaskControl, event: TaskEvent): StageFailure {
  if (event.type === 'stage.failed') return event.failure;
  const message = `no byte for ${context.options.idleTimeoutMs} ms`;
  return { error: { code: 'idle_timeout', message, retryable: true } };
}

/** What is left of the task's time at an event that says when it is. */
function leftMs({ remainingMs, sinceMs }: TaskControl, event: TaskEvent): number {
  return sinceMs === null || !('at' in event)
    ? remainingMs
    : Math.max(0, remainingMs - Math.max(0, event.at - sinceMs));
}

function backoffOf(context: TaskControl, event: TaskEvent): number {
  const { retryAfterMs } = failureOf(context, event);
  return retryAfterMs ?? retryDelayMs(context.retriesUsed, context.jitter);
}

/** Another attempt is worth it: retryable, retries left, and the wait fits in the task's time. */
function mayRetry(context: TaskControl, event: TaskEvent): boolean {
  if (context.retriesUsed >= context.options.retries) return false;
  const { error } = failureOf(context, event);
  return error.retryable && backoffOf(context, event) < leftMs(context, event);
}

/** Tells the pane. `left`: this way out stops the body of a stage. */
function tell(chart: TaskSetup, report: (context: TaskControl, event: TaskEvent) => TellableReport) {
  return chart.createAction(
    sendParent(({ context, event }: Told) => {
      const { task, serial } = context;
      return { task, serial, ...report(context, event) };
    }),
  );
}

type Without<T> = T extends unknown ? Omit<T, 'task' | 'serial'> : never;
type TellableReport = Without<TaskReport>;

const fail = (error: RunError, left: boolean): TellableReport => ({ type: 'task.failed', left, error });

/** One stage: its body as an invoked actor, its reports as guarded transitions. */
function stageState(chart: TaskSetup, name: string, following: string | undefined) {
  const checkpointOf = (event: TaskEvent) => {
    const result = resultOf(event);
    return result?.outcome === 'next' && result.checkpoint !== undefined ? { checkpoint: result.checkpoint } : {};
  };
  const next = (told: Told) => isCurrent(told) && resultOf(told.event)?.outcome === 'next';
  const internal = (message: string) => tell(chart, () => fail({ code: 'internal', message, retryable: false }, false));
  const goOn =
    following === undefined
      ? []
      : [
          {
            guard: (told: Told) => next(told) && told.context.pauseWanted,
            target: '#task.over',
            actions: tell(chart, ({ attempt }, event) => ({
              type: 'task.parked',
              left: false,
              stage: following,
              attempt,
              ...checkpointOf(event),
            })),
          },
          {
            guard: next,
            target: following,
            actions: tell(chart, ({ attempt }, event) => ({
              type: 'task.stage',
              stage: following,
              attempt,
              ...checkpointOf(event),
            })),
          },
        ];
  const failNow = tell(chart, (context, event) => fail(failureOf(context, event).error, event.type === 'silent'));
  return chart.createStateConfig({
    tags: [`stage.${name}`],
    entry: chart.assign({ stage: name, working: true }),
    invoke: {
      id: 'stage',
      src: 'stage',
      input: ({ context: { session, pane, run, generation, attempt, task } }) => ({
        session,
        pane,
        run,
        generation,
        attempt,
        stage: name,
        task,
      }),
      onError: { target: '#task.over', actions: internal(`stage ${name} could not start`) },
    },
    on: {
      'stage.done': [
        ...goOn,
        {
          guard: (told) => isCurrent(told) && resultOf(told.event)?.outcome === 'done',
          target: '#task.over',
          actions: tell(chart, (_, event) => {
            const result = resultOf(event);
            return { type: 'task.done', result: result?.outcome === 'done' ? result : { outcome: 'done' } };
          }),
        },
        { guard: isCurrent, target: '#task.over', actions: internal(`stage ${name} is the last and has no next`) },
      ],
      'stage.failed': [
        { guard: (told) => isCurrent(told) && mayRetry(told.context, told.event), target: 'retrying' },
        { guard: isCurrent, target: '#task.over', actions: failNow },
      ],
      silent: [
        { guard: 'mayRetry', target: 'retrying' },
        { target: '#task.over', actions: failNow },
      ],
    },
  });
}

/** Waits before the next attempt. A pause takes effect here at once. */
function retryingState(chart: TaskSetup) {
  const park = tell(chart, ({ stage, attempt }) => ({ type: 'task.parked', left: false, stage, attempt: attempt + 1 }));
  return chart.createStateConfig({
    entry: [
      chart.assign(({ context, event }) => ({ backoffMs: backoffOf(context, event), working: false })),
      tell(chart, (context, event) => ({
        type: 'task.retrying',
        left: event.type === 'silent',
        attempt: context.attempt,
        error: failureOf(context, event).error,
        retryAt: event.type === 'stage.failed' ? new Date(event.at + context.backoffMs).toISOString() : null,
      })),
    ],
    always: { guard: 'pauseWanted', target: '#task.over', actions: park },
    after: {
      backoff: {
        target: 'enter',
        actions: [
          chart.assign(({ context }) => ({ attempt: context.attempt + 1, retriesUsed: context.retriesUsed + 1 })),
          tell(chart, ({ stage, attempt }) => ({ type: 'task.stage', stage, attempt })),
        ],
      },
    },
    on: { pause: { target: '#task.over', actions: park } },
  });
}

/** The task's one clock, which stands still in a queue for a slot. */
function clockState(chart: TaskSetup) {
  const timedOut = tell(chart, ({ options, working }) =>
    fail({ code: 'timeout', message: `not done after ${options.taskTimeoutMs} ms`, retryable: true }, working),
  );
  const goOn = chart.assign(({ event }) => ('at' in event ? { sinceMs: event.at } : {}));
  return chart.createStateConfig({
    initial: 'running',
    states: {
      running: {
        after: { timeout: { target: '#task.over', actions: timedOut } },
        on: {
          'stage.started': {
            actions: chart.assign(({ context, event }) =>
              event.type === 'stage.started' ? { sinceMs: context.sinceMs ?? event.at, jitter: event.jitter } : {},
            ),
          },
          held: {
            target: 'held',
            actions: chart.assign(({ context, event }) => ({
              remainingMs: leftMs(context, event),
              sinceMs: null,
            })),
          },
        },
      },
      // In a queue for a slot: nothing has been asked of the provider, so a pause need not wait for the end of the stage.
      held: {
        on: {
          pause: {
            target: '#task.over',
            actions: tell(chart, ({ stage, attempt }) => ({ type: 'task.parked', left: true, stage, attempt })),
          },
          granted: { target: 'running', actions: goOn },
          'stage.failed': 'running',
          silent: 'running',
        },
      },
    },
  });
}

/** Whether bytes keep coming, once they have begun to. */
function streamState(chart: TaskSetup) {
  return chart.createStateConfig({
    initial: 'quiet',
    states: {
      quiet: { on: { heard: 'listening' } },
      listening: {
        after: { idleTimeout: { target: 'quiet', actions: chart.raise({ type: 'silent' }) } },
        on: {
          heard: { target: 'listening', reenter: true },
          held: 'quiet',
          'stage.done': 'quiet',
          'stage.failed': 'quiet',
        },
      },
    },
  });
}

/**
 * The statechart of one task at work: its stages, its retries, its clock. It is spawned by its pane when the task begins, tells the pane
 * what becomes of it, and is over when it has ended, failed or stands still for a pause. To cancel it the pane stops it.
 */
export function createTaskMachine(shape: TaskPaneShape, stageLogic: StageLogic = idleStage) {
  const chart = setupTask(stageLogic);
  const stages = Object.fromEntries(
    shape.stages.map((name, index) => [name, stageState(chart, name, shape.stages[index + 1])]),
  );
  return chart.createMachine({
    id: 'task',
    context: ({ input }) => ({
      ...input,
      pauseWanted: false,
      working: false,
      remainingMs: input.options.taskTimeoutMs,
      sinceMs: null,
      retriesUsed: 0,
      backoffMs: 0,
      jitter: 0.5,
    }),
    initial: 'work',
    states: {
      work: {
        type: 'parallel',
        on: {
          pause: { actions: chart.assign({ pauseWanted: true }) },
          resume: { actions: chart.assign({ pauseWanted: false }) },
        },
        states: {
          stage: {
            initial: 'enter',
            states: {
              enter: {
                always: [
                  ...shape.stages.map((name) => ({
                    guard: ({ context }: { context: TaskControl }) => context.stage === name,
                    target: name,
                  })),
                  { target: shape.stages[0] },
                ],
              },
              ...stages,
              retrying: retryingState(chart),
            },
          },
          clock: clockState(chart),
          stream: streamState(chart),
        },
      },
      over: { type: 'final' },
    },
  });
}

export type TaskMachine = ReturnType<typeof createTaskMachine>;
