import type { ChartOptions, PaneShape } from '../../src/machines/pane-types.ts';
import { isTerminal, isWorking } from '../../src/protocol/names.ts';
import type { Fact, PaneDeclaration, PhaseFact, Rec } from '../../src/protocol/records.ts';
import { emptyState, foldState, type State } from '../../src/protocol/state.ts';

/** Shapes of the built-in panes, by number of stages. */
export const shapes = {
  reply: { name: 'reply', stages: ['streaming'], runFrom: 'streaming', imaging: [] },
  history: { name: 'history', stages: ['evaluating', 'summarizing'], runFrom: 'summarizing', imaging: [] },
  scene: {
    name: 'scene',
    stages: ['evaluating', 'describing', 'imaging'],
    runFrom: 'describing',
    imaging: ['imaging'],
  },
} as const satisfies { [name: string]: PaneShape };

export const chartOptions: ChartOptions = {
  policy: 'supersede',
  startOn: 'message',
  replyWaitMs: 30_000,
  debounceMs: 150,
  debounceMaxMs: 2_000,
  timeoutMs: 60_000,
  idleTimeoutMs: 30_000,
  retries: 2,
};

export function declarationOf(shape: PaneShape, options: Partial<PaneDeclaration> = {}): PaneDeclaration {
  return {
    kind: shape.name,
    phases: [...shape.stages],
    driven: shape.name !== 'reply',
    enabled: true,
    ...chartOptions,
    maxChars: 1_500,
    window: 30,
    ...options,
  };
}

/** 2026-01-01T00:00:00.000Z plus so many ms. */
export function isoAt(ms: number): string {
  return new Date(1_767_225_600_000 + ms).toISOString();
}

export function recordOf(state: State, fact: Fact, atMs = 0): Rec {
  return { seq: state.view.seq + 1, at: isoAt(atMs), ...fact };
}

/** The state after these facts, as records without gaps. */
export function foldFacts(state: State, facts: readonly Fact[], atMs = 0): State {
  return facts.reduce((now, fact) => foldState(now, recordOf(now, fact, atMs)), state);
}

export function openState(panes: { [name: string]: PaneDeclaration }, facts: readonly Fact[] = []): State {
  return foldFacts(emptyState('s'), [{ type: 'session.opened', panes }, ...facts]);
}

export function message(
  id: string,
  generation: number,
  more: Partial<Extract<Fact, { type: 'message.added' }>['message']> = {},
): Fact {
  return {
    type: 'message.added',
    message: { id, role: 'user', text: `text of ${id}`, generation, final: true, reply: 'none', ...more },
  };
}

export function phase(pane: string, run: string, name: string, more: Partial<PhaseFact> = {}): Fact {
  return { type: 'pane.phase', pane, run, generation: 1, phase: name, attempt: 1, ...more };
}

/** A promise of PROTOCOL section 5, or a rule of the charts, that does not hold. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly rule: string;
  constructor(rule: string, what: string) {
    super(`[${rule}] ${what}`);
    this.rule = rule;
  }
}

export function mustHold(condition: boolean, rule: string, what: () => string): asserts condition {
  if (!condition) throw new Violation(rule, what());
}

/** What has been said of the runs of one pane so far, in the order in which they were first named. */
export interface RunLog {
  readonly runs: { readonly [run: string]: 'queued' | 'open' | 'ended' };
  readonly current: string | null;
  readonly generation: number;
  /** A run was cancelled in the queue: with it goes what it stood for. */
  readonly dropped: boolean;
}

export const emptyLog: RunLog = { runs: {}, current: null, generation: 0, dropped: false };

/** The fact as the gate puts it on record: with what the run has seen. */
export function asRecorded(state: State, fact: Fact): Fact {
  if (fact.type !== 'pane.phase' || (fact.phase !== 'updated' && fact.phase !== 'unchanged')) return fact;
  const pane = state.private.panes[fact.pane];
  if (pane?.declaration.driven !== true || state.view.panes[fact.pane]?.run !== fact.run) return fact;
  return { ...fact, covers: pane.sees ?? state.view.transcript };
}

const knownTerminals = new Set(['updated', 'unchanged', 'cancelled', 'error', 'imaging_failed']);

/** Judges one fact of a pane against everything said before it: the promises P1, P2, P3, P8 and the form of records. */
export function judge(log: RunLog, state: State, fact: PhaseFact): RunLog {
  const { run } = fact;
  const before = log.runs[run];
  const view = state.view.panes[fact.pane];
  const pane = state.private.panes[fact.pane];
  if (view === undefined || pane === undefined) throw new Violation('form', `no pane ${fact.pane}`);
  const { policy } = pane.declaration;
  const said = `${fact.phase} of ${run} (generation ${fact.generation}, attempt ${fact.attempt})`;
  mustHold(run !== '', 'form', () => `${said} names no run`);
  mustHold(before !== 'ended', 'P1', () => `${said} follows its end`);
  mustHold(fact.content === undefined || fact.phase === 'updated', 'P8', () => `${said} carries content`);
  mustHold(fact.phase !== 'cancelled' || fact.reason !== undefined, 'form', () => `${said} has no reason`);
  mustHold(
    (fact.error !== undefined) === ['error', 'imaging_failed', 'retrying'].includes(fact.phase),
    'form',
    () => `error of ${said}`,
  );
  const ends = isTerminal(fact.phase);
  if (fact.phase === 'queued') {
    mustHold(before === undefined || before === 'queued', 'P1', () => `${said} is not its first phase`);
    return { ...log, runs: { ...log.runs, [run]: 'queued' } };
  }
  if (before === 'queued' && ends && run !== view.run)
    return { ...log, dropped: true, runs: { ...log.runs, [run]: 'ended' } };
  mustHold(before !== undefined || !ends, 'P1', () => `${said} is the first that is heard of it`);
  if (before !== undefined && run !== log.current)
    mustHold(before === 'queued', 'P2', () => `${said} follows the first record of run ${log.current}`);
  if (run !== log.current && log.current !== null)
    mustHold(log.runs[log.current] === 'ended', 'P1', () => `${said} while run ${log.current} has not ended`);
  if (policy === 'supersede' || policy === 'latest')
    mustHold(fact.generation >= log.generation, 'P3', () => `${said} goes back from generation ${log.generation}`);
  if (isWorking(fact.phase) && !(view.run === run && pane.began) && policy !== 'queue')
    mustHold(
      fact.generation === state.view.generation,
      'P3',
      () => `${said} begins work behind ${state.view.generation}`,
    );
  if ((fact.phase === 'updated' || fact.phase === 'unchanged') && policy === 'supersede' && pane.declaration.driven)
    mustHold(
      pane.sees === state.view.transcript,
      'P2',
      () => `${said} has not seen transcript ${state.view.transcript}`,
    );
  if (
    view.run === run &&
    view.phase === fact.phase &&
    view.generation === fact.generation &&
    view.attempt === fact.attempt
  )
    mustHold(
      fact.input !== undefined || fact.checkpoint !== undefined,
      'announced once',
      () => `${said} is on record already`,
    );
  mustHold(!ends || knownTerminals.has(fact.phase), 'form', () => said);
  return {
    runs: { ...log.runs, [run]: ends ? 'ended' : 'open' },
    current: run,
    generation: fact.generation,
    dropped: log.dropped && run === log.current,
  };
}

/** After a whole turn: nothing was forgotten on the way. */
export function judgeTurn(log: RunLog, state: State, name: string): void {
  const view = state.view.panes[name];
  if (view === undefined) throw new Violation('form', `no pane ${name}`);
  for (const [run, is] of Object.entries(log.runs)) {
    mustHold(is !== 'open' || run === log.current, 'P1', () => `run ${run} has no end, and run ${log.current} goes on`);
    mustHold(is !== 'queued' || view.queued.includes(run), 'P1', () => `run ${run} was queued and is forgotten`);
  }
}

/** What the chart is doing, as far as the rules ask. */
export interface Doing {
  name: string;
  tags: ReadonlySet<string>;
  open: boolean;
  unwindingKnown: number;
  bodies: readonly { run: string; generation: number; attempt: number; stage: string }[];
  unwinding: number;
  timers: readonly string[];
  clockHeld: boolean;
  replying: boolean;
  log: RunLog;
}

/** Rules that hold between any two turns, of a pane whose chart is there. */
export function judgePane(doing: Doing, state: State): void {
  const view = state.view.panes[doing.name];
  if (view === undefined) throw new Violation('form', `no pane ${doing.name}`);
  const { bodies, tags, timers } = doing;
  const where = [...tags].join(' ');
  mustHold(bodies.length <= 1, 'one body', () => `${bodies.length} bodies at once (${where})`);
  const body = bodies[0];
  if (body !== undefined) {
    mustHold(doing.unwinding === 0, 'one body', () => `a body began while ${doing.unwinding} unwind (${where})`);
    mustHold(
      body.run === view.run && body.attempt === view.attempt && body.stage === view.phase,
      'body of the record',
      () => `body ${JSON.stringify(body)} works, the record says ${view.phase} of ${view.run} attempt ${view.attempt}`,
    );
    mustHold(
      doing.clockHeld || timers.some((id) => id.includes('timeout')),
      'timeout',
      () => `no run timeout (${where})`,
    );
  }
  mustHold(
    doing.unwindingKnown === doing.unwinding,
    'unwinding',
    () => `the chart counts ${doing.unwindingKnown} stopped bodies, there are ${doing.unwinding}`,
  );
  const rests = tags.has('settled') || tags.has('phase.paused');
  if (rests) {
    mustHold(body === undefined, 'rest', () => `a body works in ${where}`);
    mustHold(timers.length === 0, 'rest', () => `timer ${timers.join()} in ${where}`);
  } else {
    // A reply that is being written always ends.
    const awaits = tags.has('phase.waiting') && doing.replying;
    mustHold(
      body !== undefined || timers.length > 0 || awaits,
      'stuck',
      () => `nothing will ever happen in ${where || 'working'}`,
    );
  }
  if (tags.has('settled')) {
    mustHold(!doing.open, 'P1', () => `settled, and run ${view.run} has not ended`);
    mustHold(view.queued.length === 0, 'stuck', () => `settled, and ${view.queued.join()} queued`);
  }
  const open = view.run !== null && view.phase !== 'idle' && !isTerminal(view.phase);
  mustHold(doing.open === open, 'record', () => `the chart says open ${doing.open}, the record says ${view.phase}`);
  const tag = [...tags].find((candidate) => candidate.startsWith('phase.'))?.slice('phase.'.length);
  if (tag !== undefined && open)
    mustHold(tag === view.phase, 'record', () => `the chart is in ${tag}, the record says ${view.phase}`);
  mustHold(view.paused || !tags.has('phase.paused'), 'record', () => 'paused, and the record does not say so');
  if (tags.has('settled')) judgeRest(doing.name, state, doing.log);
}

/** P6: a pane that rests covers the transcript, or its phase says why not. */
export function judgeRest(name: string, state: State, log: RunLog): void {
  const view = state.view.panes[name];
  const pane = state.private.panes[name];
  if (view === undefined || pane?.declaration.driven !== true) return;
  if (pane.declaration.policy === 'queue' && log.dropped) return;
  const said =
    ['error', 'imaging_failed'].includes(view.phase) || (view.phase === 'cancelled' && view.reason !== 'superseded');
  mustHold(
    said || view.paused || (view.covers ?? 0) === state.view.transcript,
    'P6',
    () => `${view.phase} covers ${view.covers} of ${state.view.transcript}`,
  );
}
