import { createHash } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { beforeEach, describe, expect, test } from 'vitest';
import { MemoryAssets } from '../../../src/adapters/assets-memory.ts';
import { ProviderError } from '../../../src/ports/errors.ts';
import type { Image, ImageModel, ImageRequest, Report } from '../../../src/ports/models.ts';
import { createLimits } from '../../../src/server/limits/limits.ts';
import { draw, type Drawing, type DrawRequest } from '../../../src/server/sessions/draw.ts';
import { PictureCache } from '../../../src/server/sessions/picture-cache.ts';
import { Previews } from '../../../src/server/sessions/previews.ts';
import { type ProviderCall, Yielded } from '../../../src/server/sessions/provider.ts';
import { createMetrics } from '../../../src/server/telemetry.ts';
import { SimClock } from '../../support/sim-clock.ts';

/** One call of a scripted engine. */
interface Asked {
  request: ImageRequest;
  signal: AbortSignal;
  report: Report;
  settle(outcome: Image | Error): void;
}

/** An engine that does what the test says, on a host of its own. */
class Engine implements ImageModel {
  readonly engine: string;
  readonly host: string;
  readonly variant: string;
  readonly asked: Asked[] = [];

  constructor(engine: string, host = `http://${engine}`, variant = 'v') {
    this.engine = engine;
    this.host = host;
    this.variant = variant;
  }

  generate(request: ImageRequest, signal: AbortSignal, report: Report): Promise<Image> {
    return new Promise((resolve, reject) => {
      const settle = (outcome: Image | Error): void => (outcome instanceof Error ? reject(outcome) : resolve(outcome));
      this.asked.push({ request, signal, report, settle });
    });
  }

  /** Its last call. */
  get last(): Asked {
    const last = this.asked.at(-1);
    if (last === undefined) throw new Error(`${this.engine} was not asked`);
    return last;
  }
}

const picture = (text: string): Image => ({ bytes: Buffer.from(text), extension: 'png' });
const pathOf = (text: string): string => `/v1/assets/s/${createHash('sha256').update(text).digest('hex')}.png`;
const down = (message = 'no connection'): ProviderError => new ProviderError('connection', message);

let clock: SimClock;
let assets: MemoryAssets;
let pictures: PictureCache;
let controller: AbortController;
let events: unknown[];
let yields: boolean;
const [a, b, c] = [new Engine('a'), new Engine('b'), new Engine('c')];

beforeEach(() => {
  clock = new SimClock();
  assets = new MemoryAssets();
  pictures = new PictureCache();
  controller = new AbortController();
  events = [];
  yields = false;
  for (const engine of [a, b, c]) engine.asked.length = 0;
});

function drawingOf(images: Drawing['images'], tryTimeoutMs = 60_000): Drawing {
  const text = {
    engine: () => 'none',
    host: null,
    stream: () => {
      throw new Error('no text');
    },
  };
  const limits = createLimits({ hosts: {}, default: { concurrency: 1, minIntervalMs: 0 } }, clock);
  const metrics = createMetrics({ eventLoop: false });
  return { images, tryTimeoutMs, assets, pictures, previews: new Previews(), text, limits, clock, metrics };
}

const call = (): ProviderCall => ({
  session: 's',
  pane: 'scene',
  priority: 2,
  signal: controller.signal,
  mayYield: () => yields,
  yielded: false,
  events: {
    held: () => void events.push('held'),
    granted: () => void events.push('granted'),
    waiting: ({ reason, position }) => void events.push(['waiting', reason, position]),
    heard: () => void events.push('heard'),
    progress: (...progress) => void events.push(progress),
    preview: ({ bytes }) => void events.push(['preview', Buffer.from(bytes).toString()]),
  },
});

const request = (over: Partial<DrawRequest> = {}): DrawRequest => ({
  session: 's',
  prompt: 'a lighthouse',
  seed: '1',
  ...over,
});

/** Starts to draw; what comes of it, once it is over. */
function start(drawing: Drawing, over: Partial<DrawRequest> = {}) {
  const outcome = draw(drawing, call(), request(over)).catch((error: unknown) => error);
  return { outcome, settle: () => clock.settle() };
}

describe('[D1] a chain of engines', () => {
  test('the first one draws: stored, named, nobody else is asked, nothing is left', async () => {
    const { outcome, settle } = start(drawingOf([a, b]));
    await settle();
    expect(a.last.request).toEqual({ prompt: 'a lighthouse', seed: '1' });
    a.last.settle(picture('A'));
    expect(await outcome).toEqual({ path: pathOf('A'), engine: 'a', cached: false });
    expect(Buffer.from((await assets.get('s', pathOf('A').slice('/v1/assets/s/'.length))) ?? []).toString()).toBe('A');
    await settle();
    expect([b.asked.length, clock.pending, events]).toEqual([0, 0, []]);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test.each([
    ['connection', true],
    ['rate_limited', true],
    ['refused', false],
    ['auth', false],
  ] as const)('%s of the first: the second is asked at once', async (code, retryable) => {
    const { outcome, settle } = start(drawingOf([a, b]));
    await settle();
    const error = new ProviderError(code, 'no', { retryAfterMs: 9_000 });
    expect(error.retryable).toBe(retryable);
    a.last.settle(error);
    await settle();
    expect(events).toEqual([[2, 2, 'engine']]);
    b.last.settle(picture('B'));
    expect(await outcome).toEqual({ path: pathOf('B'), engine: 'b', cached: false });
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    expect(clock.pending).toBe(0);
  });

  test('all fail: the last error, which names the others; tried again when any of them may be', async () => {
    const all = drawingOf([a, b, c]);
    const failing = async (...errors: ProviderError[]): Promise<unknown> => {
      const { outcome, settle } = start(all);
      for (const [index, engine] of [a, b, c].entries()) {
        await settle();
        engine.last.settle(errors[index] ?? down());
      }
      return outcome;
    };
    const refused = new ProviderError('refused', 'not this');
    const limited = new ProviderError('rate_limited', 'slow', { retryAfterMs: 5_000 });
    expect(await failing(limited, down(), refused)).toMatchObject({
      name: 'ProviderError',
      code: 'refused',
      message: 'not this (failed before it: a: rate_limited, b: connection)',
      retryable: true,
      retryAfterMs: undefined,
    });
    expect(await failing(refused, limited, refused)).toMatchObject({ retryable: true, retryAfterMs: 5_000 });
    expect(await failing(refused, refused, refused)).toMatchObject({ retryable: false });
    expect(events.filter((event) => String(event).endsWith('engine'))).toEqual(
      [1, 2, 3].flatMap(() => [
        [2, 3, 'engine'],
        [3, 3, 'engine'],
      ]),
    );
  });

  test('a chain of one fails with the error as it came', async () => {
    const { outcome, settle } = start(drawingOf([a]));
    await settle();
    const error = down();
    a.last.settle(error);
    expect(await outcome).toBe(error);
    expect(events).toEqual([]);
  });

  test('an engine that works too long is left for the next one; its slot is taken until it has really ended', async () => {
    const drawing = drawingOf([a, b], 60_000);
    const { outcome, settle } = start(drawing);
    await clock.advance(59_999);
    expect([a.last.signal.aborted, b.asked.length]).toEqual([false, 0]);
    await clock.advance(1);
    expect(a.last.signal.reason).toMatchObject({
      name: 'ProviderError',
      code: 'timeout',
      message: 'a did not draw within 60000 ms',
    });
    expect(b.asked).toHaveLength(1);
    expect(drawing.limits.snapshot()['http://a']).toMatchObject({ draining: 1 });
    b.last.settle(picture('B'));
    expect(await outcome).toMatchObject({ engine: 'b' });
    a.last.settle(new Error('interrupted at last'));
    await settle();
    expect(drawing.limits.snapshot()['http://a']).toMatchObject({ running: 0, draining: 0 });
  });

  test('the last engine, also of a chain of one, has the time of the run', async () => {
    const { outcome } = start(drawingOf([a, b], 1_000));
    await clock.advance(1_000);
    await clock.advance(3_600_000);
    expect(b.last.signal.aborted).toBe(false);
    b.last.settle(picture('B'));
    expect(await outcome).toMatchObject({ engine: 'b' });
  });

  test('time in the queue of its host is not its share', async () => {
    const drawing = drawingOf([a, b], 60_000);
    const other = draw(drawing, { ...call(), session: 't' }, request({ session: 't' }));
    await clock.settle();
    const { outcome, settle } = start(drawing);
    await clock.advance(59_000);
    a.last.settle(picture('T'));
    await other;
    await settle();
    expect(events).toEqual(['held', ['waiting', 'queue', 1], 'granted']);
    await clock.advance(59_999);
    a.last.settle(picture('A'));
    expect(await outcome).toMatchObject({ engine: 'a' });
  });

  test('what an engine says after its share is not shown; numbers of the next are told apart by "engine"', async () => {
    const { outcome, settle } = start(drawingOf([a, b], 60_000));
    await settle();
    a.last.report.progress(18, 20, 'step');
    a.last.report.preview(picture('half'));
    a.last.settle(down());
    await settle();
    for (const { report } of [a.last]) {
      report.progress(20, 20, 'step');
      report.preview(picture('late'));
      report.heard();
    }
    b.last.report.progress(1, 20, 'step');
    b.last.settle(picture('B'));
    await outcome;
    b.last.report.progress(20, 20, 'step');
    expect(events).toEqual([
      [18, 20, 'step'],
      ['preview', 'half'],
      [2, 2, 'engine'],
      [1, 20, 'step'],
    ]);
  });

  test('only the last engine is heard: the idle timeout would else go on for one that is silent until it is done', async () => {
    const { outcome, settle } = start(drawingOf([a, b]));
    await settle();
    a.last.report.heard();
    expect(events).toEqual([]);
    a.last.settle(down());
    await settle();
    b.last.report.heard();
    b.last.settle(picture('B'));
    await outcome;
    expect(events).toEqual([[2, 2, 'engine'], 'heard']);
  });

  test('an abort ends it with its reason, whatever the engine does, and asks nobody else', async () => {
    const reason = new Error('superseded');
    for (const settled of [down(), picture('A')]) {
      controller = new AbortController();
      const { outcome, settle } = start(drawingOf([a, b]));
      await settle();
      controller.abort(reason);
      a.last.settle(settled);
      expect(await outcome).toBe(reason);
      expect(a.last.signal.reason).toBe(reason);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    }
    expect([b.asked.length, clock.pending, pictures.size]).toEqual([0, 0, 0]);
    const before = start(drawingOf([a, b]));
    expect(await before.outcome).toBe(reason);
    expect(a.asked).toHaveLength(2);
  });

  test('the reason of an abort is passed on as it is, also one that looks like an error of the last engine', async () => {
    const reason = new ProviderError('timeout', 'the run took too long');
    const { outcome, settle } = start(drawingOf([a, b]));
    await settle();
    a.last.settle(down());
    await settle();
    controller.abort(reason);
    expect(await outcome).toBe(reason);
    b.last.settle(reason);
  });

  test('a slot that is taken back for a reply is no failure of the engine', async () => {
    yields = true;
    const drawing = drawingOf([a, b]);
    const { outcome, settle } = start(drawing);
    await settle();
    const reply = drawing.limits.acquire(
      { host: 'http://a', session: 's', pane: 'reply', priority: 0 },
      new AbortController().signal,
    );
    expect(await outcome).toBeInstanceOf(Yielded);
    a.last.settle(down());
    (await reply).release();
    await settle();
    expect([b.asked.length, clock.pending]).toEqual([0, 0]);
  });

  test('what is no fault of a provider is not hidden by the next engine', async () => {
    const { outcome, settle } = start(drawingOf([a, b]));
    await settle();
    const bug = new TypeError('x is not a function');
    a.last.settle(bug);
    expect(await outcome).toBe(bug);

    assets.put = () => Promise.reject(new Error('ENOSPC'));
    const full = start(drawingOf([a, b]));
    await settle();
    a.last.settle(picture('A'));
    expect(await full.outcome).toMatchObject({ message: 'ENOSPC' });
    expect([b.asked.length, pictures.size]).toEqual([0, 0]);
  });

  test('each engine has a name of its own for each picture of the job, the same again after a restart', async () => {
    const job = '0198f0a0-0000-7000-8000-000000000001';
    const namesOf = async (over: Partial<DrawRequest>): Promise<string[]> => {
      const { outcome, settle } = start(drawingOf([a, b, c]), { job, ...over });
      for (const engine of [a, b, c]) {
        await settle();
        engine.last.settle(down());
      }
      await outcome;
      return [a, b, c].map((engine) => engine.last.request.job ?? '');
    };
    const names = await namesOf({});
    expect(await namesOf({})).toEqual(names);
    const others = [{ prompt: 'another' }, { seed: '2' }, { job: '0198f0a0-0000-7000-8000-000000000002' }];
    for (const over of others) names.push(...(await namesOf(over)));
    expect(new Set(names).size).toBe(12);
    for (const name of names) expect(name).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

describe('[D2] the same description is drawn once', () => {
  async function drawn(drawing: Drawing, engine: Engine, text: string, over: Partial<DrawRequest> = {}) {
    const before = engine.asked.length;
    const { outcome, settle } = start(drawing, over);
    await settle();
    if (engine.asked.length > before) engine.last.settle(picture(text));
    return outcome;
  }

  test('found again without a call or a slot, whatever the seed; another prompt or session is drawn', async () => {
    const drawing = drawingOf([a]);
    expect(await drawn(drawing, a, '1')).toMatchObject({ path: pathOf('1'), cached: false });
    const slot = await drawing.limits.acquire(
      { host: 'http://a', session: 'x', pane: 'scene', priority: 2 },
      controller.signal,
    );
    expect(await drawn(drawing, a, '2', { seed: '2' })).toEqual({ path: pathOf('1'), engine: 'a', cached: true });
    expect([a.asked.length, events]).toEqual([1, []]);
    slot.release();
    expect(await drawn(drawing, a, '3', { prompt: 'a lighthouse!' })).toMatchObject({ cached: false });
    expect(await drawn(drawing, a, '4', { session: 't' })).toMatchObject({ cached: false });
    expect(a.asked).toHaveLength(3);
  });

  test('fresh draws anew, and the new picture is the one that is found from then on', async () => {
    const drawing = drawingOf([a]);
    await drawn(drawing, a, '1');
    expect(await drawn(drawing, a, '2', { fresh: true })).toMatchObject({ path: pathOf('2'), cached: false });
    expect(await drawn(drawing, a, '3')).toEqual({ path: pathOf('2'), engine: 'a', cached: true });
  });

  test('of another engine or variant it is not the same picture', async () => {
    await drawn(drawingOf([a]), a, '1');
    const large = new Engine('a', 'http://a', 'large');
    expect(await drawn(drawingOf([large]), large, '2')).toMatchObject({ path: pathOf('2'), cached: false });
    expect(await drawn(drawingOf([b]), b, '3')).toMatchObject({ path: pathOf('3'), cached: false });
  });

  test('the first engine is asked although the second has drawn it; when it fails again, the second is not', async () => {
    const drawing = drawingOf([a, b]);
    for (const cached of [false, true]) {
      const { outcome, settle } = start(drawing);
      await settle();
      a.last.settle(down());
      await settle();
      if (!cached) b.last.settle(picture('B'));
      expect(await outcome).toEqual({ path: pathOf('B'), engine: 'b', cached });
    }
    expect([a.asked.length, b.asked.length]).toEqual([2, 1]);
  });

  test.each([
    ['is gone', () => Promise.resolve(undefined)],
    ['cannot be read', () => Promise.reject(new Error('EIO'))],
  ])('a picture whose file %s is drawn anew', async (_, get) => {
    const drawing = drawingOf([a]);
    await drawn(drawing, a, '1');
    assets.get = get;
    expect(await drawn(drawing, a, '2')).toMatchObject({ path: pathOf('2'), cached: false });
  });

  test('an abort while the file is looked for ends it', async () => {
    const drawing = drawingOf([a]);
    await drawn(drawing, a, '1');
    assets.get = () => new Promise(() => {});
    const { outcome } = start(drawing);
    controller.abort(new Error('stopped'));
    expect(await outcome).toMatchObject({ message: 'stopped' });
  });
});
