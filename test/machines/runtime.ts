import * as fc from 'fast-check';
import { panesToWake } from '../../src/machines/derive.ts';
import { recoveryFacts } from '../../src/machines/recover.ts';
import type { Policy } from '../../src/protocol/names.ts';
import { PaneRig, type RigBody, type RigOptions } from './pane-rig.ts';
import { asRecorded, foldFacts, judge, judgeRest, mustHold, shapes } from './rig.ts';

/**
 * Random days of one pane over the real actors and real microtasks, with providers that ignore the abort, answer late, twice and out of
 * order. What must hold is judged by `PaneRig` after every event, and at the end of the day by `quiesce`.
 */

export type Step =
  | {
      do:
        | 'update'
        | 'run'
        | 'cancel'
        | 'cancelRun'
        | 'cancelQueued'
        | 'pause'
        | 'resume'
        | 'crash'
        | 'unwind'
        | 'outdate';
    }
  | { do: 'hold'; hold: 'none' | 'expected' | 'replying' }
  | { do: 'tick'; ms: number }
  /** The body `who` (of all that have not ended, the oldest first) answers, so many times. */
  | { do: 'answer'; who: number; kind: 'good' | 'no' | 'retryable' | 'fatal'; times: number }
  | { do: 'heard' | 'held' | 'granted'; who: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('update', 'update', 'run', 'unwind', 'unwind', 'pause', 'resume', 'resume'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('cancel', 'cancelRun', 'cancelQueued', 'crash', 'outdate') }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('hold' as const), hold: fc.constantFrom('none', 'expected', 'replying') }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('tick' as const), ms: fc.constantFrom(150, 150, 150, 300, 5_000, 31_000) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      who: fc.nat(2),
      kind: fc.constantFrom('good', 'good', 'no', 'retryable', 'fatal'),
      times: fc.integer({ min: 1, max: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('heard', 'held', 'granted'), who: fc.nat(1) }) },
);

export const day = fc.record({
  policy: fc.constantFrom<Policy>('supersede', 'supersede', 'latest', 'queue', 'reject'),
  shape: fc.constantFrom<keyof typeof shapes>('history', 'scene', 'reply'),
  startOn: fc.constantFrom<'message' | 'reply'>('message', 'reply'),
  retries: fc.integer({ min: 0, max: 2 }),
  steps: fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }),
});
export type Day = typeof day extends fc.Arbitrary<infer T> ? T : never;

type Faults = Pick<RigOptions, 'mutate' | 'recover'>;

/** Counts, to see that the days are not empty. */
export const lived = { days: 0, steps: 0, bodies: 0, ends: 0, crashes: 0 };

export async function live({ policy, shape, startOn, retries, steps }: Day, faults: Faults = {}): Promise<void> {
  const stages = shapes[shape];
  let rig = new PaneRig({
    shape: { ...stages, name: 'pane' },
    options: { policy, startOn, retries, driven: shape !== 'reply' },
    ...faults,
  });
  lived.days += 1;
  for (const next of steps) {
    lived.steps += 1;
    if (next.do === 'crash') rig = crash(rig, stages, faults);
    else take(rig, next);
    await microtasks();
    rig.judge();
  }
  await quiesce(rig);
  lived.bodies += rig.bodies.length;
  lived.ends += Object.values(rig.log.runs).filter((is) => is === 'ended').length;
  rig.stop();
}

/** The process dies; the next one starts from what is on record. Late answers of the old bodies go nowhere. */
function crash(old: PaneRig, stages: (typeof shapes)[keyof typeof shapes], faults: Faults): PaneRig {
  lived.crashes += 1;
  old.stop();
  let { state, log } = old;
  for (const fact of recoveryFacts(state)) {
    const recorded = asRecorded(state, fact);
    if (recorded.type === 'pane.phase') log = judge(log, state, recorded);
    state = foldFacts(state, [recorded]);
  }
  const rig = new PaneRig({ shape: { ...stages, name: 'pane' }, state, log, runs: old.runs, ...faults });
  if (panesToWake(state).due.includes('pane')) rig.owed();
  return rig;
}

function take(rig: PaneRig, next: Step): void {
  const { view } = rig;
  const alive = rig.bodies.filter((body) => !body.over);
  switch (next.do) {
    case 'update':
      rig.update();
      return;
    case 'run':
      if (rig.state.view.generation > 0) rig.run();
      return;
    case 'cancel':
      rig.cancel();
      return;
    case 'cancelRun':
      if (view.run !== null) rig.cancel(view.run);
      return;
    case 'cancelQueued':
      if (view.queued[0] !== undefined) rig.cancel(view.queued[0]);
      return;
    case 'pause':
      if (!view.paused) rig.pause();
      return;
    case 'resume':
      if (view.paused) rig.resume();
      return;
    case 'outdate':
      // Only the reply pane is outdated without a successor.
      if (rig.state.private.panes['pane']?.declaration.driven === false) rig.send({ type: 'outdate' });
      return;
    case 'unwind':
      if (rig.unwinding.length > 0) rig.unwind();
      return;
    case 'hold':
      rig.hold(next.hold);
      return;
    case 'tick':
      rig.tick(next.ms);
      return;
    case 'answer': {
      const body = alive[next.who % Math.max(1, alive.length)];
      if (body !== undefined) answer(rig, body, next.kind, next.times);
      return;
    }
    case 'heard':
      alive[next.who % Math.max(1, alive.length)]?.send({ type: 'heard', kept: false });
      return;
    case 'crash':
      return;
    case 'held':
    case 'granted':
      alive[next.who % Math.max(1, alive.length)]?.send({ type: next.do, at: rig.clock.nowMs });
  }
}

/** In its own microtask, as a provider's promise would: also a body that was stopped answers, and ends after it. */
function answer(rig: PaneRig, body: RigBody, kind: 'good' | 'no' | 'retryable' | 'fatal', times: number): void {
  const { run, attempt } = body.input;
  const at = rig.clock.nowMs;
  const speak = (): void => {
    if (body.over) return;
    const stopped = body.stopped;
    if (!stopped) body.over = true;
    for (let i = 0; i < times; i += 1) {
      if (kind === 'good' || kind === 'no')
        body.send({
          type: 'stage.done',
          run,
          attempt,
          at,
          result: kind === 'no' ? { outcome: 'unchanged' } : goodResult(rig, body),
        });
      else
        body.send({
          type: 'stage.failed',
          run,
          attempt,
          at,
          failure: { error: { code: 'provider', message: 'it fails', retryable: kind === 'retryable' } },
        });
    }
    if (stopped) rig.unwind(body);
  };
  void Promise.resolve().then(() => rig.guarded(speak));
}

function goodResult(rig: PaneRig, body: RigBody) {
  const phases = rig.state.private.panes['pane']?.declaration.phases ?? [];
  return phases.at(-1) === body.input.stage
    ? ({ outcome: 'updated', content: { of: body.input.run } } as const)
    : ({ outcome: 'next', checkpoint: { of: body.input.run } } as const);
}

async function microtasks(): Promise<void> {
  for (let i = 0; i < 4; i += 1) await Promise.resolve();
}

/** Everybody answers, every timer runs: then every run has ended and P6 holds. */
async function quiesce(rig: PaneRig): Promise<void> {
  rig.hold('none');
  if (rig.view.paused) rig.resume();
  for (let i = 0; i < 200 && (rig.timers > 0 || rig.body !== undefined || rig.unwinding.length > 0); i += 1) {
    while (rig.unwinding.length > 0) rig.unwind();
    if (rig.body === undefined) rig.tick(150);
    else answer(rig, rig.body, 'good', 1);
    await microtasks();
    rig.judge();
  }
  for (const [run, is] of Object.entries(rig.log.runs))
    mustHold(is === 'ended', 'P1', () => `run ${run} has no end at the end of the day`);
  judgeRest('pane', rig.state, rig.log);
}
