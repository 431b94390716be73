import { isTerminal, isWorking, type Outcome } from '../protocol/names.ts';
import type { Fact, PaneDeclaration, RunError } from '../protocol/records.ts';
import type { PrivatePane, State } from '../protocol/state.ts';
import type { PaneView } from '../protocol/view.ts';
import { isOpen, replyHold, unfinishedRuns } from './derive.ts';
import { announcement } from './pane-steps.ts';
import type { Boot, ChartOptions, PaneEvent, PaneInput } from './pane-types.ts';
import { recoverTasks, taskOptions } from './tasks/recover.ts';
import type { TaskPaneEvent, TaskPaneInput } from './tasks/types.ts';

/** A run found unfinished this many times is ended: it may be what kills the process. PROTOCOL section 5. */
export const maxRecoveries = 3;

/**
 * What is on record before unfinished work goes on after a crash or a stop of the process: the recovery itself, and the ends of what cannot
 * go on. PROTOCOL section 5, "After a crash". Empty when nothing was going on.
 */
export function recoveryFacts(state: State, registered: (pane: string) => boolean = () => true): Fact[] {
  const runs = unfinishedRuns(state);
  if (runs.length === 0) return [];
  const facts: Fact[] = [{ type: 'session.recovered', runs }];
  for (const [name, view] of Object.entries(state.view.panes)) {
    const pane = state.private.panes[name];
    if (pane === undefined || !isOpen(view) || view.phase === 'paused') continue;
    facts.push(...(registered(name) ? endsOf(state, name, view, pane) : endsOfUnknown(state, name, view, pane)));
  }
  return facts;
}

/** What ends at once, instead of going on; nothing for a run that goes on. */
function endsOf(state: State, name: string, view: PaneView, pane: PrivatePane): Fact[] {
  if (view.phase === 'cancelling') {
    return [
      ...endWriting(state, view, 'stopped', 'user'),
      { ...endOf(name, view), phase: 'cancelled', reason: 'user' },
    ];
  }
  if (recordedText(state, view)) {
    return endInterrupted(state, name, view, 'the process ended while the text was being written');
  }
  if (pane.began && pane.recoveries + 1 >= maxRecoveries) {
    return endInterrupted(state, name, view, `found unfinished at ${maxRecoveries} starts of the process`);
  }
  return [];
}

/** A pane that this server does not know any more: nobody can go on with its runs. */
function endsOfUnknown(state: State, name: string, view: PaneView, pane: PrivatePane): Fact[] {
  const queued = pane.queue.map(({ run, generation }): Fact => {
    return { type: 'pane.phase', pane: name, run, generation, phase: 'cancelled', attempt: 1, reason: 'closed' };
  });
  return [...endInterrupted(state, name, view, `pane ${name} is not registered on this server`), ...queued];
}

function endInterrupted(state: State, name: string, view: PaneView, message: string): Fact[] {
  const error: RunError = { code: 'interrupted', message, retryable: true };
  return [...endWriting(state, view, 'failed', 'interrupted'), { ...endOf(name, view), phase: 'error', error }];
}

function endOf(pane: string, { run, generation, attempt }: PaneView) {
  return { type: 'pane.phase', pane, run: run ?? '', generation, attempt } as const;
}

/** The message that the run writes, if it has begun one. */
function writtenBy(state: State, { run }: PaneView): string | undefined {
  return Object.entries(state.private.open).find(([, open]) => open.run !== null && open.run === run)?.[0];
}

function recordedText(state: State, view: PaneView): boolean {
  const message = writtenBy(state, view);
  return message !== undefined && (state.private.open[message]?.length ?? 0) > 0;
}

function endWriting(state: State, view: PaneView, outcome: Outcome, reason: string): Fact[] {
  const message = writtenBy(state, view);
  return message === undefined ? [] : [{ type: 'message.ended', message, outcome, reason }];
}

/** What the chart of a pane starts from, of whichever kind it is. */
export function paneInput(
  state: State,
  name: string,
  nowMs: number,
  unwinding = 0,
): PaneInput | TaskPaneInput | undefined {
  const hasTasks = state.private.panes[name]?.declaration.tasks === true;
  return hasTasks ? recoverTasks(state, name, unwinding) : recover(state, name, nowMs, unwinding);
}

/** How a pane at work hears of new options. */
export function optionsEvent(declaration: PaneDeclaration): PaneEvent | TaskPaneEvent {
  return declaration.tasks === true
    ? { type: 'task.options', options: taskOptions(declaration) }
    : { type: 'options', options: chartOptions(declaration) };
}

/** What a pane's chart starts from: one pure function of the state, for the first start, a wake, a recovery and a crash of the actor alike. */
export function recover(state: State, name: string, nowMs: number, unwinding = 0): PaneInput | undefined {
  const view = state.view.panes[name];
  const pane = state.private.panes[name];
  if (view === undefined || pane === undefined) return undefined;
  const boot = bootOf(view, pane, nowMs);
  const open = isOpen(view);
  return {
    session: state.view.session,
    pane: name,
    options: chartOptions(pane.declaration),
    boot,
    run: view.run ?? '',
    generation: view.generation,
    attempt: startsAnew(view, boot) ? view.attempt + 1 : view.attempt,
    open,
    begun: open && pane.began,
    stage: pane.stage ?? pane.declaration.phases[0] ?? '',
    direct: view.phase === 'paused' && !pane.began && pane.stage !== null,
    announced: open && view.run !== null ? announcement(view.run, view.generation, view.phase, view.attempt) : '',
    queue: pane.queue.map(({ run, generation, input }) => ({
      run,
      // Only a queue keeps what each run was for; else the one in line moves with the transcript.
      generation: pane.declaration.policy === 'queue' ? generation : state.view.generation,
      direct: input !== null,
    })),
    paused: view.paused,
    // Only panes that the transcript drives hear when a hold is over: the reply itself must not wait for one.
    hold: pane.declaration.driven ? replyHold(state) : 'none',
    unwinding,
  };
}

/** What was at work is gone; a run that stood still, or waits for its retry, has kept its attempt. */
function startsAnew(view: PaneView, boot: Boot): boolean {
  if (boot.at === 'work') return boot.backoffMs === null;
  return boot.at === 'paused' && isOpen(view) && (isWorking(view.phase) || view.phase === 'retrying');
}

function bootOf(view: PaneView, pane: PrivatePane, nowMs: number): Boot {
  if (!isOpen(view))
    return view.paused ? { at: 'paused' } : { at: 'settled', phase: isTerminal(view.phase) ? view.phase : 'idle' };
  // It was to pause at its next safe point: this is one.
  if (view.paused) return { at: 'paused' };
  switch (view.phase) {
    case 'waiting':
    case 'debouncing':
      return { at: 'start' };
    case 'paused':
      return { at: 'paused' };
    case 'retrying':
      return {
        at: 'work',
        stage: pane.stage ?? '',
        backoffMs: Math.max(0, Date.parse(view.retryAt ?? '') - nowMs || 0),
      };
    default:
      return { at: 'work', stage: view.phase, backoffMs: null };
  }
}

/** The options that the chart reads. */
export function chartOptions(options: ChartOptions): ChartOptions {
  const { policy, startOn, replyWaitMs, debounceMs, debounceMaxMs, timeoutMs, idleTimeoutMs, retries } = options;
  return { policy, startOn, replyWaitMs, debounceMs, debounceMaxMs, timeoutMs, idleTimeoutMs, retries };
}
