/* oxlint-disable typescript/no-unsafe-type-assertion -- looks into the charts, which xstate does not type */
import { initialTransition } from 'xstate';
import { describe, expect, test } from 'vitest';
import { createPaneMachine, type PaneMachine } from '../../src/machines/pane.ts';
import type { PaneShape } from '../../src/machines/pane-types.ts';
import { recover } from '../../src/machines/recover.ts';
import { createSessionMachine } from '../../src/machines/session.ts';
import { declarationOf, openState, shapes } from './rig.ts';

/** The parts of an xstate state node that the walk needs. */
interface Node {
  id: string;
  path: string[];
  config: { after?: { [delay: string]: unknown }; initial?: unknown };
  states: { [key: string]: Node };
  transitions: ReadonlyMap<string, readonly { target?: readonly { id: string }[] | undefined }[]>;
}

function walk(node: Node): Node[] {
  return [node, ...Object.values(node.states).flatMap(walk)];
}

/** 2³¹ − 1 ms: a longer timer fires at once. */
const maxTimerMs = 2_147_483_647;

describe.each(Object.values(shapes) as PaneShape[])('pane with $stages.length stages', (shape) => {
  const machine: PaneMachine = createPaneMachine(shape);
  const nodes = walk(machine.root);
  const input = recover(openState({ [shape.name]: declarationOf(shape) }), shape.name, 0);
  if (input === undefined) throw new Error('no input');
  const [{ context }] = initialTransition(machine, input);

  test('every delay that a state names is declared, and a number of ms that a timer can take', () => {
    const named = nodes.flatMap((node) => Object.keys(node.config.after ?? {}));
    const declared = machine.implementations.delays;
    expect(new Set(named)).toEqual(
      new Set(['replyWait', 'debounce', 'drainGrace', 'timeout', 'idleTimeout', 'backoff']),
    );
    for (const name of named) {
      const delay = declared[name] as number | ((args: { context: typeof context }) => number) | undefined;
      const ms = typeof delay === 'function' ? delay({ context }) : delay;
      expect(ms, name).toBeTypeOf('number');
      expect(ms, name).toBeGreaterThanOrEqual(0);
      expect(ms, name).toBeLessThanOrEqual(maxTimerMs);
    }
  });

  test('every transition leads to a state that is there, and every initial state too', () => {
    const ids = new Set(nodes.map((node) => node.id));
    for (const node of nodes) {
      for (const transition of [...node.transitions.values()].flat()) {
        for (const target of transition.target ?? []) expect(ids, `${node.id} to ${target.id}`).toContain(target.id);
      }
      if (typeof node.config.initial === 'string')
        expect(Object.keys(node.states), node.id).toContain(node.config.initial);
    }
  });

  test('each stage is a state of its own, with its phase as a tag', () => {
    const working = nodes.filter(
      (node) => node.path.slice(0, 3).join('.') === 'active.working.stage' && node.path.length === 4,
    );
    expect(working.map((node) => node.path[3])).toEqual(expect.arrayContaining([...shape.stages, 'enter', 'retrying']));
  });
});

test('the session: no timers, every target there', () => {
  const machine = createSessionMachine({ history: createPaneMachine(shapes.history) });
  const nodes = walk(machine.root);
  expect(nodes.flatMap((node) => Object.keys(node.config.after ?? {}))).toEqual([]);
  const ids = new Set(nodes.map((node) => node.id));
  for (const node of nodes) {
    for (const { target = [] } of [...node.transitions.values()].flat())
      for (const { id } of target) expect(ids).toContain(id);
  }
});
