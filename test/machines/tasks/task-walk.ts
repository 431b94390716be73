import { createActor, fromCallback, setup, spawnChild } from 'xstate';
import type { StageInput, StageLogic } from '../../../src/machines/pane-setup.ts';
import type { PaneEvent } from '../../../src/machines/pane-types.ts';
import { createTaskMachine, type TaskMachine } from '../../../src/machines/tasks/task.ts';
import type { TaskEvent, TaskReport, TaskStart } from '../../../src/machines/tasks/types.ts';
import { mustHold, Violation } from '../rig.ts';
import { HandClock } from './clock.ts';
import { defaultShape } from './rig.ts';

/** Every order of what the chart of one task can hear, over the real actor; each path is made from scratch. */

export const taskMoves = [
  'next',
  'done',
  'fail',
  'fatal',
  'fail 800',
  'fail 9000',
  'heard',
  'held',
  'granted',
  'tick',
  'pause',
  'resume',
  'late',
  'wait',
] as const;
export type TaskMove = (typeof taskMoves)[number];

export interface TaskWalkOptions {
  stages: readonly [string, ...string[]];
  retries: number;
  mutate?: (machine: TaskMachine) => TaskMachine;
}

const taskTimeoutMs = 2_500;

interface Body {
  input: StageInput;
  over: boolean;
  stopped: boolean;
  send(event: TaskEvent): void;
}

class OneTask {
  readonly clock = new HandClock();
  readonly bodies: Body[] = [];
  readonly reports: TaskReport[] = [];
  readonly #options: TaskWalkOptions;
  readonly #actor;
  #heldMs = 0;
  #heldSinceMs: number | null = null;
  #attempt = 1;
  #judged = 0;
  #stopped = 0;

  constructor(options: TaskWalkOptions) {
    this.#options = options;
    const stage: StageLogic = fromCallback<PaneEvent, StageInput>(({ input, sendBack }) => {
      const body: Body = { input, over: false, stopped: false, send: (event) => sendBack(event) };
      this.bodies.push(body);
      body.send({ type: 'stage.started', at: this.clock.nowMs, jitter: 1 });
      return () => {
        if (!body.over) body.stopped = true;
      };
    });
    const machine = createTaskMachine({ ...defaultShape, stages: options.stages }, stage);
    const input: TaskStart = {
      session: 's',
      pane: 'works',
      run: 'r',
      generation: 1,
      task: 'a',
      serial: 1,
      attempt: 1,
      stage: '',
      options: { policy: 'queue', idleTimeoutMs: 700, retries: options.retries, taskTimeoutMs, parallel: 1 },
    };
    const hear = ({ event }: { event: TaskReport }): void => void this.reports.push(event);
    const parent = setup({
      // The usual way to tell xstate a type.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      types: { events: {} as TaskReport },
      actors: { task: options.mutate?.(machine) ?? machine },
    }).createMachine({
      entry: spawnChild('task', { id: 'task', input }),
      on: {
        'task.stage': { actions: hear },
        'task.retrying': { actions: hear },
        'task.parked': { actions: hear },
        'task.done': { actions: hear },
        'task.failed': { actions: hear },
      },
    });
    this.#actor = createActor(parent, { clock: this.clock });
    this.#actor.start();
    this.judge();
  }

  get body(): Body | undefined {
    return this.bodies.find(({ over, stopped }) => !over && !stopped);
  }

  get over(): boolean {
    return this.reports.some(({ type }) => type === 'task.done' || type === 'task.failed' || type === 'task.parked');
  }

  get key(): string {
    const child = this.#actor.getSnapshot().children['task'];
    // Only its state is compared.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const { value, context } = (child?.getSnapshot() ?? {}) as { value?: unknown; context?: object };
    return JSON.stringify([
      value,
      context,
      this.clock.nowMs,
      this.clock.dueInMs,
      this.bodies.map(({ input, ...is }) => [input.stage, input.attempt, is.over, is.stopped]),
      this.#heldMs,
      this.#heldSinceMs,
      this.over,
    ]);
  }

  /** Makes a move; false when it cannot be made. */
  take(move: TaskMove): boolean {
    const at = this.clock.nowMs;
    const { body } = this;
    if (move === 'tick') {
      if (this.clock.dueInMs.length === 0) return false;
      this.clock.next();
    } else if (move === 'wait') {
      if (this.over || this.clock.nowMs > taskTimeoutMs) return false;
      this.clock.advance(taskTimeoutMs + 100);
    } else if (move === 'pause' || move === 'resume') {
      const child = this.#actor.getSnapshot().children['task'];
      if (child === undefined || this.over) return false;
      child.send({ type: move });
    } else if (move === 'late') {
      const gone = this.bodies.find(({ stopped, over }) => stopped && !over);
      if (gone === undefined) return false;
      this.#end(gone, { type: 'stage.done', ...stamp(gone, at), result: { outcome: 'done' } });
    } else if (body === undefined) return false;
    else if (move === 'heard') {
      if (this.#heldSinceMs !== null) return false;
      body.send({ type: 'heard', kept: false });
    } else if (move === 'held') {
      if (this.#heldSinceMs !== null) return false;
      this.#heldSinceMs = at;
      body.send({ type: 'held', at });
    } else if (move === 'granted') {
      if (this.#heldSinceMs === null) return false;
      this.#heldMs += at - this.#heldSinceMs;
      this.#heldSinceMs = null;
      body.send({ type: 'granted', at });
    } else {
      // A call gets its slot, or its place in the line is gone, before its body ends.
      if (this.#heldSinceMs !== null) return false;
      this.#answer(body, move, at);
    }
    this.judge();
    return true;
  }

  judge(): void {
    const alive = this.bodies.filter(({ over, stopped }) => !over && !stopped);
    mustHold(alive.length <= 1, 'one body', () => `${alive.length} bodies at once`);
    const finals = this.reports.filter(
      ({ type }) => type === 'task.done' || type === 'task.failed' || type === 'task.parked',
    );
    mustHold(finals.length <= 1, 'one end', () => `it ends as ${finals.map(({ type }) => type).join()}`);
    mustHold(
      finals.length === 0 || finals[0] === this.reports.at(-1),
      'one end',
      () => `${this.reports.at(-1)?.type} after its end`,
    );
    mustHold(
      finals.length === 0 || (alive.length === 0 && this.clock.dueInMs.length === 0),
      'one end',
      () => 'something goes on after the end',
    );
    mustHold(
      finals.length > 0 || alive.length === 1 || this.clock.dueInMs.length > 0,
      'stuck',
      () => 'nothing will ever happen',
    );
    const stopped = this.bodies.filter((body) => body.stopped).length;
    const fresh = this.reports.slice(this.#judged);
    const left = fresh.filter((report) => 'left' in report && report.left).length;
    mustHold(
      left === stopped - this.#stopped,
      'left',
      () => `${stopped - this.#stopped} bodies were stopped, ${left} reports say so: ${JSON.stringify(fresh)}`,
    );
    this.#stopped = stopped;
    this.#judged = this.reports.length;
    for (const report of fresh) this.#judgeReport(report);
    if (finals.length > 0) return;
    if (alive.length === 0) this.#heldSinceMs = null;
    const workedMs =
      this.clock.nowMs - this.#heldMs - (this.#heldSinceMs === null ? 0 : this.clock.nowMs - this.#heldSinceMs);
    mustHold(workedMs <= taskTimeoutMs, 'timeout', () => `it works for ${workedMs} ms`);
  }

  #judgeReport(report: TaskReport): void {
    if (!('attempt' in report)) return;
    const { attempt } = report;
    mustHold(attempt >= this.#attempt, 'attempt', () => `attempt ${attempt} after ${this.#attempt}`);
    const most = 1 + this.#options.retries + (report.type === 'task.parked' ? 1 : 0);
    mustHold(attempt <= most, 'retries', () => `attempt ${attempt} with ${this.#options.retries} retries`);
    this.#attempt = attempt;
    if (report.type !== 'task.retrying' || report.retryAt === null) return;
    const waitMs = Date.parse(report.retryAt) - this.clock.nowMs;
    const leftMs = taskTimeoutMs - (this.clock.nowMs - this.#heldMs);
    mustHold(waitMs < leftMs, 'timeout', () => `it waits ${waitMs} ms, ${leftMs} are left`);
  }

  #answer(body: Body, move: TaskMove, at: number): void {
    if (move === 'next' || move === 'done') {
      const result =
        move === 'next'
          ? ({ outcome: 'next', checkpoint: { of: body.input.stage } } as const)
          : ({ outcome: 'done' } as const);
      return this.#end(body, { type: 'stage.done', ...stamp(body, at), result });
    }
    const [, after] = move.split(' ');
    const error = { code: 'provider', message: 'it fails', retryable: move !== 'fatal' } as const;
    this.#end(body, {
      type: 'stage.failed',
      ...stamp(body, at),
      failure: after === undefined ? { error } : { error, retryAfterMs: Number(after) },
    });
  }

  #end(body: Body, event: TaskEvent): void {
    body.over = true;
    body.send(event);
  }

  stop(): void {
    this.#actor.stop();
  }
}

function stamp({ input: { run, attempt } }: Body, at: number) {
  return { run, attempt, at };
}

export interface WalkedTask {
  states: number;
  edges: number;
  ends: Set<string>;
  path: TaskMove[];
  violation: Violation | null;
}

/** Breadth first, each state once. */
export function walkTask(options: TaskWalkOptions, depth: number): WalkedTask {
  const seen = new Set<string>();
  const ends = new Set<string>();
  let layer: TaskMove[][] = [[]];
  let edges = 0;
  for (let i = 0; i < depth; i += 1) {
    const next: TaskMove[][] = [];
    for (const path of layer) {
      for (const move of taskMoves) {
        const longer = [...path, move];
        edges += 1;
        const task = new OneTask(options);
        try {
          if (!longer.every((made) => task.take(made))) continue;
          if (task.over) ends.add(task.reports.at(-1)?.type ?? '');
          if (seen.has(task.key)) continue;
          seen.add(task.key);
          next.push(longer);
        } catch (error) {
          if (!(error instanceof Violation)) throw error;
          return { states: seen.size, edges, ends, path: longer, violation: error };
        } finally {
          task.stop();
        }
      }
    }
    layer = next;
  }
  return { states: seen.size, edges, ends, path: [], violation: null };
}
