import { retryingState, stageState } from './pane-stages.ts';
import {
  actions,
  drainGraceMs,
  idleStage,
  nothing,
  setupPane,
  type Act,
  type PaneSetup,
  type StageLogic,
} from './pane-setup.ts';
import {
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
  failPhase,
  type Step,
} from './pane-steps.ts';
import type { PaneContext, PaneEvent, PaneInput, PaneShape } from './pane-types.ts';

type Proposing = PaneEvent & { type: 'update' | 'run' };

function proposing(step: (context: PaneContext, event: Proposing) => Step) {
  return (context: PaneContext, event: PaneEvent): Step =>
    event.type === 'update' || event.type === 'run' ? step(context, event) : nothing;
}

/** The steps of the chart, each bound to the pane's shape, as actions. */
function paneActions(act: Act, shape: PaneShape) {
  const paused = (context: PaneContext, paused: boolean): Step['say'] =>
    context.pauseWanted === paused ? [] : [{ type: 'fact', fact: { type: 'pane.paused', pane: context.pane, paused } }];
  return {
    supersede: act(proposing((context, event) => startOver(shape, context, event, 'superseded'))),
    startAfterCancel: act(proposing((context, event) => startOver(shape, context, event, 'user'))),
    move: act(proposing((context, event) => move(shape, context, event))),
    keep: act(proposing(keepForLater)),
    startNext: act((context) => startNext(shape, context)),
    wantPause: act((context, event) => ({
      patch: { pauseWanted: true, ...(event.type === 'pause' ? { nowMs: event.at } : {}) },
      say: paused(context, true),
    })),
    resume: act((context) => ({ patch: { pauseWanted: false }, say: paused(context, false) })),
    noteHold: act((_, event) =>
      event.type === 'hold' ? { patch: { hold: event.hold, nowMs: event.at }, say: [] } : nothing,
    ),
    waitedEnough: act((context) => ({ patch: { nowMs: context.nowMs + context.options.replyWaitMs }, say: [] })),
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
    timeOut: act((context) =>
      fail(shape, context, {
        code: 'timeout',
        message: `not done after ${context.options.timeoutMs} ms`,
        retryable: true,
      }),
    ),
    stuck: act((context) =>
      settle(context, 'error', {
        error: {
          code: 'internal',
          message: `the work of an earlier run did not end within ${drainGraceMs} ms`,
          retryable: true,
        },
      }),
    ),
    announce: (phase: string) => act((context, event) => announce(context, phase, inputOf(event))),
    announceStage: act((context, event) => {
      const step = announce(context, context.stage, inputOf(event));
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
    startBurst: act((context) => ({ patch: { burstStartMs: context.burstStartMs ?? context.nowMs }, say: [] })),
    clockStarts: act((context, event) =>
      event.type === 'stage.started'
        ? { patch: { sinceMs: context.sinceMs ?? event.at, jitter: event.jitter }, say: [] }
        : nothing,
    ),
    clockStops: act((context, event) =>
      event.type === 'held' ? { patch: spend(context, event.at), say: [] } : nothing,
    ),
    clockGoesOn: act((_, event) => (event.type === 'granted' ? { patch: { sinceMs: event.at }, say: [] } : nothing)),
    noteHeard: act((context, event) =>
      event.type === 'heard' && event.kept && !context.kept ? { patch: { kept: true }, say: [] } : nothing,
    ),
    noteUnwound: act((context) => ({ patch: { unwinding: Math.max(0, context.unwinding - 1) }, say: [] })),
    noteOptions: act((_, event) =>
      event.type === 'options' ? { patch: { options: event.options }, say: [] } : nothing,
    ),
  };
}

type Actions = ReturnType<typeof paneActions>;

/** Working: the stages, the run's clock (ONE timeout, standing still in a queue for a slot) and the stream's idle watch. */
function workingState(chart: PaneSetup, act: Act, shape: PaneShape, does: Actions) {
  const stages = Object.fromEntries(
    shape.stages.map((name, index) => [name, stageState(chart, act, shape, name, index)]),
  );
  const failed = [
    {
      guard: ({ context }: { context: PaneContext }) => failPhase(shape, context) === 'imaging_failed',
      target: '#pane.settled.imaging_failed',
      actions: does.timeOut,
    },
    { target: '#pane.settled.error', actions: does.timeOut },
  ];
  return chart.createStateConfig({
    type: 'parallel',
    on: {
      pause: { actions: does.wantPause },
      cancel: [
        { guard: 'thisRun', target: '#pane.active.cancelling', actions: does.dropAllQueued },
        { actions: does.dropQueued },
      ],
    },
    states: {
      stage: {
        initial: 'enter',
        states: {
          enter: {
            always: [
              { guard: 'backingOff', target: 'retrying' },
              ...shape.stages.map((name) => ({
                guard: ({ context }: { context: PaneContext }) => context.unwinding === 0 && context.stage === name,
                target: name,
              })),
            ],
          },
          ...stages,
          retrying: retryingState(chart, act),
        },
      },
      clock: {
        initial: 'running',
        states: {
          running: {
            after: { timeout: failed },
            on: { 'stage.started': { actions: does.clockStarts }, held: { target: 'held', actions: does.clockStops } },
          },
          held: { on: { granted: { target: 'running', actions: does.clockGoesOn } } },
        },
      },
      stream: {
        initial: 'quiet',
        states: {
          quiet: { on: { heard: { target: 'listening', actions: does.noteHeard } } },
          listening: {
            after: { idleTimeout: { target: 'quiet', actions: chart.raise({ type: 'silent' }) } },
            on: {
              heard: { target: 'listening', reenter: true, actions: does.noteHeard },
              held: { target: 'quiet' },
              'stage.done': { target: 'quiet' },
              'stage.failed': { target: 'quiet' },
            },
          },
        },
      },
    },
  });
}

function activeState(chart: PaneSetup, act: Act, shape: PaneShape, does: Actions) {
  const toPaused = { target: '#pane.paused', actions: does.wantPause };
  const notBegun = {
    update: { target: 'starting', actions: does.move },
    run: { target: 'starting', actions: does.move },
    pause: toPaused,
  } as const;
  return chart.createStateConfig({
    tags: ['busy'],
    initial: 'starting',
    on: {
      update: [{ guard: 'supersedes', target: '.starting', actions: does.supersede }, { actions: does.keep }],
      run: [{ guard: 'supersedes', target: '.starting', actions: does.supersede }, { actions: does.keep }],
      cancel: [
        { guard: 'thisRun', target: '#pane.settled.cancelled', actions: does.cancelByUser },
        { actions: does.dropQueued },
      ],
      outdate: { target: '#pane.settled.cancelled', actions: does.outdate },
      close: { target: '#pane.settled.cancelled', actions: does.close },
      pause: { actions: does.wantPause },
      resume: { actions: does.resume },
    },
    states: {
      /** A run was taken up or moved: where does it stand? Left at once. */
      starting: {
        always: [
          { guard: 'direct', target: 'draining' },
          { guard: 'holds', target: 'waiting' },
          { guard: 'quiet', target: 'draining' },
          { target: 'debouncing' },
        ],
      },
      waiting: {
        tags: ['phase.waiting'],
        entry: does.announce('waiting'),
        initial: 'choosing',
        on: { ...notBegun, hold: { guard: 'released', target: 'starting', actions: does.noteHold } },
        states: {
          choosing: { always: [{ guard: 'replying', target: 'replying' }, { target: 'expecting' }] },
          expecting: {
            after: { replyWait: { target: '#pane.active.debouncing', actions: does.waitedEnough } },
            on: { hold: { guard: 'nowReplying', target: 'replying', actions: does.noteHold } },
          },
          replying: { on: { hold: { guard: 'nowExpected', target: 'expecting', actions: does.noteHold } } },
        },
      },
      debouncing: {
        tags: ['phase.debouncing'],
        entry: [does.startBurst, does.announce('debouncing')],
        after: { debounce: 'draining' },
        on: notBegun,
      },
      draining: {
        entry: does.announceStage,
        always: { guard: 'unwound', target: 'working' },
        after: { drainGrace: { target: '#pane.settled.error', actions: does.stuck } },
        on: { pause: toPaused },
      },
      working: workingState(chart, act, shape, does),
      cancelling: {
        tags: ['phase.cancelling'],
        entry: does.announce('cancelling'),
        always: { guard: 'unwound', target: '#pane.settled.cancelled', actions: does.endAsCancelled },
        after: { drainGrace: { target: '#pane.settled.cancelled', actions: does.endAsCancelled } },
        on: {
          update: { target: 'starting', actions: does.startAfterCancel },
          run: { target: 'starting', actions: does.startAfterCancel },
          cancel: { actions: does.dropQueued },
        },
      },
    },
  });
}

function settledState(chart: PaneSetup, does: Actions) {
  const phase = (name: string) => chart.createStateConfig({ tags: [`phase.${name}`] });
  return chart.createStateConfig({
    tags: ['settled'],
    initial: 'idle',
    always: [
      { guard: 'pauseWanted', target: '#pane.paused' },
      { guard: 'wanted', target: '#pane.active', actions: does.startNext },
    ],
    on: {
      update: { target: '#pane.active', actions: does.supersede },
      run: { target: '#pane.active', actions: does.supersede },
      pause: { target: '#pane.paused', actions: does.wantPause },
    },
    states: {
      idle: phase('idle'),
      updated: phase('updated'),
      unchanged: phase('unchanged'),
      cancelled: phase('cancelled'),
      error: phase('error'),
      imaging_failed: phase('imaging_failed'),
      /** Back to how the last run ended, after a pause without a run. */
      last: { type: 'history', history: 'shallow', target: 'idle' },
    },
  });
}

/** Paused: with or without a run. Nothing starts until `resume`; a newer transcript moves the run that stands here, or makes one. */
function pausedState(chart: PaneSetup, does: Actions) {
  const propose = [
    {
      guard: ({ context }: { context: PaneContext }) => context.open && !context.begun,
      target: 'paused',
      reenter: true,
      actions: does.move,
    },
    {
      guard: ({ context }: { context: PaneContext }) => !context.open || context.options.policy === 'supersede',
      target: 'paused',
      reenter: true,
      actions: does.supersede,
    },
    { actions: does.keep },
  ];
  return chart.createStateConfig({
    tags: ['phase.paused'],
    entry: does.announcePaused,
    on: {
      update: propose,
      run: propose,
      cancel: [{ guard: 'thisRun', actions: does.cancelByUser }, { actions: does.dropQueued }],
      outdate: { actions: does.outdate },
      close: { actions: does.close },
      resume: [
        { guard: 'open', target: 'active.draining', actions: does.resume },
        { guard: 'wanted', target: 'active', actions: [does.resume, does.startNext] },
        { target: 'settled.last', actions: does.resume },
      ],
    },
  });
}

/**
 * The statechart of one pane, with its stages by name. Pure: it never reads a clock, makes an id or awaits; stages run as invoked actors,
 * and leaving their state stops them. docs/ARCHITECTURE.md has the picture.
 */
export function createPaneMachine(shape: PaneShape, stageLogic: StageLogic = idleStage) {
  const chart = setupPane(stageLogic);
  const act = actions(chart);
  const does = paneActions(act, shape);
  return chart.createMachine({
    id: 'pane',
    context: ({ input }) => initialContext(input),
    initial: 'boot',
    on: {
      unwound: { actions: does.noteUnwound },
      options: { actions: does.noteOptions },
      hold: { actions: does.noteHold },
    },
    states: {
      boot: {
        on: {
          start: [
            { guard: ({ context }) => context.boot.at === 'paused', target: 'paused' },
            { guard: ({ context }) => context.boot.at === 'start', target: 'active' },
            { guard: ({ context }) => context.boot.at === 'work', target: 'active.draining' },
            ...(['updated', 'unchanged', 'cancelled', 'error', 'imaging_failed'] as const).map((phase) => ({
              guard: ({ context }: { context: PaneContext }) =>
                context.boot.at === 'settled' && context.boot.phase === phase,
              target: `settled.${phase}` as const,
            })),
            { target: 'settled' },
          ],
        },
      },
      settled: settledState(chart, does),
      active: activeState(chart, act, shape, does),
      paused: pausedState(chart, does),
    },
  });
}

export type PaneMachine = ReturnType<typeof createPaneMachine>;

function initialContext(input: PaneInput): PaneContext {
  const { paused, boot, ...rest } = input;
  return {
    ...rest,
    boot,
    next: null,
    pauseWanted: paused,
    burstStartMs: null,
    nowMs: 0,
    remainingMs: input.options.timeoutMs,
    sinceMs: null,
    retriesUsed: 0,
    backoffMs: boot.at === 'work' ? boot.backoffMs : null,
    jitter: 0.5,
    kept: false,
  };
}
