import { describe, expect, test } from 'vitest';
import { decide } from '../../src/machines/decide.ts';
import { maxOpenMessages } from '../../src/machines/decide-message.ts';
import type { Decision, Knowledge } from '../../src/machines/decision.ts';
import type { Command, CommandType } from '../../src/protocol/commands.ts';
import { limits } from '../../src/protocol/names.ts';
import type { Fact } from '../../src/protocol/records.ts';
import { emptyState, type State } from '../../src/protocol/state.ts';
import { declarationOf, foldFacts, message, openState, phase, shapes } from './rig.ts';

const panes = {
  history: declarationOf(shapes.history),
  scene: declarationOf(shapes.scene, { policy: 'reject' }),
  reply: declarationOf(shapes.reply),
};
const base = openState(panes);
const on = (...facts: Fact[]) => foldFacts(base, facts);

/** What the gate knows: messages of the view, and drafts that are given. */
function knowing(state: State, more: Partial<Knowledge> = {}): Knowledge {
  return {
    nowMs: 7,
    plan: () => undefined,
    retry: () => undefined,
    ids: { message: 'new-message', run: 'new-run' },
    panes,
    find: (id) => {
      const found = state.view.messages.find((candidate) => candidate.id === id);
      return found === undefined
        ? undefined
        : { role: found.role, text: found.text, final: found.final, removed: false };
    },
    draft: (id) => {
      const open = state.private.open[id];
      return open === undefined
        ? undefined
        : { text: state.view.messages.find((candidate) => candidate.id === id)?.text ?? '', run: open.run };
    },
    ...more,
  };
}

type Asked = { [T in CommandType]: Omit<Extract<Command, { type: T }>, 'id' | 'session'> }[CommandType];

function ask(state: State, command: Asked, more: Partial<Knowledge> = {}): Decision {
  return decide(state, { id: 'k', session: 's', ...command }, knowing(state, more));
}

const user = message('m', 1, { reply: 'pane' });
const working = [user, phase('reply', 'r', 'streaming')];
const writing = [...working, message('a', 1, { role: 'assistant', text: 'so', final: false, run: 'r' })];
const typed = message('t', 1, { role: 'assistant', text: 'so far', final: false });
const queued = (count: number) => Array.from({ length: count }, (_, i) => phase('history', `q${i}`, 'queued'));
const busyScene = [user, phase('scene', 'r', 'evaluating')];

describe('[T36] tasks of one command', () => {
  const work = (bytes: number) => {
    const task = { id: 't', label: '', key: '', input: { text: '' } };
    const empty = JSON.stringify([task]).length;
    return { tasks: [{ ...task, input: { text: 'x'.repeat(bytes - empty) } }], joins: false, maxTasks: 1 };
  };
  const declared = declarationOf(shapes.history, { tasks: true });
  const known = (bytes: number) => knowing(base, { panes: { ...panes, works: declared }, plan: () => work(bytes) });
  const run = { type: 'pane.run', id: 'k', session: 's', pane: 'works' } as const;

  test('have at most so many bytes together', () => {
    expect(decide(base, run, known(limits.maxWorkBytes))).toMatchObject({ kind: 'do' });
    expect(decide(base, run, known(limits.maxWorkBytes + 1))).toMatchObject({
      kind: 'refuse',
      error: { code: 'TOO_LARGE', message: /may have 393216 bytes together, these have 393217/ },
    });
  });
});

describe('refusals', () => {
  const cases: [string, State, Asked, string, string | RegExp, object?][] = [
    [
      'an absent session',
      emptyState('s'),
      { type: 'message.add', role: 'user', text: '' },
      'NOT_FOUND',
      'no session s',
    ],
    [
      'a generation behind',
      on(user),
      { type: 'session.close', ifGeneration: 0 },
      'STALE_GENERATION',
      'generation 0 is behind 1',
      { generation: 1 },
    ],
    [
      'a generation ahead',
      on(user),
      { type: 'pane.run', pane: 'history', ifGeneration: 2 },
      'STALE_GENERATION',
      'generation 2 is ahead of 1',
      { generation: 1 },
    ],
    [
      'opening an unknown pane',
      base,
      { type: 'session.open', panes: { nobody: {} } },
      'NOT_FOUND',
      'no pane nobody: expected one of history, scene, reply',
    ],
    [
      'a message id used before',
      on(user),
      { type: 'message.add', role: 'user', text: '', message: 'm' },
      'CONFLICT',
      'message m exists: ids are never used again',
    ],
    [
      'a reply from a pane that is off',
      openState({}),
      { type: 'message.add', role: 'user', text: '', reply: true },
      'CONFLICT',
      /reply pane is off/,
    ],
    [
      'a delta of an unknown message',
      base,
      { type: 'message.delta', message: 'x', at: 0, text: 'x' },
      'NOT_FOUND',
      'no message x',
    ],
    [
      'a delta of the reply',
      on(...writing),
      { type: 'message.delta', message: 'a', at: 2, text: 'x' },
      'CONFLICT',
      'message a is written by the reply pane',
    ],
    [
      'a gap',
      on(typed),
      { type: 'message.delta', message: 't', at: 7, text: 'x' },
      'CONFLICT',
      'text up to 7 is missing: resend from 6',
      { session: 's', message: 't', at: 6 },
    ],
    [
      'an overlap that differs',
      on(typed),
      { type: 'message.delta', message: 't', at: 3, text: 'Far' },
      'CONFLICT',
      'the text at 3 differs from what is there',
      { session: 's', message: 't', at: 6 },
    ],
    [
      'new text of a final message',
      on(user),
      { type: 'message.delta', message: 'm', at: 9, text: 'x' },
      'CONFLICT',
      'message m is final',
      { session: 's', message: 'm', at: 9 },
    ],
    [
      'an edit of an unknown message',
      base,
      { type: 'message.edit', message: 'x', text: '' },
      'NOT_FOUND',
      'no message x',
    ],
    ['a removal of an unknown message', base, { type: 'message.remove', message: 'x' }, 'NOT_FOUND', 'no message x'],
    [
      'a run of an unknown pane',
      base,
      { type: 'pane.run', pane: 'nobody' },
      'NOT_FOUND',
      'no pane nobody in this session',
    ],
    [
      'a run of a pane that is off',
      openState({ history: declarationOf(shapes.history, { enabled: false }) }),
      { type: 'pane.run', pane: 'history' },
      'CONFLICT',
      /pane history is off/,
    ],
    [
      'a run of a busy pane with policy reject',
      on(...busyScene),
      { type: 'pane.run', pane: 'scene' },
      'CONFLICT',
      'pane scene is busy with run r',
      { run: 'r' },
    ],
    ['a reply to nothing', base, { type: 'pane.run', pane: 'reply' }, 'CONFLICT', 'there is no message to reply to'],
    [
      'a reply to a message that is still typed',
      on(message('m', 1, { final: false })),
      { type: 'pane.run', pane: 'reply' },
      'CONFLICT',
      'there is no message to reply to',
    ],
    [
      'a run behind a full queue',
      on(user, phase('history', 'r', 'evaluating'), ...queued(limits.maxQueuedRuns)),
      { type: 'pane.run', pane: 'history' },
      'OVERLOADED',
      `${limits.maxQueuedRuns} runs of pane history are queued already`,
    ],
    [
      'cancel of an unknown pane',
      base,
      { type: 'pane.cancel', pane: 'nobody' },
      'NOT_FOUND',
      'no pane nobody in this session',
    ],
    ['cancel of an unknown run', on(...working), { type: 'pane.cancel', run: 'x' }, 'NOT_FOUND', 'no run x'],
    [
      'cancel of a run that a newer one replaced',
      on(...working, phase('reply', 'r', 'updated'), phase('reply', 'r2', 'streaming')),
      { type: 'pane.cancel', run: 'r' },
      'CONFLICT',
      'run r is over: run r2 has taken its place',
      { run: 'r2' },
    ],
    [
      'pause of an unknown pane',
      base,
      { type: 'pane.pause', pane: 'nobody' },
      'NOT_FOUND',
      'no pane nobody in this session',
    ],
    [
      'resume of an unknown pane',
      base,
      { type: 'pane.resume', pane: 'nobody' },
      'NOT_FOUND',
      'no pane nobody in this session',
    ],
    [
      'an unknown task',
      base,
      { type: 'task.cancel', pane: 'history', task: 't' },
      'NOT_FOUND',
      'no task t in pane history',
    ],
    [
      'a task command of an unknown pane',
      base,
      { type: 'task.retry', pane: 'nobody', task: 't' },
      'NOT_FOUND',
      'no pane nobody in this session',
    ],
  ];
  test.each(cases)('%s', (_, state, command, code, text, data) => {
    const decision = ask(state, command);
    expect(decision).toMatchObject({ kind: 'refuse', error: { code } });
    if (decision.kind !== 'refuse') return;
    if (typeof text === 'string') expect(decision.error.message).toBe(text);
    else expect(decision.error.message).toMatch(text);
    expect(decision.error.data).toEqual(data);
  });

  test(`a message more than ${maxOpenMessages} at a time`, () => {
    const open = (count: number) =>
      on(...Array.from({ length: count }, (_, i) => message(`t${i}`, 1, { role: 'assistant', final: false })));
    const add = { type: 'message.add', role: 'assistant', text: '', final: false } as const;
    expect(ask(open(maxOpenMessages - 1), add).kind).toBe('do');
    expect(ask(open(maxOpenMessages), add)).toMatchObject({
      kind: 'refuse',
      error: { code: 'OVERLOADED', retryAfterMs: 1_000 },
    });
  });

  test('a text longer than a message may be', () => {
    const almost = on(message('t', 1, { text: 'x'.repeat(limits.maxTextUnits - 1), final: false }));
    const delta = { type: 'message.delta', message: 't', at: limits.maxTextUnits - 1 } as const;
    expect(ask(almost, { ...delta, text: 'x' }).kind).toBe('write');
    expect(ask(almost, { ...delta, text: 'xy' })).toMatchObject({ kind: 'refuse', error: { code: 'TOO_LARGE' } });
  });

  test('what was removed is not there', () => {
    const find = () => ({ role: 'user', text: '', final: true, removed: true });
    for (const command of [
      { type: 'message.edit', message: 'm', text: '' },
      { type: 'message.remove', message: 'm' },
      { type: 'message.delta', message: 'm', at: 0, text: '' },
    ] as const) {
      expect(ask(base, command, { find })).toMatchObject({ kind: 'refuse', error: { code: 'NOT_FOUND' } });
    }
    expect(ask(base, { type: 'message.add', role: 'user', text: '', message: 'm' }, { find })).toMatchObject({
      error: { code: 'CONFLICT' },
    });
  });

  test('a pane that this server does not know', () => {
    expect(ask(on(user), { type: 'pane.run', pane: 'history' }, { panes: {} })).toMatchObject({
      error: { code: 'UNSUPPORTED' },
    });
  });
});

describe('decisions that change nothing', () => {
  const cases: [string, State, Asked][] = [
    ['opening again', base, { type: 'session.open' }],
    ['opening with the same options', base, { type: 'session.open', panes: { history: { policy: 'supersede' } } }],
    ['closing what is closed', on({ type: 'session.closed', reason: 'closed' }), { type: 'session.close' }],
    ['cancelling an idle session', base, { type: 'pane.cancel' }],
    [
      'cancelling a run that has just ended',
      on(...working, phase('reply', 'r', 'updated')),
      { type: 'pane.cancel', run: 'r' },
    ],
    [
      'pausing twice',
      on({ type: 'pane.paused', pane: 'history', paused: true }),
      { type: 'pane.pause', pane: 'history' },
    ],
    ['resuming what is not paused', base, { type: 'pane.resume', pane: 'history' }],
    ['a delta that is there already', on(user), { type: 'message.delta', message: 'm', at: 0, text: 'text' }],
  ];
  test.each(cases)('%s', (_, state, command) => {
    expect(ask(state, command)).toMatchObject({ kind: 'do', events: [] });
  });
});

describe('session.open', () => {
  test('declares the panes that are on, with the options that were asked for', () => {
    const off = { ...panes, scene: { ...panes.scene, enabled: false } };
    const decision = ask(emptyState('s'), { type: 'session.open', panes: { history: { window: 5 } } }, { panes: off });
    expect(decision).toEqual({
      kind: 'do',
      events: [{ type: 'open', panes: { history: { ...panes.history, window: 5 }, reply: panes.reply } }],
    });
  });

  test('asking for a pane declares it', () => {
    const off = { scene: { ...panes.scene, enabled: false } };
    expect(
      ask(emptyState('s'), { type: 'session.open', panes: { scene: { enabled: true } } }, { panes: off }),
    ).toMatchObject({
      events: [{ panes: { scene: { enabled: true } } }],
    });
  });

  test('merges into what was declared before, not into the defaults of now', () => {
    const state = openState({ history: { ...panes.history, window: 5 } });
    expect(
      ask(state, { type: 'session.open', panes: { history: { maxChars: 9 } } }, { panes: { history: panes.history } }),
    ).toMatchObject({
      events: [{ panes: { history: { window: 5, maxChars: 9 } } }],
    });
  });

  test('ifGeneration 0 opens only what is new', () => {
    expect(ask(emptyState('s'), { type: 'session.open', ifGeneration: 0 }).kind).toBe('do');
    expect(ask(on(user), { type: 'session.open', ifGeneration: 0 })).toMatchObject({
      error: { code: 'STALE_GENERATION' },
    });
  });
});

describe('messages', () => {
  test('message.add: the pane answers when it is on', () => {
    expect(ask(base, { type: 'message.add', role: 'user', text: 'hi' })).toEqual({
      kind: 'do',
      message: 'new-message',
      run: 'new-run',
      spawn: ['reply'],
      events: [
        {
          type: 'add',
          message: { id: 'new-message', role: 'user', text: 'hi', final: true, reply: 'pane' },
          answer: 'new-run',
          at: 7,
        },
      ],
    });
  });

  const replies: [string, State, Asked & { type: 'message.add' }, string, string | null][] = [
    ['reply: false', base, { type: 'message.add', role: 'user', text: '', reply: false }, 'none', null],
    ['the pane is off', openState({}), { type: 'message.add', role: 'user', text: '' }, 'app', null],
    ['an assistant message', base, { type: 'message.add', role: 'assistant', text: '' }, 'none', null],
    ['a system message', base, { type: 'message.add', role: 'system', text: '', reply: true }, 'none', null],
    [
      'streamed: the answer begins at its end',
      base,
      { type: 'message.add', role: 'user', text: '', final: false },
      'pane',
      null,
    ],
    ['reply: true', base, { type: 'message.add', role: 'user', text: '', reply: true }, 'pane', 'new-run'],
  ];
  test.each(replies)('who answers: %s', (_, state, command, reply, answer) => {
    expect(ask(state, command)).toMatchObject({ kind: 'do', events: [{ message: { reply }, answer }] });
  });

  test('message.delta: only what is new is written; end makes it final', () => {
    const state = on(typed);
    const delta = (at: number, text: string, more: object = {}) =>
      ask(state, { type: 'message.delta', message: 't', at, text, ...more });
    expect(delta(6, '!')).toEqual({ kind: 'write', message: 't', add: '!', end: null });
    expect(delta(3, 'far!')).toMatchObject({ add: '!' });
    expect(delta(0, 'so far')).toMatchObject({ add: '' });
    expect(delta(6, '', { end: true })).toMatchObject({ add: '', end: 'complete' });
    expect(delta(6, '', { end: true, outcome: 'stopped' })).toMatchObject({ end: 'stopped' });
  });

  test('message.delta: compared with the draft, which is ahead of the record', () => {
    const draft = () => ({ text: 'so far, so', run: null });
    const gap = ask(on(typed), { type: 'message.delta', message: 't', at: 11, text: 'x' }, { draft });
    expect(gap).toMatchObject({ kind: 'refuse', error: { data: { at: 6 } } });
    expect(ask(on(typed), { type: 'message.delta', message: 't', at: 8, text: 'so good' }, { draft })).toMatchObject({
      add: ' good',
    });
  });

  test('message.edit of the answered message starts a new reply while one is at work', () => {
    expect(ask(on(...writing), { type: 'message.edit', message: 'm', text: 'y' })).toMatchObject({
      run: 'new-run',
      spawn: ['reply'],
      events: [{ type: 'edit', message: 'm', text: 'y', answer: 'new-run' }],
    });
    expect(ask(on(user), { type: 'message.edit', message: 'm', text: 'y' })).toMatchObject({
      events: [{ type: 'edit', answer: null }],
    });
  });

  test('a change to the message that the reply writes ends it first', () => {
    for (const type of ['message.edit', 'message.remove'] as const) {
      const decision = ask(on(...writing), { type, message: 'a', text: 'y' });
      expect(decision).toMatchObject({
        spawn: ['reply'],
        events: [{ type: 'tell', pane: 'reply', event: { type: 'outdate' } }, {}],
      });
    }
  });

  test('other changes leave the reply alone', () => {
    const state = on(message('old', 0), ...writing);
    expect(ask(state, { type: 'message.edit', message: 'old', text: 'y' })).toMatchObject({
      events: [{ type: 'edit', answer: null }],
    });
    expect(ask(state, { type: 'message.remove', message: 'old' })).toMatchObject({
      events: [{ type: 'remove', outdatesReply: false }],
    });
  });

  test('message.remove of the answered message ends the reply', () => {
    expect(ask(on(...writing), { type: 'message.remove', message: 'm' })).toMatchObject({
      spawn: ['reply'],
      events: [{ outdatesReply: true }],
    });
  });

  test('a message that an app is writing ends as stopped before it is changed', () => {
    expect(ask(on(typed), { type: 'message.edit', message: 't', text: 'y' })).toMatchObject({
      facts: [{ type: 'message.ended', message: 't', outcome: 'stopped' }],
    });
  });
});

describe('panes', () => {
  test('pane.run names the run, the generation and the input', () => {
    expect(ask(on(user), { type: 'pane.run', pane: 'history', input: { a: 1 } })).toEqual({
      kind: 'do',
      spawn: ['history'],
      events: [
        {
          type: 'tell',
          pane: 'history',
          event: { type: 'run', run: 'new-run', generation: 1, at: 7, input: { a: 1 } },
        },
      ],
    });
  });

  test('policy reject: a run that has not begun work takes the place of nobody', () => {
    const state = on(user, phase('scene', 'r', 'debouncing'));
    expect(ask(state, { type: 'pane.run', pane: 'scene' }).kind).toBe('do');
  });

  test('pane.cancel: of that run, of all of the pane, of everything', () => {
    const state = on(...working, phase('history', 'h', 'evaluating'), phase('history', 'q', 'queued'));
    const told = (command: Asked) => {
      const decision = ask(state, command);
      return decision.kind === 'do'
        ? decision.events.map((event) => (event.type === 'tell' ? [event.pane, event.event] : event))
        : decision;
    };
    const cancel = (run: string | null) => ({ type: 'cancel', run });
    expect(told({ type: 'pane.cancel', run: 'h' })).toEqual([['history', cancel('h')]]);
    expect(told({ type: 'pane.cancel', run: 'q' })).toEqual([['history', cancel('q')]]);
    expect(told({ type: 'pane.cancel', pane: 'history' })).toEqual([['history', cancel(null)]]);
    expect(told({ type: 'pane.cancel' })).toEqual([
      ['history', cancel(null)],
      ['reply', cancel(null)],
    ]);
    expect(ask(state, { type: 'pane.cancel', pane: 'history', run: 'r' })).toMatchObject({
      error: { code: 'NOT_FOUND' },
    });
  });

  test('pane.pause and pane.resume', () => {
    expect(ask(base, { type: 'pane.pause', pane: 'history' })).toMatchObject({
      spawn: ['history'],
      events: [{ event: { type: 'pause', at: 7 } }],
    });
    const paused = on({ type: 'pane.paused', pane: 'history', paused: true });
    expect(ask(paused, { type: 'pane.resume', pane: 'history', input: { a: 1 } })).toMatchObject({
      events: [{ event: { type: 'resume', input: { a: 1 } } }],
    });
  });

  test('session.close and session.delete end what is open or queued, paused too', () => {
    const state = on(...working, phase('history', 'h', 'paused'), phase('scene', 's', 'updated'));
    expect(ask(state, { type: 'session.close' })).toMatchObject({
      kind: 'do',
      events: [{ type: 'close', panes: ['history', 'reply'], reason: 'closed' }],
      spawn: ['history', 'reply'],
    });
    expect(ask(state, { type: 'session.delete' })).toMatchObject({ events: [{ reason: 'deleted' }] });
  });

  test('a command that names the generation of now is done', () => {
    expect(ask(on(user), { type: 'pane.run', pane: 'history', ifGeneration: 1 }).kind).toBe('do');
  });
});
