import { describe, expect, test } from 'vitest';
import { CallBench, end, host, type BenchCall } from '../support/call-bench.ts';

const mayYield = (): boolean => true;

/** Names of the calls whose slots were taken back. */
const yieldedOf = (calls: readonly BenchCall[]): string[] =>
  calls.filter((call) => call.slot?.yielded.aborted === true).map((call) => call.name);

describe('[Q4] draining', () => {
  test('a slot that drains is not free until it is released, and is counted apart', async () => {
    const bench = new CallBench({ concurrency: 2 });
    const calls = ['a', 'b', 'c', 'd'].map((session) => bench.call(session));
    await bench.clock.settle();
    calls[0]?.slot?.drain();
    calls[0]?.slot?.drain();
    await bench.clock.settle();
    expect(bench.load).toMatchObject({ running: 1, draining: 1, waiting: 2, started: 2 });
    calls[0]?.slot?.release();
    calls[0]?.slot?.drain();
    await bench.clock.settle();
    expect(bench.load).toMatchObject({ running: 2, draining: 0, waiting: 1, started: 3 });
  });

  test('who would have started but for a draining slot hears the reason draining, the others queue', async () => {
    const bench = new CallBench({ concurrency: 2 });
    const calls = ['a', 'b', 'c', 'd'].map((session) => bench.call(session));
    await bench.clock.settle();
    calls[0]?.slot?.drain();
    await bench.clock.settle();
    expect(calls.slice(2).map((call) => call.waits)).toEqual([
      [
        { reason: 'queue', position: 1 },
        { reason: 'draining', position: 1 },
      ],
      [{ reason: 'queue', position: 2 }],
    ]);
    end(calls[1]);
    calls[0]?.slot?.release();
    await bench.clock.settle();
    expect(bench.load).toMatchObject({ running: 2, draining: 0, waiting: 0 });
  });

  test('where fewer may run than do, a draining slot is not what one waits for', async () => {
    const bench = new CallBench({ concurrency: 2 });
    const calls = ['a', 'b', 'c'].map((session) => bench.call(session));
    await bench.clock.settle();
    bench.limits.change(host, { concurrency: 1 });
    calls[0]?.slot?.drain();
    await bench.clock.settle();
    expect(calls[2]?.waits.at(-1)).toEqual({ reason: 'queue', position: 1 });
    calls[0]?.slot?.release();
    await bench.clock.settle();
    expect(bench.load).toMatchObject({ running: 1, waiting: 1 });
  });
});

describe('[Q5] preemption', () => {
  test('[P9] a reply takes the slot of the youngest call of the least urgent pane, once that has settled', async () => {
    const bench = new CallBench({ concurrency: 4 });
    const calls = [
      bench.call('a', 'other', 'old', { mayYield }),
      bench.call('b', 'other', 'young', { mayYield }),
      bench.call('c', 'scene', 'scene', { mayYield }),
      bench.call('d', 'history', 'history', { mayYield }),
    ];
    await bench.clock.settle();
    const reply = bench.call('e', 'reply');
    await bench.clock.settle();
    expect(yieldedOf(calls)).toEqual(['young']);
    expect(bench.load).toMatchObject({ running: 3, draining: 1, waiting: 1 });
    expect(reply.waits).toEqual([{ reason: 'draining', position: 1 }]);
    calls[1]?.slot?.release();
    await bench.clock.settle();
    expect(reply.slot).toBeDefined();
    expect(bench.load).toMatchObject({ running: 4, draining: 0, waiting: 0 });
  });

  test('who may not yield at that moment keeps its slot, and the next urgent class is asked', async () => {
    const bench = new CallBench({ concurrency: 3 });
    let safe = true;
    const calls = [
      bench.call('a', 'history', 'history', { mayYield }),
      bench.call('b', 'other', 'other', { mayYield: () => safe }),
      bench.call('c', 'other', 'silent'),
    ];
    await bench.clock.settle();
    safe = false;
    bench.call('d', 'reply');
    expect(yieldedOf(calls)).toEqual(['history']);
  });

  test('a reply and a pane that is no reply never take a slot from a reply, nor a pane from a pane', async () => {
    const bench = new CallBench({ concurrency: 2 });
    const calls = [bench.call('a', 'reply', 'reply', { mayYield }), bench.call('b', 'other', 'other', { mayYield })];
    await bench.clock.settle();
    bench.call('c', 'history');
    await bench.clock.settle();
    expect(yieldedOf(calls)).toEqual([]);
    ['d', 'e'].forEach((session) => bench.call(session, 'reply'));
    expect(yieldedOf(calls)).toEqual(['other']);
  });

  test('one victim for each reply: those that drain already, and free slots, count', async () => {
    const bench = new CallBench({ concurrency: 4 });
    const calls = ['a', 'b', 'c', 'd'].map((session) => bench.call(session, 'scene', session, { mayYield }));
    await bench.clock.settle();
    calls[0]?.slot?.drain();
    const replies = [bench.call('r', 'reply', 'r1')];
    await bench.clock.settle();
    expect(yieldedOf(calls)).toEqual([]);
    replies.push(bench.call('r', 'reply', 'r2'), bench.call('r', 'reply', 'r3'));
    await bench.clock.settle();
    expect(yieldedOf(calls)).toEqual(['c', 'd']);
    // A reply that goes away in the meantime costs nobody a slot, and gives none back.
    replies[0]?.controller.abort();
    calls.forEach((call) => call.slot?.yielded.aborted === true && call.slot.release());
    await bench.clock.settle();
    expect([yieldedOf(calls), bench.load?.running, bench.load?.draining, bench.load?.waiting]).toEqual([
      ['c', 'd'],
      3,
      1,
      0,
    ]);
  });

  test('nobody yields while the interval holds the reply back, and one does when it is over', async () => {
    const bench = new CallBench({ minIntervalMs: 1000 });
    const pane = bench.call('a', 'scene', 'scene', { mayYield });
    await bench.clock.settle();
    bench.call('b', 'reply');
    await bench.clock.advance(999);
    expect(yieldedOf([pane])).toEqual([]);
    await bench.clock.advance(1);
    expect(yieldedOf([pane])).toEqual(['scene']);
  });

  test('nobody yields while more run than may: the reply would not start by it', async () => {
    const bench = new CallBench({ concurrency: 2 });
    const calls = ['a', 'b'].map((session) => bench.call(session, 'scene', session, { mayYield }));
    await bench.clock.settle();
    bench.limits.change(host, { concurrency: 1 });
    bench.call('c', 'reply');
    expect(yieldedOf(calls)).toEqual([]);
    end(calls[1]);
    expect(yieldedOf(calls)).toEqual(['a']);
  });

  test('a slot that is taken back before its caller looks at it says so', async () => {
    const bench = new CallBench();
    const pane = bench.call('a', 'scene', 'scene', { mayYield });
    bench.call('b', 'reply');
    await bench.clock.settle();
    expect(pane.slot?.yielded.aborted).toBe(true);
  });

  test("the victim waits again before its session's other calls, as yielded until it starts", async () => {
    const bench = new CallBench();
    const victim = bench.call('a', 'scene', 'victim', { mayYield });
    const rest = [bench.call('a', 'scene', 'later'), bench.call('b', 'scene', 'other')];
    await bench.clock.settle();
    const reply = bench.call('c', 'reply');
    victim.slot?.release();
    await bench.clock.settle();
    const again = bench.call('a', 'scene', 'again', { mayYield, yielded: true });
    await bench.clock.settle();
    expect(again.waits).toEqual([{ reason: 'yielded', position: 1 }]);
    // Its session has had its turn: the order between sessions stays.
    await bench.runAll([reply, again, ...rest]);
    expect(bench.started).toEqual(['victim', 'c/reply', 'again', 'other', 'later']);
  });

  test('[Q7] a call that has yielded is not turned away by a full line', async () => {
    const bench = new CallBench({ maxWaiting: 1 });
    const victim = bench.call('a', 'scene', 'victim', { mayYield });
    await bench.clock.settle();
    bench.call('c', 'reply');
    victim.slot?.release();
    const other = bench.call('b', 'scene');
    const again = bench.call('a', 'scene', 'again', { yielded: true });
    const more = bench.call('b', 'scene');
    await bench.clock.settle();
    expect([other, again, more].map((call) => call.error === undefined)).toEqual([true, true, false]);
    expect(bench.load).toMatchObject({ waiting: 2, refused: 1 });
  });
});
