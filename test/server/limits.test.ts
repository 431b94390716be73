import { describe, expect, test } from 'vitest';
import { ProviderError } from '../../src/ports/errors.ts';
import { createLimits } from '../../src/server/limits/limits.ts';
import { maxHosts } from '../../src/server/limits/host-limit.ts';
import { type BenchCall, CallBench, end, held, host } from '../support/call-bench.ts';
import { SimClock } from '../support/sim-clock.ts';

describe('[Q1] slots', () => {
  test('two calls run at the same time where the limit is 2, the third when one has ended', async () => {
    const bench = new CallBench({ concurrency: 2 });
    const calls = ['a', 'b', 'c'].map((session) => bench.call(session));
    await bench.clock.settle();
    expect(bench.started).toEqual(['a/history', 'b/history']);
    expect(bench.load).toMatchObject({ running: 2, waiting: 1, started: 2, refused: 0 });
    calls[0]?.slot?.release();
    await bench.clock.settle();
    expect(bench.started).toHaveLength(3);
    expect(bench.load).toMatchObject({ running: 2, waiting: 0, started: 3, refused: 0 });
  });

  test('releasing a slot twice frees it once', async () => {
    const bench = new CallBench();
    const first = bench.call('a');
    const rest = ['b', 'c'].map((session) => bench.call(session));
    await bench.clock.settle();
    first.slot?.release();
    first.slot?.release();
    await bench.clock.settle();
    expect(held(rest)).toHaveLength(1);
    expect(bench.load?.running).toBe(1);
  });

  test('an engine without a host is never limited', async () => {
    const bench = new CallBench();
    const slots = Array.from({ length: 50 }, () =>
      bench.limits.acquire({ host: null, priority: 3, session: 's', pane: 'p' }, new AbortController().signal),
    );
    for (const slot of await Promise.all(slots)) slot.release();
    expect(bench.load).toMatchObject({ running: 0, started: 0 });
  });

  test('a host without a line in the configuration has 4 slots, and hosts do not share them', async () => {
    const limits = createLimits({ hosts: {} }, new SimClock());
    const { signal } = new AbortController();
    for (const name of ['x', 'y'])
      for (let i = 0; i < 5; i += 1) void limits.acquire({ host: name, priority: 1, session: 's', pane: 'p' }, signal);
    expect(limits.snapshot()).toMatchObject({ x: { running: 4, waiting: 1 }, y: { running: 4, waiting: 1 } });
  });
});

describe('[Q6] order', () => {
  test('[P9] a reply never waits behind a pane call that has not started', async () => {
    const bench = new CallBench();
    const calls = [bench.call('a', 'scene')];
    for (let i = 0; i < 20; i += 1) calls.push(bench.call(`s${i}`, 'history'), bench.call(`s${i}`, 'scene'));
    calls.push(bench.call('late', 'reply'));
    await bench.clock.settle();
    calls[0]?.slot?.release();
    await bench.clock.settle();
    expect(bench.started).toEqual(['a/scene', 'late/reply']);
  });

  test('reply, then history, then scene, then the others', async () => {
    const bench = new CallBench();
    const calls = ['first', 'other', 'scene', 'history', 'reply'].map((pane) => bench.call('s', pane, pane));
    await bench.runAll(calls);
    expect(bench.started).toEqual(['first', 'reply', 'history', 'scene', 'other']);
  });

  test('a session with 100 calls lets one with a single call go second', async () => {
    const bench = new CallBench();
    const calls = Array.from({ length: 100 }, () => bench.call('busy'));
    calls.push(bench.call('quiet'));
    await bench.runAll(calls);
    expect(bench.started.indexOf('quiet/history')).toBeLessThanOrEqual(2);
    expect(bench.started).toHaveLength(101);
  });

  test('a session that refills its queue after each call does not get two turns in a row', async () => {
    const bench = new CallBench();
    const calls = [bench.call('a'), bench.call('a'), bench.call('b'), bench.call('b'), bench.call('b')];
    await bench.clock.settle();
    for (let turn = 0; turn < 5; turn += 1) {
      held(calls).forEach(end);
      calls.push(bench.call('a'));
      await bench.clock.settle();
    }
    expect(bench.started.map((name) => name[0]).join('')).toBe('aababa');
  });
});

describe('[Q6] prioritize', () => {
  test('a call with a tag moves before the others of its session, and the newest wish is the first', async () => {
    const bench = new CallBench();
    const calls = ['run', 'x', 'y', 'z'].map((tag) => bench.call('a', 'other', tag, { tag }));
    calls.push(bench.call('b', 'other', 'b'));
    await bench.clock.settle();
    expect(bench.limits.prioritize('a', 'other', 'y')).toBe(true);
    expect(bench.limits.prioritize('a', 'other', 'z')).toBe(true);
    await bench.clock.settle();
    expect(calls.map((call) => call.waits.at(-1)?.position)).toEqual([undefined, 4, 3, 1, 2]);
    await bench.runAll(calls);
    // One session cannot overtake another by it.
    expect(bench.started).toEqual(['run', 'z', 'b', 'y', 'x']);
  });

  test('nothing moves, and false, where session, pane or tag is another, or the call runs already', async () => {
    const bench = new CallBench();
    const calls = ['run', 'x', 'y'].map((tag) => bench.call('a', 'other', tag, { tag }));
    await bench.clock.settle();
    const { limits } = bench;
    expect([
      limits.prioritize('b', 'other', 'y'),
      limits.prioritize('a', 'scene', 'y'),
      limits.prioritize('a', 'other', 'w'),
      limits.prioritize('a', 'other', 'run'),
    ]).toEqual([false, false, false, false]);
    await bench.runAll(calls);
    expect(bench.started).toEqual(['run', 'x', 'y']);
  });
});

describe('[Q1] abort', () => {
  test('a superseded call leaves the queue at once and rejects with the reason of its signal', async () => {
    const bench = new CallBench();
    const running = bench.call('a');
    const superseded = bench.call('b');
    const last = bench.call('c');
    const reason = new Error('superseded');
    superseded.controller.abort(reason);
    expect(bench.load).toMatchObject({ running: 1, waiting: 1 });
    await bench.clock.settle();
    expect(superseded.error).toBe(reason);
    running.slot?.release();
    await bench.clock.settle();
    expect(last.slot).toBeDefined();
    expect(bench.started).not.toContain('b/history');
  });

  test('a call whose signal is already aborted never enters', async () => {
    const bench = new CallBench();
    const signal = AbortSignal.abort('gone');
    const acquired = bench.limits.acquire({ host, priority: 0, session: 's', pane: 'reply' }, signal);
    await expect(acquired).rejects.toBe('gone');
    expect(bench.load).toMatchObject({ running: 0, waiting: 0 });
  });

  test('aborting a call that has started leaves its slot to it until it is released', async () => {
    const bench = new CallBench();
    const call = bench.call('a');
    await bench.clock.settle();
    call.controller.abort();
    expect(bench.load).toMatchObject({ running: 1, waiting: 0 });
    call.slot?.release();
    expect(bench.load).toMatchObject({ running: 0 });
  });

  test('no listener stays on the signal after the start', async () => {
    const bench = new CallBench();
    const controller = new AbortController();
    let listeners = 0;
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    for (let i = 0; i < 3; i += 1)
      (await bench.limits.acquire({ host, priority: 0, session: 's', pane: 'p' }, signal)).release();
    expect(listeners).toBe(0);
  });
});

describe('[Q6] positions', () => {
  test('a call that starts at once hears nothing', async () => {
    const bench = new CallBench();
    const call = bench.call('a');
    await bench.clock.settle();
    expect(call.waits).toEqual([]);
  });

  test('positions count the calls that will start before, and move when one ends, leaves or is overtaken', async () => {
    const bench = new CallBench();
    const running = bench.call('a', 'scene');
    const second = bench.call('a', 'scene');
    const third = bench.call('a', 'scene');
    const other = bench.call('b', 'scene');
    await bench.clock.settle();
    expect([second.waits, third.waits, other.waits].map((waits) => waits.at(-1)?.position)).toEqual([1, 3, 2]);
    const reply = bench.call('c', 'reply');
    await bench.clock.settle();
    expect([reply, second, other, third].map((call) => call.waits.at(-1)?.position)).toEqual([1, 2, 3, 4]);
    running.slot?.release();
    second.controller.abort();
    await bench.clock.settle();
    expect([other, third].map((call) => call.waits.at(-1))).toEqual([
      { reason: 'queue', position: 2 },
      { reason: 'queue', position: 1 },
    ]);
    expect(second.waits.at(-1)?.position).toBe(2);
  });

  test('the reason is rate-limit while a slot is free and the interval is not over, else queue', async () => {
    const bench = new CallBench({ concurrency: 2, minIntervalMs: 100 });
    ['a', 'b', 'c'].forEach((session) => bench.call(session));
    const last = bench.call('d');
    await bench.clock.settle();
    expect(last.waits).toEqual([{ reason: 'rate-limit', position: 3, until: '2026-01-01T00:00:00.100Z' }]);
    await bench.clock.advance(100);
    expect(last.waits.at(-1)).toEqual({ reason: 'queue', position: 2 });
  });

  test('who comes after a call does not make it hear its place again', async () => {
    const bench = new CallBench();
    bench.call('a');
    const second = bench.call('b');
    await bench.clock.settle();
    bench.call('c');
    await bench.clock.settle();
    expect(second.waits).toEqual([{ reason: 'queue', position: 1 }]);
  });

  test('1,000 calls that come in one tick cost one walk over the line, and nobody hears the same twice', async () => {
    const bench = new CallBench();
    let walks = 0;
    const defer = bench.clock.defer.bind(bench.clock);
    bench.clock.defer = (fn) => {
      walks += 1;
      defer(fn);
    };
    const calls = Array.from({ length: 1001 }, (_, i) => bench.call(`s${i}`));
    await bench.clock.settle();
    expect(walks).toBe(1);
    expect(calls.map((call) => call.waits.length)).toEqual([0, ...Array<number>(1000).fill(1)]);
    calls[0]?.slot?.release();
    calls.slice(500).forEach((call) => call.controller.abort());
    await bench.clock.settle();
    expect(calls[2]?.waits).toEqual([
      { reason: 'queue', position: 2 },
      { reason: 'queue', position: 1 },
    ]);
    expect(calls.slice(500).every((call) => call.waits.length === 1)).toBe(true);
  });
});

describe('[Q7] bound', () => {
  const full = (call: BenchCall): boolean =>
    call.error instanceof ProviderError && call.error.code === 'provider' && call.error.retryable;

  test('the 1,000th waiting call of a session waits, the 1,001st is refused as retryable and counted', async () => {
    const bench = new CallBench();
    const calls = Array.from({ length: 1001 }, () => bench.call('a'));
    await bench.clock.settle();
    expect(bench.load).toMatchObject({ running: 1, waiting: 1000, started: 1, refused: 0 });
    const over = bench.call('a');
    await bench.clock.settle();
    expect(full(over)).toBe(true);
    expect(over.error).toMatchObject({
      message: `the queue for ${host} is full: 1000 calls are waiting, 1 are running`,
    });
    expect(calls.every((call) => call.error === undefined)).toBe(true);
    expect(bench.load).toMatchObject({ waiting: 1000, refused: 1 });
  });

  test('[P9] a full queue does not turn a reply away: the newest call of the least urgent pane gives way', async () => {
    const bench = new CallBench({ maxWaiting: 3 });
    const running = bench.call('a', 'scene');
    const waiting = [bench.call('a', 'scene', 'old'), bench.call('b', 'history'), bench.call('a', 'scene', 'new')];
    const reply = bench.call('c', 'reply');
    await bench.clock.settle();
    expect(waiting.map(full)).toEqual([false, false, true]);
    running.slot?.release();
    await bench.clock.settle();
    expect(reply.slot).toBeDefined();
    const scene = bench.call('d', 'other');
    await bench.clock.settle();
    expect(bench.load).toMatchObject({ waiting: 3, refused: 1 });
    expect(full(scene)).toBe(false);
  });

  test('a full queue of one session still takes a call of another', async () => {
    const bench = new CallBench({ maxWaiting: 3 });
    bench.call('busy');
    const busy = [0, 1, 2].map(() => bench.call('busy'));
    const quiet = [0, 1].map(() => bench.call('quiet'));
    await bench.clock.settle();
    expect(busy.map(full)).toEqual([false, false, true]);
    expect(quiet.map(full)).toEqual([false, true]);
  });

  test('beyond the 100th place one hears of it once a second, before it at once', async () => {
    const bench = new CallBench();
    const calls = Array.from({ length: 160 }, () => bench.call('a'));
    await bench.clock.settle();
    calls[0]?.slot?.release();
    await bench.clock.settle();
    const told = (place: number) => calls[place]?.waits.map(({ position }) => position);
    expect([told(101), told(102)]).toEqual([[101, 100], [102]]);
    await bench.clock.advance(999);
    expect(told(159)).toEqual([159]);
    await bench.clock.advance(1);
    expect(told(159)).toEqual([159, 158]);
    await bench.clock.advance(1000);
    // Nothing has changed: nobody walks, and no timer goes on.
    expect(bench.clock.pending).toBe(0);
  });

  test('the 256th host is served, a call to the 257th is refused', async () => {
    const limits = createLimits({ hosts: {} }, new SimClock());
    const { signal } = new AbortController();
    const call = (name: string) => limits.acquire({ host: name, priority: 1, session: 's', pane: 'p' }, signal);
    for (let i = 1; i <= maxHosts; i += 1) await call(`http://h${i}`);
    await expect(call('http://more')).rejects.toThrow('expected at most 256 provider hosts, http://more is one more');
    await expect(call('http://h256')).resolves.toBeDefined();
    expect(Object.keys(limits.snapshot())).toHaveLength(maxHosts);
  });

  test('with 10,000 as the bound, the 10,000th waits and the 10,001st is refused', async () => {
    const bench = new CallBench({ maxWaiting: 10_000 });
    const request = { host, priority: 1, session: 'a', pane: 'p' };
    const ask = () => bench.limits.acquire(request, new AbortController().signal);
    for (let i = 0; i <= 10_000; i += 1) void ask();
    expect(bench.load).toMatchObject({ running: 1, waiting: 10_000, refused: 0 });
    await expect(ask()).rejects.toThrow('full');
    expect(bench.load).toMatchObject({ waiting: 10_000, refused: 1 });
  });
});
