import { describe, expect, it } from 'vitest';
import type { CommandOf } from '../../../src/protocol/commands.ts';
import { Harness, quietPanes, ready } from './harness.ts';

type Delta = Omit<CommandOf<'message.delta'>, 'type' | 'session' | 'message'>;

async function streaming(): Promise<{ host: Harness; delta: (delta: Delta) => CommandOf<'message.delta'> }> {
  const host = new Harness({ paneOptions: quietPanes });
  await host.open();
  await host.ok({
    type: 'message.add',
    session: 'c1',
    id: 'begin',
    role: 'assistant',
    text: '',
    message: 'm1',
    final: false,
  });
  return { host, delta: (delta) => ({ type: 'message.delta', session: 'c1', message: 'm1', ...delta }) };
}

describe('message.delta', () => {
  it('is acked within 250 ms with the durable length', async () => {
    const { host, delta } = await streaming();
    let answer: unknown;
    void host.sessions.command(delta({ id: 'd1', at: 0, text: 'Once upon' })).then((ack) => (answer = ack));
    await host.clock.advance(100);
    expect(answer).toBeUndefined();
    await host.clock.advance(149);
    expect(answer).toMatchObject({ id: 'd1', at: 9, duplicate: false });
    expect((await host.records()).at(-1)).toMatchObject({
      type: 'message.text',
      text: { message: 'm1', at: 0, add: 'Once upon' },
    });
  });

  it('[P4] is not acked before its message is durable, though other records are', async () => {
    const host = new Harness({ paneOptions: quietPanes });
    await host.open();
    const add = { type: 'message.add', session: 'c1', role: 'user' } as const;
    void host.sessions.command({ ...add, id: 'a', text: 'x' });
    await host.clock.settle();
    let answer: unknown;
    void host.sessions.command({ ...add, id: 'b', text: 'y' });
    void host.sessions.command({ ...add, id: 'c', role: 'assistant', text: '', message: 'm1', final: false });
    void host.sessions
      .command({ type: 'message.delta', session: 'c1', id: 'd', message: 'm1', at: 0, text: 'Once' })
      .then((ack) => (answer = ack));
    await host.clock.advance(199);
    expect(answer).toBeUndefined();
    await host.clock.advance(10);
    expect(answer).toMatchObject({ at: 4 });
  });

  it('is acked within 250 ms when it repeats text that is not on record yet', async () => {
    const { host, delta } = await streaming();
    await host.send(delta({ at: 0, text: 'Once' }));
    await host.clock.advance(260);
    await host.send(delta({ at: 4, text: ' upon' }));
    await host.clock.advance(100);
    let answer: unknown;
    void host.sessions.command(delta({ id: 'd1', at: 4, text: ' upon' })).then((ack) => (answer = ack));
    await host.clock.advance(250);
    expect(answer).toMatchObject({ at: 9 });
  });

  it('is acked when it ends in the middle of a surrogate pair, which is recorded whole', async () => {
    const { host, delta } = await streaming();
    const watcher = await host.watch();
    let answer: unknown;
    void host.sessions.command(delta({ id: 'd1', at: 0, text: 'so \ud83d' })).then((ack) => (answer = ack));
    await host.clock.advance(250);
    expect(answer).toMatchObject({ at: 3 });
    await host.send(delta({ at: 4, text: '\ude00 on' }));
    const late = await host.watch();
    await host.clock.advance(2_000);
    const texts = (await host.records()).flatMap((record) => (record.type === 'message.text' ? [record.text.add] : []));
    expect(texts).toEqual(['so ', '😀 on']);
    expect(watcher.liveText).toBe('so 😀 on');
    expect(late.liveText).toBe('😀 on');
    expect(late.view?.messages[0]?.text).toBe('so 😀 on');
  });

  it('shows no half of a pair to a late subscriber', async () => {
    const { host, delta } = await streaming();
    await host.send(delta({ at: 0, text: 'so \ud83d' }));
    expect((await host.watch()).liveText).toBe('so ');
  });

  it('takes equal overlap, refuses other overlap and gaps with the durable length', async () => {
    const { host, delta } = await streaming();
    await host.send(delta({ at: 0, text: 'Once upon' }));
    await host.clock.advance(300);
    await host.send(delta({ at: 9, text: ' a time' }));
    expect(await host.refusal(delta({ id: 'd2', at: 5, text: 'UPON' }))).toMatchObject({
      code: 'CONFLICT',
      data: { session: 'c1', message: 'm1', at: 9 },
    });
    expect(await host.refusal(delta({ id: 'd3', at: 17, text: 'x' }))).toMatchObject({
      code: 'CONFLICT',
      data: { session: 'c1', message: 'm1', at: 9 },
    });
    expect(await host.ok(delta({ id: 'd4', at: 5, text: 'upon a time.', end: true }))).toMatchObject({ at: 17 });
    expect((await host.view()).messages[0]).toMatchObject({
      text: 'Once upon a time.',
      final: true,
      outcome: 'complete',
    });
  });

  it('says the whole durable length when it ends the message without text', async () => {
    const { host, delta } = await streaming();
    await host.send(delta({ at: 0, text: 'Once upon' }));
    expect(await host.ok(delta({ id: 'd1', at: 0, text: '', end: true, outcome: 'stopped' }))).toMatchObject({ at: 9 });
    expect(await host.ok(delta({ id: 'd2', at: 0, text: 'Once', end: true }))).toMatchObject({ at: 9 });
    expect(await host.refusal(delta({ id: 'd3', at: 9, text: 'more' }))).toMatchObject({ code: 'CONFLICT' });
    const ends = (await host.records()).filter(({ type }) => type === 'message.ended');
    expect(ends).toMatchObject([{ message: 'm1', outcome: 'stopped' }]);
  });

  it('ends the message as failed when no more comes; an empty delta counts as one', async () => {
    const { host, delta } = await streaming();
    await host.send(delta({ at: 0, text: 'Once' }));
    await host.clock.advance(29_000);
    await host.send(delta({ at: 4, text: '' }));
    await host.clock.advance(29_999);
    expect((await host.view()).messages[0]?.final).toBe(false);
    await host.clock.advance(1);
    expect((await host.view()).messages[0]).toMatchObject({ text: 'Once', final: true, outcome: 'failed' });
  });

  it('goes on after a crash with what was recorded', async () => {
    const { host, delta } = await streaming();
    await host.send(delta({ at: 0, text: 'Once upon' }));
    await host.clock.advance(300);
    await host.send(delta({ at: 9, text: ' a time' }));
    await host.crash();
    expect(await host.refusal(delta({ id: 'd2', at: 16, text: '!' }))).toMatchObject({
      code: 'CONFLICT',
      data: { session: 'c1', message: 'm1', at: 9 },
    });
    expect(await host.ok(delta({ id: 'd3', at: 9, text: '.', end: true }))).toMatchObject({ at: 10 });
  });

  it('of a user message starts the reply when it is final, not before', async () => {
    const host = new Harness({ paneOptions: { history: { enabled: false }, scene: { enabled: false } } });
    await host.open();
    await host.ok({
      type: 'message.add',
      session: 'c1',
      id: 'begin',
      role: 'user',
      text: '',
      message: 'm1',
      final: false,
    });
    await host.send({ type: 'message.delta', session: 'c1', message: 'm1', at: 0, text: 'Who are you?' });
    await host.clock.advance(1_000);
    expect(host.calls).toHaveLength(0);
    const ack = await host.ok({
      type: 'message.delta',
      session: 'c1',
      message: 'm1',
      id: 'd',
      at: 12,
      text: '',
      end: true,
    });
    expect(ack.run).toBe((await host.view()).panes['reply']?.run);
    expect(host.call('reply').request.material.messages.at(-1)?.text).toBe('Who are you?');
  });
});

describe('the running reply', () => {
  async function replying(): Promise<Harness> {
    const host = new Harness({ paneOptions: { history: { enabled: false }, scene: { enabled: false } } });
    await host.open();
    await host.say('First.', { message: 'u1' });
    host.call('reply').say('Well, ');
    await host.clock.advance(300);
    return host;
  }

  it('stop keeps what was said', async () => {
    const host = await replying();
    host.call('reply').say('this');
    await host.clock.advance(10);
    await host.ok({ type: 'pane.cancel', session: 'c1', id: 'stop', pane: 'reply' });
    await host.clock.advance(50);
    const view = await host.view();
    expect(view.messages.at(-1)).toMatchObject({
      role: 'assistant',
      text: 'Well, this',
      final: true,
      outcome: 'stopped',
    });
    expect(await host.phases('reply')).toEqual(['streaming', 'cancelling', 'cancelled user']);
  });

  it('an edit of the message that it answers supersedes it', async () => {
    const host = await replying();
    const first = host.call('reply');
    const ack = await host.ok({ type: 'message.edit', session: 'c1', id: 'e', message: 'u1', text: 'Second.' });
    await host.clock.advance(10);
    expect(first.signal.aborted).toBe(true);
    expect(host.call('reply')).not.toBe(first);
    expect(host.call('reply').request.material.messages.at(-1)?.text).toBe('Second.');
    const records = await host.records();
    expect(records.find((record) => record.type === 'pane.phase' && record.phase === 'cancelled')).toMatchObject({
      reason: 'superseded',
      supersededBy: ack.run,
    });
  });

  it('removal of the message that it answers ends it without a successor', async () => {
    const host = await replying();
    await host.ok({ type: 'message.remove', session: 'c1', id: 'r', message: 'u1' });
    const end = (await host.records()).find((record) => record.type === 'pane.phase' && record.phase === 'cancelled');
    expect(end).toMatchObject({ reason: 'superseded' });
    expect(end).not.toHaveProperty('supersededBy');
    expect(host.calls).toHaveLength(1);
  });

  it.each(['message.edit', 'message.remove'] as const)('%s of the message being written ends it', async (type) => {
    const host = await replying();
    const message = (await host.view()).messages.at(-1)?.id ?? '';
    const change = { session: 'c1', id: 'c', message };
    await host.ok(type === 'message.edit' ? { ...change, type, text: 'Changed.' } : { ...change, type });
    expect(host.call('reply').signal.aborted).toBe(true);
    expect((await host.phases('reply')).at(-1)).toBe('cancelled superseded');
    const texts = (await host.view()).messages.map(({ text }) => text);
    expect(texts).toEqual(type === 'message.edit' ? ['First.', 'Changed.'] : ['First.']);
  });

  it('another change leaves it alone', async () => {
    const host = await replying();
    await host.ok({ type: 'message.add', session: 'c1', id: 's', role: 'system', text: 'Note.', message: 's1' });
    await host.ok({ type: 'message.edit', session: 'c1', id: 'e', message: 's1', text: 'Another note.' });
    await host.ok({ type: 'message.add', session: 'c1', id: 'n', role: 'user', text: 'Nobody answers.', reply: false });
    host.call('reply').say('this.').end();
    await host.clock.advance(10);
    expect(await host.phases('reply')).toEqual(['streaming', 'updated']);
  });

  it('regenerate replaces the old answer once it ends with text, never before', async () => {
    const host = await replying();
    host.call('reply').say('one.').end();
    await host.clock.advance(10);
    const old = (await host.view()).messages.at(-1)?.id;
    await host.ok({ type: 'pane.run', session: 'c1', id: 'again', pane: 'reply' });
    expect(host.call('reply').request.material.messages.map(({ text }) => text)).toEqual(['First.']);
    host.call('reply').say('Or rather, two.');
    await host.clock.advance(300);
    expect((await host.view()).messages.map(({ id }) => id)).toContain(old);
    host.call('reply').end();
    await host.clock.advance(10);
    expect((await host.view()).messages.map(({ text }) => text)).toEqual(['First.', 'Or rather, two.']);
  });

  it('[P1] ends its message when it was closed after a crash before the first text', async () => {
    const host = await replying();
    await host.ok({ type: 'pane.cancel', session: 'c1', id: 'c', pane: 'reply' });
    await host.say('Again.');
    host.call('reply').say('x');
    await host.clock.advance(1);
    await host.crash();
    await host.ok({ type: 'session.close', session: 'c1', id: 'close' });
    const added = (await host.records()).filter(({ type }) => type === 'message.added').length;
    const view = await host.view();
    expect(view.messages).toHaveLength(added);
    expect(view.messages.every(({ final }) => final)).toBe(true);
  });
});

describe('a reply and its panes', () => {
  it('come one after the other, and cover the transcript', async () => {
    const host = new Harness({ answers: ready });
    await host.open();
    await host.say();
    await host.clock.advance(5_000);
    const view = await host.view();
    expect(view.messages.map(({ text }) => text)).toEqual(['Hello.', 'The reply.']);
    expect(view.panes['history']).toMatchObject({ phase: 'updated', fresh: true, content: { text: 'The summary.' } });
    expect(view.panes['scene']).toMatchObject({
      phase: 'updated',
      fresh: true,
      content: { description: 'The scene.' },
    });
    expect(host.errors).toEqual([]);
  });
});
