import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { countTasks } from '../../src/protocol/fold-tasks.ts';
import { progressOf } from '../../src/protocol/progress.ts';
import type { Task, TaskStatus } from '../../src/protocol/records.ts';
import '../support/seed.ts';

const startMs = Date.parse('2026-11-20T18:00:00.000Z');
const at = (seconds: number): string => new Date(startMs + seconds * 1_000).toISOString();

function task(status: TaskStatus, from?: number, to?: number): Omit<Task, 'id'> {
  const times = { ...(from !== undefined && { startedAt: at(from) }), ...(to !== undefined && { endedAt: at(to) }) };
  return { label: '', key: '', status, attempt: 1, input: {}, ...times };
}

function pane(list: readonly Omit<Task, 'id'>[]) {
  const tasks = Object.fromEntries(list.map((one, index) => [`t${index}`, { id: `t${index}`, ...one }]));
  return { tasks, counts: list.length === 0 ? null : countTasks(tasks) };
}

const progress = (list: readonly Omit<Task, 'id'>[], seconds: number) =>
  progressOf(pane(list), startMs + seconds * 1_000);

describe('[T28] the progress of a run', () => {
  test('says nothing without a total', () => {
    expect(progress([], 5)).toEqual({ done: 0, total: 0, ratio: null, leftMs: null });
  });

  test('says no time before one task has succeeded: a failed one tells nothing of the others', () => {
    const list = [task('failed', 0, 1), task('cancelled', 0, 1), task('running', 1), task('queued')];
    expect(progress(list, 2)).toEqual({ done: 2, total: 4, ratio: 0.5, leftMs: null });
  });

  test('takes the rest to be as fast as what has succeeded, and counts down towards the next', () => {
    const list = [task('succeeded', 0, 10), task('succeeded', 10, 20), task('running', 20), task('queued')];
    expect(progress(list, 20).leftMs).toBe(20_000);
    expect(progress(list, 24).leftMs).toBe(16_000);
    // The next one is late: what follows it is not sooner for that.
    expect(progress(list, 300).leftMs).toBe(10_000);
  });

  test('tasks at the same time make the rest faster', () => {
    const list = [task('succeeded', 0, 10), task('succeeded', 0, 10), task('running', 10), task('running', 10)];
    expect(progress(list, 10).leftMs).toBe(10_000);
  });

  test('says no time when nothing is left', () => {
    expect(progress([task('succeeded', 0, 10), task('failed', 0, 1)], 10)).toEqual({
      done: 2,
      total: 2,
      ratio: 1,
      leftMs: null,
    });
  });

  test('whatever the tasks: ratio within 0 and 1 and only with a total, time never negative and only after a success', () => {
    const seconds = fc.integer({ min: 0, max: 5_000 });
    const any = fc.record({
      status: fc.constantFrom<TaskStatus>('queued', 'running', 'succeeded', 'failed', 'cancelled'),
      from: fc.option(seconds, { nil: undefined }),
      // Clocks go back: an end may stand before its start.
      to: fc.option(seconds, { nil: undefined }),
    });
    const seen = { time: 0, none: 0 };
    fc.assert(
      fc.property(fc.array(any, { maxLength: 12 }), fc.integer({ min: -1_000, max: 6_000 }), (list, nowSeconds) => {
        const { done, total, ratio, leftMs } = progress(
          list.map(({ status, from, to }) => task(status, from, to)),
          nowSeconds,
        );
        expect(total).toBe(list.length);
        if (ratio === null) expect(total).toBe(0);
        else expect(ratio).toBe(done / total);
        expect(ratio ?? 0).toBeGreaterThanOrEqual(0);
        expect(ratio ?? 1).toBeLessThanOrEqual(1);
        seen[leftMs === null ? 'none' : 'time'] += 1;
        if (leftMs === null) return;
        expect(Number.isFinite(leftMs) && leftMs >= 0).toBe(true);
        expect(list.some(({ status }) => status === 'succeeded')).toBe(true);
        expect(done).toBeLessThan(total);
      }),
      { numRuns: 500 },
    );
    expect(Math.min(seen.time, seen.none)).toBeGreaterThan(50);
  });
});
