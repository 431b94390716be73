import { expect, test } from 'vitest';
import { emptyView, type View } from '../../src/protocol/view.ts';
import type { Rec } from '../../src/protocol/records.ts';
import { check, crashLoop, type Evidence } from './crash-loop.ts';
import { nothingSeen } from './wire.ts';

test('five kills at random instants: nothing lost, nothing twice, every run with one end [P1] [P4] [P5] [R1] [R2]', async () => {
  const report = await crashLoop({ kills: 5, seed: 20_261_121 });
  expect(report.violations).toEqual([]);
  expect(report.logged).toEqual([]);
  expect(report.acked).toBeGreaterThan(10);
}, 120_000);

const at = '2026-11-21T00:00:00.000Z';
const added = (seq: number, by: string): Rec => ({
  seq,
  at,
  by,
  type: 'message.added',
  message: { id: `m${seq}`, role: 'user', text: 'one', generation: seq, final: true, reply: 'none' },
});
const phase = (seq: number, name: string): Rec => ({
  seq,
  at,
  type: 'pane.phase',
  pane: 'history',
  run: 'r1',
  generation: 1,
  phase: name,
  attempt: 1,
});

/** One follower of session `s` who has seen these records, and one acked command `k`. */
function evidence(records: readonly Rec[], change: Partial<Evidence> = {}, other: readonly Rec[] = records): Evidence {
  const view: View = { ...emptyView('s'), seq: records.length };
  const follower = (seen: readonly Rec[]) => ({
    session: 's',
    seen: { ...nothingSeen(), view, records: [...seen], snapshots: ['initial'] },
  });
  const command = { type: 'message.add', role: 'user', text: 'one', id: 'k' } as const;
  return {
    sent: [{ session: 's', command, ack: { type: 'ack', id: 'k', session: 's' }, sends: 1 }],
    followers: [follower(records), follower(other)],
    views: { s: view },
    restless: [],
    contradictions: [],
    ...change,
  };
}

const good = [added(1, 'k'), phase(2, 'debouncing'), phase(3, 'updated')];

test('the checker finds nothing wrong where nothing is', () => {
  expect(check(evidence(good))).toEqual([]);
});

test.each([
  ['an acked command that is lost', evidence(good.slice(1)), /acked message\.add k is lost/],
  ['a command applied twice', evidence([...good, added(4, 'k')]), /applied 2 times/],
  ['a run without an end', evidence(good.slice(0, 2)), /has no end/],
  ['a run that goes on after its end', evidence([...good, phase(4, 'debouncing')]), /after its end/],
  ['two clients with different records', evidence(good, {}, good.slice(0, 2)), /different records/],
  ['a fold that differs from the server', evidence(good, { views: { s: emptyView('s') } }), /fold differs/],
])('the checker finds %s', (_, given, expected) => {
  expect(check(given).join('\n')).toMatch(expected);
});
