import { describe, expect, it } from 'vitest';
import type { MemoryJournal } from '../../../src/adapters/journal-memory.ts';
import { JournalError, type JournalErrorCode } from '../../../src/ports/errors.ts';
import type { Journal } from '../../../src/ports/journal.ts';
import type { Command } from '../../../src/protocol/commands.ts';
import { Harness, quietPanes } from './harness.ts';

const hello: Command = { type: 'message.add', session: 'c1', id: 'x', role: 'user', text: 'Hello.' };

/** A disk that is full as long as the test says so. */
class Disk {
  full = false;
  wrap = (inner: MemoryJournal): Journal =>
    new Proxy(inner, {
      get: (target, name) => {
        const own: unknown = Reflect.get(target, name);
        if (typeof own !== 'function') return own;
        const writes = ['append', 'saveState', 'trim', 'erase', 'probe'].includes(String(name));
        return (...args: unknown[]) =>
          writes && this.full ? Promise.reject(new JournalError('full', 'injected')) : own.apply(target, args);
      },
    });
}

async function withDisk(paneOptions = quietPanes): Promise<{ host: Harness; disk: Disk }> {
  const disk = new Disk();
  const host = new Harness({ journal: disk.wrap, paneOptions });
  await host.open();
  return { host, disk };
}

describe('[R10] a disk that is full', () => {
  it('refuses commands with retryAfterMs, keeps nothing of them, goes on reading, and works again after', async () => {
    const { host, disk } = await withDisk();
    const watcher = await host.watch();
    disk.full = true;
    expect(await host.refusal(hello)).toMatchObject({
      code: 'OVERLOADED',
      retryable: true,
      retryAfterMs: expect.any(Number),
    });
    expect(await host.refusal({ ...hello, id: 'y' })).toMatchObject({
      code: 'OVERLOADED',
      retryAfterMs: expect.any(Number),
    });
    expect(host.sessions.sealed).toBe(true);
    expect((await host.view()).messages).toEqual([]);
    expect((await host.watch()).kinds).toEqual(['snapshot initial', 'caughtUp']);
    await host.clock.advance(4_000);
    disk.full = false;
    await host.clock.advance(30_000);
    expect(host.sessions.sealed).toBe(false);
    expect(await host.ok(hello)).toMatchObject({ seq: 2, generation: 1, duplicate: false });
    expect(watcher.kinds).toEqual(['snapshot initial', 'caughtUp', '#2']);
  });

  it('[P4] starts no provider call before the run is on record', async () => {
    const { host, disk } = await withDisk({ history: { enabled: false }, scene: { enabled: false } });
    disk.full = true;
    await host.refusal(hello);
    await host.clock.advance(500);
    expect(host.calls).toHaveLength(0);
    disk.full = false;
    await host.clock.advance(2_000);
    expect(host.calls).toHaveLength(0);
    await host.ok(hello);
    expect(host.calls).toHaveLength(1);
  });

  it('aborts what is running and recovers it when the disk works again', async () => {
    const { host, disk } = await withDisk({ history: { enabled: false }, scene: { enabled: false } });
    await host.ok(hello);
    const first = host.call('reply');
    disk.full = true;
    await host.refusal({ ...hello, id: 'y' });
    expect(first.signal.aborted).toBe(true);
    disk.full = false;
    await host.clock.advance(2_000);
    expect((await host.view()).panes['reply']).toMatchObject({ phase: 'streaming', attempt: 2 });
    host.call('reply').say('Here.').end();
    await host.clock.advance(10);
    expect((await host.view()).panes['reply']?.phase).toBe('updated');
  });

  it('does not hurt other sessions that write later', async () => {
    const { host, disk } = await withDisk();
    await host.open('c2');
    disk.full = true;
    await host.refusal(hello);
    disk.full = false;
    expect(await host.say('x', { session: 'c2' })).toMatchObject({ seq: 2 });
  });

  it('answers a delta that waits for its record', async () => {
    const { host, disk } = await withDisk();
    await host.ok({
      type: 'message.add',
      session: 'c1',
      id: 'b',
      role: 'assistant',
      text: '',
      message: 'm1',
      final: false,
    });
    let answer: unknown;
    void host.sessions
      .command({ type: 'message.delta', session: 'c1', id: 'd', message: 'm1', at: 0, text: 'x' })
      .then((given) => (answer = given));
    await host.clock.settle();
    disk.full = true;
    await host.clock.advance(300);
    expect(answer).toMatchObject({ refused: { code: 'OVERLOADED' } });
  });

  it('refuses a delete, which can be asked again', async () => {
    const { host, disk } = await withDisk();
    disk.full = true;
    const remove: Command = { type: 'session.delete', session: 'c1', id: 'gone' };
    expect(await host.refusal(remove)).toMatchObject({ code: 'OVERLOADED' });
    disk.full = false;
    await host.clock.advance(30_000);
    expect(await host.ok(remove)).toMatchObject({ duplicate: false });
    expect(await host.memory.head('c1')).toBeUndefined();
  });
});

describe('an append whose outcome is unknown', () => {
  it.each([true, false])('is looked up: stored = %s', async (stored) => {
    const { host } = await withDisk();
    host.memory.failNext('unknown_outcome', { stored });
    const answer = await host.send(hello);
    if (stored) expect(answer).toMatchObject({ seq: 2, duplicate: false });
    else expect(answer).toMatchObject({ refused: { code: 'OVERLOADED' } });
    await host.clock.advance(5_000);
    expect(await host.ok(hello)).toMatchObject({ seq: 2, duplicate: stored });
    expect(await host.records()).toHaveLength(2);
  });

  it.each([true, false])('of an erasure, too: stored = %s', async (stored) => {
    const { host } = await withDisk();
    await host.ok({ type: 'session.close', session: 'c1', id: 'close' });
    host.memory.failNext('unknown_outcome', { stored });
    const remove: Command = { type: 'session.delete', session: 'c1', id: 'gone' };
    const answer = await host.send(remove);
    if (stored) expect(answer).toMatchObject({ duplicate: false });
    else expect(answer).toMatchObject({ refused: { code: 'OVERLOADED', retryable: true } });
    expect(await host.ok(remove)).toMatchObject({ duplicate: stored });
    expect(await host.memory.head('c1')).toBeUndefined();
    expect(await host.open()).toMatchObject({ seq: 1 });
  });
});

describe('another writer', () => {
  it('[P4] is noticed: nothing is acked, and the session goes on from what it wrote', async () => {
    const { host } = await withDisk();
    const watcher = await host.watch();
    const other = host.memory.append('c1', 1, {
      records: [{ seq: 2, at: '2026-01-01T00:00:01.000Z', type: 'session.closed', reason: 'another process' }],
      keys: [],
      unfinished: false,
      summary: {},
      atMs: 0,
    });
    await host.clock.advance(0);
    await other;
    expect(await host.refusal(hello)).toMatchObject({ code: 'OVERLOADED' });
    await host.clock.advance(2_000);
    expect(await host.ok(hello)).toMatchObject({ seq: 3 });
    expect(watcher.kinds).toEqual(['snapshot initial', 'caughtUp', '#2', '#3']);
  });
});

describe('a session that cannot be read', () => {
  it.each<JournalErrorCode>(['corrupt', 'format'])('is refused as damaged (%s), others work', async (code) => {
    const host = new Harness({
      paneOptions: quietPanes,
      journal: (inner) =>
        new Proxy(inner, {
          get: (target, name) => {
            const own: unknown = Reflect.get(target, name);
            if (typeof own !== 'function') return own;
            return (...args: unknown[]) => {
              if (name === 'loadState' && args[0] === 'bad') return Promise.reject(new JournalError(code, 'injected'));
              return own.apply(target, args);
            };
          },
        }),
    });
    await host.open('bad');
    await host.ok({ type: 'message.add', session: 'bad', id: 'b', role: 'assistant', text: '', final: false });
    await host.open('good');
    await host.crash();
    expect(await host.sessions.recover()).toBe(0);
    expect(await host.refusal({ ...hello, session: 'bad' })).toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('damaged'),
    });
    expect(await host.sessions.subscribe('bad', undefined, { push() {} })).toMatchObject({
      refused: { code: 'INTERNAL' },
    });
    expect(await host.say('x', { session: 'good' })).toMatchObject({ seq: 2 });
    const erase = { type: 'session.delete', session: 'bad', id: 'erase' } as const;
    if (code === 'format') {
      // Written by a newer version: not damaged, and not for this one to erase.
      expect(await host.refusal(erase)).toMatchObject({ code: 'INTERNAL', data: { damaged: false } });
      return;
    }
    expect(await host.ok(erase)).toMatchObject({ duplicate: false });
    expect(await host.ok(erase)).toMatchObject({ duplicate: true });
    expect(await host.refusal({ ...hello, session: 'bad', id: 'later' })).toMatchObject({ code: 'NOT_FOUND' });
  });
});
