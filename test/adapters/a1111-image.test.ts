import { afterEach, describe, expect, test } from 'vitest';
import { getEventListeners } from 'node:events';
import { inspect } from 'node:util';
import { a1111Image, type A1111Options } from '../../src/adapters/a1111-image.ts';
import { probeA1111 } from '../../src/adapters/a1111-probe.ts';
import { httpBackend, httpJson } from '../../src/adapters/http-json.ts';
import { ProviderError } from '../../src/ports/errors.ts';
import { settleMs, type Image, type Report } from '../../src/ports/models.ts';
import { SimClock } from '../support/sim-clock.ts';
import { startFakeA1111, type FakeA1111, type Flavour } from '../support/fake-a1111.ts';
import { cases, png } from '../support/hostile-cases.ts';
import { startHostileServer, type HostileServer, type Script } from '../support/hostile-server.ts';
import { imageEngineContract, type ImageBench, type ImageCan } from './image-engine.contract.ts';

const auth = { user: 'mullion', password: 'p4ssword-of-the-webui' };

const can: ImageCan = {
  progress: true,
  preview: true,
  queue: true,
  interrupt: true,
  halfMade: true,
  outlives: true,
  names: true,
  reattach: 'A1111 gives a picture only to the request that asked for it',
  seed: true,
  secret: true,
};

const unnamed: ImageCan = {
  ...can,
  progress: 'the backend does not say whose progress it is',
  preview: 'the backend does not say whose preview it is',
  interrupt: 'the backend does not say whose job runs, so it is never interrupted',
  names: 'the backend knows no job by our name',
};

async function open(flavour: Flavour, able: ImageCan): Promise<ImageBench> {
  const maxBytes = 64 * 1024;
  const fake = await startFakeA1111({ flavour, auth, maxBytes });
  const clock = new SimClock();
  const model = a1111Image({ baseUrl: fake.origin, auth, clock, pollMs: 50, maxBytes });
  return { ...fake, model, clock, can: able, maxBytes, secret: auth.password, dispose: () => fake.close() };
}

imageEngineContract('A1111', can, () => open('a1111', can));
imageEngineContract('Forge', can, () => open('forge', can));
imageEngineContract('SD.Next', unnamed, () => open('sdnext', unnamed));
imageEngineContract('KoboldCpp', unnamed, () => open('kobold', unnamed));

let fake: FakeA1111 | undefined;
let hostile: HostileServer | undefined;
afterEach(async () => {
  await Promise.all([fake?.close(), hostile?.close()]);
  fake = undefined;
  hostile = undefined;
});

async function started(options: Parameters<typeof startFakeA1111>[0] = {}): Promise<FakeA1111> {
  fake = await startFakeA1111(options);
  return fake;
}

const reason = new Error('superseded');
const sees = (text: string): unknown => expect.stringContaining(text);

interface Drawn {
  readonly result: Promise<Image>;
  readonly controller: AbortController;
  /** Names of the reports, in order, with the value of a progress. */
  readonly told: string[];
}

function draw(options: A1111Options, job?: string): Drawn {
  const controller = new AbortController();
  const told: string[] = [];
  const report: Report = {
    heard: () => void told.push('heard'),
    progress: (value, max, unit) => void told.push(`${value}/${max} ${unit}`),
    preview: ({ extension }) => void told.push(extension),
    usage: () => void told.push('usage'),
  };
  const request = { prompt: 'it', seed: 's', ...(job === undefined ? {} : { job }) };
  const result = a1111Image({ pollMs: 5, ...options }).generate(request, controller.signal, report);
  result.catch(() => undefined);
  return { result, controller, told };
}

async function failureOf({ result }: Drawn): Promise<ProviderError> {
  const error: unknown = await result.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ProviderError)) throw new Error(`expected a ProviderError, got ${inspect(error)}`);
  return error;
}

/** Resolves when the fake has got the n-th request of this path from now on. */
function awaitPath(server: FakeA1111, wanted: string, nth = 1): Promise<void> {
  return new Promise((resolve) => {
    let left = nth;
    server.onRequest = (path) => {
      if (path === wanted && (left -= 1) === 0) resolve();
    };
  });
}

const look = 'POST /internal/progress';

describe('the request', () => {
  test('has what is configured, one picture, nothing saved there, and a name of its own', async () => {
    const { origin, bodies } = await started();
    await draw({ baseUrl: `${origin}/` }).result;
    await draw({
      baseUrl: origin,
      model: 'toon.safetensors',
      size: '768x512',
      steps: 20,
      cfgScale: 6.5,
      sampler: 'Euler a',
      negativePrompt: 'blurry',
    }).result;
    const common = { prompt: 'it', batch_size: 1, n_iter: 1, send_images: true, save_images: false };
    const first = bodies[0] ?? {};
    expect(first).toEqual({ ...common, seed: first['seed'], force_task_id: first['force_task_id'] });
    expect(bodies[1]).toMatchObject({
      ...common,
      width: 768,
      height: 512,
      steps: 20,
      cfg_scale: 6.5,
      sampler_name: 'Euler a',
      negative_prompt: 'blurry',
      override_settings: { sd_model_checkpoint: 'toon.safetensors' },
    });
    expect(first['seed']).toBe(bodies[1]?.['seed']);
    expect(Number(first['seed'])).toBeGreaterThanOrEqual(0);
    expect(Number(first['seed'])).toBeLessThan(2 ** 32);
  });

  test('two calls with the same job have different names that begin with it', async () => {
    const { origin, bodies } = await started();
    const job = '0197a5b0-0000-7000-8000-000000000001';
    for (let i = 0; i < 2; i += 1) await draw({ baseUrl: origin }, job).result;
    const names = bodies.map((body) => String(body['force_task_id']));
    expect(names.map((name) => name.startsWith(`${job}.`))).toEqual([true, true]);
    expect(new Set(names).size).toBe(2);
  });

  test('engine, host and variant', () => {
    const plain = a1111Image({ baseUrl: 'http://127.0.0.1:7860/ui/' });
    expect(plain).toMatchObject({ engine: 'a1111', host: 'http://127.0.0.1:7860', variant: '{}' });
    const variants = [
      { model: 'a' },
      { size: '512x512' },
      { steps: 9 },
      { cfgScale: 2 },
      { sampler: 'Euler' },
      { negativePrompt: 'x' },
    ].map((options) => a1111Image({ baseUrl: 'http://h', ...options }).variant);
    expect(new Set(variants).size).toBe(variants.length);
    expect(a1111Image({ baseUrl: 'http://h', model: 'a' }).engine).toBe('a');
  });

  test.each([
    ['baseUrl', { baseUrl: 'nonsense' }],
    ['baseUrl', { baseUrl: 'ftp://h' }],
    ['baseUrl', { baseUrl: 'http://u:p4ssword@h' }],
    ['baseUrl', { baseUrl: 'http://h/?x=1' }],
    ['auth.user', { auth: { user: 'a:b', password: 'p4ssword' } }],
    ['size', { size: '512' }],
    ['size', { size: '63x512' }],
    ['size', { size: '512x8193' }],
    ['size', { size: 'axb' }],
  ])('%s: %o is refused', (setting, options) => {
    const make = (): unknown => a1111Image({ baseUrl: 'http://h', ...options });
    expect(make).toThrow(TypeError);
    expect(make).toThrow(new RegExp(`^${setting}: `));
    expect(make).not.toThrow(/p4ssword/);
  });

  test.each(['64x8192', '8192x64'])('size %s is taken', (size) => {
    expect(a1111Image({ baseUrl: 'http://h', size }).variant).toContain('8192');
  });
});

describe('[I7] an interrupt', () => {
  const running = async (server: FakeA1111): Promise<Drawn> => {
    server.script('it', { do: 'draw', steps: 4 });
    const drawn = draw({ baseUrl: server.origin });
    await awaitPath(server, look, 2);
    server.step();
    return drawn;
  };

  test.each([
    [999, 0],
    [1000, 1],
    [null, 1],
  ])('is sent once when the job needs %s ms yet: %s', async (etaMs, count) => {
    const server = await started();
    server.etaS = etaMs === null ? null : etaMs / 1000;
    const { result, controller } = await running(server);
    controller.abort(reason);
    if (count === 0) {
      await awaitPath(server, look, 3);
      server.step(9);
    }
    await expect(result).rejects.toBe(reason);
    expect(server.interrupts).toHaveLength(count);
  });

  test('is not sent at 100 %: only the decoding is left', async () => {
    const server = await started();
    const { result, controller } = await running(server);
    server.step(3);
    controller.abort(reason);
    await awaitPath(server, look, 3);
    server.step();
    await expect(result).rejects.toBe(reason);
    expect(server.interrupts).toEqual([]);
  });

  test('is sent for each of two jobs in its turn, and not for the one behind them', async () => {
    const server = await started();
    server.script('it', { do: 'draw', steps: 4 });
    const first = draw({ baseUrl: server.origin });
    await awaitPath(server, look);
    const second = draw({ baseUrl: server.origin });
    await awaitPath(server, 'POST /sdapi/v1/txt2img');
    const behind = server.foreign(2);
    first.controller.abort(reason);
    second.controller.abort(reason);
    await expect(first.result).rejects.toBe(reason);
    await expect(second.result).rejects.toBe(reason);
    expect(server.interrupts).toEqual(server.bodies.map((body) => body['force_task_id']));
    expect(server.jobs().at(-1)).toMatchObject({ id: behind.id, state: 'running' });
  });

  test('is not sent when the task that failed before is still called active, as A1111 does', async () => {
    const server = await started();
    server.script('it', { do: 'error', status: 500, message: 'CUDA out of memory' }, { do: 'draw', steps: 2 });
    expect(await failureOf(draw({ baseUrl: server.origin }, 'job'))).toMatchObject({ message: sees('CUDA out of') });
    server.foreign(1);
    const { result, controller, told } = draw({ baseUrl: server.origin }, 'job');
    await awaitPath(server, look, 2);
    controller.abort(reason);
    await awaitPath(server, look, 2);
    expect(server.interrupts).toEqual([]);
    expect(told).not.toContain(sees('percent'));
    server.step(2);
    await expect(result).rejects.toBe(reason);
    expect(server.interrupts).toEqual([server.bodies[1]?.['force_task_id']]);
  });

  test('is sent once to a backend that does not obey, which is then waited for', async () => {
    const server = await started();
    const { result, controller } = await running(server);
    server.deafen();
    controller.abort(reason);
    await awaitPath(server, look, 5);
    expect(server.interrupts).toHaveLength(1);
    server.step(9);
    await expect(result).rejects.toBe(reason);
    expect(server.interrupts).toHaveLength(1);
  });

  test('is never sent to SD.Next, which does not say whose job runs', async () => {
    const server = await started({ flavour: 'sdnext' });
    const { result, controller } = await running(server);
    controller.abort(reason);
    await awaitPath(server, look, 3);
    server.step(9);
    await expect(result).rejects.toBe(reason);
    expect(server.paths).not.toContain('POST /sdapi/v1/interrupt');
  });

  test('is never sent to KoboldCpp, and its progress, which it does not have, is asked for once', async () => {
    const server = await started({ flavour: 'kobold' });
    const clock = new SimClock();
    server.script('it', { do: 'draw', steps: 1 });
    const { result, controller } = draw({ baseUrl: server.origin, clock });
    const looks = (): number => server.paths.filter((path) => path === look).length;
    const goOn = async (): Promise<void> => {
      for (let i = 0; i < 20; i += 1) {
        await clock.advance(5);
        await new Promise((resolve) => {
          setTimeout(resolve, 1);
        });
      }
    };
    await goOn();
    expect(looks()).toBe(1);
    controller.abort(reason);
    await goOn();
    expect(looks()).toBe(2);
    server.step(2);
    await expect(result).rejects.toBe(reason);
    expect(server.paths).not.toContain('POST /sdapi/v1/interrupt');
    expect(clock.pending).toBe(0);
  });
});

describe('[I6] after an abort', () => {
  /** Lets the clock and the sockets go on until the fake has been looked at three times more, or the call is over. */
  const threeLooks = async (server: FakeA1111, clock: SimClock, isOver: () => boolean): Promise<void> => {
    const before = server.paths.length;
    while (server.paths.length < before + 3 && !isOver()) {
      await clock.advance(5);
      await new Promise((resolve) => {
        setTimeout(resolve, 1);
      });
    }
  };

  test.each(['a1111', 'sdnext'] as const)(
    'a broken socket does not mean that the work is over (%s)',
    async (flavour) => {
      const server = await started({ flavour });
      const clock = new SimClock();
      server.script('it', { do: 'draw', steps: 2 });
      const { result, controller } = draw({ baseUrl: server.origin, clock });
      let isSettled = false;
      result.catch(() => (isSettled = true));
      await threeLooks(server, clock, () => isSettled);
      server.deafen();
      controller.abort(reason);
      server.cutSockets();
      await threeLooks(server, clock, () => isSettled);
      expect(isSettled).toBe(false);
      server.step(3);
      await threeLooks(server, clock, () => isSettled);
      // SD.Next never said that it knows the job, so that it says nothing now means nothing.
      expect(isSettled).toBe(flavour === 'a1111');
      await clock.advance(settleMs);
      await expect(result).rejects.toBe(reason);
    },
  );

  test('a job that the backend does not know may be on its way there while its socket is open', async () => {
    hostile = await startHostileServer();
    const server = hostile;
    let isActive = true;
    let answer: () => void = () => undefined;
    server.script(
      cases.byPath({
        '/sdapi/v1/txt2img': (exchange) => {
          answer = () => void cases.json({ images: [] })(exchange);
        },
        '/internal/progress': (exchange) => cases.json({ active: isActive, queued: false })(exchange),
        '/sdapi/v1/interrupt': cases.json({}),
      }),
    );
    const { result, controller } = draw({ baseUrl: server.origin });
    let isSettled = false;
    result.catch(() => (isSettled = true));
    for (let i = 0; i < 3; i += 1) await server.awaitRequest();
    isActive = false;
    controller.abort(reason);
    for (let i = 0; i < 4; i += 1) await server.awaitRequest();
    expect(isSettled).toBe(false);
    answer();
    await expect(result).rejects.toBe(reason);
  });
});

test('[I3] progress that the backend counts anew does not go back', async () => {
  hostile = await startHostileServer();
  const server = hostile;
  const counts = [0.5, 0.2, 0.8];
  let done: () => void = () => undefined;
  const isDone = new Promise<void>((resolve) => {
    done = resolve;
  });
  server.script(
    cases.byPath({
      '/sdapi/v1/txt2img': async (exchange) => {
        await isDone;
        await cases.json({ images: [png.toString('base64')] })(exchange);
      },
      '/internal/progress': (exchange) => {
        const progress = counts.shift();
        if (progress === undefined) done();
        return cases.json({ active: progress !== undefined, queued: false, progress })(exchange);
      },
    }),
  );
  const { result, told } = draw({ baseUrl: server.origin });
  await result;
  expect(told.filter((note) => note !== 'heard')).toEqual(['50/100 percent', '80/100 percent']);
});

test.each(['a1111', 'forge', 'sdnext'] as const)('[I8] %s: a job that somebody interrupts fails', async (flavour) => {
  const server = await started({ flavour });
  server.script('it', { do: 'draw', steps: 4 });
  const drawn = draw({ baseUrl: server.origin });
  await awaitPath(server, look, 2);
  server.interruptByOther();
  expect(await failureOf(drawn)).toMatchObject({ code: 'provider', retryable: true, message: sees('half-made') });
  // The flag of the job before does not spoil the next one.
  server.script('it', { do: 'draw' });
  expect((await draw({ baseUrl: server.origin }).result).extension).toBe('png');
});

test('a job that waits or runs rearms the idle timeout; without a clock of ours the machine has one', async () => {
  const server = await started();
  server.foreign(1);
  server.script('it', { do: 'draw', steps: 2, previews: [png] });
  const { result, told } = draw({ baseUrl: server.origin });
  await awaitPath(server, look, 3);
  expect(told).toContain('heard');
  expect(told).not.toContain('0/100 percent');
  server.step(2);
  await awaitPath(server, look, 3);
  server.step();
  await awaitPath(server, look, 3);
  server.step(2);
  await result;
  expect(told.filter((note) => note !== 'heard')).toEqual(['0/100 percent', '50/100 percent', 'png']);
});

describe('[I9] errors', () => {
  test.each([
    ['a1111', 'HTTP 404'],
    ['sdnext', 'HTTP 404'],
    ['forge', 'HTTP 500'],
  ] as const)('a model that %s does not have is not tried again (%s)', async (flavour, status) => {
    const { origin } = await started({ flavour });
    expect(await failureOf(draw({ baseUrl: origin, model: 'gone' }))).toMatchObject({
      code: 'bad_request',
      retryable: false,
      message: sees(status),
    });
  });

  test('the sentence of the backend is in them, not the name of a Python class', async () => {
    const server = await started();
    for (const [status, text] of [
      [500, ': CUDA out of memory'],
      [400, ': CUDA out of memory'],
      [422, ': body.steps: CUDA out of memory'],
    ] as const) {
      server.script('it', { do: 'error', status, message: 'CUDA out of memory' });
      expect((await failureOf(draw({ baseUrl: server.origin }))).message).toBe(
        `HTTP ${status} from ${server.origin}${text}`,
      );
    }
    server.script('it', { do: 'error-in-200' });
    expect(await failureOf(draw({ baseUrl: server.origin }))).toMatchObject({
      message: sees('in an HTTP 200: CUDA out of memory'),
    });
  });

  test('base64 that is cut or none, no picture at all', async () => {
    hostile = await startHostileServer();
    for (const [answer, message] of [
      [{ images: ['!!!!'] }, 'cut or not base64'],
      [{ images: [png.toString('base64').slice(0, 33)] }, 'cut or not base64'],
      [{ images: ['data:image/png,abcd'] }, 'cut or not base64'],
      [{ images: [] }, 'without a picture: {"images":[]}'],
      [{ images: [{}] }, 'without a picture'],
      [[], 'without a picture: []'],
    ] as const) {
      hostile.script(cases.byPath({ '/sdapi/v1/txt2img': cases.json(answer) }));
      expect(await failureOf(draw({ baseUrl: hostile.origin }))).toMatchObject({
        code: 'provider',
        message: sees(message),
      });
    }
    hostile.script(cases.byPath({ '/sdapi/v1/txt2img': cases.reply(204) }));
    expect(await failureOf(draw({ baseUrl: hostile.origin }))).toMatchObject({ message: sees('without a picture') });
    const uri = { images: [`data:image/png;base64,${png.toString('base64')}`] };
    hostile.script(cases.byPath({ '/sdapi/v1/txt2img': cases.json(uri) }));
    expect((await draw({ baseUrl: hostile.origin }).result).extension).toBe('png');
  });

  test('nobody listens', async () => {
    const gone = await startFakeA1111();
    await gone.close();
    const { origin } = gone;
    expect(await failureOf(draw({ baseUrl: origin }))).toMatchObject({ code: 'connection', retryable: true });
  });

  test('the wrong password', async () => {
    const { origin } = await started({ auth });
    const wrong = { user: 'mullion', password: 'wr0ng-p4ssword' };
    const error = await failureOf(draw({ baseUrl: origin, auth: wrong }));
    expect(error).toMatchObject({ code: 'auth', retryable: false, message: sees('Incorrect username or password') });
  });

  test('[I12] neither the password nor its base64 is in a message, however the backend repeats it', async () => {
    const token = Buffer.from(`${auth.user}:${auth.password}`).toString('base64');
    const server = await started();
    // The first would be cut in the middle of the token by the length of a message.
    for (const message of [`${'x'.repeat(240)}${token}`, `${token} ${auth.password}`]) {
      for (const status of [400, 422, 500]) {
        server.script('it', { do: 'error', status, message });
        const shown = inspect(await failureOf(draw({ baseUrl: server.origin, auth })), { depth: 9 });
        expect(shown).not.toContain(token.slice(0, 12));
        expect(shown).not.toContain(auth.password);
      }
    }
  });

  test('a redirect is not followed', async () => {
    hostile = await startHostileServer();
    hostile.script(cases.byPath({ '/sdapi/v1/txt2img': cases.reply(302, '', { location: '/elsewhere' }) }));
    expect(await failureOf(draw({ baseUrl: hostile.origin }))).toMatchObject({ message: sees('not followed') });
    expect(hostile.requests.some(({ path }) => path === '/elsewhere')).toBe(false);
  });
});

describe('a progress that fails', () => {
  const answer = cases.json({ images: [png.toString('base64')], info: '{}' });

  test.each([
    ['is HTML', cases.html(200)],
    ['is cut', cases.cut('{"active"')],
    ['has no end', cases.endless('{"active":true,"live_preview":"')],
    ['is of another shape', cases.json({ active: 1, queued: 'no', progress: 'half' })],
    ['counts beyond 1', cases.json({ active: true, queued: false, progress: 17, live_preview: 'data:image/png,x' })],
  ])('[I10] %s: the picture comes all the same', async (_, script) => {
    hostile = await startHostileServer();
    const server = hostile;
    let looks = 0;
    let release: () => void = () => undefined;
    const seen = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.script(
      cases.byPath({
        '/sdapi/v1/txt2img': async (exchange) => {
          await seen;
          await answer(exchange);
        },
        '/internal/progress': async (exchange) => {
          if ((looks += 1) === 3) release();
          await script(exchange);
        },
      }),
    );
    const { result, told } = draw({ baseUrl: server.origin, maxBytes: 64 * 1024 });
    expect(await result).toMatchObject({ extension: 'png' });
    expect(told.filter((note) => note !== 'heard')).toEqual([]);
  });

  test('never comes: after 10 s the next look; after an abort it does not outlast the limit', async () => {
    hostile = await startHostileServer();
    hostile.script(cases.silence);
    const clock = new SimClock();
    const { result, controller } = draw({ baseUrl: hostile.origin, clock });
    await hostile.awaitRequest();
    await clock.advance(5);
    const first = await hostile.awaitRequest();
    expect(first.path).toBe('/internal/progress');
    await clock.advance(10_000);
    expect(await first.closed).toBe('early');
    await clock.advance(5);
    expect((await hostile.awaitRequest()).path).toBe('/internal/progress');
    controller.abort(reason);
    let isSettled = false;
    result.catch(() => (isSettled = true));
    await clock.advance(settleMs - 1);
    expect(isSettled).toBe(false);
    await clock.advance(1);
    await expect(result).rejects.toBe(reason);
    expect(clock.pending).toBe(0);
    await Promise.all(hostile.requests.map(({ closed }) => closed));
  });
});

describe('[I11] httpJson', () => {
  test('leaves no listener on the signal, no timer and no socket, and reads 64 KiB of an error that has no end', async () => {
    hostile = await startHostileServer();
    const clock = new SimClock();
    const backend = httpBackend({ baseUrl: hostile.origin, clock });
    const { signal } = new AbortController();
    const endlessError: Script = async (exchange) => {
      exchange.head(500);
      while (!exchange.over) await exchange.write('x'.repeat(4096));
    };
    hostile.script(cases.json({ a: 1 }), endlessError, cases.cut('{'), cases.json({ a: 2 }));
    const ask = (): Promise<unknown> =>
      httpJson(backend, { method: 'GET', path: '/x', maxBytes: 100, timeoutMs: 1000, signal });
    expect(await ask()).toEqual({ a: 1 });
    await expect(ask()).rejects.toMatchObject({ code: 'provider', message: sees('HTTP 500') });
    await expect(ask()).rejects.toMatchObject({ code: 'connection' });
    expect(await ask()).toEqual({ a: 2 });
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    expect(clock.pending).toBe(0);
    await Promise.all(hostile.requests.map(({ closed }) => closed));
  });
});

describe('probe', () => {
  const probe = (options: Partial<A1111Options> = {}): ReturnType<typeof probeA1111> =>
    probeA1111({ baseUrl: fake?.origin ?? '', ...options });

  test('lists the model, by each of its names', async () => {
    const { origin } = await started({ auth, models: ['sub/dream.safetensors [abcdef1234]'] });
    for (const model of ['sub/dream.safetensors [abcdef1234]', 'sub/dream.safetensors', 'dream.safetensors', 'dream']) {
      expect(await probe({ auth, model })).toEqual({ ok: true, message: `${origin} draws with ${model}` });
    }
    const loaded = `${origin} draws with sub/dream.safetensors [abcdef1234]`;
    expect(await probe({ auth })).toEqual({ ok: true, message: loaded });
    expect(await probe({ auth, model: 'gone' })).toEqual({
      ok: false,
      message: `expected gone at ${origin}: it is not listed; it lists sub/dream.safetensors [abcdef1234]`,
    });
    expect(await probe({ auth: { user: 'mullion', password: 'wr0ng-p4ssword' } })).toMatchObject({
      ok: false,
      message: sees('HTTP 401'),
    });
  });

  test('says what else is there', async () => {
    const { origin } = await started({ flavour: 'kobold' });
    expect(await probe()).toEqual({
      ok: true,
      message: `${origin} draws with the model that is loaded there, without progress`,
    });
    expect(await probeA1111({ baseUrl: `${origin}/not-here` })).toMatchObject({ ok: false, message: sees('--api') });
    expect(await probeA1111({ baseUrl: 'nonsense' })).toMatchObject({ ok: false, message: sees('baseUrl') });
    await fake?.close();
    expect(await probe()).toMatchObject({ ok: false, message: sees('no connection') });
    fake = undefined;
  });

  test('takes no longer than its bound', async () => {
    hostile = await startHostileServer();
    hostile.script(cases.silence);
    const clock = new SimClock();
    const asked = probeA1111({ baseUrl: hostile.origin, clock }, 20);
    await hostile.awaitRequest();
    await clock.advance(20);
    expect(await asked).toEqual({
      ok: false,
      message: `expected an answer of ${hostile.origin} within 20 ms, none came`,
    });
    expect(clock.pending).toBe(0);
  });
});
