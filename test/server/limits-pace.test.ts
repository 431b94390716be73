import { describe, expect, test } from 'vitest';
import { maxHosts } from '../../src/server/limits/host-limit.ts';
import { createLimits } from '../../src/server/limits/limits.ts';
import { CallBench, held, host } from '../support/call-bench.ts';
import { SimClock, simStartMs } from '../support/sim-clock.ts';

const iso = (ms: number): string => new Date(simStartMs + ms).toISOString();
const sessions = (count: number): string[] => Array.from({ length: count }, (_, i) => `s${i}`);
const minuteMs = 60_000;

describe('[Q2] interval', () => {
  test('starts are at least 250 ms apart, also when a slot is free and when the wall clock jumps', async () => {
    const bench = new CallBench({ concurrency: 10, minIntervalMs: 250 });
    ['a', 'b', 'c'].forEach((session) => bench.call(session));
    await bench.clock.advance(249);
    expect(bench.started).toHaveLength(1);
    bench.clock.jump(-3_600_000);
    await bench.clock.advance(1);
    expect(bench.started).toHaveLength(2);
    bench.clock.jump(3_600_000);
    await bench.clock.advance(249);
    expect(bench.started).toHaveLength(2);
    await bench.clock.advance(1);
    expect(bench.started).toHaveLength(3);
  });

  test('no timer is left once the interval after the last start is over', async () => {
    const bench = new CallBench({ minIntervalMs: 250 });
    bench.call('a').controller.abort();
    await bench.clock.advance(250);
    expect(bench.clock.pending).toBe(0);
  });

  test('the wait of each start is observed in ms', async () => {
    const bench = new CallBench({ concurrency: 10, minIntervalMs: 250 });
    ['a', 'b', 'c'].forEach((session) => bench.call(session));
    await bench.clock.advance(1000);
    expect(bench.waited).toEqual([0, 250, 500]);
  });
});

describe('[Q2] requests per minute', () => {
  test('the third of 2 a minute starts when the first is a minute old, however the wall clock jumps', async () => {
    const bench = new CallBench({ concurrency: 10, requestsPerMinute: 2 });
    sessions(1).forEach((session) => bench.call(session));
    await bench.clock.advance(20_000);
    const [, third] = ['b', 'c'].map((session) => bench.call(session));
    await bench.clock.settle();
    expect(bench.started).toHaveLength(2);
    expect(third?.waits).toEqual([{ reason: 'rate-limit', position: 1, until: iso(minuteMs + 100) }]);
    bench.clock.jump(7_200_000);
    await bench.clock.advance(minuteMs - 20_001);
    bench.clock.jump(-7_200_000);
    expect(bench.started).toHaveLength(2);
    // What starts within 100 ms is counted as one, and leaves together.
    await bench.clock.advance(101);
    expect(bench.started).toHaveLength(3);
    expect(bench.load).toMatchObject({ running: 3, waiting: 0 });
  });

  test('a slot that comes free does not help while the minute is full', async () => {
    const bench = new CallBench({ concurrency: 1, requestsPerMinute: 2 });
    const calls = sessions(3).map((session) => bench.call(session));
    await bench.runAll(calls);
    expect(bench.started).toHaveLength(2);
    await bench.clock.advance(minuteMs + 100);
    expect(bench.started).toHaveLength(3);
  });

  test('a minute with many starts keeps at most 601 timers, and none once it is over', async () => {
    const bench = new CallBench({ concurrency: 10_000, requestsPerMinute: 100_000 });
    for (let i = 0; i < 3000; i += 1) {
      bench.call('a');
      await bench.clock.advance(25);
    }
    expect(bench.started).toHaveLength(3000);
    expect(bench.clock.pending).toBeLessThanOrEqual(602);
    await bench.clock.advance(minuteMs + 100);
    expect(bench.clock.pending).toBe(0);
  });
});

describe('[Q2] tokens per minute', () => {
  test('the next start waits until the window has room for what the backend counted', async () => {
    const bench = new CallBench({ concurrency: 10, tokensPerMinute: 1000 });
    const first = bench.call('a');
    await bench.clock.settle();
    first.slot?.spent(999);
    bench.call('b');
    await bench.clock.settle();
    expect(bench.started).toHaveLength(2);
    await bench.clock.advance(10_000);
    first.slot?.spent(1);
    const third = bench.call('c');
    await bench.clock.settle();
    expect(third.waits).toEqual([{ reason: 'rate-limit', position: 1, until: iso(minuteMs + 100) }]);
    await bench.clock.advance(minuteMs - 10_000 + 99);
    expect(bench.started).toHaveLength(2);
    await bench.clock.advance(1);
    expect(bench.started).toHaveLength(3);
  });

  test('tokens count that become known after the release; no number, or less than nothing, counts nothing', async () => {
    const bench = new CallBench({ concurrency: 10, tokensPerMinute: 10 });
    const first = bench.call('a');
    await bench.clock.settle();
    for (const tokens of [Number.NaN, -5, 0]) first.slot?.spent(tokens);
    first.slot?.release();
    bench.call('b');
    await bench.clock.settle();
    expect(bench.started).toHaveLength(2);
    first.slot?.spent(10);
    bench.call('c');
    await bench.clock.settle();
    expect(bench.started).toHaveLength(2);
    await bench.clock.advance(minuteMs + 100);
    expect(bench.started).toHaveLength(3);
  });
});

describe('[Q3] change while running', () => {
  test('a higher concurrency starts the next at once, a lower one interrupts nobody', async () => {
    const bench = new CallBench({ concurrency: 1 });
    const calls = sessions(6).map((session) => bench.call(session));
    await bench.clock.settle();
    expect(bench.limits.change(host, { concurrency: 3 })).toEqual({
      concurrency: 3,
      minIntervalMs: 0,
      requestsPerMinute: null,
      tokensPerMinute: null,
    });
    await bench.clock.settle();
    expect(bench.started).toHaveLength(3);
    bench.limits.change(host, { concurrency: 1 });
    expect(held(calls)).toHaveLength(3);
    for (const [released, started] of [
      [1, 3],
      [2, 3],
      [3, 4],
    ]) {
      calls[(released ?? 0) - 1]?.slot?.release();
      await bench.clock.settle();
      expect(bench.started).toHaveLength(started ?? 0);
    }
  });

  test('a shorter interval holds from the next start: earlier than the old one, never closer than the new one', async () => {
    const bench = new CallBench({ concurrency: 10, minIntervalMs: 10_000 });
    sessions(3).forEach((session) => bench.call(session));
    await bench.clock.advance(1000);
    bench.limits.change(host, { minIntervalMs: 500 });
    await bench.clock.advance(499);
    expect(bench.started).toHaveLength(1);
    await bench.clock.advance(1);
    expect(bench.started).toHaveLength(2);
    await bench.clock.advance(500);
    expect(bench.started).toHaveLength(3);
  });

  test('what is left of the old interval is enough where it is less than the new one', async () => {
    const bench = new CallBench({ concurrency: 10, minIntervalMs: 1000 });
    sessions(2).forEach((session) => bench.call(session));
    await bench.clock.advance(950);
    bench.limits.change(host, { minIntervalMs: 900 });
    await bench.clock.advance(50);
    expect(bench.started).toHaveLength(2);
    await bench.clock.advance(900);
    expect(bench.clock.pending).toBe(0);
  });

  test('a longer interval holds for the start that waits already, and after a pause', async () => {
    const bench = new CallBench({ concurrency: 10, minIntervalMs: 100 });
    sessions(2).forEach((session) => bench.call(session));
    await bench.clock.advance(50);
    bench.limits.change(host, { minIntervalMs: 1000 });
    await bench.clock.advance(949);
    expect(bench.started).toHaveLength(1);
    await bench.clock.advance(1);
    expect(bench.started).toHaveLength(2);
    await bench.clock.advance(1001);
    bench.limits.change(host, { minIntervalMs: 1500 });
    const third = bench.call('c');
    await bench.clock.settle();
    expect(third.waits).toEqual([{ reason: 'rate-limit', position: 1, until: iso(2001 + 500) }]);
    await bench.clock.advance(500);
    expect(bench.started).toHaveLength(3);
  });

  test('no interval and no rates any more: what waits for them starts at once', async () => {
    const bench = new CallBench({
      concurrency: 10,
      minIntervalMs: 60_000,
      requestsPerMinute: 1,
      tokensPerMinute: 1,
    });
    const first = bench.call('a');
    await bench.clock.settle();
    first.slot?.spent(5);
    bench.call('b');
    bench.limits.change(host, { minIntervalMs: 0, requestsPerMinute: null });
    await bench.clock.settle();
    expect(bench.started).toHaveLength(1);
    bench.limits.change(host, { tokensPerMinute: null });
    await bench.clock.settle();
    expect(bench.started).toHaveLength(2);
    await bench.clock.drain();
    expect(bench.clock.pending).toBe(0);
  });

  test('a rate that is set anew counts from then on', async () => {
    const bench = new CallBench({ concurrency: 10, requestsPerMinute: 3 });
    sessions(3).forEach((session) => bench.call(session));
    await bench.clock.settle();
    bench.limits.change(host, { requestsPerMinute: null });
    bench.limits.change(host, { requestsPerMinute: 1 });
    sessions(2).forEach((session) => bench.call(session));
    await bench.clock.settle();
    expect(bench.started).toHaveLength(4);
    await bench.clock.advance(minuteMs + 100);
    expect(bench.started).toHaveLength(5);
  });

  test.each([
    [{ concurrency: 0 }, 'concurrency: expected a whole number from 1 to 10000, got 0'],
    [{ concurrency: 10_001 }, 'concurrency: expected a whole number from 1 to 10000, got 10001'],
    [{ concurrency: 1.5 }, 'concurrency: expected a whole number from 1 to 10000, got 1.5'],
    [{ minIntervalMs: -1 }, 'minIntervalMs: expected a whole number from 0 to 3600000, got -1'],
    [{ minIntervalMs: 3_600_001 }, 'minIntervalMs: expected a whole number from 0 to 3600000, got 3600001'],
    [{ requestsPerMinute: 0 }, 'requestsPerMinute: expected a whole number from 1 to 1000000, or null, got 0'],
    [
      { tokensPerMinute: Number.NaN },
      'tokensPerMinute: expected a whole number from 1 to 1000000000, or null, got NaN',
    ],
  ])('%j is refused, and nothing changes', (values, expected) => {
    const { limits } = new CallBench({ concurrency: 2 });
    const before = limits.snapshot();
    expect(limits.change(host, values)).toEqual({ problem: `hosts.${host}.${expected}` });
    expect(limits.snapshot()).toEqual(before);
  });

  test.each([
    { concurrency: 10_000, minIntervalMs: 3_600_000, requestsPerMinute: 1_000_000, tokensPerMinute: 1_000_000_000 },
    { concurrency: 1, minIntervalMs: 0, requestsPerMinute: 1, tokensPerMinute: 1 },
  ])('%j is just within', (values) => {
    expect(new CallBench().limits.change(host, values)).toEqual(values);
  });

  test('several hosts change together or not at all; the 256th host is taken, the 257th not', () => {
    const limits = createLimits({ hosts: { [host]: { concurrency: 1, minIntervalMs: 0 } } }, new SimClock());
    const before = limits.snapshot();
    expect(limits.changeAll({ [host]: { concurrency: 5 }, 'http://x': { concurrency: 0 } })).toEqual({
      problem: 'hosts.http://x.concurrency: expected a whole number from 1 to 10000, got 0',
    });
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`http://h${i}`, { concurrency: 2 }]));
    expect(limits.changeAll(many(maxHosts))).toEqual({ problem: 'hosts: expected at most 256 hosts in all, got 257' });
    expect(limits.snapshot()).toEqual(before);
    expect(limits.changeAll(many(maxHosts - 1))).toBeUndefined();
    expect(Object.keys(limits.snapshot())).toHaveLength(maxHosts);
    expect(limits.change('http://more', { concurrency: 1 })).toHaveProperty('problem');
  });
});
