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
];

describe('seeds that have failed once', () => {
  it.each(once)('$what', async ({ seed, ops }) => {
    const outcome = await simulate(seed, ops);
    expect(outcome.violations, explain(outcome)).toEqual([]);
  });
});
