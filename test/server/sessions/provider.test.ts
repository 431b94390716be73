import { getEventListeners } from 'node:events';
import { createServer } from 'node:http';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Image, Report, TextModel, TextRequest } from '../../../src/ports/models.ts';
import type { LiveWait } from '../../../src/protocol/frames.ts';
import { createLimits, type HostLimitOptions } from '../../../src/server/limits/limits.ts';
import {
  callProvider,
  streamText,
  Yielded,
  type ProviderCall,
  type Providers,
} from '../../../src/server/sessions/provider.ts';
import { createMetrics } from '../../../src/server/telemetry.ts';
import { SimClock } from '../../support/sim-clock.ts';

const host = 'http://127.0.0.1:7860';
const target = { host, engine: 'fake' };
const asked: TextRequest = {
  stage: 'summarize',
  prompt: [],
  material: { messages: [], current: '', maxChars: 100 },
};
const picture: Image = { bytes: new Uint8Array([1]), extension: 'png' };

/** A promise and what settles it. */
function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve: (value: T) => resolve(value), reject: (error: Error) => reject(error) };
}

/** A piece of work that a backend does until it is told to settle, whatever the signal says. */
class Backend {
  readonly #end = deferred<string>();
  signal: AbortSignal | undefined;
  report: Report | undefined;

  readonly work = (signal: AbortSignal, report: Report): Promise<string> => {
    this.signal = signal;
    this.report = report;
    return this.#end.promise;
  };

  settle(result: string | Error): void {
    if (typeof result === 'string') this.#end.resolve(result);
    else this.#end.reject(result);
  }
}

function setUp(limit: Partial<HostLimitOptions> = {}, stream: TextModel['stream'] = () => pieces([])) {
  const clock = new SimClock();
  const limits = createLimits({ hosts: { [host]: { concurrency: 1, minIntervalMs: 0, ...limit } } }, clock);
  const text: TextModel = { host, engine: () => 'fake', stream };
  const metrics = createMetrics({ eventLoop: false });
  const providers: Providers = { text, limits, clock, metrics };
  return { clock, limits, providers, metrics, load: () => limits.snapshot()[host] };
}

function callOf(more: Partial<ProviderCall> = {}) {
  const heard: string[] = [];
  const waits: LiveWait[] = [];
  const controller = new AbortController();
  const call: ProviderCall = {
    session: 's',
    pane: 'scene',
    priority: 2,
    signal: controller.signal,
    mayYield: () => true,
    yielded: false,
    events: {
      held: () => heard.push('held'),
      granted: () => heard.push('granted'),
      waiting: (wait) => waits.push(wait),
      heard: () => heard.push('heard'),
      progress: (value) => heard.push(`progress ${value}`),
      preview: (image) => heard.push(`preview ${image.extension}`),
    },
    ...more,
  };
  return { call, controller, heard, waits };
}

const reply = (session = 'r') => callOf({ session, pane: 'reply', priority: 0, mayYield: () => false });

/** What a promise came to, once it has. */
function outcome<T>(promise: Promise<T>): { value?: T; error?: unknown } {
  const found: { value?: T; error?: unknown } = {};
  promise.then(
    (value) => (found.value = value),
    (error: unknown) => (found.error = error),
  );
  return found;
}

async function* pieces(texts: readonly string[]): AsyncIterable<string> {
  yield* texts;
}

describe('[Q4] a call and its slot', () => {
  test('resolves with what the work gave; the slot is free again, and no listener stays on the signal', async () => {
    const { clock, providers, load } = setUp();
    const backend = new Backend();
    const { call } = callOf();
    const found = outcome(callProvider(providers, call, target, backend.work));
    await clock.settle();
    expect(load()).toMatchObject({ running: 1 });
    expect(backend.signal).not.toBe(call.signal);
    backend.settle('drawn');
    await clock.settle();
    expect(found).toEqual({ value: 'drawn' });
    expect(load()).toMatchObject({ running: 0, draining: 0, waiting: 0 });
    expect(getEventListeners(call.signal, 'abort')).toEqual([]);
  });

  test.each([
    ['rejects', () => Promise.reject(new Error('no'))],
    [
      'throws',
      () => {
        throw new Error('no');
      },
    ],
  ])('frees the slot when the work %s', async (_, work) => {
    const { clock, providers, load } = setUp();
    const { call } = callOf();
    await expect(callProvider(providers, call, target, work)).rejects.toThrow('no');
    await clock.settle();
    expect(load()).toMatchObject({ running: 0, draining: 0 });
    expect(getEventListeners(call.signal, 'abort')).toEqual([]);
  });

  test('an abort rejects at once with its reason; the slot drains until the backend has really settled', async () => {
    const { clock, providers, load } = setUp();
    const backend = new Backend();
    const { call, controller, heard } = callOf();
    const found = outcome(callProvider(providers, call, target, backend.work));
    await clock.settle();
    const next = callOf({ session: 't' });
    const after = new Backend();
    const waiting = outcome(callProvider(providers, next.call, target, after.work));
    const reason = new Error('superseded');
    controller.abort(reason);
    expect(backend.signal?.reason).toBe(reason);
    expect(getEventListeners(call.signal, 'abort')).toEqual([]);
    await clock.advance(3_600_000);
    expect(found).toEqual({ error: reason });
    expect(load()).toMatchObject({ running: 0, draining: 1, waiting: 1 });
    expect(next.waits.at(-1)).toEqual({ reason: 'draining', position: 1 });
    // Nobody is there any more for what it still says, but for its cost.
    backend.report?.heard();
    backend.report?.progress(1, 2, 'step');
    backend.report?.preview(picture);
    expect(heard).toEqual([]);
    backend.settle('too late');
    await clock.settle();
    expect(load()).toMatchObject({ running: 1, draining: 0, waiting: 0 });
    expect(next.heard).toEqual(['held', 'granted']);
    after.settle('drawn');
    await clock.settle();
    expect(waiting).toEqual({ value: 'drawn' });
  });

  test('aborted while it waits: it never begins, and hears that it waits no more', async () => {
    const { clock, providers, load } = setUp();
    const first = new Backend();
    const running = outcome(callProvider(providers, callOf().call, target, first.work));
    const second = new Backend();
    const { call, controller, heard } = callOf({ session: 't' });
    const found = outcome(callProvider(providers, call, target, second.work));
    await clock.settle();
    controller.abort(new Error('gone'));
    first.settle('');
    await clock.settle();
    expect(found.error).toEqual(new Error('gone'));
    expect(running.value).toBe('');
    expect(heard).toEqual(['held', 'granted']);
    expect(second.signal).toBeUndefined();
    expect(load()).toMatchObject({ running: 0, waiting: 0 });
  });

  test('aborted in the tick in which it got its slot: it never begins, the slot is free', async () => {
    const { clock, providers, load } = setUp();
    const backend = new Backend();
    const { call, controller } = callOf();
    const found = outcome(callProvider(providers, call, target, backend.work));
    controller.abort(new Error('gone'));
    await clock.settle();
    expect(found.error).toEqual(new Error('gone'));
    expect(backend.signal).toBeUndefined();
    expect(load()).toMatchObject({ running: 0, draining: 0 });
  });

  test('[Q6] a task is known to the queue by its tag', async () => {
    const { clock, providers, limits } = setUp();
    const backends = ['run', 'x', 'y'].map((tag) => {
      const backend = new Backend();
      void callProvider(providers, callOf({ tag }).call, target, backend.work);
      return backend;
    });
    await clock.settle();
    expect(limits.prioritize('s', 'scene', 'y')).toBe(true);
    backends[0]?.settle('');
    await clock.settle();
    expect(backends.map(({ signal }) => signal !== undefined)).toEqual([true, false, true]);
    backends[2]?.settle('');
    await clock.settle();
    backends[1]?.settle('');
  });

  test('an engine of this process needs no slot and is aborted all the same', async () => {
    const { clock, providers } = setUp();
    const backend = new Backend();
    const { call, controller } = callOf();
    const found = outcome(callProvider(providers, call, { host: null, engine: 'offline' }, backend.work));
    await clock.settle();
    controller.abort(new Error('gone'));
    await clock.settle();
    expect(found.error).toEqual(new Error('gone'));
    backend.settle(new Error('gone'));
  });

  test('what the engine reports goes on: a preview, progress, and its tokens into the metrics and the minute', async () => {
    const { clock, providers, metrics } = setUp({ concurrency: 5, tokensPerMinute: 30 });
    const backend = new Backend();
    const { call, heard } = callOf();
    void callProvider(providers, call, target, backend.work);
    await clock.settle();
    backend.report?.heard();
    backend.report?.progress(3, 9, 'step');
    backend.report?.preview(picture);
    backend.report?.usage({ input: 10, output: 20 });
    expect(heard).toEqual(['heard', 'progress 3', 'preview png']);
    expect(metrics.registry.render()).toContain('mullion_tokens_total{engine="fake",direction="output"} 20');
    const next = callOf({ session: 't' });
    const controller = next.controller;
    const second = outcome(callProvider(providers, next.call, target, new Backend().work));
    await clock.settle();
    expect(next.waits[0]?.reason).toBe('rate-limit');
    controller.abort(new Error('over'));
    await clock.settle();
    expect(second.error).toEqual(new Error('over'));
    backend.settle('');
  });

  test('over a real socket: the abort closes it, and the slot is free when it is closed', async () => {
    const { providers, load } = setUp();
    const closed = deferred<true>();
    const begun = deferred<true>();
    const server = createServer((_, response) => {
      response.write('…');
      response.on('close', () => closed.resolve(true));
      begun.resolve(true);
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await new Promise((resolve) => void server.once('listening', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const { call, controller } = callOf();
    const ended = deferred<true>();
    const found = callProvider(providers, call, target, async (signal) => {
      try {
        return await (await fetch(`http://127.0.0.1:${port}/`, { signal })).text();
      } finally {
        ended.resolve(true);
      }
    });
    await begun.promise;
    controller.abort(new Error('superseded'));
    await expect(found).rejects.toThrow('superseded');
    await closed.promise;
    await ended.promise;
    await new Promise(setImmediate);
    expect(load()).toMatchObject({ running: 0, draining: 0 });
  });
});

describe('[Q5] a call that yields', () => {
  test('rejects with Yielded at once, and the reply starts when the backend has settled', async () => {
    const { clock, providers, load } = setUp();
    const backend = new Backend();
    const { call, controller, heard } = callOf();
    const found = outcome(callProvider(providers, call, target, backend.work));
    await clock.settle();
    const answer = new Backend();
    void callProvider(providers, reply().call, target, answer.work);
    await clock.settle();
    expect(found.error).toBeInstanceOf(Yielded);
    expect(backend.signal?.reason).toBeInstanceOf(Yielded);
    expect(call.signal.aborted).toBe(false);
    expect(getEventListeners(call.signal, 'abort')).toEqual([]);
    expect(load()).toMatchObject({ running: 0, draining: 1, waiting: 1 });
    backend.report?.progress(5, 9, 'step');
    expect(heard).toEqual([]);
    backend.settle(new Error('stopped'));
    await clock.settle();
    expect(answer.signal?.aborted).toBe(false);
    expect(load()).toMatchObject({ running: 1, draining: 0, waiting: 0 });
    // An abort that comes later finds nothing of it.
    controller.abort(new Error('late'));
    expect(found.error).toBeInstanceOf(Yielded);
    answer.settle('');
  });

  test('the repetition says why it waits', async () => {
    const { clock, providers } = setUp();
    const answer = new Backend();
    void callProvider(providers, reply().call, target, answer.work);
    const { call, waits } = callOf({ yielded: true });
    const backend = new Backend();
    const found = outcome(callProvider(providers, call, target, backend.work));
    await clock.settle();
    expect(waits).toEqual([{ reason: 'yielded', position: 1 }]);
    answer.settle('');
    backend.settle('drawn');
    await clock.settle();
    expect(found).toEqual({ value: 'drawn' });
  });

  test('taken back between the grant and the start: it never begins', async () => {
    const { clock, providers } = setUp();
    const backend = new Backend();
    const answer = new Backend();
    const found = outcome(callProvider(providers, callOf().call, target, backend.work));
    void callProvider(providers, reply().call, target, answer.work);
    await clock.settle();
    expect(found.error).toBeInstanceOf(Yielded);
    expect(backend.signal).toBeUndefined();
    expect(answer.signal?.aborted).toBe(false);
    answer.settle('');
  });

  test('who may not yield is not interrupted', async () => {
    const { clock, providers } = setUp();
    const backend = new Backend();
    const found = outcome(callProvider(providers, callOf({ mayYield: () => false }).call, target, backend.work));
    await clock.settle();
    const answer = new Backend();
    void callProvider(providers, reply().call, target, answer.work);
    await clock.settle();
    expect(backend.signal?.aborted).toBe(false);
    backend.settle('drawn');
    answer.settle('');
    await clock.settle();
    expect(found).toEqual({ value: 'drawn' });
  });
});

describe('[Q4] a stream and its slot', () => {
  const read = async (stream: AsyncIterable<string>, into: string[] = []): Promise<string[]> => {
    for await (const piece of stream) into.push(piece);
    return into;
  };

  test('gives all pieces, and the slot back', async () => {
    const { clock, providers, load } = setUp({}, () => pieces(['a', 'b']));
    const { call } = callOf();
    expect(await read(streamText(providers, call, asked))).toEqual(['a', 'b']);
    await clock.settle();
    expect(load()).toMatchObject({ running: 0, started: 1 });
    expect(getEventListeners(call.signal, 'abort')).toEqual([]);
  });

  test('an engine that throws instead of streaming gives the slot back', async () => {
    const { clock, providers, load } = setUp({}, () => {
      throw new Error('no engine');
    });
    await expect(read(streamText(providers, callOf().call, asked))).rejects.toThrow('no engine');
    await clock.settle();
    expect(load()).toMatchObject({ running: 0, draining: 0 });
  });

  test('whoever stops reading ends the stream, and frees the slot', async () => {
    let ended = false;
    const { clock, providers, load } = setUp({}, async function* endless() {
      try {
        for (;;) yield 'x';
      } finally {
        ended = true;
      }
    });
    for await (const _ of streamText(providers, callOf().call, asked)) break;
    await clock.settle();
    expect(ended).toBe(true);
    expect(load()).toMatchObject({ running: 0, draining: 0 });
  });

  test('an abort throws its reason at once; the slot drains until the engine has ended', async () => {
    const silence = deferred<string>();
    const { clock, providers, load } = setUp({}, async function* deaf() {
      yield 'a';
      yield await silence.promise;
    });
    const { call, controller } = callOf();
    const into: string[] = [];
    const found = outcome(read(streamText(providers, call, asked), into));
    await clock.settle();
    const reason = new Error('superseded');
    controller.abort(reason);
    await clock.settle();
    expect([into, found]).toEqual([['a'], { error: reason }]);
    expect(load()).toMatchObject({ running: 0, draining: 1 });
    silence.resolve('b');
    await clock.settle();
    expect(load()).toMatchObject({ running: 0, draining: 0 });
    expect(getEventListeners(call.signal, 'abort')).toEqual([]);
  });

  test('an abort while the reader is busy with a piece ends the engine without waiting for the reader', async () => {
    let ended = false;
    const { clock, providers, load } = setUp({}, async function* endless() {
      try {
        for (;;) yield 'x';
      } finally {
        ended = true;
      }
    });
    const { call, controller } = callOf();
    const stream = streamText(providers, call, asked)[Symbol.asyncIterator]();
    expect(await stream.next()).toEqual({ done: false, value: 'x' });
    controller.abort(new Error('superseded'));
    await clock.settle();
    expect(ended).toBe(true);
    expect(load()).toMatchObject({ running: 0, draining: 0 });
    await expect(stream.next()).rejects.toThrow('superseded');
  });

  test('[Q5] a stream yields too: Yielded at the reader, its socket closed, the reply starts', async () => {
    let reason: unknown;
    const { clock, providers, load } = setUp({}, async function* obedient(_, signal) {
      yield 'a';
      await new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reason = signal.reason;
          reject(new Error('closed'));
        });
      });
    });
    const into: string[] = [];
    const found = outcome(read(streamText(providers, callOf().call, asked), into));
    await clock.settle();
    const answer = new Backend();
    void callProvider(providers, reply().call, target, answer.work);
    await clock.settle();
    expect(into).toEqual(['a']);
    expect(found.error).toBeInstanceOf(Yielded);
    expect(reason).toBeInstanceOf(Yielded);
    expect(load()).toMatchObject({ running: 1, draining: 0, waiting: 0 });
    answer.settle('');
  });
});
