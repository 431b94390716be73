import { setup } from 'xstate';
import type { AddedMessage, CancelReason, Fact, PaneDeclaration } from '../protocol/records.ts';
import type { PaneMachine } from './pane.ts';
import type { Hold, PaneEvent, PaneInput } from './pane-types.ts';
import type { TaskPaneMachine } from './tasks/pane.ts';
import type { TaskPaneEvent, TaskPaneInput } from './tasks/types.ts';

/** The chart of a pane: of stages, or of tasks. */
export type AnyPaneMachine = PaneMachine | TaskPaneMachine;

/** What the gate has decided. Every event carries the time and the names that its effects may need. */
export type SessionEvent =
  /** Spawns panes (lazily, or again after a crash). They start to move with `start`, after somebody listens. */
  | { type: 'spawn'; panes: (PaneInput | TaskPaneInput)[] }
  | { type: 'start'; panes: string[] }
  | { type: 'open'; panes: { [pane: string]: PaneDeclaration } }
  | { type: 'close'; panes: string[]; reason: Extract<CancelReason, 'closed' | 'deleted'> }
  /** `answer`: the run in which the reply pane answers this message. */
  | { type: 'add'; message: Omit<AddedMessage, 'generation'>; answer: string | null; at: number }
  | { type: 'edit'; message: string; text: string; answer: string | null; at: number }
  | { type: 'remove'; message: string; outdatesReply: boolean }
  /** The transcript moved: every pane in `runs` hears of it, with the name of the run that it may start. */
  | { type: 'transcript'; runs: { [pane: string]: string }; hold: Hold; at: number }
  /** Whether a reply is on its way has changed. */
  | { type: 'hold'; panes: string[]; hold: Hold; at: number }
  /** For one pane only. */
  | { type: 'tell'; pane: string; event: PaneEvent | TaskPaneEvent }
  | { type: `xstate.error.actor.${string}`; error: unknown; actorId: string };

/** What the session itself says; its panes say the rest. */
export type SessionEmitted = { type: 'fact'; fact: Fact } | { type: 'crashed'; pane: string; error: unknown };

export interface SessionInput {
  session: string;
  generation: number;
  hold: Hold;
}

interface SessionContext {
  session: string;
  /** Owned here: +1 with a user message, an edit, a removal. */
  generation: number;
}

function setupSession(panes: { [pane: string]: AnyPaneMachine }) {
  return setup({
    types: {
      context: {} as SessionContext,
      events: {} as SessionEvent,
      emitted: {} as SessionEmitted,
      input: {} as SessionInput,
    },
    actors: panes,
  });
}

type SessionSetup = ReturnType<typeof setupSession>;

const emitFact = (fact: Fact): SessionEmitted => ({ type: 'fact', fact });

/** What goes to the panes, and comes from them. */
function paneActions({ enqueueActions }: SessionSetup) {
  const spawn = enqueueActions(({ event, enqueue }) => {
    if (event.type !== 'spawn') return;
    for (const input of event.panes) enqueue.spawnChild(input.pane, { id: input.pane, input });
  });
  const start = enqueueActions(({ event, enqueue }) => {
    if (event.type === 'start') for (const pane of event.panes) enqueue.sendTo(pane, { type: 'start' });
  });
  const fanOut = enqueueActions(({ context, event, enqueue }) => {
    if (event.type !== 'transcript') return;
    const { hold, at } = event;
    for (const [pane, run] of Object.entries(event.runs)) {
      enqueue.sendTo(pane, { type: 'update', run, generation: context.generation, hold, at });
    }
  });
  const tellHold = enqueueActions(({ event, enqueue }) => {
    if (event.type !== 'hold') return;
    for (const pane of event.panes) enqueue.sendTo(pane, { type: 'hold', hold: event.hold, at: event.at });
  });
  const tell = enqueueActions(({ event, enqueue }) => {
    if (event.type === 'tell') enqueue.sendTo(event.pane, event.event);
  });
  const reportCrash = enqueueActions(({ event, enqueue }) => {
    if ('actorId' in event) enqueue.emit({ type: 'crashed', pane: event.actorId, error: event.error });
  });
  return { spawn, start, fanOut, tellHold, tell, reportCrash };
}

/** What is said of the session and its messages. */
function sayActions({ enqueueActions }: SessionSetup, replyPane: string) {
  const open = enqueueActions(({ event, enqueue }) => {
    if (event.type === 'open') enqueue.emit(emitFact({ type: 'session.opened', panes: event.panes }));
  });
  const close = enqueueActions(({ event, enqueue }) => {
    if (event.type !== 'close') return;
    enqueue.emit(emitFact({ type: 'session.closed', reason: event.reason }));
    for (const pane of event.panes) enqueue.sendTo(pane, { type: 'close', reason: event.reason });
  });
  const add = enqueueActions(({ context, event, enqueue }) => {
    if (event.type !== 'add') return;
    const generation = context.generation + (event.message.role === 'user' ? 1 : 0);
    enqueue.assign({ generation });
    enqueue.emit(emitFact({ type: 'message.added', message: { ...event.message, generation } }));
    if (event.answer !== null)
      enqueue.sendTo(replyPane, { type: 'update', run: event.answer, generation, hold: 'none', at: event.at });
  });
  const edit = enqueueActions(({ context, event, enqueue }) => {
    if (event.type !== 'edit') return;
    const generation = context.generation + 1;
    enqueue.assign({ generation });
    enqueue.emit(emitFact({ type: 'message.edited', message: event.message, text: event.text, generation }));
    if (event.answer !== null)
      enqueue.sendTo(replyPane, { type: 'update', run: event.answer, generation, hold: 'none', at: event.at });
  });
  const remove = enqueueActions(({ context, event, enqueue }) => {
    if (event.type !== 'remove') return;
    const generation = context.generation + 1;
    enqueue.assign({ generation });
    enqueue.emit(emitFact({ type: 'message.removed', message: event.message, generation }));
    if (event.outdatesReply) enqueue.sendTo(replyPane, { type: 'outdate' });
  });
  return { open, close, add, edit, remove };
}

/**
 * The statechart of one session: the root of its actor system, owner of the generation, parent of its panes. Its states say whether a reply
 * is awaited. It never dies with a pane: a crashed one is reported, and spawned again by the gate.
 */
export function createSessionMachine(panes: { [pane: string]: AnyPaneMachine }, replyPane = 'reply') {
  const chart = setupSession(panes);
  const does = { ...paneActions(chart), ...sayActions(chart, replyPane) };
  const holdIs =
    (hold: Hold) =>
    ({ event }: { event: SessionEvent }) =>
      (event.type === 'hold' || event.type === 'transcript') && event.hold === hold;
  const turn = (action: typeof does.fanOut) => [
    { guard: holdIs('none'), target: '.quiet', actions: action },
    { guard: holdIs('expected'), target: '.expecting', actions: action },
    { target: '.replying', actions: action },
  ];
  return chart.createMachine({
    id: 'session',
    context: ({ input }) => ({ session: input.session, generation: input.generation }),
    initial: 'quiet',
    on: {
      spawn: { actions: does.spawn },
      start: { actions: does.start },
      open: { actions: does.open },
      close: { actions: does.close },
      add: { actions: does.add },
      edit: { actions: does.edit },
      remove: { actions: does.remove },
      transcript: turn(does.fanOut),
      hold: turn(does.tellHold),
      tell: { actions: does.tell },
      'xstate.error.actor.*': { actions: does.reportCrash },
    },
    states: {
      /** Nobody is to answer. */
      quiet: {},
      /** An answer is expected and has not begun: panes wait for it, for a while. */
      expecting: {},
      /** An answer is being written: panes wait for its end. */
      replying: {},
    },
  });
}

export type SessionMachine = ReturnType<typeof createSessionMachine>;
