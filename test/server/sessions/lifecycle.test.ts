import { describe, expect, it } from 'vitest';
import { definePane } from '../../../src/panes/define.ts';
import { ProviderError } from '../../../src/ports/errors.ts';
import type { Command } from '../../../src/protocol/commands.ts';
import { Harness, quietPanes, ready } from './harness.ts';

const onlyReply = { history: { enabled: false }, scene: { enabled: false } };
const onlyHistory = { reply: { enabled: false }, scene: { enabled: false }, history: { startOn: 'message' as const } };

describe('passivation', () => {
  it('lets an idle session leave memory, with no timer left, and wakes it again', async () => {
    const host = new Harness({ answers: ready, passivateAfterMs: 10_000 });
    await host.open();
    await host.say();
    await host.clock.advance(5_000);
    expect(host.sessions.liveCount).toBe(1);
    const before = await host.view();
    await host.clock.advance(20_000);
    expect(host.sessions.liveCount).toBe(0);
    expect(host.clock.pending).toBe(0);
    expect(await host.view()).toEqual(before);
    expect(await host.say('Again.')).toMatchObject({ generation: 2 });
  });

  it('happens at once with session.close, unless somebody watches', async () => {
    const host = new Harness({ answers: ready });
    for (const session of ['c1', 'c2']) await host.open(session);
    await host.watch('c2');
    for (const session of ['c1', 'c2']) await host.ok({ type: 'session.close', session, id: host.id() });
    expect(host.sessions.liveCount).toBe(1);
    expect(await host.say('Again.')).toMatchObject({ generation: 1 });
  });

  it('does not count on the wall clock', async () => {
    const host = new Harness({ paneOptions: quietPanes, passivateAfterMs: 10_000 });
    await host.open();
    host.clock.jump(-3_600_000);
    await host.clock.advance(20_000);
    expect(host.sessions.liveCount).toBe(0);
  });

  it('keeps a busy session and a watched one', async () => {
    const host = new Harness({ paneOptions: onlyReply, passivateAfterMs: 1_000 });
    await host.open();
    await host.open('c2');
    const watcher = await host.watch('c2');
    await host.say();
    await host.clock.advance(20_000);
    expect(host.sessions.liveCount).toBe(2);
    await host.say('x', { session: 'c2', reply: false });
    expect(watcher.view?.generation).toBe(1);
    watcher.subscription?.close();
    await host.clock.advance(3_000);
    expect(host.sessions.liveCount).toBe(1);
  });
});

describe('maxSessions', () => {
  it('makes room by letting the idle session go that was used longest ago', async () => {
    const host = new Harness({ paneOptions: quietPanes, maxSessions: 2 });
    await host.open('a');
    await host.open('b');
    await host.say('x', { session: 'a' });
    await host.open('c');
    expect(host.sessions.liveCount).toBe(2);
    const live = (await host.sessions.list(10)).filter((line) => line.live).map(({ session }) => session);
    expect(live.toSorted()).toEqual(['a', 'c']);
  });

  it('refuses one more while all are at work', async () => {
    const host = new Harness({ paneOptions: onlyReply, maxSessions: 2 });
    await host.open('a');
    await host.open('b');
    await host.say('x', { session: 'a' });
    await host.say('x', { session: 'b' });
    expect(await host.refusal({ type: 'session.open', session: 'c', id: 'c' })).toMatchObject({
      code: 'OVERLOADED',
      retryAfterMs: expect.any(Number),
    });
    host.call('reply').say('Done.').end();
    await host.clock.advance(10);
    expect(await host.ok({ type: 'session.open', session: 'c', id: 'c' })).toMatchObject({ seq: 1 });
  });

  it('does not lose a command to the session that makes room', async () => {
    const host = new Harness({ paneOptions: quietPanes, maxSessions: 1 });
    await host.open('a');
    const commands: Command[] = ['a', 'b', 'a'].map((session, index) => ({
      type: 'session.open',
      session,
      id: `o${index}`,
    }));
    const answers = Promise.all(commands.map((command) => host.sessions.command(command)));
    await host.clock.advance(0);
    for (const [index, answer] of (await answers).entries()) {
      if ('refused' in answer) expect(answer.refused.code).toBe('OVERLOADED');
      else expect(answer).toMatchObject({ id: `o${index}`, seq: 1 });
    }
  });
});

describe('after a crash', () => {
  it('waiting: same run and attempt', async () => {
    const host = new Harness({ paneOptions: { scene: { enabled: false } } });
    await host.open();
    await host.say();
    const { run } = (await host.view()).panes['history'] ?? {};
    await host.crash();
    expect((await host.view()).panes['history']).toMatchObject({ phase: 'waiting', run, attempt: 1 });
  });

  it('debouncing: same run, the delay starts anew', async () => {
    const host = new Harness({ paneOptions: onlyHistory });
    await host.open();
    await host.say();
    await host.clock.advance(100);
    expect((await host.phases('history')).at(-1)).toBe('debouncing');
    await host.crash();
    await host.clock.advance(149);
    expect(host.calls).toHaveLength(0);
    await host.clock.advance(1);
    expect(host.calls).toHaveLength(1);
    expect((await host.view()).panes['history']).toMatchObject({ phase: 'evaluating', attempt: 1 });
  });

  it('a working phase: same run, attempt + 1, from the last checkpoint; at the third time error interrupted', async () => {
    const host = new Harness({ answers: { evaluate: 'YES' }, paneOptions: onlyHistory });
    await host.open();
    await host.say();
    await host.clock.advance(200);
    const { run } = (await host.view()).panes['history'] ?? {};
    expect((await host.view()).panes['history']).toMatchObject({ phase: 'summarizing', attempt: 1 });
    for (const attempt of [2, 3]) {
      await host.crash();
      await host.clock.advance(10);
      expect((await host.view()).panes['history']).toMatchObject({ phase: 'summarizing', run, attempt });
      expect(host.calls.at(-1)?.stage).toBe('summarize');
    }
    await host.crash();
    expect((await host.view()).panes['history']).toMatchObject({ phase: 'error', run, error: { code: 'interrupted' } });
    expect(host.calls.filter(({ stage }) => stage === 'evaluate')).toHaveLength(1);
  });

  it('retrying: waits for retryAt', async () => {
    const host = new Harness({ paneOptions: onlyHistory });
    await host.open();
    await host.say();
    await host.clock.advance(200);
    host.call('evaluate').fail(new ProviderError('rate_limited', 'injected', { retryAfterMs: 5_000 }));
    await host.clock.advance(1_000);
    expect((await host.phases('history')).at(-1)).toBe('retrying rate_limited');
    await host.crash();
    await host.clock.advance(3_900);
    expect(host.calls).toHaveLength(1);
    await host.clock.advance(200);
    expect(host.calls).toHaveLength(2);
  });

  it('paused: stays, without a call', async () => {
    const host = new Harness({ answers: ready, paneOptions: onlyHistory });
    await host.open();
    await host.ok({ type: 'pane.pause', session: 'c1', id: 'p', pane: 'history' });
    await host.say();
    await host.crash();
    await host.clock.advance(60_000);
    expect((await host.view()).panes['history']).toMatchObject({ phase: 'paused', paused: true });
    expect(host.calls).toHaveLength(0);
    await host.ok({ type: 'pane.resume', session: 'c1', id: 'r', pane: 'history' });
    await host.clock.advance(1_000);
    expect((await host.view()).panes['history']).toMatchObject({ phase: 'updated', fresh: true });
  });

  it('cancelling: cancelled', async () => {
    const stubborn = definePane({
      name: 'stubborn',
      options: { startOn: 'message', debounceMs: 0 },
      stages: [{ name: 'sulking', run: () => new Promise<never>(() => undefined) }],
    });
    const host = new Harness({ paneOptions: quietPanes, panes: [stubborn] });
    await host.open();
    await host.say();
    await host.clock.advance(10);
    await host.ok({ type: 'pane.cancel', session: 'c1', id: 'c', pane: 'stubborn' });
    expect((await host.phases('stubborn')).at(-1)).toBe('cancelling');
    await host.crash();
    expect((await host.phases('stubborn')).at(-1)).toBe('cancelled user');
  });

  it('streaming with recorded text: the text stays, the message and the run have failed', async () => {
    const host = new Harness({ paneOptions: onlyReply });
    await host.open();
    await host.say();
    host.call('reply').say('Half a');
    await host.clock.advance(300);
    host.call('reply').say(' sentence');
    await host.crash();
    const view = await host.view();
    expect(view.messages.at(-1)).toMatchObject({ text: 'Half a', final: true, outcome: 'failed' });
    expect(view.panes['reply']).toMatchObject({ phase: 'error', error: { code: 'interrupted' } });
    expect(host.calls).toHaveLength(1);
  });

  it('streaming without text: attempt + 1, in the same message', async () => {
    const host = new Harness({ paneOptions: onlyReply });
    await host.open();
    await host.say();
    host.call('reply').say('Not');
    await host.clock.advance(20);
    await host.crash();
    await host.clock.advance(1);
    expect((await host.view()).panes['reply']).toMatchObject({ phase: 'streaming', attempt: 2 });
    host.call('reply').say('Now.').end();
    await host.clock.advance(10);
    expect((await host.view()).messages.map(({ text }) => text)).toEqual(['Hello.', 'Now.']);
  });

  it('queued: the queue goes on in its order', async () => {
    const host = new Harness({
      answers: { evaluate: 'YES' },
      paneOptions: { ...onlyHistory, history: { ...onlyHistory.history, policy: 'queue', debounceMs: 0 } },
    });
    await host.open();
    await host.say('One.');
    await host.clock.advance(10);
    await host.say('Two.');
    expect((await host.view()).panes['history']?.queued).toHaveLength(1);
    await host.crash({ options: {} });
    host.answers = ready;
    await host.clock.advance(10);
    host.call('summarize').say('One.').end();
    await host.clock.advance(1_000);
    expect((await host.view()).panes['history']).toMatchObject({
      phase: 'updated',
      generation: 2,
      queued: [],
      fresh: true,
    });
  });
});

describe('a graceful stop', () => {
  it('writes no terminal record, refuses commands, leaves no timer, and the next start goes on', async () => {
    const host = new Harness({ paneOptions: onlyReply });
    await host.open();
    await host.say();
    const closing = host.sessions.close(1_000);
    expect(await host.refusal({ type: 'session.close', session: 'c1', id: 'x' })).toMatchObject({ code: 'OVERLOADED' });
    await host.clock.advance(1_100);
    await closing;
    expect(host.call('reply').signal.aborted).toBe(true);
    expect(await host.phases('reply')).toEqual(['streaming']);
    expect(host.clock.pending).toBe(0);
    await host.crash();
    await host.clock.advance(1);
    expect((await host.view()).panes['reply']).toMatchObject({ phase: 'streaming', attempt: 2 });
  });

  it('lets a stage end that is nearly there', async () => {
    const host = new Harness({ paneOptions: onlyReply });
    await host.open();
    await host.say();
    const closing = host.sessions.close(1_000);
    host.call('reply').say('Just in time.').end();
    await host.clock.advance(200);
    await closing;
    expect(await host.phases('reply')).toEqual(['streaming', 'updated']);
    expect(host.clock.pending).toBe(0);
  });
});

describe('a pane of an app', () => {
  const mood = definePane({
    name: 'mood',
    options: { startOn: 'message', debounceMs: 0 },
    stages: [
      { name: 'feeling', run: async () => ({ outcome: 'next', checkpoint: { felt: 'warm' } }) },
      {
        name: 'naming',
        run: async ({ checkpoint }) => ({ outcome: 'updated', content: { mood: checkpoint?.['felt'] ?? '' } }),
      },
    ],
  });

  it('runs its stages, hands on checkpoints, and commits', async () => {
    const host = new Harness({ paneOptions: quietPanes, panes: [mood] });
    await host.open();
    await host.say();
    await host.clock.advance(10);
    expect(await host.phases('mood')).toEqual(['feeling', 'naming', 'updated']);
    expect((await host.view()).panes['mood']).toMatchObject({ content: { mood: 'warm' }, fresh: true });
  });

  it('is not aborted by its own end: only a body that was stopped has to unwind', async () => {
    const signals: AbortSignal[] = [];
    const calm = definePane({
      name: 'calm',
      options: { startOn: 'message', debounceMs: 0 },
      stages: [
        { name: 'resting', run: async ({ signal }) => (signals.push(signal), { outcome: 'next' }) },
        { name: 'ending', run: async ({ signal }) => (signals.push(signal), { outcome: 'updated', content: {} }) },
      ],
    });
    const host = new Harness({ paneOptions: quietPanes, panes: [calm] });
    await host.open();
    await host.say();
    await host.clock.advance(10);
    expect(signals.map((signal) => signal.aborted)).toEqual([false, false]);
  });

  it('[P8] that throws is in error internal, and the session lives on', async () => {
    const broken = definePane({
      name: 'broken',
      options: { startOn: 'message', debounceMs: 0 },
      stages: [{ name: 'falling', run: () => Promise.reject(new Error('on purpose')) }],
    });
    const host = new Harness({ paneOptions: quietPanes, panes: [broken] });
    await host.open();
    await host.say();
    await host.clock.advance(10);
    expect((await host.view()).panes['broken']).toMatchObject({ phase: 'error', error: { code: 'internal' } });
    expect(await host.say('On.')).toMatchObject({ generation: 2 });
  });

  it('whose content is too large for a record is in error, not in the journal', async () => {
    const large = definePane({
      name: 'large',
      options: { startOn: 'message', debounceMs: 0 },
      stages: [{ name: 'swelling', run: async () => ({ outcome: 'updated', content: { text: 'x'.repeat(70_000) } }) }],
    });
    const host = new Harness({ paneOptions: quietPanes, panes: [large] });
    await host.open();
    await host.say();
    await host.clock.advance(10);
    expect((await host.view()).panes['large']).toMatchObject({ phase: 'error', content: null });
  });
});

describe('[P9] a provider that hangs', () => {
  it('holds up no ack', async () => {
    const host = new Harness({ answers: { evaluate: 'YES' } });
    await host.open();
    for (let i = 0; i < 20; i += 1) {
      const answer = await host.send({ type: 'message.add', session: 'c1', id: `m${i}`, role: 'user', text: 'x' });
      expect(answer).toMatchObject({ generation: i + 1 });
    }
    expect(host.calls.filter(({ signal }) => !signal.aborted)).toHaveLength(1);
  });
});
