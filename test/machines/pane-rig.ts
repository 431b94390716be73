import { createActor, fromCallback, type Actor } from 'xstate';
import { createPaneMachine, type PaneMachine } from '../../src/machines/pane.ts';
import type { StageInput, StageLogic } from '../../src/machines/pane-setup.ts';
import type { PaneEmitted, PaneEvent, PaneShape, StageFailure, StageOutcome } from '../../src/machines/pane-types.ts';
import { recover } from '../../src/machines/recover.ts';
import type { Fact, JsonObject, PaneDeclaration, PhaseFact } from '../../src/protocol/records.ts';
import type { State } from '../../src/protocol/state.ts';
import {
  asRecorded,
  declarationOf,
  emptyLog,
  foldFacts,
  judge,
  judgePane,
  judgeTurn,
  openState,
  type RunLog,
} from './rig.ts';

/** A clock that stands still until it is advanced; timers run in the order of their times, also those set on the way. */
export class StepClock {
  nowMs = 0;
  #order = 0;
  #timers: { dueMs: number; order: number; fn: () => void }[] = [];

  setTimeout = (fn: () => void, delayMs: number): unknown => {
    const timer = { dueMs: this.nowMs + delayMs, order: (this.#order += 1), fn };
    this.#timers.push(timer);
    return timer;
  };

  clearTimeout = (timer: unknown): void => {
    this.#timers = this.#timers.filter((other) => other !== timer);
  };

  get pending(): number {
    return this.#timers.length;
  }

  advance(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const [next] = this.#timers
        .filter((timer) => timer.dueMs <= untilMs)
        .sort((a, b) => a.dueMs - b.dueMs || a.order - b.order);
      if (next === undefined) break;
      this.clearTimeout(next);
      this.nowMs = next.dueMs;
      next.fn();
    }
    this.nowMs = untilMs;
  }
}

/** A stage's body in the hands of a test. */
export interface RigBody {
  input: StageInput;
  /** Left by the chart before it reported its end: it unwinds. */
  stopped: boolean;
  over: boolean;
  send: (event: PaneEvent) => void;
}

export interface RigOptions {
  shape: PaneShape;
  options?: Partial<PaneDeclaration>;
  /** The state to start from, instead of a session that has just been opened. */
  state?: State;
  mutate?: (machine: PaneMachine, shape: PaneShape) => PaneMachine;
  jitter?: number;
  /** What was said before, with `state`: a process that starts again. */
  log?: RunLog;
  recover?: typeof recover;
  /** Names of runs made before. */
  runs?: number;
}

/** The real actor of one pane over a folded state; every fact and every turn is judged by the rules of `rig.ts`. */
export class PaneRig {
  readonly clock = new StepClock();
  readonly bodies: RigBody[] = [];
  readonly said: PaneEmitted[] = [];
  state: State;
  log: RunLog = emptyLog;
  readonly #name: string;
  readonly #jitter: number;
  #fault: unknown;
  readonly #actor: Actor<PaneMachine>;
  runs: number;

  constructor(rigOptions: RigOptions) {
    const { shape, options = {}, state, mutate, jitter = 1, log } = rigOptions;
    this.#name = shape.name;
    this.#jitter = jitter;
    this.runs = rigOptions.runs ?? 0;
    this.state = state ?? openState({ [shape.name]: declarationOf(shape, options) });
    const machine = createPaneMachine(shape, this.#stage());
    const input = (rigOptions.recover ?? recover)(this.state, shape.name, 0);
    if (input === undefined) throw new Error('no such pane');
    const { run, generation } = this.view;
    if (log !== undefined) this.log = log;
    else if (run !== null)
      this.log = { ...emptyLog, runs: { [run]: input.open ? 'open' : 'ended' }, current: run, generation };
    for (const queued of log === undefined ? this.view.queued : [])
      this.log = { ...this.log, runs: { ...this.log.runs, [queued]: 'queued' } };
    this.#actor = createActor(mutate?.(machine, shape) ?? machine, { input, clock: this.clock });
    this.#actor.on('*', (emitted) => this.guarded(() => this.#hear(emitted)));
    this.#actor.subscribe({
      error: (error) => {
        this.#fault ??= error;
      },
    });
    this.#actor.start();
    this.send({ type: 'start' });
  }

  get view() {
    const view = this.state.view.panes[this.#name];
    if (view === undefined) throw new Error(`no pane ${this.#name}`);
    return view;
  }

  /** Phases on record, oldest first: `phase` or `phase reason`, of all runs. */
  get phases(): string[] {
    return this.facts.map((fact) => [fact.phase, fact.reason].filter((part) => part !== undefined).join(' '));
  }

  get facts(): PhaseFact[] {
    return this.said.flatMap((said) => (said.type === 'fact' && said.fact.type === 'pane.phase' ? [said.fact] : []));
  }

  /** The newest fact about a run. */
  last(run: string): PhaseFact {
    const fact = this.facts.findLast((candidate) => candidate.run === run);
    if (fact === undefined) throw new Error(`nothing was said of ${run}`);
    return fact;
  }

  /** The body at work. */
  get body(): RigBody | undefined {
    return this.bodies.find((body) => !body.stopped && !body.over);
  }

  get unwinding(): RigBody[] {
    return this.bodies.filter((body) => body.stopped && !body.over);
  }

  get timers(): number {
    return this.clock.pending;
  }

  send(event: PaneEvent): void {
    this.#actor.send(event);
    this.judge();
  }

  /** Runs what an emitted event or a microtask sets going: a fault there is thrown by the next `judge`, not into nowhere. */
  guarded(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.#fault ??= error;
    }
  }

  judge(): void {
    if (this.#fault !== undefined) throw this.#fault;
    judgeTurn(this.log, this.state, this.#name);
    const { context, tags, value } = this.#actor.getSnapshot();
    const { body } = this;
    judgePane(
      {
        name: this.#name,
        tags,
        open: context.open,
        unwindingKnown: context.unwinding,
        bodies: body === undefined ? [] : [body.input],
        unwinding: this.unwinding.length,
        timers: Array.from({ length: this.timers }, () => 'timeout'),
        clockHeld: JSON.stringify(value).includes('"clock":"held"'),
        replying: context.hold === 'replying',
        log: this.log,
      },
      this.state,
    );
  }

  /** The transcript moves: a user's message, final. Returns the run's proposed name. */
  update(hold: 'none' | 'expected' | 'replying' = 'none'): string {
    const generation = this.state.view.generation + 1;
    const run = `g${generation}`;
    this.state = foldFacts(this.state, [
      {
        type: 'message.added',
        message: { id: `u${generation}`, role: 'user', text: 'x', generation, final: true, reply: 'none' },
      },
    ]);
    this.send({ type: 'update', run, generation, hold, at: this.clock.nowMs });
    return run;
  }

  /** What the gate does at a start for a pane that `owesRun`. */
  owed(): void {
    const { generation } = this.state.view;
    this.send({ type: 'update', run: `w${(this.runs += 1)}`, generation, hold: 'none', at: this.clock.nowMs });
  }

  /** `pane.run`. Returns the run's proposed name. */
  run(input?: JsonObject): string {
    const run = `m${(this.runs += 1)}`;
    const { generation } = this.state.view;
    this.send({ type: 'run', run, generation, at: this.clock.nowMs, ...(input === undefined ? {} : { input }) });
    return run;
  }

  cancel(run: string | null = null): void {
    this.send({ type: 'cancel', run });
  }

  pause(): void {
    this.send({ type: 'pause', at: this.clock.nowMs });
  }

  resume(): void {
    this.send({ type: 'resume' });
  }

  hold(hold: 'none' | 'expected' | 'replying'): void {
    this.send({ type: 'hold', hold, at: this.clock.nowMs });
  }

  /** The body at work ends well. */
  done(result: StageOutcome): void {
    this.#report((body) => ({
      type: 'stage.done',
      run: body.input.run,
      attempt: body.input.attempt,
      at: this.clock.nowMs,
      result,
    }));
  }

  next(checkpoint?: JsonObject): void {
    this.done(checkpoint === undefined ? { outcome: 'next' } : { outcome: 'next', checkpoint });
  }

  updated(content: JsonObject = { text: 'new' }): void {
    this.done({ outcome: 'updated', content });
  }

  fail(failure: Partial<StageFailure['error']> & { retryAfterMs?: number } = {}): void {
    const { retryAfterMs, ...error } = failure;
    this.#report((body) => ({
      type: 'stage.failed',
      run: body.input.run,
      attempt: body.input.attempt,
      at: this.clock.nowMs,
      failure: {
        error: { code: 'provider', message: 'it fails', retryable: true, ...error },
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      },
    }));
  }

  /** News from the body at work. */
  tell(event: PaneEvent): void {
    const { body } = this;
    if (body === undefined) throw new Error('no body works');
    body.send(event);
    this.judge();
  }

  /** A stopped body (the oldest) has really ended. */
  unwind(body = this.unwinding[0]): void {
    if (body === undefined) throw new Error('no body unwinds');
    body.over = true;
    this.send({ type: 'unwound' });
  }

  tick(ms: number): void {
    this.clock.advance(ms);
    this.judge();
  }

  stop(): void {
    this.#actor.stop();
  }

  #report(make: (body: RigBody) => PaneEvent): void {
    const { body } = this;
    if (body === undefined) throw new Error('no body works');
    body.over = true;
    body.send(make(body));
    this.judge();
  }

  #stage(): StageLogic {
    return fromCallback<PaneEvent, StageInput>(({ input, sendBack }) => {
      const body: RigBody = { input, stopped: false, over: false, send: sendBack };
      this.bodies.push(body);
      sendBack({ type: 'stage.started', at: this.clock.nowMs, jitter: this.#jitter });
      return () => {
        if (!body.over) body.stopped = true;
      };
    });
  }

  #hear(emitted: PaneEmitted): void {
    this.said.push(emitted);
    if (emitted.type !== 'fact') return;
    const fact: Fact = asRecorded(this.state, emitted.fact);
    if (fact.type === 'pane.phase') this.log = judge(this.log, this.state, fact);
    this.state = foldFacts(this.state, [fact], this.clock.nowMs);
  }
}
