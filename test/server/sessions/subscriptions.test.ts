import { describe, expect, it } from 'vitest';
import { JournalError } from '../../../src/ports/errors.ts';
import type { Rec } from '../../../src/protocol/records.ts';
import type { MemoryJournal } from '../../../src/adapters/journal-memory.ts';
import type { Journal } from '../../../src/ports/journal.ts';
import { saveEveryRecords } from '../../../src/server/sessions/session.ts';
import { Harness, quietPanes, ready, Watcher } from './harness.ts';

/** A journal whose reads go through the test. */
function readThrough(read: (inner: MemoryJournal, ...args: Parameters<Journal['read']>) => AsyncIterable<Rec>) {
  return (inner: MemoryJournal): Journal =>
    new Proxy(inner, {
      get(target, name) {
        if (name === 'read') return (...args: Parameters<Journal['read']>) => read(inner, ...args);
        const own: unknown = Reflect.get(target, name);
        return typeof own === 'function' ? own.bind(target) : own;
      },
    });
}

async function said(count: number, more: ConstructorParameters<typeof Harness>[0] = {}): Promise<Harness> {
  const host = new Harness({ paneOptions: quietPanes, ...more });
  await host.open();
  for (let i = 0; i < count; i += 1) await host.say(`Line ${i}.`);
  return host;
}

describe('subscribe', () => {
  it('gives a snapshot, then everything as it comes', async () => {
    const host = await said(1);
    const watcher = await host.watch();
    await host.say();
    expect(watcher.kinds).toEqual(['snapshot initial', 'caughtUp', '#3']);
    expect(watcher.view).toEqual(await host.view());
  });

  it('replays what came after a cursor', async () => {
    const host = await said(1);
    const first = await host.watch();
    first.subscription?.close();
    await host.say();
    await host.say();
    const again = await host.watch('c1', first.cursor);
    expect(again.kinds).toEqual(['#3', '#4', 'caughtUp']);
    expect(first.kinds).toEqual(['snapshot initial', 'caughtUp']);
  });

  it('replays nothing at the head', async () => {
    const host = await said(1);
    const { cursor } = await host.watch();
    expect((await host.watch('c1', cursor)).kinds).toEqual(['caughtUp']);
  });

  it.each([
    ['unreadable', () => '????'],
    ['of another epoch', (cursor: string) => `dead${cursor.slice(4)}`],
    ['beyond the head', (cursor: string) => `${cursor.split('.')[0] ?? ''}.99`],
  ])('resets a cursor that is %s', async (_what, spoil) => {
    const host = await said(1);
    const { cursor } = await host.watch();
    const watcher = await host.watch('c1', spoil(cursor));
    expect(watcher.kinds).toEqual(['snapshot reset', 'caughtUp']);
    expect(watcher.cursor).toBe(cursor);
  });

  it('resets a cursor whose records are trimmed', async () => {
    const host = await said(1);
    const { cursor } = await host.watch();
    for (let i = 0; i < saveEveryRecords * 3; i += 1)
      void host.sessions.command({ type: 'message.add', session: 'c1', id: host.id(), role: 'user', text: 'x' });
    await host.clock.advance(100);
    for (let i = 0; i < saveEveryRecords; i += 1) await host.say('x');
    expect((await host.watch('c1', cursor)).kinds).toEqual(['snapshot reset', 'caughtUp']);
  });

  it('cuts replay and what comes meanwhile without a gap or a repetition', async () => {
    let release: () => void = () => undefined;
    const slow = readThrough(async function* (inner, ...args) {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      yield* inner.read(...args);
    });
    const host = await said(2, { journal: slow });
    const { cursor } = await host.watch();
    await host.say('Missed.');
    const watcher = new Watcher();
    const attaching = host.sessions.subscribe('c1', cursor, watcher);
    await host.clock.settle();
    await Promise.all([host.memory.probe(), host.clock.advance(0)]);
    void host.sessions.command({ type: 'message.add', session: 'c1', id: 'during', role: 'user', text: 'During.' });
    await host.clock.settle();
    expect(watcher.kinds).toEqual([]);
    release();
    await host.clock.settle();
    await attaching;
    await host.clock.settle();
    expect(watcher.kinds).toEqual(['#4', 'caughtUp', '#5']);
  });

  it('leaves nothing behind when the journal cannot be read', async () => {
    let broken = false;
    const host = await said(2, {
      passivateAfterMs: 1_000,
      journal: readThrough((inner, ...args) => {
        if (broken) throw new JournalError('corrupt', 'injected');
        return inner.read(...args);
      }),
    });
    const first = await host.watch();
    first.subscription?.close();
    await host.say();
    broken = true;
    const result = await host.sessions.subscribe('c1', first.cursor, new Watcher());
    expect(result).toMatchObject({ refused: { code: 'INTERNAL' } });
    await host.clock.advance(5_000);
    expect(host.sessions.liveCount).toBe(0);
  });

  it('sends one batch to all, and nothing after close', async () => {
    const host = await said(0);
    const batches: unknown[][] = [[], []];
    for (const list of batches)
      await host.sessions.subscribe('c1', undefined, { push: (batch) => void list.push(batch) });
    const closed = await host.watch();
    closed.subscription?.close();
    await host.say();
    expect(batches[0]?.at(-1)).toBe(batches[1]?.at(-1));
    expect(closed.kinds).toEqual(['snapshot initial', 'caughtUp']);
  });

  it('resync takes the place of everything before it', async () => {
    const host = await said(1);
    const watcher = await host.watch();
    void host.sessions.command({ type: 'message.add', session: 'c1', id: 'x', role: 'user', text: 'x' });
    await host.clock.settle();
    const batch = watcher.subscription?.resync();
    expect(batch?.frames.map(({ kind }) => kind)).toEqual(['snapshot', 'caughtUp']);
    if (batch !== undefined) watcher.push(batch);
    await host.say();
    expect(watcher.kinds.slice(-3)).toEqual(['snapshot resync', 'caughtUp', '#4']);
  });

  it('shows a late subscriber the newest live state', async () => {
    const host = new Harness({ paneOptions: { history: { enabled: false }, scene: { enabled: false } } });
    await host.open();
    await host.say();
    host.call('reply').say('So it ');
    await host.clock.advance(300);
    host.call('reply').say('goes.');
    host.call('reply').report.progress(3, 30, 'step');
    await host.clock.advance(1);
    const watcher = await host.watch();
    expect(watcher.view?.messages.at(-1)?.text).toBe('So it ');
    expect(watcher.kinds).toEqual(['snapshot initial', 'caughtUp', 'live', 'live']);
    expect(watcher.liveText).toBe('goes.');
    expect(watcher.frames).toContainEqual(
      expect.objectContaining({ pane: 'reply', progress: { value: 3, max: 30, unit: 'step' } }),
    );
  });

  it('is answered as of what is durable while the session is being opened', async () => {
    const host = new Harness({ paneOptions: quietPanes });
    const opening = host.sessions.command({ type: 'session.open', session: 'c1', id: 'a' });
    const watcher = new Watcher();
    const attaching = host.sessions.subscribe('c1', undefined, watcher);
    await host.clock.advance(0);
    await Promise.all([opening, attaching]);
    expect(watcher.kinds).toEqual(['snapshot initial', 'caughtUp']);
    expect(watcher.view?.seq).toBe(1);
  });
});

describe('a long session', () => {
  it('keeps its journal short, and a wake reads no finished log', { timeout: 60_000 }, async () => {
    const reads: number[] = [];
    const host = new Harness({
      answers: ready,
      passivateAfterMs: 1_000,
      paneOptions: { scene: { enabled: false }, history: { debounceMs: 0 } },
      journal: readThrough(async function* (inner, ...args) {
        let count = 0;
        for await (const record of inner.read(...args)) {
          count += 1;
          yield record;
        }
        reads.push(count);
      }),
    });
    await host.open();
    for (let i = 0; i < 1_000; i += 1) {
      await host.say(`Line ${i}.`);
      await host.clock.advance(50);
    }
    await host.clock.advance(10_000);
    expect(host.sessions.liveCount).toBe(0);
    const head = await host.memory.head('c1');
    expect(head?.seq).toBeGreaterThan(6_000);
    let from = 0;
    for (let after = 0; after < (head?.seq ?? 0); after += 100) {
      try {
        for await (const record of host.memory.read('c1', after, 1)) from = record.seq;
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: 'trimmed' });
      }
    }
    expect((head?.seq ?? 0) - from).toBeLessThan(saveEveryRecords * 4);
    reads.length = 0;
    const view = await host.view();
    expect(reads.reduce((sum, count) => sum + count, 0)).toBeLessThan(saveEveryRecords);
    expect(view.messages).toHaveLength(200);
    expect(view.earlier).toBe(1_800);
    expect(host.errors).toEqual([]);
  });
});
