import { fromCallback, setup } from 'xstate';
import { debounceDelayMs, mayRetry, type Step } from './pane-steps.ts';
import type { PaneContext, PaneEmitted, PaneEvent, PaneInput } from './pane-types.ts';

/** What a stage's body is told; the rest it reads from the session's state. */
export interface StageInput {
  session: string;
  pane: string;
  run: string;
  generation: number;
  attempt: number;
  stage: string;
  /** Of a pane with tasks: whose stage it is. */
  task?: string;
}

/** How long an ended run's body may take to unwind, ms. PROTOCOL section 4, `pane.cancel`. */
export const drainGraceMs = 5_000;

/** The shape of the logic that runs stage bodies. This one does nothing: the effects bring the real one. */
export const idleStage = fromCallback<PaneEvent, StageInput>(() => undefined);
export type StageLogic = typeof idleStage;

/** Names, types, guards and delays of every pane's chart. */
export function setupPane(stageLogic: StageLogic) {
  return setup({
    types: {
      context: {} as PaneContext,
      events: {} as PaneEvent,
      emitted: {} as PaneEmitted,
      input: {} as PaneInput,
      tags: {} as `phase.${string}` | 'busy' | 'settled',
    },
    actors: { stage: stageLogic },
    delays: {
      replyWait: ({ context }) => context.options.replyWaitMs,
      debounce: ({ context }) => debounceDelayMs(context),
      drainGrace: drainGraceMs,
      timeout: ({ context }) => context.remainingMs,
      idleTimeout: ({ context }) => context.options.idleTimeoutMs,
      backoff: ({ context }) => context.backoffMs ?? 0,
    },
    guards: {
      open: ({ context }) => context.open,
      notBegun: ({ context }) => !context.begun,
      direct: ({ context }) => context.direct,
      wanted: ({ context }) => context.queue.length > 0 || context.next !== null,
      pauseWanted: ({ context }) => context.pauseWanted,
      supersedes: ({ context }) => context.options.policy === 'supersede',
      holds: ({ context }) => context.options.startOn === 'reply' && context.hold !== 'none',
      replying: ({ context }) => context.hold === 'replying',
      quiet: ({ context }) => debounceDelayMs(context) <= 0,
      unwound: ({ context }) => context.unwinding === 0,
      backingOff: ({ context }) => context.backoffMs !== null,
      released: ({ event }) => event.type === 'hold' && event.hold === 'none',
      replyBegins: ({ context, event }) =>
        context.options.startOn === 'reply' && event.type === 'hold' && event.hold === 'replying',
      nowReplying: ({ event }) => event.type === 'hold' && event.hold === 'replying',
      nowExpected: ({ event }) => event.type === 'hold' && event.hold === 'expected',
      thisRun: ({ context, event }) => event.type === 'cancel' && (event.run === null || event.run === context.run),
      mayRetry: ({ context, event }) =>
        event.type === 'stage.failed' ? mayRetry(context, event.failure, event.at) : mayRetry(context, null, null),
    },
  });
}

export type PaneSetup = ReturnType<typeof setupPane>;

/** Turns a plain step into the one action of a transition: one assign, then what is said, in order. */
export function actions(chart: PaneSetup) {
  return (step: (context: PaneContext, event: PaneEvent) => Step) =>
    chart.enqueueActions(({ context, event, enqueue }) => {
      const { patch, say } = step(context, event);
      if (Object.keys(patch).length > 0) enqueue.assign(patch);
      for (const said of say) enqueue.emit(said);
    });
}

export type Act = ReturnType<typeof actions>;

/** A step that changes and says nothing. */
export const nothing: Step = { patch: {}, say: [] };
