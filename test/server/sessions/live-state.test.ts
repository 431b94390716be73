import { expect, it } from 'vitest';
import type { LiveFrame } from '../../../src/protocol/frames.ts';
import { liveEveryMs, LiveState } from '../../../src/server/sessions/live-state.ts';
import { SimClock } from '../../support/sim-clock.ts';

type Sent = Omit<LiveFrame, 'type' | 'session'>;
const run = { pane: 'scene', run: 'r1', attempt: 1 };
const step = (value: number): Sent => ({ ...run, progress: { value, max: 30, unit: 'step' } });

function start() {
  const clock = new SimClock();
  const sent: Sent[] = [];
  return { clock, sent, live: new LiveState(clock, (frame) => sent.push(frame)) };
}

it('sends at most ten frames a second of a pane, the first at once, the last always', async () => {
  const { clock, sent, live } = start();
  for (let value = 1; value <= 30; value += 1) {
    live.set('scene', step(value));
    await clock.advance(10);
  }
  await clock.advance(liveEveryMs);
  expect(sent[0]).toEqual(step(1));
  expect(sent.at(-1)).toEqual(step(30));
  expect(sent.length).toBeLessThanOrEqual(5);
});

it('tells the end of a wait, once, and only of a wait that was told', async () => {
  const { clock, sent, live } = start();
  live.set('scene', { ...run, wait: null });
  expect(sent).toEqual([]);
  live.set('scene', { pane: 'scene', run: 'r1', wait: { reason: 'draining' } });
  live.set('scene', { ...run, wait: null });
  live.set('scene', { ...run, wait: null });
  await clock.advance(1_000);
  expect(sent.map((frame) => frame.wait)).toEqual([{ reason: 'draining' }, null]);
});

it('leaves no timer behind', async () => {
  const { clock, live } = start();
  live.set('scene', step(1));
  live.set('history', { ...step(1), pane: 'history' });
  live.clearAll();
  expect(clock.pending).toBe(0);
});

it('[T28] of tasks sends what is new, and tells latecomers all there is; what is sent does not change any more', async () => {
  const { clock, sent, live } = start();
  const news = (tasks: Sent['tasks']) => live.set('works', { pane: 'works', run: 'r1', ...(tasks && { tasks }) });
  news({ a: { stage: 'drafting', text: { at: 0, add: 'one' } } });
  news({ a: { stage: 'drafting', text: { at: 3, add: ' two' } }, b: { stage: 'drafting' } });
  const early = structuredClone(live.frames());
  const first = structuredClone(sent);
  await clock.advance(liveEveryMs);
  expect(sent.map(({ tasks }) => tasks)).toEqual([
    { a: { stage: 'drafting', text: { at: 0, add: 'one' } } },
    { a: { stage: 'drafting', text: { at: 3, add: ' two' } }, b: { stage: 'drafting' } },
  ]);
  expect(sent.slice(0, 1)).toEqual(first);
  expect(early[0]?.tasks?.['a']?.text).toEqual({ at: 0, add: 'one two' });
  const kept = live.frames();
  live.settle({ type: 'tasks', pane: 'works', run: 'r1', tasks: [{ id: 'a', status: 'succeeded' }] });
  expect(Object.keys(live.frames()[0]?.tasks ?? {})).toEqual(['b']);
  expect(Object.keys(kept[0]?.tasks ?? {})).toEqual(['a', 'b']);
  news({ b: { stage: 'polishing', wait: { reason: 'queue', position: 1 } } });
  expect(live.waits()).toEqual({ works: { reason: 'queue', position: 1 } });
});
