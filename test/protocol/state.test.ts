import { describe, expect, test } from 'vitest';
import { fold } from '../../src/protocol/fold.ts';
import type { Fact } from '../../src/protocol/records.ts';
import { emptyState, foldState, rememberedRuns, stateFormat, type State } from '../../src/protocol/state.ts';
import { declarationOf, foldFacts, isoAt, message, openState, phase, recordOf, shapes } from '../machines/rig.ts';

const base = openState({ history: declarationOf(shapes.history), reply: declarationOf(shapes.reply) });
const history = (state: State) => {
  const pane = state.private.panes['history'];
  if (pane === undefined) throw new Error('no pane history');
  return pane;
};
const on = (...facts: Fact[]) => foldFacts(base, facts);

describe('foldState', () => {
  test('the view inside is the fold of the same records', () => {
    const facts: Fact[] = [
      message('m', 1),
      phase('history', 'r', 'evaluating'),
      { type: 'session.closed', reason: 'closed' },
    ];
    let state = base;
    let view = base.view;
    for (const fact of facts) {
      const record = recordOf(state, fact);
      state = foldState(state, record);
      view = fold(view, record);
      expect(state.view).toEqual(view);
    }
    expect(state.format).toBe(stateFormat);
  });

  test('survives JSON', () => {
    const state = on(
      message('m', 1, { final: false }),
      phase('history', 'r', 'evaluating'),
      phase('history', 'q', 'queued', { input: { a: 1 } }),
    );
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
  });

  test('closed is true until the next record, at is that of the newest record', () => {
    const closed = foldState(base, recordOf(base, { type: 'session.closed', reason: 'closed' }, 5));
    expect(closed.private).toMatchObject({ closed: true, at: isoAt(5) });
    expect(foldFacts(closed, [message('m', 1)]).private.closed).toBe(false);
  });

  test('session.opened declares; again it changes options and keeps what runs', () => {
    const working = on(phase('history', 'r', 'evaluating'));
    const changed = foldFacts(working, [
      { type: 'session.opened', panes: { history: declarationOf(shapes.history, { policy: 'latest' }) } },
    ]);
    expect(history(changed)).toEqual({
      ...history(working),
      declaration: declarationOf(shapes.history, { policy: 'latest' }),
    });
  });
});

describe('messages being written', () => {
  test('open from a message that is not final, with its length, until it ends', () => {
    const open = on(message('m', 1, { text: 'ab', final: false, reply: 'pane' }));
    expect(open.private.open).toEqual({ m: { run: null, length: 2, reply: 'pane' } });
    const longer = foldFacts(open, [{ type: 'message.text', text: { message: 'm', at: 2, add: 'cd' } }]);
    expect(longer.private.open['m']?.length).toBe(4);
    expect(foldFacts(longer, [{ type: 'message.ended', message: 'm', outcome: 'complete' }]).private.open).toEqual({});
  });

  test('a reply knows the run that writes it; removal closes it', () => {
    const open = on(message('m', 1, { role: 'assistant', final: false, run: 'r' }));
    expect(open.private.open['m']?.run).toBe('r');
    expect(foldFacts(open, [{ type: 'message.removed', message: 'm', generation: 2 }]).private.open).toEqual({});
  });

  test('an app is awaited from its user message to the assistant message, an edit or a removal', () => {
    const asked = on(message('m', 1, { reply: 'app' }));
    expect(asked.private.appReplies).toBe(true);
    for (const fact of [
      message('a', 1, { role: 'assistant' }),
      message('a', 1, { role: 'assistant', final: false }),
      message('u', 2, { reply: 'none' }),
      { type: 'message.edited', message: 'm', text: 'y', generation: 2 },
      { type: 'message.removed', message: 'm', generation: 2 },
    ] satisfies Fact[]) {
      expect(foldFacts(asked, [fact]).private.appReplies).toBe(false);
    }
    expect(foldFacts(asked, [message('s', 1, { role: 'system' })]).private.appReplies).toBe(true);
  });
});

describe('runs', () => {
  test('sees is the transcript when work began, not when the run was named or goes on', () => {
    const waiting = on(message('m', 1), phase('history', 'r', 'debouncing'));
    expect(history(waiting)).toMatchObject({ began: false, sees: null, stage: null });
    const began = foldFacts(waiting, [message('m2', 2), phase('history', 'r', 'evaluating')]);
    expect(history(began)).toMatchObject({ began: true, sees: 4, stage: 'evaluating' });
    const later = foldFacts(began, [message('m3', 3), phase('history', 'r', 'summarizing')]);
    expect(history(later)).toMatchObject({ sees: 4, stage: 'summarizing' });
  });

  test('a stage is kept in retrying and cancelling; paused may name the next one', () => {
    const retrying = on(phase('history', 'r', 'evaluating'), phase('history', 'r', 'retrying'));
    expect(history(retrying).stage).toBe('evaluating');
    expect(history(foldFacts(retrying, [phase('history', 'r', 'paused', { stage: 'summarizing' })])).stage).toBe(
      'summarizing',
    );
  });

  test('input, of and checkpoint stay with their run', () => {
    const state = on(
      phase('history', 'r', 'evaluating', { input: { a: 1 }, of: 'r0' }),
      phase('history', 'r', 'summarizing', { checkpoint: { b: 2 } }),
    );
    expect(history(state)).toMatchObject({ input: { a: 1 }, of: 'r0', checkpoint: { b: 2 } });
    expect(history(foldFacts(state, [phase('history', 'r2', 'evaluating')]))).toMatchObject({
      input: null,
      of: null,
      checkpoint: null,
      past: ['r'],
    });
  });

  test('a queued run brings its input when it begins, and leaves the queue when it is cancelled', () => {
    const queued = on(
      phase('history', 'r', 'evaluating'),
      phase('history', 'q1', 'queued', { input: { a: 1 }, generation: 2 }),
      phase('history', 'q2', 'queued'),
    );
    expect(history(queued).queue.map(({ run, input }) => [run, input])).toEqual([
      ['q1', { a: 1 }],
      ['q2', null],
    ]);
    const cancelled = foldFacts(queued, [phase('history', 'q2', 'cancelled', { reason: 'user' })]);
    expect(history(cancelled)).toMatchObject({ queue: [{ run: 'q1' }], began: true, past: [] });
    const begun = foldFacts(cancelled, [phase('history', 'r', 'unchanged'), phase('history', 'q1', 'summarizing')]);
    expect(history(begun)).toMatchObject({ queue: [], input: { a: 1 }, past: ['r'] });
  });

  test('queued again is the same place with the newer input', () => {
    const state = on(
      phase('history', 'r', 'evaluating'),
      phase('history', 'q', 'queued', { input: {} }),
      phase('history', 'q', 'queued', { input: { a: 2 } }),
    );
    expect(history(state).queue).toMatchObject([{ run: 'q', input: { a: 2 } }]);
    expect(state.view.panes['history']?.queued).toEqual(['q']);
  });

  test(`the last ${rememberedRuns} runs are remembered`, () => {
    const facts = Array.from({ length: rememberedRuns + 2 }, (_, i) => phase('history', `r${i}`, 'evaluating'));
    const { past } = history(on(...facts));
    expect(past).toHaveLength(rememberedRuns);
    expect([past[0], past.at(-1)]).toEqual(['r1', `r${rememberedRuns}`]);
  });

  test('recoveries count for the runs that were found unfinished, and begin anew with a run', () => {
    const found: Fact = { type: 'session.recovered', runs: ['r'] };
    const state = on(phase('history', 'r', 'evaluating'), found, found);
    expect(history(state).recoveries).toBe(2);
    expect(state.private.panes['reply']?.recoveries).toBe(0);
    expect(history(foldFacts(state, [phase('history', 'r2', 'evaluating')])).recoveries).toBe(0);
  });

  test('a phase of an unknown pane changes nothing private', () => {
    expect(on(phase('nobody', 'r', 'evaluating')).private.panes).toEqual(base.private.panes);
  });

  test('the empty state has the seq 0', () => {
    expect(emptyState('s').view.seq).toBe(0);
  });
});
