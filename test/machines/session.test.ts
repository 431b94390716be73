/* oxlint-disable typescript/no-unsafe-type-assertion -- xstate types the children of a session by the union of all logics */
import { createActor, fromCallback, type Actor } from 'xstate';
import { describe, expect, test } from 'vitest';
import { createPaneMachine, type PaneMachine } from '../../src/machines/pane.ts';
import type { StageInput } from '../../src/machines/pane-setup.ts';
import type { PaneEmitted, PaneEvent } from '../../src/machines/pane-types.ts';
import { recover } from '../../src/machines/recover.ts';
import {
  createSessionMachine,
  type SessionEmitted,
  type SessionEvent,
  type SessionMachine,
} from '../../src/machines/session.ts';
import { StepClock } from './pane-rig.ts';
import { declarationOf, openState, shapes } from './rig.ts';

const { history, scene, reply } = shapes;
const state = openState({
  history: declarationOf(history, { debounceMs: 0 }),
  scene: declarationOf(scene, { debounceMs: 0 }),
  reply: declarationOf(reply, { debounceMs: 0 }),
});

type PaneRef = { on(type: '*', handler: (emitted: PaneEmitted) => void): unknown };

/** A session over real actors, driven as the gate does: spawn, listen, start. */
class SessionRig {
  readonly said: (PaneEmitted | SessionEmitted)[] = [];
  readonly bodies: StageInput[] = [];
  readonly stopped: StageInput[] = [];
  readonly clock = new StepClock();
  readonly actor: Actor<SessionMachine>;

  constructor(machines: (stage: Parameters<typeof createPaneMachine>[1]) => { [pane: string]: PaneMachine }) {
    const stage = fromCallback<PaneEvent, StageInput>(({ input }) => {
      this.bodies.push(input);
      return () => void this.stopped.push(input);
    });
    this.actor = createActor(createSessionMachine(machines(stage)), {
      input: { session: 's', generation: 3, hold: 'none' },
      clock: this.clock,
    });
    this.actor.on('*', (emitted) => this.said.push(emitted));
    this.actor.subscribe({ error: () => undefined });
    this.actor.start();
  }

  send(event: SessionEvent): void {
    this.actor.send(event);
  }

  spawn(...panes: string[]): void {
    this.send({ type: 'spawn', panes: panes.flatMap((pane) => recover(state, pane, 0) ?? []) });
    const { children } = this.actor.getSnapshot();
    for (const pane of panes)
      (children[pane] as unknown as PaneRef | undefined)?.on('*', (emitted) => this.said.push(emitted));
    this.send({ type: 'start', panes });
  }

  get facts(): string[] {
    return this.said.flatMap((said) => {
      if (said.type !== 'fact') return [said.type];
      return [
        said.fact.type === 'pane.phase'
          ? `${said.fact.pane} ${said.fact.phase} ${said.fact.generation}`
          : said.fact.type,
      ];
    });
  }
}

const all = (stage: Parameters<typeof createPaneMachine>[1]) => ({
  history: createPaneMachine(history, stage),
  scene: createPaneMachine(scene, stage),
  reply: createPaneMachine(reply, stage),
});

/** A pane whose chart dies of the event `outdate`, with a stage at work. */
function fragile(stage: Parameters<typeof createPaneMachine>[1]): PaneMachine {
  const machine = createPaneMachine(history, stage);
  return machine.provide({
    guards: {
      thisRun: () => {
        throw new Error('a guard that throws');
      },
    },
  });
}

function add(role: 'user' | 'assistant', answer: string | null = null): SessionEvent {
  return { type: 'add', message: { id: role, role, text: 'x', final: true, reply: 'none' }, answer, at: 0 };
}

describe('the generation belongs to the session', () => {
  test('[P3] +1 with a user message, an edit, a removal; not with an assistant message', () => {
    const rig = new SessionRig(all);
    const seen: unknown[] = [];
    for (const event of [
      add('user'),
      add('assistant'),
      { type: 'edit', message: 'user', text: 'y', answer: null, at: 0 },
      { type: 'remove', message: 'user', outdatesReply: false },
    ] as const) {
      rig.send(event);
      const said = rig.said.at(-1);
      if (said?.type === 'fact' && said.fact.type === 'message.added') seen.push(said.fact.message.generation);
      else if (said?.type === 'fact' && 'generation' in said.fact) seen.push(said.fact.generation);
    }
    expect(seen).toEqual([4, 4, 5, 6]);
    expect(rig.actor.getSnapshot().context.generation).toBe(6);
  });

  test('panes hear of the transcript with the generation of the session and a run of their own', () => {
    const rig = new SessionRig(all);
    rig.spawn('history', 'scene');
    rig.send(add('user'));
    rig.send({ type: 'transcript', runs: { history: 'h', scene: 's' }, hold: 'none', at: 0 });
    expect(rig.facts).toEqual(['message.added', 'history evaluating 4', 'scene evaluating 4']);
    expect(rig.bodies.map(({ pane, run }) => `${pane} ${run}`)).toEqual(['history h', 'scene s']);
  });

  test('the reply pane hears only of the message that it answers', () => {
    const rig = new SessionRig(all);
    rig.spawn('reply', 'history');
    rig.send(add('user', 'r1'));
    expect(rig.facts).toEqual(['message.added', 'reply streaming 4']);
    rig.send({ type: 'edit', message: 'user', text: 'y', answer: 'r2', at: 0 });
    expect(rig.facts.slice(2)).toEqual(['message.edited', 'reply cancelled 4', 'reply streaming 5', 'draining']);
  });

  test('a removal ends the reply that it outdates', () => {
    const rig = new SessionRig(all);
    rig.spawn('reply');
    rig.send(add('user', 'r1'));
    rig.send({ type: 'remove', message: 'user', outdatesReply: true });
    expect(rig.facts.slice(-2)).toEqual(['message.removed', 'reply cancelled 4']);
  });
});

describe('spawn, listen, start', () => {
  test('a spawned pane says nothing before start, so that nothing is missed', () => {
    const rig = new SessionRig(all);
    rig.send({ type: 'spawn', panes: [recover(state, 'history', 0) ?? never()] });
    rig.send({ type: 'tell', pane: 'history', event: { type: 'run', run: 'r', generation: 3, at: 0 } });
    expect(rig.said).toEqual([]);
  });

  test('tell reaches one pane, close those that are named, hold those that are named', () => {
    const rig = new SessionRig(all);
    rig.spawn('history', 'scene');
    rig.send({ type: 'tell', pane: 'scene', event: { type: 'run', run: 'r', generation: 3, at: 0 } });
    rig.send({ type: 'hold', panes: ['history'], hold: 'expected', at: 0 });
    expect(rig.actor.getSnapshot().value).toBe('expecting');
    rig.send({ type: 'close', panes: ['scene'], reason: 'closed' });
    expect(rig.facts).toEqual(['accepted', 'scene describing 3', 'session.closed', 'scene cancelled 3']);
    expect(rig.stopped).toHaveLength(1);
  });

  test('its states say whether a reply is awaited', () => {
    const rig = new SessionRig(all);
    for (const [hold, value] of [
      ['expected', 'expecting'],
      ['replying', 'replying'],
      ['none', 'quiet'],
    ] as const) {
      rig.send({ type: 'transcript', runs: {}, hold, at: 0 });
      expect(rig.actor.getSnapshot().value).toBe(value);
    }
  });

  test('panes that are told what they are not are ignored, and a session with 2 panes has 2 children', () => {
    const rig = new SessionRig(all);
    rig.spawn('history', 'reply');
    expect(Object.keys(rig.actor.getSnapshot().children).sort()).toEqual(['history', 'reply']);
  });
});

describe('a pane whose chart dies', () => {
  test('is reported; the session and the other panes live on', () => {
    const rig = new SessionRig((stage) => ({ ...all(stage), history: fragile(stage) }));
    rig.spawn('history', 'scene');
    rig.send(add('user'));
    rig.send({ type: 'transcript', runs: { history: 'h', scene: 's' }, hold: 'none', at: 0 });
    rig.send({ type: 'tell', pane: 'history', event: { type: 'cancel', run: null } });
    const crash = rig.said.find((said) => said.type === 'crashed');
    expect(crash).toMatchObject({ pane: 'history' });
    expect(crash?.type === 'crashed' ? String(crash.error) : '').toContain('a guard that throws');
    expect(rig.actor.getSnapshot().status).toBe('active');
    rig.send(add('user'));
    rig.send({ type: 'transcript', runs: { scene: 's2' }, hold: 'none', at: 0 });
    expect(rig.facts).toContain('scene evaluating 5');
  });

  test('is spawned again under the same id, and works', () => {
    const rig = new SessionRig((stage) => ({ ...all(stage), history: fragile(stage) }));
    rig.spawn('history');
    rig.send({ type: 'transcript', runs: { history: 'h1' }, hold: 'none', at: 0 });
    rig.send({ type: 'tell', pane: 'history', event: { type: 'cancel', run: null } });
    rig.spawn('history');
    rig.send({ type: 'transcript', runs: { history: 'h2' }, hold: 'none', at: 0 });
    expect(rig.facts.at(-1)).toBe('history evaluating 3');
    expect(rig.bodies.at(-1)?.run).toBe('h2');
  });
});

function never(): never {
  throw new Error('no such pane');
}
