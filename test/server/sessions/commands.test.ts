import { describe, expect, it, vi } from 'vitest';
import type { Command } from '../../../src/protocol/commands.ts';
import { Harness, quietPanes, ready } from './harness.ts';

const hello: Command = { type: 'message.add', session: 'c1', id: 'once', role: 'user', text: 'Hello.' };

describe('[P4] commands with the same id', () => {
  it('get the same ack while the first is being stored', async () => {
    const host = new Harness({ paneOptions: quietPanes });
    await host.open();
    const answers = Promise.all([
      host.sessions.command(hello),
      host.sessions.command(hello),
      host.sessions.command(hello),
    ]);
    await host.clock.advance(0);
    const [first, second, third] = await answers;
    expect(first).toMatchObject({ type: 'ack', id: 'once', seq: 2, generation: 1, duplicate: false });
    expect(second).toEqual({ ...first, duplicate: true });
    expect(third).toEqual({ ...first, duplicate: true });
    expect(await host.records()).toHaveLength(2);
  });

  it('get the same ack after it was stored, and after a restart', async () => {
    const host = new Harness({ paneOptions: quietPanes });
    await host.open();
    const first = await host.ok(hello);
    expect(await host.ok(hello)).toEqual({ ...first, duplicate: true });
    await host.crash();
    expect(await host.ok(hello)).toEqual({ ...first, duplicate: true });
    expect(await host.records()).toHaveLength(2);
  });

  it('are a CONFLICT with other content: while the first is being stored, after, after a restart', async () => {
    const host = new Harness({ paneOptions: quietPanes });
    await host.open();
    const other: Command = { ...hello, text: 'Another.' };
    const [first, refused] = [host.sessions.command(hello), host.sessions.command(other)];
    await host.clock.advance(0);
    expect(await first).toMatchObject({ duplicate: false });
    expect(await refused).toMatchObject({ refused: { code: 'CONFLICT' } });
    expect(await host.refusal(other)).toMatchObject({ code: 'CONFLICT' });
    await host.crash();
    expect(await host.refusal(other)).toMatchObject({ code: 'CONFLICT' });
  });

  it('are remembered when they change nothing', async () => {
    const host = new Harness({ paneOptions: quietPanes });
    await host.open();
    const cancel: Command = { type: 'pane.cancel', session: 'c1', id: 'nothing' };
    expect(await host.ok(cancel)).toMatchObject({ seq: 1, duplicate: false });
    expect(await host.ok(cancel)).toMatchObject({ seq: 1, duplicate: true });
    expect(await host.records()).toHaveLength(1);
  });

  it('are not remembered when they were refused', async () => {
    const host = new Harness({ paneOptions: quietPanes });
    await host.open();
    const early: Command = { ...hello, ifGeneration: 3 };
    expect(await host.refusal(early)).toMatchObject({ code: 'STALE_GENERATION', data: { generation: 0 } });
    for (let i = 0; i < 3; i += 1) await host.say();
    expect(await host.ok(early)).toMatchObject({ generation: 4, duplicate: false });
    expect(await host.ok(early)).toMatchObject({ generation: 4, duplicate: true });
  });

  it('are forgotten after 24 h', async () => {
    const host = new Harness({ paneOptions: quietPanes });
    await host.open();
    await host.ok(hello);
    host.clock.jump(86_400_001);
    expect(await host.ok(hello)).toMatchObject({ duplicate: false });
  });
});

describe('commands to what is not there', () => {
  it('are NOT_FOUND, and make no session', async () => {
    const host = new Harness();
    expect(await host.refusal(hello)).toMatchObject({ code: 'NOT_FOUND' });
    expect(await host.sessions.view('c1')).toMatchObject({ refused: { code: 'NOT_FOUND' } });
    expect(await host.sessions.subscribe('c1', undefined, { push() {} })).toMatchObject({
      refused: { code: 'NOT_FOUND' },
    });
    expect(await host.sessions.list(10)).toEqual([]);
  });

  it('leave no empty session behind when its opening is refused', async () => {
    const host = new Harness();
    const bad: Command = { type: 'session.open', session: 'c1', id: 'a', panes: { nothing: {} } };
    expect(await host.refusal(bad)).toMatchObject({ code: 'NOT_FOUND' });
    expect(await host.sessions.view('c1')).toMatchObject({ refused: { code: 'NOT_FOUND' } });
    expect(await host.sessions.messages('c1', null, 10)).toMatchObject({ refused: { code: 'NOT_FOUND' } });
    expect(await host.refusal(hello)).toMatchObject({ code: 'NOT_FOUND' });
  });

  it.each([
    { type: 'pane.run', pane: 'nothing' },
    { type: 'pane.cancel', run: 'unknown' },
    { type: 'message.edit', message: 'm404', text: 'x' },
    { type: 'message.remove', message: 'm404' },
    { type: 'message.delta', message: 'm404', at: 0, text: 'x' },
    { type: 'task.retry', pane: 'history', task: 't1' },
  ] as const)('$type of what is absent', async (command) => {
    const host = new Harness();
    await host.open();
    expect(await host.refusal({ session: 'c1', id: 'x', ...command })).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('the life of a session', () => {
  it('session.open is idempotent, and merges options', async () => {
    const host = new Harness();
    const opened = await host.open();
    expect(opened).toMatchObject({ seq: 1 });
    expect(await host.open()).toMatchObject({ seq: 1 });
    expect(await host.open('c1', { history: { debounceMs: 7 } })).toMatchObject({ seq: 2 });
    expect((await host.records())[1]).toMatchObject({ type: 'session.opened', panes: { history: { debounceMs: 7 } } });
  });

  it('session.close ends every run, and the next command wakes the session', async () => {
    const host = new Harness();
    await host.open();
    await host.say();
    await host.clock.advance(100);
    expect(host.call('reply').signal.aborted).toBe(false);
    await host.ok({ type: 'session.close', session: 'c1', id: 'close' });
    expect(host.call('reply').signal.aborted).toBe(true);
    expect((await host.phases('reply')).at(-1)).toBe('cancelled closed');
    expect((await host.phases('history')).at(-1)).toBe('cancelled closed');
    expect(await host.say('Again.')).toMatchObject({ generation: 2 });
    expect((await host.view()).panes['reply']?.phase).toBe('streaming');
  });

  it('session.delete erases, tells subscribers, keeps its key, and a new open starts a new epoch', async () => {
    const host = new Harness();
    await host.open();
    await host.say();
    const watcher = await host.watch();
    const remove: Command = { type: 'session.delete', session: 'c1', id: 'gone' };
    const ack = await host.ok(remove);
    expect(watcher.frames.at(-1)).toEqual({ type: 'ended', session: 'c1', reason: 'deleted' });
    expect(host.call('reply').signal.aborted).toBe(true);
    expect(await host.ok(remove)).toEqual({ ...ack, duplicate: true });
    expect(await host.refusal({ type: 'session.close', session: 'c1', id: 'late' })).toMatchObject({
      code: 'NOT_FOUND',
    });
    const old = watcher.cursor;
    expect(await host.open()).toMatchObject({ seq: 1 });
    const again = await host.watch('c1', old);
    expect(again.kinds).toEqual(['snapshot reset', 'caughtUp']);
    expect(again.cursor.split('.')[0]).not.toBe(old.split('.')[0]);
    expect(await host.ok(remove)).toEqual({ ...ack, duplicate: true });
    expect((await host.view()).seq).toBe(1);
  });

  it('a deleted session is not made again by a repeated open of its old life', async () => {
    const host = new Harness();
    const open: Command = { type: 'session.open', session: 'c1', id: 'open' };
    const first = await host.ok(open);
    await host.ok({ type: 'session.delete', session: 'c1', id: 'gone' });
    expect(await host.ok(open)).toEqual({ ...first, duplicate: true });
    expect(await host.memory.head('c1')).toBeUndefined();
  });
});

describe('a turn that throws', () => {
  it('is refused and undone, and the session goes on', async () => {
    const host = new Harness({ answers: ready });
    await host.open();
    await host.say();
    await host.clock.advance(5_000);
    const before = await host.view();
    // Whatever makes a record throws: the gate must answer all the same.
    const broken = vi.spyOn(Date.prototype, 'toISOString').mockImplementation(() => {
      throw new Error('thrown on purpose');
    });
    const answer = host.sessions.command({ type: 'message.add', session: 'c1', id: 'x', role: 'user', text: 'No.' });
    await host.clock.settle();
    broken.mockRestore();
    expect(await answer).toMatchObject({ refused: { code: 'OVERLOADED', retryable: true } });
    expect(await host.view()).toEqual(before);
    await host.clock.advance(2_000);
    expect(await host.ok({ type: 'message.add', session: 'c1', id: 'x', role: 'user', text: 'No.' })).toMatchObject({
      generation: 2,
    });
  });
});
