import { describe, expect, test } from 'vitest';
import { limits, type Policy } from '../../src/protocol/names.ts';
import { PaneRig } from './pane-rig.ts';
import { shapes } from './rig.ts';

const { history, scene, reply } = shapes;
const single = { ...reply, name: 'single' };

/** A pane brought into a state by the shortest way, with its current run `g1`. */
const into = {
  waiting: (rig: PaneRig) => void rig.update('expected'),
  debouncing: (rig: PaneRig) => void rig.update(),
  working: (rig: PaneRig) => {
    rig.update();
    rig.tick(150);
  },
  retrying: (rig: PaneRig) => {
    into.working(rig);
    rig.fail();
  },
  cancelling: (rig: PaneRig) => {
    into.working(rig);
    rig.cancel();
  },
};

function rigIn(
  name: keyof typeof into,
  shape: ConstructorParameters<typeof PaneRig>[0]['shape'] = history,
  options: ConstructorParameters<typeof PaneRig>[0]['options'] = {},
): PaneRig {
  const startOn = name === 'waiting' ? 'reply' : 'message';
  const rig = new PaneRig({ shape, options: { startOn, ...options } });
  into[name](rig);
  return rig;
}

describe('happy paths', () => {
  test('history: debouncing, evaluating, summarizing, updated with its content', () => {
    const rig = new PaneRig({ shape: history });
    const run = rig.update();
    expect(rig.phases).toEqual(['debouncing']);
    rig.tick(149);
    expect(rig.body).toBeUndefined();
    rig.tick(1);
    expect(rig.body?.input).toEqual({
      session: 's',
      pane: 'history',
      run,
      generation: 1,
      attempt: 1,
      stage: 'evaluating',
    });
    rig.next({ seen: 1 });
    expect(rig.last(run)).toMatchObject({ phase: 'summarizing', checkpoint: { seen: 1 } });
    rig.updated({ text: 'sum' });
    expect(rig.phases).toEqual(['debouncing', 'evaluating', 'summarizing', 'updated']);
    expect(rig.last(run)).toMatchObject({ run, generation: 1, attempt: 1, content: { text: 'sum' } });
    expect(rig.view).toMatchObject({ content: { text: 'sum' }, contentGeneration: 1, fresh: true });
    expect(rig.timers).toBe(0);
  });

  test('scene: evaluating, describing, imaging, updated', () => {
    const rig = new PaneRig({ shape: scene });
    rig.update();
    rig.tick(150);
    rig.next();
    rig.next({ description: 'a street' });
    rig.updated();
    expect(rig.phases).toEqual(['debouncing', 'evaluating', 'describing', 'imaging', 'updated']);
  });

  test('an evaluation that says no ends the run unchanged, without content', () => {
    const rig = rigIn('working');
    rig.done({ outcome: 'unchanged' });
    expect(rig.phases.at(-1)).toBe('unchanged');
    expect(rig.view).toMatchObject({ content: null, fresh: true });
  });

  test('pane.run begins with its own stage, without debounce and evaluation', () => {
    const rig = new PaneRig({ shape: scene });
    const run = rig.run({ style: 'ink' });
    expect(rig.phases).toEqual(['describing']);
    expect(rig.last(run).input).toEqual({ style: 'ink' });
    expect(rig.said).toContainEqual({ type: 'accepted', pane: 'scene', run });
  });

  test('debounceMs 0 begins at once', () => {
    const rig = new PaneRig({ shape: history, options: { debounceMs: 0 } });
    rig.update();
    expect(rig.phases).toEqual(['evaluating']);
  });

  test('[P8] the last stage that returns next is an error of the pane', () => {
    const rig = rigIn('working', single);
    rig.next();
    expect(rig.last('g1')).toMatchObject({ phase: 'error', error: { code: 'internal', retryable: false } });
  });
});

describe('supersede', () => {
  for (const state of ['waiting', 'debouncing'] as const) {
    test(`[P2] a newer transcript moves a run that is ${state}: same run, newer generation`, () => {
      const rig = rigIn(state);
      rig.update(state === 'waiting' ? 'expected' : 'none');
      expect(rig.facts.map(({ run, generation, phase }) => [run, generation, phase])).toEqual([
        ['g1', 1, state],
        ['g1', 2, state],
      ]);
    });
  }

  for (const state of ['working', 'retrying'] as const) {
    test(`[P1] [P2] a newer transcript ends a run that is ${state}, naming its successor`, () => {
      const rig = rigIn(state);
      const run = rig.update();
      expect(rig.last('g1')).toMatchObject({ phase: 'cancelled', reason: 'superseded', supersededBy: run });
      expect(rig.last(run)).toMatchObject({ phase: 'debouncing', generation: 2, attempt: 1 });
    });
  }

  test('[P2] the end of the old run stands before the first phase of the new one', () => {
    const rig = rigIn('working');
    rig.update();
    expect(rig.facts.slice(-2).map(({ run, phase }) => `${run} ${phase}`)).toEqual(['g1 cancelled', 'g2 debouncing']);
  });

  test('the next run begins only after the old body has unwound', () => {
    const rig = rigIn('working');
    const run = rig.update();
    rig.tick(1_000);
    expect(rig.body).toBeUndefined();
    expect(rig.said.at(-1)).toEqual({ type: 'draining', pane: 'history', run });
    rig.unwind();
    expect(rig.body?.input).toMatchObject({ run, stage: 'evaluating', attempt: 1 });
  });

  test('a run that is draining is superseded by the next one', () => {
    const rig = rigIn('working');
    rig.update();
    rig.tick(150);
    const newest = rig.update();
    expect(rig.last('g2')).toMatchObject({ phase: 'cancelled', reason: 'superseded', supersededBy: newest });
    rig.unwind();
    rig.tick(150);
    expect(rig.body?.input.run).toBe(newest);
    expect(rig.bodies).toHaveLength(2);
  });

  test('a body that does not unwind within 5 s costs the next run, not the pane', () => {
    const rig = rigIn('working');
    const run = rig.update();
    rig.tick(150 + 4_999);
    expect(rig.last(run).phase).toBe('evaluating');
    rig.tick(1);
    expect(rig.last(run)).toMatchObject({ phase: 'error', error: { code: 'internal', retryable: true } });
    rig.unwind();
    rig.update();
    rig.tick(150);
    expect(rig.body?.input.run).toBe('g3');
  });

  test('pane.run ends the working run and begins at once', () => {
    const rig = rigIn('working');
    const run = rig.run();
    expect(rig.last('g1')).toMatchObject({ phase: 'cancelled', supersededBy: run });
    expect(rig.last(run).phase).toBe('summarizing');
  });

  test('pane.run makes a waiting run start at once, under its own id and with the input', () => {
    const rig = rigIn('waiting');
    rig.run({ tone: 'dry' });
    expect(rig.said).toContainEqual({ type: 'accepted', pane: 'history', run: 'g1' });
    expect(rig.last('g1')).toMatchObject({ phase: 'summarizing', input: { tone: 'dry' } });
    rig.updated();
    expect(rig.log.runs).toEqual({ g1: 'ended' });
  });
});

describe('debounce', () => {
  test('a burst postpones the start of work, but not longer than debounceMaxMs', () => {
    const rig = new PaneRig({ shape: history, options: { debounceMs: 150, debounceMaxMs: 400 } });
    rig.update();
    for (let i = 0; i < 3; i += 1) {
      rig.tick(100);
      rig.update();
    }
    expect(rig.body).toBeUndefined();
    rig.tick(99);
    expect(rig.body).toBeUndefined();
    rig.tick(1);
    expect(rig.clock.nowMs).toBe(400);
    expect(rig.body?.input).toMatchObject({ run: 'g1', generation: 4 });
  });

  test('each run has its own burst', () => {
    const rig = new PaneRig({ shape: history, options: { debounceMs: 150, debounceMaxMs: 200 } });
    rig.update();
    rig.tick(150);
    rig.next();
    rig.updated();
    rig.tick(5_000);
    rig.update();
    rig.tick(149);
    expect(rig.body).toBeUndefined();
    rig.tick(1);
    expect(rig.body?.input.run).toBe('g2');
  });
});

describe('policy latest', () => {
  test('[P3] lets the working run finish, then runs the newest transcript only', () => {
    const rig = rigIn('working', single, { policy: 'latest' });
    rig.update();
    rig.update();
    rig.updated();
    expect(rig.facts.map(({ run, phase }) => `${run} ${phase}`)).toEqual([
      'g1 debouncing',
      'g1 streaming',
      'g1 updated',
      'g3 debouncing',
    ]);
    rig.tick(150);
    rig.updated();
    expect(rig.view.fresh).toBe(true);
  });

  test('pane.run while busy lines up, and a newer transcript moves what stands there', () => {
    const rig = rigIn('working', single, { policy: 'latest' });
    const run = rig.run({ tone: 'dry' });
    expect(rig.view.queued).toEqual([run]);
    rig.update();
    rig.updated();
    expect(rig.last(run)).toMatchObject({ phase: 'streaming', generation: 2 });
  });

  test('a second pane.run while one stands in the queue becomes that run, with the newer input', () => {
    const rig = rigIn('working', single, { policy: 'latest' });
    const run = rig.run({ tone: 'dry' });
    rig.run({ tone: 'warm' });
    expect(rig.said.at(-1)).toEqual({ type: 'accepted', pane: 'single', run });
    expect(rig.state.private.panes['single']?.queue).toMatchObject([{ run, input: { tone: 'warm' } }]);
  });

  test('[P6] the transcript is followed also when the queued run that stood for it is cancelled', () => {
    const rig = rigIn('working', single, { policy: 'latest' });
    const run = rig.run();
    const newest = rig.update();
    rig.cancel(run);
    rig.updated();
    expect(rig.last(run)).toMatchObject({ phase: 'cancelled', reason: 'user' });
    expect(rig.last(newest).phase).toBe('debouncing');
  });

  test('a failing run does not stop the newest from being run', () => {
    const rig = rigIn('working', single, { policy: 'latest', retries: 0 });
    rig.update();
    rig.fail();
    expect(rig.phases.slice(-2)).toEqual(['error', 'debouncing']);
  });
});

describe('policies queue and reject', () => {
  test('queue runs all in order', () => {
    const rig = rigIn('working', single, { policy: 'queue' });
    rig.update();
    const run = rig.run();
    rig.update();
    expect(rig.view.queued).toEqual(['g2', run, 'g3']);
    rig.updated();
    rig.tick(150);
    rig.updated();
    rig.updated();
    rig.tick(150);
    rig.updated();
    expect(rig.facts.filter(({ phase }) => phase === 'updated').map(({ run }) => run)).toEqual(['g1', 'g2', run, 'g3']);
  });

  test('a transcript change while the run is being cancelled stands behind what lines up already', () => {
    const rig = rigIn('working', single, { policy: 'queue' });
    rig.update();
    rig.cancel('g1');
    rig.update();
    expect(rig.view.queued).toEqual(['g2', 'g3']);
    rig.unwind();
    expect(rig.last('g2').phase).toBe('debouncing');
  });

  test('cancel of a queued run ends that run alone', () => {
    const rig = rigIn('working', single, { policy: 'queue' });
    rig.update();
    rig.update();
    rig.cancel('g2');
    expect(rig.last('g2')).toMatchObject({ phase: 'cancelled', reason: 'user' });
    expect(rig.view).toMatchObject({ queued: ['g3'], run: 'g1', phase: 'streaming' });
    expect(rig.body?.input.run).toBe('g1');
  });

  test('cancel of everything ends the queued runs at once and the working one when it has unwound', () => {
    const rig = rigIn('working', single, { policy: 'queue' });
    rig.update();
    rig.cancel();
    expect(rig.facts.slice(-2).map(({ run, phase }) => `${run} ${phase}`)).toEqual(['g2 cancelled', 'g1 cancelling']);
    rig.unwind();
    expect(rig.last('g1')).toMatchObject({ phase: 'cancelled', reason: 'user' });
    expect(rig.timers).toBe(0);
  });

  test('so many runs line up and no more; a further transcript change moves the last one', () => {
    const rig = rigIn('working', single, { policy: 'queue' });
    for (let i = 0; i <= limits.maxQueuedRuns; i += 1) rig.update();
    expect(rig.view.queued).toHaveLength(limits.maxQueuedRuns);
  });

  test('reject: a transcript change acts as latest', () => {
    const rig = rigIn('working', single, { policy: 'reject' });
    rig.update();
    rig.update();
    expect(rig.view.queued).toEqual([]);
    rig.updated();
    expect(rig.last('g3').phase).toBe('debouncing');
  });
});

describe('timeouts', () => {
  test('one timeout for the whole run, across stages', () => {
    const rig = rigIn('working', history, { timeoutMs: 10_000 });
    rig.tick(6_000);
    rig.next();
    rig.tick(3_999);
    expect(rig.phases.at(-1)).toBe('summarizing');
    rig.tick(1);
    expect(rig.last('g1')).toMatchObject({
      phase: 'error',
      error: { code: 'timeout', message: 'not done after 10000 ms', retryable: true },
    });
    expect(rig.unwinding).toHaveLength(1);
  });

  test('[P8] the timeout of a picture keeps the old one: imaging_failed', () => {
    const rig = rigIn('working', scene, { timeoutMs: 10_000 });
    rig.next();
    rig.next();
    rig.tick(10_000);
    expect(rig.last('g1')).toMatchObject({ phase: 'imaging_failed', error: { code: 'timeout' } });
  });

  test('the timeout counts retrying', () => {
    const rig = rigIn('working', history, { timeoutMs: 10_000 });
    rig.tick(8_000);
    rig.fail({ retryAfterMs: 1_500 });
    rig.tick(1_500);
    expect(rig.body?.input.attempt).toBe(2);
    rig.tick(500);
    expect(rig.last('g1')).toMatchObject({ phase: 'error', error: { code: 'timeout' } });
  });

  test('the timeout stands still while the run stands in a queue for a slot', () => {
    const rig = rigIn('working', history, { timeoutMs: 10_000 });
    rig.tick(4_000);
    rig.tell({ type: 'held', at: rig.clock.nowMs });
    rig.tick(60_000);
    expect(rig.phases.at(-1)).toBe('evaluating');
    rig.tell({ type: 'granted', at: rig.clock.nowMs });
    rig.tick(5_999);
    expect(rig.phases.at(-1)).toBe('evaluating');
    rig.tick(1);
    expect(rig.phases.at(-1)).toBe('error');
  });

  test('a pause acts at once on a run that stands in a queue for a slot; resume goes on with the same stage', () => {
    const rig = rigIn('working', history, { timeoutMs: 10_000 });
    rig.tick(4_000);
    rig.tell({ type: 'held', at: rig.clock.nowMs });
    rig.pause();
    expect(rig.phases.at(-1)).toBe('paused');
    expect(rig.unwinding).toHaveLength(1);
    rig.tick(60_000);
    rig.unwind();
    rig.resume();
    expect(rig.phases.at(-1)).toBe('evaluating');
    expect(rig.body?.input.attempt).toBe(1);
  });

  test('an attempt that fails in the queue takes its standstill with it', () => {
    const rig = rigIn('working', history, { timeoutMs: 10_000 });
    rig.tell({ type: 'held', at: rig.clock.nowMs });
    rig.fail({ retryAfterMs: 100 });
    rig.tick(100);
    rig.tick(9_900);
    expect(rig.last('g1')).toMatchObject({ phase: 'error', error: { code: 'timeout' } });
  });

  test('the timeout stands still while paused between stages', () => {
    const rig = rigIn('working', history, { timeoutMs: 10_000 });
    rig.pause();
    rig.tick(4_000);
    rig.next();
    rig.tick(100_000);
    rig.resume();
    rig.tick(5_999);
    expect(rig.phases.at(-1)).toBe('summarizing');
    rig.tick(1);
    expect(rig.last('g1')).toMatchObject({ phase: 'error', error: { code: 'timeout' } });
  });

  test('the idle timeout is armed by the first byte and again by each one', () => {
    const rig = rigIn('working', single, { idleTimeoutMs: 1_000, retries: 0 });
    rig.tick(5_000);
    rig.tell({ type: 'heard', kept: false });
    rig.tick(999);
    rig.tell({ type: 'heard', kept: false });
    rig.tick(999);
    expect(rig.phases.at(-1)).toBe('streaming');
    rig.tick(1);
    expect(rig.last('g1')).toMatchObject({
      phase: 'error',
      error: { code: 'idle_timeout', message: 'no byte for 1000 ms' },
    });
    expect(rig.unwinding).toHaveLength(1);
  });

  test('no idle timeout while in a queue for a slot, nor for a body that streams nothing', () => {
    const rig = rigIn('working', single, { idleTimeoutMs: 1_000 });
    rig.tell({ type: 'heard', kept: false });
    rig.tell({ type: 'held', at: rig.clock.nowMs });
    rig.tick(20_000);
    expect(rig.phases.at(-1)).toBe('streaming');
  });

  test('silence is retried, after the silent body has unwound', () => {
    const rig = rigIn('working', single, { idleTimeoutMs: 1_000 });
    rig.tell({ type: 'heard', kept: false });
    rig.tick(1_000);
    expect(rig.last('g1')).toMatchObject({ phase: 'retrying', error: { code: 'idle_timeout' } });
    rig.tick(1_000);
    expect(rig.body).toBeUndefined();
    rig.unwind();
    expect(rig.body?.input.attempt).toBe(2);
  });
});

describe('retries', () => {
  test('back off 250 ms · 2ⁿ with full jitter, then the error', () => {
    const rig = new PaneRig({ shape: single, options: { retries: 2 }, jitter: 0.5 });
    rig.run();
    rig.fail();
    expect(rig.said.at(-1)).toMatchObject({
      retryInMs: 125,
      fact: { phase: 'retrying', attempt: 1, error: { code: 'provider' } },
    });
    rig.tick(124);
    expect(rig.body).toBeUndefined();
    rig.tick(1);
    expect(rig.last('m1')).toMatchObject({ phase: 'streaming', attempt: 2 });
    rig.fail();
    expect(rig.said.at(-1)).toMatchObject({ retryInMs: 250 });
    rig.tick(250);
    rig.fail({ code: 'connection', message: 'it hangs up' });
    expect(rig.last('m1')).toMatchObject({
      phase: 'error',
      attempt: 3,
      error: { code: 'connection', message: 'it hangs up' },
    });
  });

  test('at most 8 s', () => {
    const rig = new PaneRig({ shape: single, options: { retries: 10, timeoutMs: 300_000 } });
    rig.run();
    const waits: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      rig.fail();
      const said = rig.said.at(-1);
      waits.push(said?.type === 'fact' ? (said.retryInMs ?? -1) : -1);
      rig.tick(8_000);
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
  });

  for (const [retryAfterMs, fits] of [
    [6_999, true],
    [7_000, false],
  ] as const) {
    test(`Retry-After ${retryAfterMs} ms with 7000 ms left is ${fits ? 'honoured' : 'not waited for'}`, () => {
      const rig = rigIn('working', single, { timeoutMs: 10_000 });
      rig.tick(3_000);
      rig.fail({ code: 'rate_limited', retryAfterMs });
      expect(rig.last('g1')).toMatchObject({ phase: fits ? 'retrying' : 'error', error: { code: 'rate_limited' } });
    });
  }

  test('an error that is not retryable ends the run', () => {
    const rig = rigIn('working', single);
    rig.fail({ code: 'auth', retryable: false });
    expect(rig.last('g1')).toMatchObject({ phase: 'error', attempt: 1, error: { code: 'auth' } });
  });

  test('a stream is not retried once text of it is on record', () => {
    const rig = rigIn('working', single);
    rig.tell({ type: 'heard', kept: true });
    rig.fail();
    expect(rig.last('g1')).toMatchObject({ phase: 'error', attempt: 1 });
  });

  test('nor after silence', () => {
    const rig = rigIn('working', single, { idleTimeoutMs: 1_000 });
    rig.tell({ type: 'heard', kept: true });
    rig.tick(1_000);
    expect(rig.last('g1')).toMatchObject({ phase: 'error', error: { code: 'idle_timeout' } });
  });

  test('[P8] a picture that fails for good: imaging_failed, the whole old content stays', () => {
    const rig = rigIn('working', scene, { retries: 0 });
    rig.next();
    rig.next();
    rig.updated({ image: 'a' });
    rig.update();
    rig.tick(150);
    rig.next();
    rig.next();
    rig.fail();
    expect(rig.last('g2')).toMatchObject({ phase: 'imaging_failed', error: { code: 'provider' } });
    expect(rig.view).toMatchObject({ content: { image: 'a' }, contentGeneration: 1, covers: 2, fresh: false });
  });

  test('a retry goes on with the stage that failed', () => {
    const rig = rigIn('working', scene);
    rig.next();
    rig.fail();
    rig.tick(250);
    expect(rig.body?.input).toMatchObject({ stage: 'describing', attempt: 2 });
  });
});

describe('cancel', () => {
  for (const state of ['waiting', 'debouncing', 'retrying'] as const) {
    test(`[P1] at once: cancelled by the user while ${state}`, () => {
      const rig = rigIn(state);
      rig.cancel();
      if (state === 'retrying') expect(rig.phases.slice(-2)).toEqual(['cancelling', 'cancelled user']);
      else expect(rig.phases.at(-1)).toBe('cancelled user');
      expect(rig.timers).toBe(0);
    });
  }

  test('draining: at once, and the next run still waits for the body', () => {
    const rig = rigIn('working');
    rig.update();
    rig.tick(150);
    rig.cancel();
    expect(rig.last('g2')).toMatchObject({ phase: 'cancelled', reason: 'user' });
    rig.update();
    rig.tick(150);
    expect(rig.body).toBeUndefined();
    rig.unwind();
    expect(rig.body?.input.run).toBe('g3');
  });

  test('[P1] working: cancelling until the body has unwound', () => {
    const rig = rigIn('cancelling');
    expect(rig.phases.at(-1)).toBe('cancelling');
    rig.tick(4_999);
    expect(rig.phases.at(-1)).toBe('cancelling');
    rig.unwind();
    expect(rig.phases.at(-1)).toBe('cancelled user');
    expect(rig.timers).toBe(0);
  });

  test('working: cancelled after 5 s whatever the body does', () => {
    const rig = rigIn('cancelling');
    rig.tick(5_000);
    expect(rig.phases.at(-1)).toBe('cancelled user');
    rig.unwind();
    expect(rig.phases.filter((phase) => phase.startsWith('cancelled'))).toHaveLength(1);
  });

  test('a newer transcript ends a run that is being cancelled as the user wanted, and begins', () => {
    const rig = rigIn('cancelling');
    rig.update();
    expect(rig.last('g1')).toMatchObject({ phase: 'cancelled', reason: 'user' });
    expect(rig.last('g1').supersededBy).toBeUndefined();
    expect(rig.last('g2').phase).toBe('debouncing');
  });

  test('of another run changes nothing', () => {
    const rig = rigIn('working');
    rig.cancel('other');
    expect(rig.phases).toEqual(['debouncing', 'evaluating']);
  });

  test('twice changes nothing more', () => {
    const rig = rigIn('cancelling');
    rig.cancel();
    expect(rig.phases.filter((phase) => phase === 'cancelling')).toHaveLength(1);
  });

  test('of an idle pane changes nothing', () => {
    const rig = new PaneRig({ shape: history });
    rig.cancel();
    expect(rig.said).toEqual([]);
  });
});

describe('pause', () => {
  for (const state of ['waiting', 'debouncing', 'retrying'] as const) {
    test(`at once while ${state}`, () => {
      const rig = rigIn(state);
      rig.pause();
      expect(rig.phases.at(-1)).toBe('paused');
      expect(rig.view.paused).toBe(true);
      expect(rig.timers).toBe(0);
      rig.tick(100_000);
      expect(rig.phases.at(-1)).toBe('paused');
      rig.resume();
      expect(rig.body?.input).toMatchObject({ run: 'g1', stage: 'evaluating', attempt: state === 'retrying' ? 2 : 1 });
    });
  }

  test('at once while draining', () => {
    const rig = rigIn('working');
    const run = rig.update();
    rig.tick(150);
    rig.pause();
    expect(rig.last(run).phase).toBe('paused');
    rig.unwind();
    expect(rig.body).toBeUndefined();
    rig.resume();
    expect(rig.body?.input).toMatchObject({ run, stage: 'evaluating' });
  });

  test('at the next stage boundary while working; resume goes on with the next stage', () => {
    const rig = rigIn('working');
    rig.pause();
    expect(rig.phases.at(-1)).toBe('evaluating');
    rig.next({ seen: 2 });
    expect(rig.last('g1')).toMatchObject({ phase: 'paused', stage: 'summarizing', checkpoint: { seen: 2 } });
    expect(rig.timers).toBe(0);
    rig.resume();
    expect(rig.phases.slice(-2)).toEqual(['paused', 'summarizing']);
    rig.updated();
    expect(rig.phases.at(-1)).toBe('updated');
  });

  test('a pane of one stage finishes it', () => {
    const rig = rigIn('working', single);
    rig.pause();
    rig.updated();
    expect(rig.phases.at(-1)).toBe('updated');
    expect(rig.view.paused).toBe(true);
    rig.update();
    expect(rig.last('g2').phase).toBe('paused');
  });

  test('wanted while an attempt works that then fails: no further attempt before resume', () => {
    const rig = rigIn('working', single);
    rig.pause();
    rig.fail();
    rig.tick(60_000);
    expect(rig.phases.at(-1)).toBe('paused');
    expect(rig.bodies).toHaveLength(1);
    rig.resume();
    expect(rig.body?.input.attempt).toBe(2);
  });

  test('a pause does not give a run more retries', () => {
    const rig = rigIn('working', single, { retries: 1 });
    rig.fail();
    rig.pause();
    rig.resume();
    rig.fail();
    expect(rig.last('g1')).toMatchObject({ phase: 'error', attempt: 2 });
  });

  for (const proposal of ['update', 'run'] as const) {
    test(`wanted while working, then ${proposal}: the new run stands paused`, () => {
      const rig = rigIn('working');
      rig.pause();
      const run = rig[proposal]();
      expect(rig.last('g1')).toMatchObject({ phase: 'cancelled', reason: 'superseded' });
      expect(rig.last(run).phase).toBe('paused');
      rig.unwind();
      rig.tick(60_000);
      expect(rig.body).toBeUndefined();
      rig.resume();
      expect(rig.body?.input).toMatchObject({ run, stage: proposal === 'run' ? 'summarizing' : 'evaluating' });
    });
  }

  test('a transcript change gives a paused pane a run in phase paused; later ones move it; resume starts it at once', () => {
    const rig = new PaneRig({ shape: history });
    rig.pause();
    expect(rig.facts).toEqual([]);
    rig.update();
    rig.update();
    expect(rig.facts.map(({ run, generation, phase }) => [run, generation, phase])).toEqual([
      ['g1', 1, 'paused'],
      ['g1', 2, 'paused'],
    ]);
    rig.resume();
    expect(rig.body?.input).toMatchObject({ run: 'g1', generation: 2, stage: 'evaluating' });
  });

  test('a run paused between stages is superseded by a newer transcript', () => {
    const rig = rigIn('working');
    rig.pause();
    rig.next();
    rig.update();
    expect(rig.facts.slice(-2).map(({ run, phase }) => `${run} ${phase}`)).toEqual(['g1 cancelled', 'g2 paused']);
    rig.resume();
    expect(rig.body?.input).toMatchObject({ run: 'g2', stage: 'evaluating' });
  });

  test('pane.run while paused starts at resume, with its stage and input', () => {
    const rig = new PaneRig({ shape: history });
    rig.pause();
    const run = rig.run({ tone: 'dry' });
    expect(rig.last(run)).toMatchObject({ phase: 'paused', stage: 'summarizing', input: { tone: 'dry' } });
    rig.resume();
    expect(rig.body?.input).toMatchObject({ run, stage: 'summarizing' });
  });

  test('[P6] latest: what came while the run worked stands as a paused run once it has finished', () => {
    const rig = rigIn('working', single, { policy: 'latest' });
    rig.pause();
    const run = rig.update();
    rig.updated();
    expect(rig.last(run).phase).toBe('paused');
    rig.resume();
    rig.updated();
    expect(rig.view.fresh).toBe(true);
  });

  test('queue: the next queued run stands paused, the others behind it', () => {
    const rig = rigIn('working', single, { policy: 'queue' });
    rig.update();
    rig.update();
    rig.pause();
    rig.updated();
    expect(rig.last('g2').phase).toBe('paused');
    expect(rig.view.queued).toEqual(['g3']);
    rig.cancel('g2');
    expect(rig.last('g3').phase).toBe('paused');
  });

  test('while cancelling: the pane is paused when the body has unwound', () => {
    const rig = rigIn('cancelling');
    rig.pause();
    rig.unwind();
    expect(rig.phases.at(-1)).toBe('cancelled user');
    rig.update();
    expect(rig.last('g2').phase).toBe('paused');
  });

  test('resume before the stage boundary: nothing has happened', () => {
    const rig = rigIn('working');
    rig.pause();
    rig.resume();
    rig.next();
    expect(rig.phases.at(-1)).toBe('summarizing');
  });

  test('resume without a run: back to how the last run ended', () => {
    const rig = rigIn('working', single);
    rig.updated();
    rig.pause();
    rig.resume();
    expect(rig.view).toMatchObject({ phase: 'updated', paused: false });
    expect(rig.timers).toBe(0);
  });

  test('cancel while paused ends the run; the pane stays paused', () => {
    const rig = rigIn('debouncing');
    rig.pause();
    rig.cancel();
    expect(rig.phases.at(-1)).toBe('cancelled user');
    expect(rig.view.paused).toBe(true);
    rig.resume();
    expect(rig.timers).toBe(0);
  });
});

describe('outdate and close', () => {
  for (const state of ['waiting', 'debouncing', 'working', 'retrying', 'cancelling'] as const) {
    test(`[P1] outdate while ${state}: superseded, without a successor`, () => {
      const rig = rigIn(state, history, { driven: false });
      rig.send({ type: 'outdate' });
      expect(rig.last('g1')).toMatchObject({ phase: 'cancelled', reason: 'superseded' });
      expect(rig.last('g1').supersededBy).toBeUndefined();
      expect(rig.timers).toBe(0);
    });

    test(`[P1] close while ${state}: cancelled, reason closed`, () => {
      const rig = rigIn(state);
      rig.send({ type: 'close', reason: 'closed' });
      expect(rig.last('g1')).toMatchObject({ phase: 'cancelled', reason: 'closed' });
      expect(rig.timers).toBe(0);
      rig.send({ type: 'close', reason: 'closed' });
      expect(rig.phases.filter((phase) => phase.startsWith('cancelled'))).toHaveLength(1);
    });
  }

  test('close ends paused and queued runs too', () => {
    const rig = rigIn('working', single, { policy: 'queue' });
    rig.update();
    rig.update();
    rig.pause();
    rig.updated();
    rig.send({ type: 'close', reason: 'deleted' });
    expect(rig.log.runs).toEqual({ g1: 'ended', g2: 'ended', g3: 'ended' });
    expect(rig.phases.slice(-2)).toEqual(['cancelled deleted', 'cancelled deleted']);
  });
});

describe('startOn reply', () => {
  test('waits for an expected reply at most replyWaitMs', () => {
    const rig = rigIn('waiting');
    rig.tick(29_999);
    expect(rig.phases).toEqual(['waiting']);
    rig.tick(1);
    expect(rig.phases).toEqual(['waiting', 'debouncing']);
    rig.tick(150);
    expect(rig.phases.at(-1)).toBe('evaluating');
  });

  test('waits for a reply that is being written without limit, and goes on when it has ended', () => {
    const rig = rigIn('waiting');
    rig.hold('replying');
    rig.tick(10_000_000);
    expect(rig.phases).toEqual(['waiting']);
    rig.hold('none');
    expect(rig.phases).toEqual(['waiting', 'debouncing']);
  });

  test('a reply that goes back to be expected is waited for anew', () => {
    const rig = rigIn('waiting');
    rig.hold('replying');
    rig.hold('expected');
    rig.tick(30_000);
    expect(rig.phases.at(-1)).toBe('debouncing');
  });

  test('a reply that begins while the pane is debouncing is waited for', () => {
    const rig = rigIn('waiting');
    rig.tick(30_000);
    rig.hold('replying');
    rig.tick(1_000);
    expect(rig.phases).toEqual(['waiting', 'debouncing', 'waiting']);
    rig.hold('none');
    rig.tick(150);
    expect(rig.phases.at(-1)).toBe('evaluating');
  });

  test('startOn message does not wait', () => {
    const rig = new PaneRig({ shape: history, options: { startOn: 'message' } });
    rig.update('replying');
    expect(rig.phases).toEqual(['debouncing']);
    rig.hold('replying');
    rig.tick(150);
    expect(rig.phases.at(-1)).toBe('evaluating');
  });
});

describe('late, double and strange reports', () => {
  test('[P1] [P2] of an ended run, of an earlier attempt, after the end: nothing', () => {
    const rig = rigIn('working', single);
    const done = (run: string, attempt: number) =>
      ({
        type: 'stage.done',
        run,
        attempt,
        at: rig.clock.nowMs,
        result: { outcome: 'updated', content: { of: run } },
      }) as const;
    rig.fail();
    rig.tick(250);
    rig.send(done('g1', 1));
    rig.send(done('g0', 2));
    rig.send({
      ...done('g1', 1),
      type: 'stage.failed',
      failure: { error: { code: 'auth', message: '', retryable: false } },
    });
    expect(rig.phases.at(-1)).toBe('streaming');
    const said = rig.said.length;
    rig.updated();
    rig.send(done('g1', 2));
    expect(rig.said.length).toBe(said + 1);
  });

  test('[P2] a stopped body that answers after all finds nobody', () => {
    const rig = rigIn('working', single);
    const [body] = rig.bodies;
    rig.update();
    const said = rig.said.length;
    body?.send({ type: 'stage.done', run: 'g1', attempt: 1, at: 0, result: { outcome: 'updated', content: {} } });
    body?.send({ type: 'heard', kept: true });
    expect(rig.said.length).toBe(said);
  });

  test('a body that reports twice is heard once', () => {
    const rig = rigIn('working');
    const [body] = rig.bodies;
    rig.next();
    body?.send({ type: 'stage.done', run: 'g1', attempt: 1, at: 0, result: { outcome: 'next' } });
    expect(rig.phases.at(-1)).toBe('summarizing');
    expect(rig.bodies).toHaveLength(2);
  });

  test('unwound without a stopped body changes nothing', () => {
    const rig = rigIn('working');
    rig.send({ type: 'unwound' });
    rig.update();
    rig.tick(150);
    expect(rig.body).toBeUndefined();
  });
});

describe('options while at work', () => {
  const chart = {
    startOn: 'message',
    replyWaitMs: 1,
    debounceMs: 10,
    debounceMaxMs: 10,
    timeoutMs: 1_000,
    idleTimeoutMs: 1_000,
    retries: 0,
  } as const;

  test('[P3] a queue does not outlive its policy: latest keeps the newest, supersede drops all with the next run', () => {
    const rig = rigIn('working', single, { policy: 'queue' });
    rig.run();
    rig.run();
    rig.run();
    const queued = () => Object.values(rig.state.view.panes)[0]?.queued ?? [];
    const [oldest, older, newest] = queued();
    rig.send({ type: 'options', options: { ...chart, policy: 'latest' } });
    expect(queued()).toEqual([newest]);
    for (const run of [oldest, older])
      expect(rig.last(run ?? '')).toMatchObject({ phase: 'cancelled', reason: 'superseded' });
    rig.send({ type: 'options', options: { ...chart, policy: 'supersede' } });
    rig.update();
    expect(queued()).toEqual([]);
    expect(rig.last(newest ?? '')).toMatchObject({ phase: 'cancelled', reason: 'superseded' });
  });

  test('a new timeout counts from the next run, a new policy at once', () => {
    const rig = rigIn('working', single);
    const policy: Policy = 'latest';
    rig.send({
      type: 'options',
      options: {
        policy,
        startOn: 'message',
        replyWaitMs: 1,
        debounceMs: 10,
        debounceMaxMs: 10,
        timeoutMs: 1_000,
        idleTimeoutMs: 1,
        retries: 0,
      },
    });
    rig.tick(59_999);
    expect(rig.phases.at(-1)).toBe('streaming');
    rig.updated();
    rig.update();
    rig.tick(10);
    rig.tick(1_000);
    expect(rig.last('g2')).toMatchObject({ phase: 'error', error: { code: 'timeout' } });
  });
});
