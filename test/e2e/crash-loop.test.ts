import { expect, test } from 'vitest';
import { emptyView, type PaneView, type View } from '../../src/protocol/view.ts';
import type { Rec, TaskChange } from '../../src/protocol/records.ts';
import { check, type Evidence } from './crash-check.ts';
import { crashLoop } from './crash-loop.ts';
import { taskFaults } from './crash-tasks.ts';
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

const tagged = 'See <!--img-prompt="a lamp"-->';
const picture = { id: 'a1.0.4', key: 'a1.0.4' };
const story = (seq: number): Rec => ({
  seq,
  at,
  type: 'message.added',
  message: { id: 'a1', role: 'assistant', text: tagged, generation: 1, final: true, reply: 'none' },
});
const drawing = (seq: number, name: string, tasks?: TaskChange[], run = 'i1'): Rec => ({
  seq,
  at,
  type: 'pane.phase',
  pane: 'illustrations',
  run,
  generation: 1,
  phase: name,
  attempt: 1,
  ...(tasks === undefined ? {} : { tasks }),
});
const drawn = (seq: number, version = 1): Rec => ({
  seq,
  at,
  type: 'pane.content',
  pane: 'illustrations',
  run: 'i1',
  key: picture.key,
  value: {},
  version,
  task: { id: picture.id, status: 'succeeded' },
});
const started = (seq: number, ...ids: string[]): Rec => ({
  seq,
  at,
  type: 'tasks',
  pane: 'illustrations',
  run: 'i1',
  tasks: ids.map((id) => ({ id, status: 'running', attempt: 1 })),
});
const base = {
  ...emptyView('s'),
  panes: { illustrations: { ...paneOf('illustrations'), tasks: {}, parts: {} } },
};

const goodPicture = [
  story(1),
  drawing(2, 'imaging', [picture]),
  started(3, picture.id),
  drawn(4),
  drawing(5, 'updated'),
];

test('the checker finds nothing wrong with a picture that was drawn', () => {
  expect(taskFaults(base, goodPicture, [])).toEqual([]);
});

test.each([
  ['a prompt without a task', [story(1)], /no task/],
  ['a task that has no part', [...goodPicture.slice(0, 3), done(4)], /left no part/],
  ['a task that stands for ever', goodPicture.slice(0, 3), /is running at rest/],
  ['a part made twice', [...goodPicture.slice(0, 4), drawn(5, 2)], /made its part twice/],
  ['a version that is skipped', [...goodPicture.slice(0, 3), drawn(4, 2)], /version 2 where 1 was due/],
  [
    'two writers of one part',
    [story(1), drawing(2, 'imaging', [picture, { id: 'b', key: picture.key }]), started(3, picture.id, 'b')],
    /two tasks write the same part/,
  ],
])('the checker of tasks finds %s', (_, records, expected) => {
  expect(taskFaults(base, records, []).join('\n')).toMatch(expected);
});

test('the checker of tasks finds an acked run that is lost, and an acked task.cancel without effect', () => {
  const run = { type: 'pane.run', pane: 'illustrations', id: 'k1' } as const;
  const cancel = { type: 'task.cancel', pane: 'illustrations', task: picture.id, id: 'k2' } as const;
  const ack = (id: string, more: object) => ({ type: 'ack' as const, id, session: 's', ...more });
  const sent = [
    { session: 's', command: run, ack: ack('k1', { seq: 2, run: 'nowhere' }), sends: 1 },
    { session: 's', command: cancel, ack: ack('k2', { seq: 3 }), sends: 1 },
  ];
  const faults = taskFaults(base, goodPicture, sent).join('\n');
  expect(faults).toMatch(/its run nowhere is lost/);
  expect(faults).toMatch(/acked task\.cancel k2 of a1\.0\.4: it is running/);
});

function done(seq: number): Rec {
  return {
    seq,
    at,
    type: 'tasks',
    pane: 'illustrations',
    run: 'i1',
    tasks: [{ id: picture.id, status: 'succeeded' }],
  };
}

function paneOf(kind: string): PaneView {
  const nothing = { run: null, since: null, reason: null, error: null, retryAt: null, content: null, covers: null };
  return {
    ...nothing,
    kind,
    phase: 'idle',
    generation: 0,
    attempt: 0,
    paused: false,
    queued: [],
    contentGeneration: null,
    fresh: null,
    parts: {},
    tasks: {},
    counts: null,
  };
}
