import {
  announce,
  announceRetry,
  backoffMs,
  fail,
  failPhase,
  mayRetry,
  settle,
  spend,
  type Step,
} from './pane-steps.ts';
import { nothing, type Act, type PaneSetup } from './pane-setup.ts';
import type { PaneContext, PaneEvent, PaneShape } from './pane-types.ts';
import type { RunError } from '../protocol/records.ts';

/** Ways out of a stage that mean: its body has already ended. Any other way stops the body, and it has to unwind. */
function bodyIsOver(event: { type: string }): boolean {
  return event.type === 'stage.done' || event.type === 'stage.failed' || event.type.startsWith('xstate.error.actor');
}

/** A report of the stage's current attempt; anything else is late and finds nobody. */
function isCurrent(context: PaneContext, event: PaneEvent): boolean {
  return (
    (event.type === 'stage.done' || event.type === 'stage.failed') &&
    event.run === context.run &&
    event.attempt === context.attempt
  );
}

function outcomeOf(event: PaneEvent): string | null {
  return event.type === 'stage.done' ? event.result.outcome : null;
}

function idleError(context: PaneContext): RunError {
  return { code: 'idle_timeout', message: `no byte for ${context.options.idleTimeoutMs} ms`, retryable: true };
}

/** The error of the event that ends an attempt. */
function errorOf(context: PaneContext, event: PaneEvent): RunError {
  return event.type === 'stage.failed' ? event.failure.error : idleError(context);
}

function commit(context: PaneContext, event: PaneEvent): Step {
  const content = event.type === 'stage.done' && event.result.outcome === 'updated' ? event.result.content : undefined;
  return settle(context, 'updated', content === undefined ? {} : { content });
}

function enterStage(name: string, context: PaneContext, event: PaneEvent): Step {
  const checkpoint =
    event.type === 'stage.done' && event.result.outcome === 'next' ? event.result.checkpoint : undefined;
  const step = announce({ ...context, stage: name }, name, checkpoint === undefined ? {} : { checkpoint });
  return { ...step, patch: { ...step.patch, stage: name, begun: true } };
}

type Guarded = { context: PaneContext; event: PaneEvent };

/** Where an attempt that is not repeated ends: a failed picture keeps the old one. */
function failedTo(act: Act, shape: PaneShape) {
  const failNow = act((context, event) => fail(shape, context, errorOf(context, event)));
  const over = ({ context, event }: Guarded): boolean => event.type === 'silent' || isCurrent(context, event);
  return [
    {
      guard: (now: Guarded) => over(now) && failPhase(shape, now.context) === 'imaging_failed',
      target: '#pane.settled.imaging_failed',
      actions: failNow,
    },
    { guard: over, target: '#pane.settled.error', actions: failNow },
  ];
}

/** A stage's body has ended well: on to the next stage, a pause, or one of the two good ends. */
function doneTo(act: Act, name: string, following: string | undefined) {
  const ends =
    (outcome: string) =>
    ({ context, event }: Guarded) =>
      isCurrent(context, event) && outcomeOf(event) === outcome;
  const next = ends('next');
  const internal = (message: string) =>
    act((context) => settle(context, 'error', { error: { code: 'internal', message, retryable: false } }));
  const goOn =
    following === undefined
      ? []
      : [
          {
            guard: (now: Guarded) => next(now) && now.context.pauseWanted,
            target: '#pane.paused',
            actions: act((context, event) => ({
              patch: { stage: following, ...(event.type === 'stage.done' ? spend(context, event.at) : {}) },
              say: [],
            })),
          },
          { guard: next, target: following },
        ];
  return [
    ...goOn,
    {
      guard: ends('unchanged'),
      target: '#pane.settled.unchanged',
      actions: act((context) => settle(context, 'unchanged')),
    },
    // The only transition that carries content: a result that finds this state is the current run's.
    { guard: ends('updated'), target: '#pane.settled.updated', actions: act(commit) },
    {
      guard: ({ context, event }: Guarded) => isCurrent(context, event),
      target: '#pane.settled.error',
      actions: internal(`stage ${name} is the last and has no next`),
    },
  ];
}

/** One working phase: its body as an invoked actor, its reports as guarded transitions. */
export function stageState(chart: PaneSetup, act: Act, shape: PaneShape, name: string, index: number) {
  const failed = failedTo(act, shape);
  return chart.createStateConfig({
    tags: [`phase.${name}`],
    entry: act((context, event) => enterStage(name, context, event)),
    exit: act((context, event) =>
      bodyIsOver(event) ? nothing : { patch: { unwinding: context.unwinding + 1 }, say: [] },
    ),
    invoke: {
      id: 'stage',
      src: 'stage',
      input: ({ context: { session, pane, run, generation, attempt } }) => ({
        session,
        pane,
        run,
        generation,
        attempt,
        stage: name,
      }),
      onError: {
        target: '#pane.settled.error',
        actions: act((context) =>
          settle(context, 'error', {
            error: { code: 'internal', message: `stage ${name} could not start`, retryable: false },
          }),
        ),
      },
    },
    on: {
      'stage.done': doneTo(act, name, shape.stages[index + 1]),
      'stage.failed': [
        {
          guard: ({ context, event }) => isCurrent(context, event) && mayRetry(context, event.failure, event.at),
          target: 'retrying',
        },
        ...failed,
      ],
      silent: [{ guard: 'mayRetry', target: 'retrying' }, ...failed],
    },
  });
}

/** Waits before the next attempt; entered by a failed attempt, or at boot with what is left of the wait. */
export function retryingState(chart: PaneSetup, act: Act, pauseRetry: ReturnType<Act>) {
  const toPaused = { target: '#pane.paused', actions: pauseRetry };
  return chart.createStateConfig({
    tags: ['phase.retrying'],
    entry: act((context, event) => {
      if (event.type !== 'stage.failed' && event.type !== 'silent') return nothing;
      const delayMs = backoffMs(context, event.type === 'stage.failed' ? event.failure : null);
      return announceRetry(context, errorOf(context, event), delayMs);
    }),
    // A pause that was wanted while the attempt still worked.
    always: { guard: 'pauseWanted', ...toPaused },
    after: {
      backoff: {
        target: 'enter',
        actions: act((context) => ({
          patch: { attempt: context.attempt + 1, retriesUsed: context.retriesUsed + 1, backoffMs: null },
          say: [],
        })),
      },
    },
    on: { pause: toPaused },
  });
}
