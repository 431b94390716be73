import { drainGraceMs, nothing, type Act } from './pane-setup.ts';
import {
  adopt,
  announce,
  cancelled,
  dropQueued,
  fail,
  inputOf,
  keepForLater,
  move,
  sequence,
  settle,
  spend,
  startNext,
  startOver,
  type Step,
} from './pane-steps.ts';
import type { PaneContext, PaneEvent, PaneShape } from './pane-types.ts';

/** The steps of the chart, each bound to the pane's shape, as actions. */
export function paneActions(act: Act, shape: PaneShape) {
  return {
    ...starts(act, shape),
    ...ends(act, shape),
    ...pauses(act),
    ...announcements(act),
    ...notes(act),
    ...clock(act),
  };
}

export type PaneActions = ReturnType<typeof paneActions>;

type Proposing = PaneEvent & { type: 'update' | 'run' };

function proposing(step: (context: PaneContext, event: Proposing) => Step) {
  return (context: PaneContext, event: PaneEvent): Step =>
    event.type === 'update' || event.type === 'run' ? step(context, event) : nothing;
}

/** Runs that begin, move or line up. */
function starts(act: Act, shape: PaneShape) {
  return {
    supersede: act(proposing((context, event) => startOver(shape, context, event, 'superseded'))),
    startAfterCancel: act(proposing((context, event) => startOver(shape, context, event, 'user'))),
    move: act(proposing((context, event) => move(shape, context, event))),
    keep: act(proposing(keepForLater)),
    startNext: act((context) => startNext(shape, context)),
  };
}

/** Runs that end without a result. */
function ends(act: Act, shape: PaneShape) {
  return {
    dropQueued: act((context, event) => (event.type === 'cancel' ? dropQueued(context, event.run, 'user') : nothing)),
    dropAllQueued: act((context, event) =>
      event.type === 'cancel' && event.run === null ? dropQueued(context, null, 'user') : nothing,
    ),
    cancelByUser: act((context, event) =>
      sequence(
        context,
        (now) => cancelled(now, 'user'),
        (now) => (event.type === 'cancel' && event.run === null ? dropQueued(now, null, 'user') : nothing),
      ),
    ),
    endAsCancelled: act((context) => cancelled(context, 'user')),
    outdate: act((context) => cancelled(context, 'superseded')),
    close: act((context, event) =>
      event.type === 'close'
        ? sequence(
            context,
            (now) => cancelled(now, event.reason),
            (now) => dropQueued(now, null, event.reason),
          )
        : nothing,
    ),
    timeOut: act((context) => {
      const message = `not done after ${context.options.timeoutMs} ms`;
      return fail(shape, context, { code: 'timeout', message, retryable: true });
    }),
    stuck: act((context) => {
      const message = `the work of an earlier run did not end within ${drainGraceMs} ms`;
      return settle(context, 'error', { error: { code: 'internal', message, retryable: true } });
    }),
  };
}

function pauses(act: Act) {
  const say = (context: PaneContext, paused: boolean): Step['say'] =>
    context.pauseWanted === paused ? [] : [{ type: 'fact', fact: { type: 'pane.paused', pane: context.pane, paused } }];
  return {
    wantPause: act((context, event) => ({
      patch: { pauseWanted: true, ...(event.type === 'pause' ? { nowMs: event.at } : {}) },
      say: say(context, true),
    })),
    /** Pauses in front of the next attempt: it is the one that `resume` begins with. */
    pauseRetry: act((context, event) => ({
      patch: {
        pauseWanted: true,
        attempt: context.attempt + 1,
        retriesUsed: context.retriesUsed + 1,
        backoffMs: null,
        ...('at' in event ? spend(context, event.at) : { sinceMs: null }),
      },
      say: say(context, true),
    })),
    resume: act((context) => ({ patch: { pauseWanted: false }, say: say(context, false) })),
  };
}

/** Phases are announced on entry of their state, so that the chart and the record say the same. */
function announcements(act: Act) {
  return {
    announce: (phase: string) => act((context, event) => announce(context, phase, inputOf(event))),
    announceStage: act((context, event) => {
      // A run that waits for its retry (after a restart) says nothing before its next attempt.
      const step = context.backoffMs === null ? announce(context, context.stage, inputOf(event)) : nothing;
      const draining: Step['say'] =
        context.unwinding > 0 ? [{ type: 'draining', pane: context.pane, run: context.run }] : [];
      return { patch: { ...step.patch, begun: true }, say: [...step.say, ...draining] };
    }),
    announcePaused: act((context, event) => {
      if (!context.open) return nothing;
      const checkpoint =
        event.type === 'stage.done' && event.result.outcome === 'next' ? event.result.checkpoint : undefined;
      const where = context.begun || context.direct ? { stage: context.stage } : {};
      const extra = { ...inputOf(event), ...(checkpoint === undefined ? {} : { checkpoint }) };
      return announce(context, 'paused', extra, where);
    }),
  };
}

function notes(act: Act) {
  return {
    noteHold: act((_, event) =>
      event.type === 'hold' ? { patch: { hold: event.hold, nowMs: event.at }, say: [] } : nothing,
    ),
    waitedEnough: act((context) => ({ patch: { nowMs: context.nowMs + context.options.replyWaitMs }, say: [] })),
    startBurst: act((context) => ({ patch: { burstStartMs: context.burstStartMs ?? context.nowMs }, say: [] })),
    noteHeard: act((context, event) =>
      event.type === 'heard' && event.kept && !context.kept ? { patch: { kept: true }, say: [] } : nothing,
    ),
    noteUnwound: act((context) => ({ patch: { unwinding: Math.max(0, context.unwinding - 1) }, say: [] })),
    adoptOptions: act((context, event) => (event.type === 'options' ? adopt(context, event.options) : nothing)),
  };
}

/** The run's timeout, which stands still while the run waits for a slot. */
function clock(act: Act) {
  return {
    clockStarts: act((context, event) =>
      event.type === 'stage.started'
        ? { patch: { sinceMs: context.sinceMs ?? event.at, jitter: event.jitter }, say: [] }
        : nothing,
    ),
    clockStops: act((context, event) =>
      event.type === 'held' ? { patch: spend(context, event.at), say: [] } : nothing,
    ),
    clockGoesOn: act((_, event) => (event.type === 'granted' ? { patch: { sinceMs: event.at }, say: [] } : nothing)),
  };
}
