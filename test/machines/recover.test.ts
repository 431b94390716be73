import { describe, expect, test } from 'vitest';
import { owesRun, isUnfinished, unfinishedRuns } from '../../src/machines/derive.ts';
import { recover, recoveryFacts } from '../../src/machines/recover.ts';
import type { Fact } from '../../src/protocol/records.ts';
import { PaneRig } from './pane-rig.ts';
import { declarationOf, foldFacts, isoAt, message, openState, phase, shapes } from './rig.ts';

const { history, reply } = shapes;
const options = declarationOf(history, { startOn: 'message' });
const base = openState({ history: options, reply: declarationOf(reply) }, [message('m', 1)]);
const on = (...facts: Fact[]) => foldFacts(base, facts);
const begun = [phase('history', 'r', 'debouncing'), phase('history', 'r', 'evaluating')];
const recovered: Fact = { type: 'session.recovered', runs: ['r'] };
const error = { code: 'provider', message: 'x', retryable: true } as const;

/** The pane as it goes on after a crash: what is put on record, and its chart. */
function after(...facts: Fact[]) {
  const state = on(...facts);
  const ends = recoveryFacts(state);
  return { ends, rig: new PaneRig({ shape: history, state: foldFacts(state, ends) }) };
}

describe('after a crash, by phase', () => {
  test('nothing was going on: nothing is recorded', () => {
    for (const facts of [[], [...begun, phase('history', 'r', 'updated')], [phase('history', 'r', 'paused')]]) {
      expect(recoveryFacts(on(...facts))).toEqual([]);
    }
  });

  test('debouncing: same run and attempt, the delay starts anew, nothing is announced again', () => {
    const { ends, rig } = after(phase('history', 'r', 'debouncing'));
    expect(ends).toEqual([recovered]);
    expect(rig.phases).toEqual([]);
    rig.tick(149);
    expect(rig.body).toBeUndefined();
    rig.tick(1);
    expect(rig.body?.input).toMatchObject({ run: 'r', attempt: 1, stage: 'evaluating' });
  });

  test('waiting: waits on for a reply that is still expected', () => {
    const state = openState({ history: declarationOf(history, { startOn: 'reply' }) }, [
      message('m', 1, { reply: 'app' }),
      phase('history', 'r', 'waiting'),
    ]);
    const rig = new PaneRig({ shape: history, state: foldFacts(state, recoveryFacts(state)) });
    rig.tick(29_999);
    expect(rig.phases).toEqual([]);
    rig.tick(1);
    expect(rig.phases).toEqual(['debouncing']);
  });

  test('a working phase: same run, attempt + 1, from its stage and checkpoint', () => {
    const { ends, rig } = after(...begun, phase('history', 'r', 'summarizing', { checkpoint: { seen: 1 } }));
    expect(ends).toEqual([recovered]);
    expect(rig.facts).toMatchObject([{ run: 'r', phase: 'summarizing', attempt: 2 }]);
    expect(rig.body?.input).toMatchObject({ stage: 'summarizing', attempt: 2 });
    expect(rig.state.private.panes['history']?.checkpoint).toEqual({ seen: 1 });
  });

  test('at the third recovery: error interrupted', () => {
    const twice = [...begun, recovered, phase('history', 'r', 'evaluating', { attempt: 2 })];
    expect(after(...twice).ends).toEqual([recovered]);
    const { ends, rig } = after(...twice, recovered, phase('history', 'r', 'evaluating', { attempt: 3 }));
    expect(ends).toMatchObject([
      recovered,
      { phase: 'error', attempt: 3, error: { code: 'interrupted', retryable: true } },
    ]);
    expect(rig.body).toBeUndefined();
  });

  test('a run that has not begun is not counted out', () => {
    const { ends } = after(phase('history', 'r', 'debouncing'), recovered, recovered, recovered);
    expect(ends).toEqual([recovered]);
  });

  test('retrying: waits for the rest of retryAt, saying nothing', () => {
    const state = on(...begun, phase('history', 'r', 'retrying', { error, retryAt: isoAt(7_000) }));
    const input = recover(state, 'history', Date.parse(isoAt(3_000)));
    expect(input?.boot).toEqual({ at: 'work', stage: 'evaluating', backoffMs: 4_000 });
    expect(recover(state, 'history', Date.parse(isoAt(9_000)))?.boot).toMatchObject({ backoffMs: 0 });
    const near = on(...begun, phase('history', 'r', 'retrying', { error, retryAt: new Date(4_000).toISOString() }));
    const rig = new PaneRig({ shape: history, state: foldFacts(near, recoveryFacts(near)) });
    rig.tick(3_999);
    expect(rig.phases).toEqual([]);
    rig.tick(1);
    expect(rig.facts).toMatchObject([{ phase: 'evaluating', attempt: 2 }]);
  });

  test('paused: stays, no call; resume goes on with the stage', () => {
    const paused = [
      ...begun,
      { type: 'pane.paused', pane: 'history', paused: true },
      phase('history', 'r', 'paused', { stage: 'summarizing' }),
    ] as Fact[];
    const { ends, rig } = after(...paused);
    expect(ends).toEqual([]);
    expect(rig.said).toEqual([]);
    rig.resume();
    expect(rig.body?.input).toMatchObject({ run: 'r', stage: 'summarizing', attempt: 1 });
  });

  test('a pause that was wanted while a stage worked: the crash is the safe point', () => {
    const { rig } = after(...begun, { type: 'pane.paused', pane: 'history', paused: true });
    expect(rig.facts).toMatchObject([{ run: 'r', phase: 'paused', stage: 'evaluating', attempt: 2 }]);
    expect(rig.body).toBeUndefined();
    rig.resume();
    expect(rig.body?.input).toMatchObject({ stage: 'evaluating', attempt: 2 });
  });

  test('a paused run asked for by pane.run begins with its stage', () => {
    const { rig } = after(
      { type: 'pane.paused', pane: 'history', paused: true },
      phase('history', 'r', 'paused', { stage: 'summarizing', input: {} }),
    );
    rig.resume();
    expect(rig.body?.input).toMatchObject({ stage: 'summarizing' });
  });

  test('cancelling: cancelled by the user', () => {
    const { ends, rig } = after(...begun, phase('history', 'r', 'cancelling'));
    expect(ends).toMatchObject([recovered, { run: 'r', phase: 'cancelled', reason: 'user' }]);
    expect(rig.timers).toBe(0);
  });

  test('queued runs go on behind the current one', () => {
    const state = openState({ history: { ...options, policy: 'queue' } }, [
      message('m', 1),
      ...begun,
      phase('history', 'q1', 'queued'),
      phase('history', 'q2', 'queued', { input: { a: 1 } }),
    ]);
    const rig = new PaneRig({ shape: history, state: foldFacts(state, recoveryFacts(state)) });
    rig.done({ outcome: 'unchanged' });
    expect(rig.last('q1').phase).toBe('debouncing');
    rig.tick(150);
    rig.done({ outcome: 'unchanged' });
    expect(rig.body?.input).toMatchObject({ run: 'q2', stage: 'summarizing' });
  });
});

describe('streaming', () => {
  const streaming = [
    phase('reply', 'r', 'streaming'),
    message('a', 1, { role: 'assistant', text: '', final: false, run: 'r' }),
  ];

  test('with recorded text: the message ends failed, the run in error interrupted, the text stays', () => {
    const state = on(...streaming, { type: 'message.text', text: { message: 'a', at: 0, add: 'so far' } });
    const facts = recoveryFacts(state);
    expect(facts).toMatchObject([
      { type: 'session.recovered', runs: ['r'] },
      { type: 'message.ended', message: 'a', outcome: 'failed' },
      { type: 'pane.phase', run: 'r', phase: 'error', error: { code: 'interrupted' } },
    ]);
    const recoveredState = foldFacts(state, facts);
    expect(recoveredState.view.messages.at(-1)).toMatchObject({ text: 'so far', final: true, outcome: 'failed' });
    expect(recoveredState.private.open).toEqual({});
  });

  test('without text: attempt + 1', () => {
    const state = on(...streaming);
    expect(recoveryFacts(state)).toEqual([recovered]);
    expect(recover(state, 'reply', 0)).toMatchObject({ attempt: 2, boot: { at: 'work', stage: 'streaming' } });
  });

  test('cancelling with text: the message ends stopped', () => {
    const state = on(
      ...streaming,
      { type: 'message.text', text: { message: 'a', at: 0, add: 'so far' } },
      phase('reply', 'r', 'cancelling'),
    );
    expect(recoveryFacts(state).slice(1)).toMatchObject([
      { type: 'message.ended', outcome: 'stopped' },
      { phase: 'cancelled', reason: 'user' },
    ]);
  });

  test("an app's open message goes on", () => {
    const state = on(message('a', 1, { role: 'assistant', text: 'so', final: false }));
    expect(recoveryFacts(state)).toEqual([]);
    expect(isUnfinished(state)).toBe(true);
  });

  test('[P6] a panes run of a pane that this server does not know ends', () => {
    const state = on(...begun, phase('history', 'q', 'queued'));
    expect(recoveryFacts(state, () => false)).toMatchObject([
      recovered,
      { run: 'r', phase: 'error', error: { code: 'interrupted' } },
      { run: 'q', phase: 'cancelled' },
    ]);
  });
});

describe('what is owed and unfinished', () => {
  const owes = (policy: 'supersede' | 'latest' | 'queue', ...facts: Fact[]) => {
    const state = openState({ history: { ...options, policy } }, [message('m', 1), ...facts]);
    const view = state.view.panes['history'];
    const pane = state.private.panes['history'];
    if (view === undefined || pane === undefined) throw new Error('no pane');
    return owesRun(view, pane, state.view.transcript);
  };

  test('[P6] a settled pane that does not cover the transcript, unless its phase says why', () => {
    expect(owes('supersede')).toBe(true);
    expect(owes('supersede', ...begun, phase('history', 'r', 'updated', { covers: 2 }))).toBe(false);
    expect(owes('latest', ...begun, phase('history', 'r', 'updated', { covers: 1 }))).toBe(true);
    expect(owes('supersede', ...begun, phase('history', 'r', 'error', { error }))).toBe(false);
    expect(owes('supersede', ...begun, phase('history', 'r', 'cancelled', { reason: 'user' }))).toBe(false);
    expect(owes('supersede', { type: 'pane.paused', pane: 'history', paused: true })).toBe(false);
  });

  test('[P6] a latest pane whose run began before the transcript moved', () => {
    expect(owes('latest', ...begun)).toBe(false);
    expect(owes('latest', ...begun, message('m2', 2))).toBe(true);
    expect(owes('latest', phase('history', 'r', 'debouncing'), message('m2', 2))).toBe(false);
    expect(owes('queue', ...begun, message('m2', 2))).toBe(false);
  });

  test('unfinished are open runs that are not paused', () => {
    expect(unfinishedRuns(on(...begun))).toEqual(['r']);
    expect(unfinishedRuns(on(...begun, phase('history', 'r', 'paused')))).toEqual([]);
    expect(isUnfinished(on(...begun, phase('history', 'r', 'updated')))).toBe(false);
  });
});

test('an unknown pane has nothing to recover', () => {
  expect(recover(base, 'nobody', 0)).toBeUndefined();
});
