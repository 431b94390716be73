/* oxlint-disable typescript/no-unsafe-type-assertion -- changes the configuration of charts, whatever its types */
import * as fc from 'fast-check';
import { createMachine, enqueueActions } from 'xstate';
import { describe, expect, test } from 'vitest';
import type { PaneMachine } from '../../src/machines/pane.ts';
import { begin, proposed } from '../../src/machines/pane-steps.ts';
import type { PaneContext, PaneEvent, PaneShape } from '../../src/machines/pane-types.ts';
import { recover } from '../../src/machines/recover.ts';
import { explore, worlds, type WorldOptions } from './explorer.ts';
import { Violation } from './rig.ts';
import { day, live, type Day } from './runtime.ts';

/**
 * Seeded faults: each must be found by an invariant, or the invariants prove nothing. A mutant is the real chart with one place of its
 * configuration changed.
 */

/** A piece of a chart's configuration, open to change. */
interface Piece {
  [key: string]: Piece;
}

type Change = (config: Piece, shape: PaneShape) => void;

function mutant(change: Change): (machine: PaneMachine, shape: PaneShape) => PaneMachine {
  return (machine, shape) => {
    const config = copy(machine.config as unknown as Piece);
    change(config, shape);
    return createMachine(config as never, machine.implementations as never) as unknown as PaneMachine;
  };
}

/** Plain objects and arrays are copied; functions (actions, guards) are shared. */
function copy<T>(value: T): T {
  if (Array.isArray(value)) return value.map(copy) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, copy(inner)])) as T;
}

function at(config: Piece, path: string): Piece {
  return path.split('.').reduce((piece, key) => {
    const next = piece[key];
    if (next === undefined) throw new Error(`no ${key} of ${path} in the chart: the mutant needs a new place`);
    return next;
  }, config);
}

const stageAt = 'states.active.states.working.states.stage.states';

function eachStage(shape: PaneShape, config: Piece, change: (stage: Piece) => void): void {
  for (const name of shape.stages) change(at(config, `${stageAt}.${name}`));
}

type Args = { context: PaneContext; event: PaneEvent };
const acting = (
  act: (args: Args & { enqueue: { assign(patch: Partial<PaneContext>): void; emit(said: unknown): void } }) => void,
) => enqueueActions(act as never) as unknown as Piece;
const always = (() => true) as unknown as Piece;

const { history, queue, latest, holds, streams, crashes, scene } = {
  history: 'history, supersede: run, cancel, pause',
  queue: 'reply shape, queue: cancels, crash',
  latest: 'history, latest: run, cancel, pause',
  holds: 'history, supersede, after the reply: holds',
  streams: 'reply shape, supersede: streams, held, outdated',
  crashes: 'history, supersede: crashes, pause, failure',
  scene: 'scene, supersede: failures, late reports, every timer',
};

interface Mutant {
  world: string;
  /** The rules of which one must find it. */
  rules: string[];
  change?: Change;
  recover?: typeof recover;
  /** The random days must find it too. */
  alive?: boolean;
}

const mutants: { [name: string]: Mutant } = {
  'does not wait for the old body': {
    world: history,
    rules: ['one body'],
    alive: true,
    change: (config, shape) => {
      at(config, 'states.active.states.draining.always')['guard'] = always;
      const enter = at(config, `${stageAt}.enter.always`) as unknown as Piece[];
      shape.stages.forEach((name, index) => {
        const entry = enter[enter.length - shape.stages.length + index];
        if (entry !== undefined) entry['guard'] = (({ context }: Args) => context.stage === name) as unknown as Piece;
      });
    },
  },
  'supersedes without settling': {
    world: history,
    rules: ['P1'],
    alive: true,
    change: (config, shape) => {
      at(config, 'states.active.on.update.0')['actions'] = acting(({ context, event, enqueue }) => {
        if (event.type === 'update') enqueue.assign(begin(shape, context, proposed(event), event.at));
      });
    },
  },
  'hears reports of any run': {
    world: scene,
    rules: ['unwinding', 'one body', 'rest', 'P1', 'announced once', 'body of the record'],
    change: (config, shape) => {
      eachStage(shape, config, (stage) => {
        for (const entry of doneOf(stage)) {
          if (targetOf(entry).endsWith('updated'))
            entry['guard'] = (({ event }: Args) =>
              event.type === 'stage.done' && event.result.outcome === 'updated') as unknown as Piece;
        }
      });
    },
  },
  'commits without settling': {
    world: scene,
    rules: ['P1', 'record'],
    alive: true,
    change: (config, shape) => {
      eachStage(shape, config, (stage) => {
        for (const entry of doneOf(stage)) if (targetOf(entry).endsWith('updated')) delete entry['actions'];
      });
    },
  },
  'forgets a transcript change while paused': {
    world: history,
    rules: ['P6', 'P2'],
    alive: true,
    change: (config) => {
      at(config, 'states.paused.on')['update'] = { actions: [] as unknown as Piece };
    },
  },
  'does not count bodies that unwind': {
    world: history,
    rules: ['unwinding', 'one body'],
    alive: true,
    change: (config, shape) => eachStage(shape, config, (stage) => delete stage['exit']),
  },
  'settles twice': {
    world: history,
    rules: ['P1'],
    alive: true,
    change: (config, shape) => {
      eachStage(shape, config, (stage) => {
        for (const entry of doneOf(stage)) {
          if (!targetOf(entry).endsWith('updated')) continue;
          const again = acting(({ context, enqueue }) => {
            const { pane, run, generation, attempt } = context;
            enqueue.emit({
              type: 'fact',
              fact: { type: 'pane.phase', pane, run, generation, phase: 'updated', attempt },
            });
          });
          entry['actions'] = [entry['actions'], again] as unknown as Piece;
        }
      });
    },
  },
  'drops what came under latest': {
    world: latest,
    rules: ['P6'],
    alive: true,
    change: (config) => {
      at(config, 'states.active.on.update.1')['actions'] = [] as unknown as Piece;
    },
  },
  'recovers and repeats what was announced': {
    world: crashes,
    rules: ['announced once'],
    recover: (...args) => {
      const input = recover(...args);
      return input === undefined ? undefined : { ...input, announced: '' };
    },
  },
  'recovers with the attempt that died': {
    world: crashes,
    rules: ['one body', 'announced once', 'body of the record'],
    recover: (state, name, ...rest) => {
      const input = recover(state, name, ...rest);
      return input === undefined ? undefined : { ...input, attempt: state.view.panes[name]?.attempt ?? 1 };
    },
  },
  'has no run timeout': {
    world: history,
    rules: ['timeout'],
    change: (config) => delete at(config, 'states.active.states.working.states.clock.states.running')['after'],
  },
  'stands still for ever in a queue': {
    world: streams,
    rules: ['stuck', 'timeout'],
    change: (config) => {
      at(config, 'states.active.states.working.states.clock.states.held')['on'] = {};
    },
  },
  'never ends cancelling': {
    world: history,
    rules: ['stuck'],
    change: (config) => {
      const cancelling = at(config, 'states.active.states.cancelling');
      delete cancelling['always'];
      delete cancelling['after'];
    },
  },
  'waits for a reply without end': {
    world: holds,
    rules: ['stuck'],
    change: (config) => delete at(config, 'states.active.states.waiting.states.expecting')['after'],
  },
  'lets a change during cancelling overtake the queue': {
    world: latest,
    rules: ['P3', 'stuck', 'P1'],
    change: (config) => {
      const on = at(config, 'states.active.states.cancelling.on');
      for (const name of ['update', 'run']) on[name] = at(on, `${name}.1`);
    },
  },
  'goes on in spite of a pause': {
    world: history,
    rules: ['pause'],
    change: (config) => {
      const starting = at(config, 'states.active.states.starting');
      starting['always'] = (starting['always'] as unknown as Piece[]).slice(1) as unknown as Piece;
    },
  },
  'drops the queue when a run ends': {
    world: queue,
    rules: ['P1', 'stuck'],
    alive: true,
    change: (config) => {
      at(config, 'states.settled')['always'] = at(config, 'states.settled.always.0');
    },
  },
  'moves a run and keeps the old generation': {
    world: history,
    rules: ['P3', 'P1', 'record'],
    alive: true,
    change: (config) => {
      at(config, 'states.active.states.debouncing.on.update')['actions'] = [] as unknown as Piece;
    },
  },
};

function doneOf(stage: Piece): Piece[] {
  const done = at(stage, 'on')['stage.done'];
  return done as unknown as Piece[];
}

function targetOf(entry: Piece): string {
  const target: unknown = entry['target'];
  return typeof target === 'string' ? target : '';
}

describe('seeded faults', () => {
  for (const [name, { world, rules, change, recover: recovers, alive = false }] of Object.entries(mutants)) {
    const faults = {
      ...(change === undefined ? {} : { mutate: mutant(change) }),
      ...(recovers === undefined ? {} : { recover: recovers }),
    };
    test(`${name}: found by walking every order`, { timeout: 30_000 }, () => {
      const { states, violation } = explore({ ...(worlds[world] as WorldOptions), ...faults });
      console.info(
        `${name}: ${violation?.message ?? 'NOT FOUND'} after ${states} states: ${violation?.path.join(' > ')}`,
      );
      expect(violation).not.toBeNull();
      expect(rules).toContain(violation?.rule);
    });

    if (!alive) continue;
    test(`${name}: found by random days`, { timeout: 30_000 }, async () => {
      const found = await fc.check(
        fc.asyncProperty(day, (one: Day) => live(one, faults)),
        { numRuns: 1_000, seed: 1, endOnFailure: true },
      );
      const error = found.errorInstance;
      console.info(`${name}: day ${found.numRuns}: ${error instanceof Error ? error.message : 'NOT FOUND'}`);
      expect(found.failed).toBe(true);
      expect(error).toBeInstanceOf(Violation);
    });
  }

  test('the chart without a fault is not found, also not through the copy', () => {
    const unchanged = mutant(() => undefined);
    expect(explore({ ...(worlds[crashes] as WorldOptions), mutate: unchanged }).violation).toBeNull();
  });
});
