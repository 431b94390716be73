/* oxlint-disable typescript/no-unsafe-type-assertion -- the actions that come out of xstate's transition() are not typed */
import { initialTransition, transition } from 'xstate';
import { isOpen, panesToWake } from '../../src/machines/derive.ts';
import { createPaneMachine, type PaneMachine } from '../../src/machines/pane.ts';
import type { StageInput } from '../../src/machines/pane-setup.ts';
import type {
  PaneContext,
  PaneEmitted,
  PaneEvent,
  PaneInput,
  PaneShape,
  StageOutcome,
} from '../../src/machines/pane-types.ts';
import { recover, recoveryFacts } from '../../src/machines/recover.ts';
import { isWorking } from '../../src/protocol/names.ts';
import type { Fact, PaneDeclaration, PhaseFact } from '../../src/protocol/records.ts';
import type { State } from '../../src/protocol/state.ts';
import {
  asRecorded,
  declarationOf,
  emptyLog,
  foldFacts,
  judge,
  judgePane,
  judgeRest,
  judgeTurn,
  openState,
  shapes,
  Violation,
  type RunLog,
} from './rig.ts';

/**
 * An exhaustive walk over the pure charts: every order of updates, commands, reports, timers and crashes of a small world. A move takes one
 * event through `transition()`; the actions that come back are the world's: bodies that start and stop, timers that are set and cleared,
 * facts that are folded into the session's state.
 */

type PaneSnapshot = ReturnType<typeof initialTransition<PaneMachine>>[0];

interface PaneWorld {
  /** null = not spawned (before its first event, and after a crash with nothing to do). */
  readonly snapshot: PaneSnapshot | null;
  readonly body: readonly StageInput[];
  readonly unwinding: number;
  readonly timers: readonly { id: string; event: PaneEvent }[];
  readonly log: RunLog;
  readonly held: boolean;
  /** Bodies of this run, attempt and stage have been there: a name is never used twice. */
  readonly started: readonly string[];
}

interface World {
  readonly state: State;
  readonly panes: { readonly [name: string]: PaneWorld };
  /** Seqs of the transcript moves, so that equal histories have equal keys. */
  readonly marks: readonly number[];
  readonly left: { readonly [move in Budget]: number };
  readonly made: number;
}

const budgets = [
  'update',
  'run',
  'cancel',
  'cancelRun',
  'cancelQueued',
  'pause',
  'crash',
  'outdate',
  'close',
  'fail',
  'heard',
  'hold',
  'unchanged',
  'late',
] as const;
type Budget = (typeof budgets)[number];

/** What a world has in it. Budgets not named are 0. */
export interface WorldOptions {
  panes: { [name: string]: { shape: PaneShape; options?: Partial<PaneDeclaration> } };
  moves: { [move in Budget]?: number };
  /** More moves, for a longer walk. */
  more?: { [move in Budget]?: number };
  /** Other charts and another recovery than the real ones: seeded faults. */
  mutate?: (machine: PaneMachine, shape: PaneShape) => PaneMachine;
  recover?: typeof recover;
}

export interface Exploration {
  states: number;
  edges: number;
  /** The first violation found, with a shortest path to it. */
  violation: { rule: string; message: string; path: string[] } | null;
  /** Every phase that was recorded, by pane. */
  phases: ReadonlySet<string>;
  whole: boolean;
}

export function explore(options: WorldOptions, limit = 200_000): Exploration {
  return new Explorer(options).run(limit);
}

class Explorer {
  readonly #machines: { [pane: string]: PaneMachine } = {};
  readonly #options: WorldOptions;
  readonly #recover: typeof recover;
  readonly #phases = new Set<string>();

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#recover = options.recover ?? recover;
    for (const [name, { shape }] of Object.entries(options.panes)) {
      const machine = createPaneMachine({ ...shape, name });
      this.#machines[name] = options.mutate?.(machine, shape) ?? machine;
    }
  }

  run(limit: number): Exploration {
    const first = this.#first();
    const seen = new Map<string, { parent: string | null; move: string }>();
    const key = keyOf(first);
    seen.set(key, { parent: null, move: '' });
    let queue: { key: string; world: World }[] = [{ key, world: first }];
    let edges = 0;
    const result = (violation: Exploration['violation'], whole: boolean): Exploration => ({
      states: seen.size,
      edges,
      violation,
      phases: this.#phases,
      whole,
    });
    while (queue.length > 0) {
      const next: typeof queue = [];
      for (const { key: from, world } of queue) {
        for (const [move, make] of this.#moves(world)) {
          edges += 1;
          try {
            const to = make();
            judgeWorld(to);
            const toKey = keyOf(to);
            if (seen.has(toKey)) continue;
            seen.set(toKey, { parent: from, move });
            next.push({ key: toKey, world: to });
          } catch (error) {
            if (!(error instanceof Violation)) throw error;
            return result({ rule: error.rule, message: error.message, path: [...pathTo(seen, from), move] }, false);
          }
          if (seen.size >= limit) return result(null, false);
        }
      }
      queue = next;
    }
    return result(null, true);
  }

  #first(): World {
    const declared = Object.entries(this.#options.panes).map(
      ([name, pane]) => [name, declarationOf({ ...pane.shape, name }, pane.options)] as const,
    );
    const panes: World['panes'] = Object.fromEntries(declared.map(([name]) => [name, asleep(emptyLog)]));
    const left = Object.fromEntries(budgets.map((move) => [move, this.#options.moves[move] ?? 0]));
    return { state: openState(Object.fromEntries(declared)), panes, marks: [], left: left as World['left'], made: 0 };
  }

  // ---- moves

  #moves(world: World): [string, () => World][] {
    const moves: [string, () => World][] = [];
    const spend = (move: Budget): World => ({ ...world, left: { ...world.left, [move]: world.left[move] - 1 } });
    if (world.left.update > 0) {
      moves.push(['update', () => this.#update(spend('update'), 'none')]);
      if (world.left.hold > 0)
        moves.push([
          'update expecting',
          () =>
            this.#update(
              { ...spend('update'), left: { ...world.left, update: world.left.update - 1, hold: world.left.hold - 1 } },
              'expected',
            ),
        ]);
    }
    if (world.left.hold > 0) {
      for (const hold of ['none', 'expected', 'replying'] as const) {
        moves.push([
          `hold ${hold}`,
          () =>
            this.#each(
              spend('hold'),
              Object.keys(world.panes).filter((name) => world.panes[name]?.snapshot !== null),
              () => ({ type: 'hold', hold, at: 0 }),
            ),
        ]);
      }
    }
    if (world.left.crash > 0) moves.push(['crash', () => this.#crash(spend('crash'))]);
    for (const [name, pane] of Object.entries(world.panes)) moves.push(...this.#paneMoves(world, name, pane, spend));
    return moves;
  }

  #paneMoves(world: World, name: string, pane: PaneWorld, spend: (move: Budget) => World): [string, () => World][] {
    const moves: [string, () => World][] = [];
    const add = (what: string, make: () => World): void => void moves.push([`${name}: ${what}`, make]);
    const view = world.state.view.panes[name];
    const { snapshot } = pane;
    if (view === undefined) return moves;
    const command = (budget: Budget, what: string, event: PaneEvent): void => {
      if (world.left[budget] > 0) add(what, () => this.#take(this.#awake(spend(budget), name), name, event));
    };
    const generation = world.state.view.generation;
    if (generation > 0 && world.left.run > 0) {
      add('run', () => {
        const spent = { ...spend('run'), made: world.made + 1 };
        return this.#take(this.#awake(spent, name), name, {
          type: 'run',
          run: `m${spent.made}`,
          generation,
          at: 0,
          input: {},
        });
      });
    }
    if (view.paused) add('resume', () => this.#take(this.#awake(world, name), name, { type: 'resume' }));
    else command('pause', 'pause', { type: 'pause', at: 0 });
    if (snapshot === null) return moves;
    if (isOpen(view) || view.queued.length > 0) {
      command('cancel', 'cancel all', { type: 'cancel', run: null });
      command('close', 'close', { type: 'close', reason: 'closed' });
    }
    if (isOpen(view)) {
      command('cancelRun', 'cancel run', { type: 'cancel', run: view.run });
      command('outdate', 'outdate', { type: 'outdate' });
    }
    const queued = view.queued[0];
    if (queued !== undefined) command('cancelQueued', 'cancel queued', { type: 'cancel', run: queued });
    if (pane.unwinding > 0) {
      add('unwound', () =>
        this.#take(setPane(world, name, { ...pane, unwinding: pane.unwinding - 1 }), name, { type: 'unwound' }),
      );
    }
    for (const timer of pane.timers) {
      add(shortTimer(timer.id), () =>
        this.#take(
          setPane(world, name, { ...pane, timers: pane.timers.filter((other) => other !== timer) }),
          name,
          timer.event,
        ),
      );
    }
    const [body] = pane.body;
    if (body !== undefined) this.#bodyMoves(world, name, pane, body, add, spend);
    if (world.left.late > 0) {
      for (const [run, attempt] of lateNames(pane, snapshot.context)) {
        add(`late done ${run} ${attempt}`, () =>
          this.#take(spend('late'), name, {
            type: 'stage.done',
            run,
            attempt,
            at: 0,
            result: { outcome: 'updated', content: { of: run } },
          }),
        );
        add(`late failed ${run} ${attempt}`, () =>
          this.#take(spend('late'), name, { type: 'stage.failed', run, attempt, at: 0, failure: failure(true) }),
        );
      }
    }
    return moves;
  }

  #bodyMoves(
    world: World,
    name: string,
    pane: PaneWorld,
    body: StageInput,
    add: (what: string, make: () => World) => void,
    spend: (move: Budget) => World,
  ): void {
    const stages = this.#options.panes[name]?.shape.stages ?? [];
    const isLast = stages.at(-1) === body.stage;
    const over = (from: World): World => setPane(from, name, { ...pane, body: [] });
    const done = (from: World, result: StageOutcome): World =>
      this.#take(over(from), name, { type: 'stage.done', run: body.run, attempt: body.attempt, at: 0, result });
    if (isLast) add('updated', () => done(world, { outcome: 'updated', content: { of: body.run } }));
    else add('next', () => done(world, { outcome: 'next', checkpoint: { of: body.run } }));
    if (stages[0] === body.stage && world.left.unchanged > 0)
      add('unchanged', () => done(spend('unchanged'), { outcome: 'unchanged' }));
    if (world.left.fail > 0) {
      for (const retryable of [true, false]) {
        add(`failed ${retryable ? 'retryable' : 'for good'}`, () =>
          this.#take(over(spend('fail')), name, {
            type: 'stage.failed',
            run: body.run,
            attempt: body.attempt,
            at: 0,
            failure: failure(retryable),
          }),
        );
      }
    }
    if (world.left.heard > 0) {
      for (const kept of [true, false])
        add(`heard ${kept ? 'text' : 'bytes'}`, () => this.#take(spend('heard'), name, { type: 'heard', kept }));
      if (!pane.held)
        add('held', () =>
          this.#take(setPane(spend('heard'), name, { ...pane, held: true }), name, { type: 'held', at: 0 }),
        );
    }
    if (pane.held)
      add('granted', () =>
        this.#take(setPane(world, name, { ...pane, held: false }), name, { type: 'granted', at: 0 }),
      );
  }

  #update(world: World, hold: 'none' | 'expected'): World {
    const generation = world.state.view.generation + 1;
    const state = foldFacts(world.state, [
      {
        type: 'message.added',
        message: { id: `u${generation}`, role: 'user', text: 'x', generation, final: true, reply: 'none' },
      },
    ]);
    const moved: World = { ...world, state, marks: [...world.marks, state.view.transcript] };
    return this.#each(moved, Object.keys(world.panes), (name) => ({
      type: 'update',
      run: `${name}${generation}`,
      generation,
      hold,
      at: 0,
    }));
  }

  #each(world: World, names: string[], event: (name: string) => PaneEvent): World {
    return names.reduce((now, name) => this.#take(this.#awake(now, name), name, event(name)), world);
  }

  /** The process dies, and starts again from what is on record. */
  #crash(world: World): World {
    const dead: World = {
      ...world,
      panes: Object.fromEntries(
        Object.entries(world.panes).map(([name, pane]) => [name, { ...asleep(pane.log), started: pane.started }]),
      ),
    };
    let now = recoveryFacts(dead.state).reduce((so, fact) => this.#say(so, fact), dead);
    const { busy, due } = panesToWake(now.state);
    for (const name of new Set([...busy, ...due])) now = this.#awake(now, name);
    for (const name of due) {
      now = { ...now, made: now.made + 1 };
      const { generation } = now.state.view;
      now = this.#take(now, name, { type: 'update', run: `w${now.made}`, generation, hold: 'none', at: 0 });
    }
    for (const [name, pane] of Object.entries(now.panes)) {
      const view = now.state.view.panes[name];
      if (pane.snapshot === null && view !== undefined && !isOpen(view)) judgeRest(name, now.state, pane.log);
    }
    return now;
  }

  // ---- taking events

  #awake(world: World, name: string): World {
    const pane = world.panes[name];
    const machine = this.#machines[name];
    if (pane === undefined || machine === undefined) throw new Error(`no pane ${name}`);
    if (pane.snapshot !== null) return world;
    const input: PaneInput | undefined = this.#recover(world.state, name, 0, pane.unwinding);
    if (input === undefined) throw new Error(`no input for ${name}`);
    const [snapshot, actions] = initialTransition(machine, input);
    return this.#take(this.#do(world, name, snapshot, actions), name, { type: 'start' });
  }

  #take(world: World, name: string, event: PaneEvent): World {
    const machine = this.#machines[name];
    const snapshot = world.panes[name]?.snapshot;
    if (machine === undefined || snapshot === null || snapshot === undefined) throw new Error(`${name} is asleep`);
    const [next, actions] = transition(machine, snapshot, event);
    const after = this.#do(world, name, next, actions);
    const pane = after.panes[name];
    if (pane === undefined) throw new Error(`no pane ${name}`);
    if (next.status !== 'active') throw new Violation('alive', `the actor is ${next.status}: ${String(next.error)}`);
    if (event.type === 'cancel' && event.run === null) {
      const view = after.state.view.panes[name];
      if (view !== undefined && (view.queued.length > 0 || (isOpen(view) && view.phase !== 'cancelling')))
        throw new Violation('cancel', `everything was cancelled, and ${view.phase} of ${view.run} goes on`);
    }
    return after;
  }

  #do(
    world: World,
    name: string,
    snapshot: PaneSnapshot,
    actions: readonly { type: string; params?: unknown }[],
  ): World {
    let now = setPane(world, name, { ...paneOf(world, name), snapshot });
    for (const action of actions) now = this.#act(now, name, action);
    return now;
  }

  #act(world: World, name: string, action: { type: string; params?: unknown }): World {
    const pane = paneOf(world, name);
    switch (action.type) {
      case 'xstate.spawnChild': {
        const { input } = action.params as { input: StageInput };
        const id = `${input.run} ${input.attempt} ${input.stage}`;
        if (world.state.view.panes[name]?.paused === true)
          throw new Violation('pause', `a body for ${id} begins in a paused pane`);
        if (pane.started.includes(id)) throw new Violation('one body', `a second body for ${id}`);
        return setPane(world, name, {
          ...pane,
          body: [...pane.body, input],
          held: false,
          started: [...pane.started, id],
        });
      }
      case 'xstate.stopChild': {
        const [stopped, ...body] = pane.body;
        return stopped === undefined ? world : setPane(world, name, { ...pane, body, unwinding: pane.unwinding + 1 });
      }
      case 'xstate.raise': {
        const { id, event, delay } = action.params as { id: string; event: PaneEvent; delay?: number };
        if (delay === undefined) return world;
        const timers = pane.timers.filter((timer) => timer.id !== id);
        return setPane(world, name, {
          ...pane,
          timers: [...timers, { id, event }].sort((a, b) => (a.id < b.id ? -1 : 1)),
        });
      }
      case 'xstate.cancel': {
        const { sendId } = action.params as { sendId: string };
        return setPane(world, name, { ...pane, timers: pane.timers.filter((timer) => timer.id !== sendId) });
      }
      case 'xstate.emit': {
        const { event } = action.params as { event: PaneEmitted };
        return event.type === 'fact' ? this.#say(world, event.fact) : world;
      }
      default:
        return world;
    }
  }

  #say(world: World, fact: Fact): World {
    const recorded = asRecorded(world.state, fact);
    if (recorded.type === 'pane.phase' && isWorking(recorded.phase)) {
      const before = world.state.view.panes[recorded.pane]?.phase;
      const context = world.panes[recorded.pane]?.snapshot?.context;
      if (
        before === 'debouncing' &&
        context?.hold === 'replying' &&
        !context.direct &&
        this.#options.panes[recorded.pane]?.options?.startOn === 'reply'
      )
        throw new Violation('startOn', `${recorded.phase} of ${recorded.run} begins while a reply is being written`);
    }
    const panes = recorded.type === 'pane.phase' ? this.#judged(world, recorded) : world.panes;
    return { ...world, panes, state: foldFacts(world.state, [recorded]) };
  }

  #judged(world: World, fact: PhaseFact): World['panes'] {
    this.#phases.add(`${fact.pane} ${fact.phase}`);
    const pane = paneOf(world, fact.pane);
    return { ...world.panes, [fact.pane]: { ...pane, log: judge(pane.log, world.state, fact) } };
  }
}

/** Between two moves every promise holds. */
function judgeWorld({ state, panes }: World): void {
  for (const [name, pane] of Object.entries(panes)) {
    judgeTurn(pane.log, state, name);
    if (pane.snapshot === null) continue;
    const { context, tags, value } = pane.snapshot;
    judgePane(
      {
        name,
        tags,
        open: context.open,
        unwindingKnown: context.unwinding,
        bodies: pane.body,
        unwinding: pane.unwinding,
        timers: pane.timers.map((timer) => timer.id),
        clockHeld: JSON.stringify(value).includes('"clock":"held"'),
        replying: context.hold === 'replying',
        log: pane.log,
      },
      state,
    );
  }
}

function asleep(log: RunLog): PaneWorld {
  return { snapshot: null, body: [], unwinding: 0, timers: [], log, held: false, started: [] };
}

function paneOf(world: World, name: string): PaneWorld {
  const pane = world.panes[name];
  if (pane === undefined) throw new Error(`no pane ${name}`);
  return pane;
}

function setPane(world: World, name: string, pane: PaneWorld): World {
  return { ...world, panes: { ...world.panes, [name]: pane } };
}

function failure(retryable: boolean) {
  return { error: { code: 'provider', message: 'it fails', retryable } } as const;
}

function shortTimer(id: string): string {
  return id.replace(/^xstate\.after\./, 'after ').replace(/\.pane\..*$/, '');
}

/** A run that is over, and an earlier attempt of the current one: neither may be heard. */
function lateNames(pane: PaneWorld, context: PaneContext): [string, number][] {
  const ended = Object.keys(pane.log.runs).find((run) => pane.log.runs[run] === 'ended' && run !== context.run);
  return [...(ended === undefined ? [] : [[ended, 1] as [string, number]]), [context.run, context.attempt - 1]];
}

function pathTo(seen: Map<string, { parent: string | null; move: string }>, key: string): string[] {
  const path: string[] = [];
  for (let at = seen.get(key); at !== undefined && at.parent !== null; at = seen.get(at.parent)) path.unshift(at.move);
  return path;
}

/** All that what comes can depend on: without seqs and times, which differ between equal histories. */
function keyOf(world: World): string {
  const mark = (seq: number | null): number => (seq === null ? -1 : world.marks.indexOf(seq));
  const panes = Object.entries(world.panes).map(([name, pane]) => {
    const view = world.state.view.panes[name];
    const priv = world.state.private.panes[name];
    const context = pane.snapshot?.context;
    const chart =
      context === undefined
        ? null
        : [
            pane.snapshot?.value,
            [
              context.run,
              context.generation,
              context.attempt,
              context.open,
              context.begun,
              context.stage,
              context.direct,
            ],
            [context.announced, context.queue, context.next, context.pauseWanted, context.hold, context.unwinding],
            [context.burstStartMs, context.sinceMs, context.retriesUsed, context.backoffMs, context.kept],
          ];
    return [
      chart,
      [
        pane.body.map((body) => `${body.run} ${body.attempt} ${body.stage}`),
        pane.unwinding,
        pane.timers.map((timer) => timer.id),
        pane.held,
      ],
      pane.log,
      view === undefined
        ? null
        : [
            view.phase,
            view.run,
            view.generation,
            view.attempt,
            view.paused,
            view.queued,
            mark(view.covers),
            view.reason,
          ],
      priv === undefined ? null : [priv.began, priv.stage, mark(priv.sees), priv.recoveries, priv.queue],
    ];
  });
  return JSON.stringify([panes, world.left, world.state.view.generation]);
}

const { history, scene, reply } = shapes;

/** The worlds that the suite walks through: each small enough to be walked whole. */
export const worlds: { [name: string]: WorldOptions } = {
  'scene, supersede: failures, late reports, every timer': {
    panes: { scene: { shape: scene, options: { retries: 1 } } },
    moves: { update: 2, fail: 2, unchanged: 1, late: 1 },
    more: { update: 1, fail: 1, late: 1, cancel: 1, pause: 1 },
  },
  'history, supersede: run, cancel, pause': {
    panes: { history: { shape: history, options: { retries: 1 } } },
    moves: { update: 2, run: 1, cancelRun: 1, pause: 1 },
    more: { update: 1, fail: 1, cancel: 1, unchanged: 1, pause: 1 },
  },
  'history, supersede: crashes, pause, failure': {
    panes: { history: { shape: history, options: { retries: 1 } } },
    moves: { update: 2, crash: 1, pause: 1, fail: 1 },
    more: { update: 1, crash: 2, cancel: 1 },
  },
  'history, supersede, after the reply: holds': {
    panes: { history: { shape: history, options: { retries: 0, startOn: 'reply' } } },
    moves: { update: 2, hold: 2, run: 1 },
    more: { update: 1, hold: 2, pause: 1, cancel: 1 },
  },
  'history, latest: run, cancel, pause': {
    panes: { history: { shape: history, options: { policy: 'latest', retries: 0 } } },
    moves: { update: 2, run: 1, cancelRun: 1, pause: 1 },
    more: { update: 1, cancel: 1, cancelQueued: 1 },
  },
  'reply shape, latest: runs, crash, pause, cancels': {
    panes: { pane: { shape: { ...reply, name: 'pane' }, options: { policy: 'latest', retries: 0 } } },
    moves: { update: 2, run: 1, crash: 1, pause: 1, cancelQueued: 1 },
    more: { update: 1, run: 1, fail: 1, close: 1 },
  },
  'reply shape, queue: cancels, crash': {
    panes: { pane: { shape: { ...reply, name: 'pane' }, options: { policy: 'queue', retries: 0 } } },
    moves: { update: 3, cancelRun: 1, cancelQueued: 1, crash: 1 },
    more: { update: 1, run: 1, pause: 1 },
  },
  'reply shape, queue: pause, runs, close': {
    panes: { pane: { shape: { ...reply, name: 'pane' }, options: { policy: 'queue', retries: 0 } } },
    moves: { update: 2, run: 1, pause: 1, close: 1 },
    more: { update: 1, run: 1, cancel: 1, crash: 1 },
  },
  'reply shape, supersede: streams, held, outdated': {
    panes: { pane: { shape: { ...reply, name: 'pane' }, options: { retries: 1, driven: false } } },
    moves: { update: 2, heard: 2, outdate: 1, fail: 1 },
    more: { update: 1, heard: 1, cancel: 1, pause: 1 },
  },
  'two panes, supersede: cancel': {
    panes: {
      history: { shape: history, options: { retries: 0 } },
      scene: { shape: { ...reply, name: 'scene' }, options: { retries: 0 } },
    },
    moves: { update: 2, cancelRun: 1 },
    more: { crash: 1, pause: 1, fail: 1 },
  },
};
