import { describe, expect, it } from 'vitest';
import type { Op } from './plan.ts';
import { explain, simulate } from './run.ts';

/** Operations that once broke a promise, cut down to what is needed. */
const once: { what: string; seed: number; ops: Op[] }[] = [
  {
    what: '[P6] nobody waits for a reply that a restart has found begun and about to pause',
    seed: 31_471,
    ops: [
      { op: 'say', s: 0, via: 1, stale: true },
      { op: 'pause', s: 0, pane: 0, via: 1 },
      { op: 'advance', ms: 200 },
      { op: 'unknown', stored: false },
    ],
  },
  {
    what: '[P1] a reply that a crash met after its first record and before its text ends its message with session.close',
    seed: 81,
    ops: [
      { op: 'say', s: 1, via: 2 },
      { op: 'advance', ms: 200 },
      { op: 'crash', downMs: 10 },
      { op: 'close', s: 1 },
    ],
  },
  {
    what: '[P1] … and when that message is removed',
    seed: 268,
    ops: [
      { op: 'say', s: 1, via: 1 },
      { op: 'advance', ms: 12_000 },
      { op: 'say', s: 0, via: 1, reply: true },
      { op: 'advance', ms: 20 },
      { op: 'stop', graceMs: 200, downMs: 500 },
      { op: 'remove', s: 0, pick: 8 },
    ],
  },
  {
    what: '[P4] session.delete right behind session.close waits for it: no frame after `ended`',
    seed: 131,
    ops: [
      { op: 'close', s: 0 },
      { op: 'delete', s: 0 },
    ],
  },
  {
    what: '[P4] a delta is not acked by the record of something else, before its message is durable',
    seed: 20_041,
    ops: [
      { op: 'say', s: 0, via: 0 },
      { op: 'advance', ms: 20 },
      { op: 'crash', downMs: 0 },
      { op: 'stream', s: 0, role: 'user' },
      { op: 'delta', s: 0, pick: 6, how: 'next', ack: true },
      { op: 'advance', ms: 200 },
      { op: 'crash', downMs: 1_500 },
    ],
  },
  {
    what: '[P4] … also when the crash comes at once',
    seed: 21_192,
    ops: [
      { op: 'options', s: 0, pane: 0, options: {} },
      { op: 'say', s: 1, via: 0, stale: true },
      { op: 'stream', s: 1, role: 'assistant' },
      { op: 'delta', s: 1, pick: 7, how: 'torn', ack: true },
      { op: 'advance', ms: 20 },
      { op: 'crash', downMs: 0 },
    ],
  },
  {
    what: '[R11] a clock that jumps back does not keep sessions in memory',
    seed: 27,
    ops: [{ op: 'jump', ms: -3_600_000 }],
  },
  {
    what: '[P4] a session that was opened again right after its deletion is followed',
    seed: 59,
    ops: [
      { op: 'delete', s: 1 },
      { op: 'open', s: 1 },
    ],
  },
  {
    what: '[R11] a call whose run has ended between the grant of its slot and its start does not go on',
    seed: 635,
    ops: [
      { op: 'say', s: 0, via: 2 },
      { op: 'tasks', s: 0, via: 1, tasks: [{ id: 't00' }] },
      { op: 'say', s: 1, via: 1, reply: false },
      { op: 'cancelRun', s: 0, pane: 1, past: true },
      { op: 'say', s: 1, via: 1, stale: true },
      { op: 'say', s: 0, via: 1, reply: false },
      { op: 'advance', ms: 200 },
      { op: 'say', s: 1, via: 0 },
      { op: 'edit', s: 0, pick: 20 },
      { op: 'delta', s: 0, pick: 6, how: 'differs', ack: false },
      { op: 'say', s: 0, via: 0 },
      { op: 'say', s: 0, via: 1 },
      { op: 'limits', concurrency: 3, minIntervalMs: 0 },
    ],
  },
  {
    what: '[T68] the text of a reply that a crash met before its first word is read for tasks',
    seed: 79,
    ops: [
      { op: 'tasks', s: 1, via: 0, tasks: [{ id: 't01', key: 't1', polish: true, review: true }] },
      { op: 'say', s: 0, via: 1 },
      { op: 'say', s: 1, via: 0 },
      { op: 'advance', ms: 12_000 },
      { op: 'say', s: 0, via: 0 },
      { op: 'advance', ms: 1_000 },
      { op: 'edit', s: 0, pick: 17 },
      { op: 'advance', ms: 200 },
      { op: 'advance', ms: 200 },
      { op: 'crash', downMs: 10 },
    ],
  },
  {
    what: '[T68] what was found before a restart is not found again, wherever its run is',
    seed: 1_097,
    ops: [
      { op: 'stream', s: 0, role: 'assistant' },
      { op: 'delta', s: 0, pick: 7, how: 'stars', ack: false },
      {
        op: 'tasks',
        s: 0,
        via: 0,
        tasks: [{ id: 't02' }, { id: 't10' }, { id: 't20' }, { id: 't32', after: ['t21'] }],
      },
      { op: 'advance', ms: 200 },
      { op: 'unknown', stored: true },
      { op: 'open', s: 0 },
    ],
  },
  {
    what: '[T68] … also when it was over',
    seed: 1_128,
    ops: [
      { op: 'tasks', s: 0, via: 1, tasks: [{ id: 't02' }] },
      { op: 'advance', ms: 200 },
      { op: 'stream', s: 0, role: 'assistant' },
      { op: 'delta', s: 0, pick: 4, how: 'stars', ack: true },
      { op: 'answer', s: 0, stars: 3 },
      { op: 'advance', ms: 1_000 },
      { op: 'crash', downMs: 10 },
    ],
  },
  {
    what: '[T40] what a stopped task cannot keep, since nothing can be stored, is nobody’s fault',
    seed: 72,
    ops: [
      { op: 'answer', s: 1, stars: 2 },
      { op: 'advance', ms: 0 },
      { op: 'full', ms: 2_500 },
    ],
  },
];

describe('seeds that have failed once', () => {
  it.each(once)('$what', async ({ seed, ops }) => {
    const outcome = await simulate(seed, ops);
    expect(outcome.violations, explain(outcome)).toEqual([]);
  });
});
