import { createActor, fromCallback, type Actor } from 'xstate';
import { decideTask, decideWork } from '../../../src/machines/decide-task.ts';
import type { Decision, Knowledge } from '../../../src/machines/decision.ts';
import { isOpen, panesToWake } from '../../../src/machines/derive.ts';
import type { StageInput, StageLogic } from '../../../src/machines/pane-setup.ts';
import type { PaneEvent } from '../../../src/machines/pane-types.ts';
import { recoveryFacts } from '../../../src/machines/recover.ts';
import { actorOf, isOver, running } from '../../../src/machines/tasks/items.ts';
import { createTaskPaneMachine, type TaskPaneMachine } from '../../../src/machines/tasks/pane.ts';
import { recoverTasks, taskOptions } from '../../../src/machines/tasks/recover.ts';
import type { TaskEvent, TaskPaneEmitted, TaskPaneEvent, TaskPaneShape } from '../../../src/machines/tasks/types.ts';
import { isPending } from '../../../src/protocol/fold-tasks.ts';
import type { Fact, PaneDeclaration, TaskChange } from '../../../src/protocol/records.ts';
import type { State } from '../../../src/protocol/state.ts';
import { contentFact, failedFact, withQueuedTasks } from '../../../src/server/sessions/parts.ts';
import { foldFacts, mustHold, openState, Violation } from '../rig.ts';
import { HandClock } from './clock.ts';
import { TaskLog } from './judge.ts';

/** A stage's body in the hands of a test. */
export interface TaskBody {
  input: StageInput;
  key: string;
  /** Stands in the queue of its provider. */
  held: boolean;
  /** Left by the chart before it reported its end: it unwinds. */
  stopped: boolean;
  over: boolean;
  send(event: PaneEvent | TaskEvent): void;
}

export interface TaskFaults {
  mutate?: (machine: TaskPaneMachine, shape: TaskPaneShape) => TaskPaneMachine;
  recover?: typeof recoverTasks;
}

export interface TaskRigOptions extends TaskFaults {
  shape?: Partial<TaskPaneShape>;
  options?: Partial<PaneDeclaration>;
}

export const defaultShape: TaskPaneShape = {
  name: 'works',
  phase: 'writing',
  stages: ['drafting', 'polishing'],
  joins: true,
  keepsFailed: true,
  maxTasks: 6,
};

const declaration: PaneDeclaration = {
  kind: 'works',
  phases: ['writing'],
  driven: false,
  tasks: true,
  enabled: true,
  policy: 'queue',
  startOn: 'message',
  replyWaitMs: 1_000,
  debounceMs: 0,
  debounceMaxMs: 0,
  timeoutMs: 60_000,
  idleTimeoutMs: 3_000,
  retries: 1,
  maxChars: 100,
  window: 10,
  taskTimeoutMs: 20_000,
  parallel: 2,
};

/** The task of a test: `a`, or `a:k` for one that writes part `k`, or `a@m` for one that message `m` has asked for; `a>b` waits for `b`; `a!` is reviewed. */
export function taskOf(word: string): TaskChange {
  const [, id = '', key = id, message, after, review] = /^(\w+)(?::(\w+))?(?:@(\w+))?(?:>(\w+))?(!)?$/.exec(word) ?? [];
  return {
    id,
    label: `Task ${id}`,
    key,
    input: message === undefined ? {} : { message },
    ...(after === undefined ? {} : { after: [after] }),
    ...(review === undefined ? {} : { review: true as const }),
  };
}

/** The real actors of one pane with tasks over a folded state, as the gate has them. Every fact and every turn is judged. */
export class TaskRig {
  readonly clock = new HandClock();
  readonly log = new TaskLog();
  readonly shape: TaskPaneShape;
  readonly facts: Fact[] = [];
  bodies: TaskBody[] = [];
  state: State;
  accepted: string | null = null;
  /** Messages that are not there any more. */
  readonly removed = new Set<string>();
  runs = 0;
  readonly #options: TaskRigOptions;
  readonly #machine: TaskPaneMachine;
  readonly #begun = new Set<string>();
  #actor: Actor<TaskPaneMachine> | null = null;
  #fault: unknown;
  #actors = new Set<string>();

  constructor(options: TaskRigOptions = {}) {
    this.#options = options;
    this.shape = { ...defaultShape, ...options.shape };
    this.state = openState({ works: { ...declaration, ...options.options } });
    const machine = createTaskPaneMachine(this.shape, this.#stage());
    this.#machine = options.mutate?.(machine, this.shape) ?? machine;
  }

  get view() {
    const view = this.state.view.panes['works'];
    if (view === undefined) throw new Error('no pane');
    return view;
  }

  get declaration(): PaneDeclaration {
    const pane = this.state.private.panes['works'];
    if (pane === undefined) throw new Error('no pane');
    return pane.declaration;
  }

  get alive(): TaskBody[] {
    return this.bodies.filter(({ stopped, over }) => !stopped && !over);
  }

  get unwinding(): TaskBody[] {
    return this.bodies.filter(({ stopped, over }) => stopped && !over);
  }

  get snapshot() {
    return this.#actor?.getSnapshot();
  }

  /** Phases on record, as `run phase reason`. */
  get phases(): string[] {
    return this.facts.flatMap((fact) =>
      fact.type === 'pane.phase'
        ? [[fact.run, fact.phase, fact.reason].filter((word) => word !== undefined).join(' ')]
        : [],
    );
  }

  get statuses(): { [id: string]: string } {
    return Object.fromEntries(Object.values(this.view.tasks).map(({ id, status }) => [id, status]));
  }

  // ---- what the gate does

  /** `pane.run`, decided as `decideWork` would: undefined = refused there. */
  ask(...words: string[]): string | undefined {
    const { joins, maxTasks } = this.shape;
    const known = this.#known();
    return this.#decided(decideWork(this.state, 'works', { tasks: words.map(taskOf), joins, maxTasks }, known));
  }

  /** A command about one task; false when it is refused or does nothing. */
  task(type: 'task.cancel' | 'task.retry' | 'task.prioritize', task: string): boolean {
    const known = this.#known();
    return (
      this.#decided(decideTask(this.state, { type, id: 'k', session: 's', pane: 'works', task }, known)) !== undefined
    );
  }

  /** A watch has found this in a message; `streaming`: which is still being written. */
  find(message: string, streaming: boolean, ...words: string[]): string {
    if (this.state.private.open[message] === undefined && !this.state.view.messages.some(({ id }) => id === message)) {
      this.#fold({
        type: 'message.added',
        message: { id: message, role: 'assistant', text: 'x', generation: 1, final: !streaming, reply: 'none' },
      });
    }
    return this.#work(
      words.map((word) => taskOf(word.includes('@') ? word : `${word}@${message}`)),
      streaming ? { streaming: message } : {},
    );
  }

  finish(message: string): void {
    this.#fold({ type: 'message.ended', message, outcome: 'complete' });
    this.tell({ type: 'finished', message });
  }

  remove(message: string): void {
    if (this.state.private.open[message] !== undefined)
      this.#fold({ type: 'message.ended', message, outcome: 'stopped' });
    this.removed.add(message);
    this.#fold({ type: 'message.removed', message, generation: 1 });
    this.tell({ type: 'gone', message });
  }

  setOptions(options: Partial<PaneDeclaration>): void {
    this.#fold({ type: 'session.opened', panes: { works: { ...this.declaration, ...options } } });
    this.tell({ type: 'task.options', options: taskOptions(this.declaration) });
  }

  /** Tells the pane, if it has an actor. */
  tell(event: TaskPaneEvent): void {
    this.log.retries = event.type === 'task.retry';
    this.#actor?.send(event);
    this.judge();
    this.log.retries = false;
  }

  /** The same, and it gets one. */
  send(event: TaskPaneEvent): void {
    this.#spawn();
    this.tell(event);
  }

  /** The process dies, and the next one goes on. */
  crash(): void {
    this.#actor?.stop();
    this.#actor = null;
    // What the old process was about to do does not happen.
    for (const body of this.bodies) body.over = true;
    this.bodies = [];
    // That a task has begun may not be on record yet: it begins once more, with the same number.
    this.#begun.clear();
    for (const fact of recoveryFacts(this.state)) this.#record(fact);
    if (panesToWake(this.state).busy.includes('works')) this.#spawn();
    this.judge();
  }

  done(
    body: TaskBody,
    result: Extract<TaskEvent, { type: 'stage.done' }>['result'] = this.goodResult(body),
    times = 1,
  ): void {
    this.#report(body, times, { type: 'stage.done', ...this.#stamp(body), result });
  }

  fail(body: TaskBody, retryable = true, retryAfterMs?: number): void {
    const error = { code: 'provider' as const, message: 'it fails', retryable };
    const failure = retryAfterMs === undefined ? { error } : { error, retryAfterMs };
    this.#report(body, 1, { type: 'stage.failed', ...this.#stamp(body), failure });
  }

  goodResult({ input }: TaskBody): Extract<TaskEvent, { type: 'stage.done' }>['result'] {
    return this.shape.stages.at(-1) === input.stage
      ? { outcome: 'done', value: { by: `${input.run} ${input.attempt}` }, asset: 'path' }
      : { outcome: 'next', checkpoint: { made: input.stage } };
  }

  /** A stopped body has kept what it had. */
  kept({ input }: TaskBody): void {
    this.tell({
      type: 'kept',
      run: input.run,
      task: input.task ?? '',
      attempt: input.attempt,
      asset: 'kept',
      value: { kept: input.attempt },
    });
  }

  unwind(body: TaskBody): void {
    body.over = true;
    this.tell({ type: 'unwound' });
  }

  tick(ms?: number): void {
    if (ms === undefined) this.clock.next();
    else this.clock.advance(ms);
    this.judge();
  }

  /** Everybody answers and every timer runs: then all has ended. */
  quiesce(): void {
    for (const message of Object.keys(this.state.private.open)) this.finish(message);
    for (let i = 0; i < 300; i += 1) {
      const [body] = this.alive;
      if (this.view.paused) this.send({ type: 'resume' });
      else if (this.unwinding[0] !== undefined) this.unwind(this.unwinding[0]);
      else if (body !== undefined) this.done(body);
      else if (this.clock.dueInMs.length > 0) this.tick();
      else break;
    }
    for (const [run, is] of this.log.runs)
      mustHold(is === 'ended', 'T50', () => `run ${run} is ${is} at the end of the day`);
    mustHold(this.clock.dueInMs.length === 0, 'T50', () => 'a timer is left');
    const pending = Object.values(this.view.tasks).filter(isPending);
    mustHold(pending.length === 0, 'T50', () => `${pending.map(({ id }) => id).join()} pending at the end of the day`);
  }

  stop(): void {
    this.#actor?.stop();
  }

  // ---- inside

  #known(): Knowledge {
    return {
      panes: { works: this.declaration },
      nowMs: this.clock.nowMs,
      ids: { run: `r${(this.runs += 1)}`, message: 'none' },
      find: () => undefined,
      draft: () => undefined,
      plan: () => undefined,
      retry: () => undefined,
    };
  }

  /** Does what was decided; undefined = nothing. The run that a `pane.run` has become, else ''. */
  #decided(decision: Decision): string | undefined {
    if (decision.kind !== 'do' || decision.events.length === 0) return undefined;
    this.accepted = null;
    for (const event of decision.events) {
      if (event.type !== 'tell') continue;
      // Only events for panes with tasks come from these decisions.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      const told = event.event as TaskPaneEvent;
      this.send(told);
      if (told.type === 'work') this.#judgeTaken(told.tasks);
    }
    return this.accepted ?? '';
  }

  #work(tasks: TaskChange[], how: { streaming?: string }): string {
    const run = `r${(this.runs += 1)}`;
    this.send({ type: 'work', run, generation: this.state.view.generation, tasks, asked: false, ...how });
    return run;
  }

  /** What was acked is on record and not over already. */
  #judgeTaken(tasks: readonly TaskChange[]): void {
    const run = this.accepted;
    mustHold(run !== null && this.log.runs.has(run), 'T48', () => `nobody has taken it: ${run}`);
    const queued = this.state.private.panes['works']?.queue.find((other) => other.run === run)?.tasks;
    mustHold(queued !== undefined || this.view.run === run, 'T48', () => `acked run ${run} is not there`);
    mustHold(
      queued !== undefined || this.view.phase !== 'cancelling',
      'T41',
      () => `run ${run}, which was cancelled before, got new work`,
    );
    for (const { id } of tasks) {
      const task = queued?.find((other) => other.id === id) ?? this.view.tasks[id];
      mustHold(
        task !== undefined && (task.status == null || task.status === 'queued' || task.status === 'running'),
        'T48',
        () => `acked task ${id} of ${run} is ${task?.status ?? 'not on record'}`,
      );
    }
  }

  #spawn(): void {
    if (this.#actor !== null) return;
    const bodies = this.bodies.filter(({ over }) => !over).length;
    const input = (this.#options.recover ?? recoverTasks)(this.state, 'works', bodies);
    if (input === undefined) throw new Error('no such pane');
    const actor = createActor(this.#machine, { input, clock: this.clock });
    actor.on('*', (emitted) => this.#guarded(() => this.#hear(emitted)));
    actor.subscribe({ error: (error) => (this.#fault ??= error) });
    this.#actor = actor;
    actor.start();
    actor.send({ type: 'start' });
    this.judge();
  }

  #guarded(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.#fault ??= error;
    }
  }

  #hear(emitted: TaskPaneEmitted): void {
    switch (emitted.type) {
      case 'fact':
        this.#record(emitted.fact.type === 'pane.phase' ? withQueuedTasks(this.state, emitted.fact) : emitted.fact);
        return;
      case 'commit':
        this.#record(contentFact(this.state, emitted));
        return;
      case 'failed':
        this.#record(failedFact(this.state, emitted, (_, task) => ({ status: 'failed', task: task.id })));
        return;
      case 'accepted':
        this.accepted = emitted.run;
        return;
      default:
    }
  }

  #record(fact: Fact): void {
    const before = this.state;
    this.#fold(fact);
    this.facts.push(fact);
    this.log.judge(fact, before, this.state, this.clock.nowMs);
  }

  #fold(fact: Fact): void {
    this.state = foldFacts(this.state, [fact], this.clock.nowMs);
  }

  #stamp({ input: { run, attempt } }: TaskBody) {
    return { run, attempt, at: this.clock.nowMs };
  }

  #report(body: TaskBody, times: number, event: TaskEvent): void {
    if (body.held) body.send({ type: 'granted', at: this.clock.nowMs });
    body.held = false;
    // One that was stopped answers too, into nowhere, and unwinds later.
    if (!body.stopped) body.over = true;
    for (let i = 0; i < times; i += 1) body.send(event);
    this.judge();
  }

  #stage(): StageLogic {
    return fromCallback<PaneEvent, StageInput>(({ input, sendBack }) => {
      this.#guarded(() => this.#begin(input));
      const send = (event: PaneEvent | TaskEvent): void => sendBack(event);
      const body: TaskBody = { input, key: this.#keyOf(input), held: false, stopped: false, over: false, send };
      this.bodies.push(body);
      send({ type: 'stage.started', at: this.clock.nowMs, jitter: 1 });
      return () => {
        if (body.over) return;
        body.stopped = true;
        // Nothing was asked of the provider yet: the same attempt begins anew.
        if (body.held) this.#begun.delete(nameOf(input));
      };
    });
  }

  #keyOf({ task = '' }: StageInput): string {
    return this.view.tasks[task]?.key ?? '';
  }

  #begin(input: StageInput): void {
    const name = nameOf(input);
    mustHold(!this.view.paused, 'T46', () => `a body for ${name} begins in a paused pane`);
    mustHold(!this.#begun.has(name), 'T40', () => `a second body for ${name}`);
    this.#begun.add(name);
    mustHold(
      this.view.run === input.run && isOpen(this.view),
      'T49',
      () => `a body for ${name} begins in ${this.view.phase} of ${this.view.run}`,
    );
    mustHold(this.view.phase === this.shape.phase, 'T45', () => `a body for ${name} begins in ${this.view.phase}`);
    const others = this.alive.filter((body) => body.input.task !== input.task);
    const key = this.#keyOf(input);
    mustHold(key === '' || others.every((other) => other.key !== key), 'T48', () => `two bodies write ${key}`);
    mustHold(
      this.alive.every((body) => body.input.task !== input.task),
      'T40',
      () => `two bodies of task ${input.task}`,
    );
    const task = this.view.tasks[input.task ?? ''];
    mustHold(task !== undefined, 'T27', () => `a body for ${name}, which is not on record`);
    const old = this.unwinding.find(({ input: { run } }) => run !== input.run);
    mustHold(old === undefined, 'T41', () => `a body for ${name} begins while one of run ${old?.input.run} unwinds`);
    mustHold(input.attempt >= task.attempt, 'T28', () => `${name}, the record says attempt ${task.attempt}`);
  }

  /** After a whole turn. */
  judge(): void {
    if (this.#fault !== undefined) throw this.#fault;
    const snapshot = this.snapshot;
    if (snapshot === undefined) return;
    if (snapshot.status !== 'active') throw new Violation('alive', `the actor is ${snapshot.status}`);
    const { context, tags } = snapshot;
    const { view } = this;
    mustHold(
      context.open === isOpen(view),
      'T49',
      () => `the chart says open ${context.open}, the record ${view.phase}`,
    );
    mustHold(
      context.unwinding === this.unwinding.length,
      'T40',
      () => `the chart counts ${context.unwinding} stopped bodies, there are ${this.unwinding.length}`,
    );
    mustHold(
      context.pauseWanted === view.paused,
      'T46',
      () => `the chart wants pause ${context.pauseWanted}, the record says ${view.paused}`,
    );
    mustHold(
      context.queue
        .map(({ run }) => run)
        .toSorted()
        .join() === view.queued.toSorted().join(),
      'T48',
      () => `the chart's line is not the record's`,
    );
    const fresh = Object.keys(snapshot.children).filter((id) => !this.#actors.has(id));
    this.#actors = new Set(Object.keys(snapshot.children));
    const busy = running(context.items).length;
    // Options count from the next start on.
    mustHold(
      fresh.length === 0 || busy <= context.options.parallel,
      'T48',
      () => `${fresh.join()} begins, ${busy} at work`,
    );
    for (const item of context.items.filter((other) => fresh.includes(actorOf(other)))) {
      const first = context.items.find((other) => item.after.includes(other.id) && !isOver(other));
      mustHold(first === undefined, 'T35', () => `${item.id} begins before ${first?.id} has ended`);
    }
    const actors = Object.keys(snapshot.children).toSorted().join();
    const wanted = running(context.items).map(actorOf).toSorted().join();
    mustHold(actors === wanted, 'T40', () => `actors ${actors}, expected ${wanted}`);
    for (const body of this.alive)
      mustHold(
        running(context.items).some(({ id }) => id === body.input.task) && body.input.run === view.run && isOpen(view),
        'T49',
        () => `a body of ${body.input.task} of ${body.input.run} works in ${view.phase}`,
      );
    if (isOpen(view)) this.#judgeItems(context.items, context.changed);
    if (tags.has('settled'))
      mustHold(view.queued.length === 0, 'T50', () => `settled, and ${view.queued.join()} queued`);
    if (tags.has('phase.paused')) mustHold(this.alive.length === 0, 'T46', () => 'a body works in a paused pane');
    if (tags.has('busy')) this.#judgeAlive(context);
    const timed = this.alive.filter(({ held }) => !held).length;
    mustHold(
      this.clock.dueInMs.length >= timed,
      'T50',
      () => `${timed} tasks at work, ${this.clock.dueInMs.length} timers`,
    );
    if (context.open && context.items.length > 0 && this.#options.mutate === undefined) this.#judgeRecovery();
  }

  /** What is on record, with what waits to be said, is what the chart knows. */
  #judgeItems(items: readonly { id: string; status: string; attempt: number }[], changed: readonly TaskChange[]): void {
    mustHold(
      items.length === Object.keys(this.view.tasks).length,
      'T27',
      () => `${items.length} tasks, on record ${Object.keys(this.view.tasks).length}`,
    );
    for (const { id, status } of items) {
      const said = changed.find((change) => change.id === id)?.status ?? this.view.tasks[id]?.status;
      // What is stopped by the end of its run is cancelled by the record of that end.
      const known = said === status || (status === 'cancelled' && this.view.phase === 'cancelling');
      mustHold(known, 'T27', () => `${id} is ${status}, the record says ${said}`);
    }
  }

  /** Nobody waits for something that cannot come. */
  #judgeAlive({
    items,
    streaming,
    options: { parallel },
  }: {
    items: readonly { status: string; after: readonly string[]; key: string }[];
    streaming: readonly string[];
    options: { parallel: number };
  }): void {
    const comes = this.alive.length > 0 || this.clock.dueInMs.length > 0 || streaming.length > 0;
    mustHold(
      comes,
      'T50',
      () => `nothing will ever happen in ${this.view.phase}: ${JSON.stringify(items)} of ${parallel}`,
    );
  }

  /** Whoever starts from the record finds what the chart knows, but for what was at work. */
  #judgeRecovery(): void {
    const context = this.snapshot?.context;
    const again = recoverTasks(this.state, 'works');
    if (context === undefined || again === undefined || context.changed.length > 0 || this.view.phase === 'cancelling')
      return;
    const told = (item: { id: string; status: string; after: readonly string[]; key: string; rank: number }) =>
      `${item.id} ${item.status === 'running' ? 'queued' : item.status} ${item.key} ${item.rank} ${item.after.join()}`;
    const [live, back] = [context.items.map(told).join(), again.items.map(told).join()];
    mustHold(live === back, 'T68', () => `live ${live}, recovered ${back}`);
    const lines = [context, again].map(({ queue }) =>
      queue
        .map(
          ({ run, items }) =>
            `${run}: ${items
              .filter((item) => !isOver(item))
              .map(told)
              .join()}`,
        )
        .join('; '),
    );
    mustHold(lines[0] === lines[1], 'T68', () => `live line ${lines[0]}, recovered ${lines[1]}`);
  }
}

function nameOf({ run, task = '', attempt, stage }: StageInput): string {
  return `${run} ${task} ${attempt} ${stage}`;
}
