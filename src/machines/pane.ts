import { stageState, retryingState } from './pane-stages.ts';
import { paneActions, type PaneActions } from './pane-actions.ts';
import { actions, idleStage, setupPane, type Act, type PaneSetup, type StageLogic } from './pane-setup.ts';
import { failPhase } from './pane-steps.ts';
import type { PaneContext, PaneInput, PaneShape } from './pane-types.ts';

/** Working: the stages, the run's clock (ONE timeout, standing still in a queue for a slot) and the stream's idle watch. */
function workingState(chart: PaneSetup, act: Act, shape: PaneShape, does: PaneActions) {
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
            on: { pause: { target: '#pane.paused', actions: does.wantPause } },
          },
          ...stages,
          retrying: retryingState(chart, act, does.pauseRetry),
        },
      },
      clock: {
        initial: 'running',
        states: {
          running: {
            after: { timeout: failed },
            on: { 'stage.started': { actions: does.clockStarts }, held: { target: 'held', actions: does.clockStops } },
          },
          // In a queue for a slot: nothing has been asked of the provider, so a pause need not wait for the end of the stage.
          held: {
            on: {
              pause: { target: '#pane.paused', actions: does.wantPause },
              granted: { target: 'running', actions: does.clockGoesOn },
              // The attempt is over, and with it its place in the queue.
              'stage.failed': 'running',
              silent: 'running',
            },
          },
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

/** A run that has not begun work moves with the transcript, and pauses at once. */
function whileNotBegun(does: PaneActions) {
  return {
    update: { target: '#pane.active.starting', actions: does.move },
    run: { target: '#pane.active.starting', actions: does.move },
    pause: { target: '#pane.paused', actions: does.wantPause },
  };
}

type NotBegun = ReturnType<typeof whileNotBegun>;

/** Waits for the reply: as long as one is being written, but only so long for one that has not begun. */
function waitingState(chart: PaneSetup, does: PaneActions, notBegun: NotBegun) {
  return chart.createStateConfig({
    tags: ['phase.waiting'],
    entry: does.announce('waiting'),
    initial: 'choosing',
    on: { ...notBegun, hold: { guard: 'released', target: '#pane.active.starting', actions: does.noteHold } },
    states: {
      choosing: { always: [{ guard: 'replying', target: 'replying' }, { target: 'expecting' }] },
      expecting: {
        after: { replyWait: { target: '#pane.active.debouncing', actions: does.waitedEnough } },
        on: { hold: { guard: 'nowReplying', target: 'replying', actions: does.noteHold } },
      },
      replying: { on: { hold: { guard: 'nowExpected', target: 'expecting', actions: does.noteHold } } },
    },
  });
}

function activeState(chart: PaneSetup, act: Act, shape: PaneShape, does: PaneActions) {
  const toPaused = { target: '#pane.paused', actions: does.wantPause };
  const notBegun = whileNotBegun(does);
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
          { guard: 'pauseWanted', target: '#pane.paused' },
          { guard: 'direct', target: 'draining' },
          { guard: 'holds', target: 'waiting' },
          { guard: 'quiet', target: 'draining' },
          { target: 'debouncing' },
        ],
      },
      waiting: waitingState(chart, does, notBegun),
      debouncing: {
        tags: ['phase.debouncing'],
        entry: [does.startBurst, does.announce('debouncing')],
        after: { debounce: 'draining' },
        on: { ...notBegun, hold: { guard: 'replyBegins', target: 'starting', actions: does.noteHold } },
      },
      draining: {
        entry: does.announceStage,
        always: { guard: 'unwound', target: 'working' },
        after: { drainGrace: { target: '#pane.settled.error', actions: does.stuck } },
        on: {
          pause: [{ guard: 'backingOff', target: '#pane.paused', actions: does.pauseRetry }, toPaused],
        },
      },
      working: workingState(chart, act, shape, does),
      cancelling: cancellingState(chart, does),
    },
  });
}

/** Acknowledged: the user has cancelled, and the body has not ended yet. */
function cancellingState(chart: PaneSetup, does: PaneActions) {
  return chart.createStateConfig({
    tags: ['phase.cancelling'],
    entry: does.announce('cancelling'),
    always: { guard: 'unwound', target: '#pane.settled.cancelled', actions: does.endAsCancelled },
    after: { drainGrace: { target: '#pane.settled.cancelled', actions: does.endAsCancelled } },
    on: {
      // What lines up already goes first.
      update: [
        { guard: 'wanted', actions: does.keep },
        { target: 'starting', actions: does.startAfterCancel },
      ],
      run: [
        { guard: 'wanted', actions: does.keep },
        { target: 'starting', actions: does.startAfterCancel },
      ],
      cancel: { actions: does.dropQueued },
    },
  });
}

function settledState(chart: PaneSetup, does: PaneActions) {
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
function pausedState(chart: PaneSetup, does: PaneActions) {
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
    // What is to come stands here as a run, so that it is on record and newer transcripts move it.
    always: {
      guard: ({ context }) => !context.open && (context.queue.length > 0 || context.next !== null),
      actions: [does.startNext, does.announcePaused],
    },
    on: {
      update: propose,
      run: propose,
      cancel: [{ guard: 'thisRun', actions: does.cancelByUser }, { actions: does.dropQueued }],
      outdate: { actions: does.outdate },
      close: { actions: does.close },
      resume: [
        { guard: 'open', target: 'active.draining', actions: does.resume },
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
      options: { actions: does.adoptOptions },
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
