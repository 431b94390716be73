import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { getEventListeners } from 'node:events';
import { inspect } from 'node:util';
import { openaiImage, type OpenaiImageOptions } from '../../src/adapters/openai-image.ts';
import { probeImage } from '../../src/adapters/openai-probe.ts';
import { ProviderError } from '../../src/ports/errors.ts';
import type { Image, Report } from '../../src/ports/models.ts';
import { gate, startHostileServer, type HostileServer, type Script } from '../support/hostile-server.ts';
import { cases, event, eventStream, png } from '../support/hostile-cases.ts';
import { gif, jpg, webp } from '../support/pictures.ts';

const key = 'sk-image-0123456789abcdef';
const ask = { prompt: 'a lighthouse', seed: 's' };

let server: HostileServer;
/** Stands for any other host: nothing may ever come here. */
let canary: HostileServer;
const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown): void => void unhandled.push(reason);

beforeEach(async () => {
  told = [];
  [server, canary] = await Promise.all([startHostileServer(), startHostileServer()]);
  process.on('unhandledRejection', onUnhandled);
});
afterEach(async () => {
  await Promise.all([server.close(), canary.close()]);
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
  expect(canary.requests).toEqual([]);
});

let heard = 0;
/** What the engine reported, in order. */
let told: unknown[] = [];
const report: Report = {
  heard: () => void (heard += 1),
  progress: (value, max, unit) => void told.push([value, max, unit]),
  preview: ({ bytes, extension }) => void told.push(['preview', extension, bytes.length]),
  usage: (tokens) => void told.push(tokens),
};

function draw(options: Partial<OpenaiImageOptions> = {}, signal = new AbortController().signal): Promise<Image> {
  const all = { baseUrl: server.baseUrl, apiKey: key, model: 'painter', size: '512x512', ...options };
  return openaiImage(all).generate(ask, signal, report);
}

/** The error of a failed call, checked for what holds for every one. */
async function failure(options: Partial<OpenaiImageOptions> = {}): Promise<ProviderError> {
  const error: unknown = await draw(options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ProviderError);
  if (!(error instanceof ProviderError)) throw error;
  expect(error.message.length).toBeLessThanOrEqual(300);
  expect(error.message).not.toMatch(/[\r\n]/);
  expect(inspect(error, { depth: 9 })).not.toContain(key);
  return error;
}

const sees = (text: string): unknown => expect.stringContaining(text);

describe('a good picture', () => {
  test('as b64_json', async () => {
    server.script(cases.imageB64());
    heard = 0;
    expect(await draw()).toEqual({ bytes: png, extension: 'png' });
    expect(heard).toBeGreaterThan(1);
    const { path, json, headers } = await server.awaitRequest();
    expect(path).toBe('/v1/images/generations');
    expect(headers.authorization).toBe(`Bearer ${key}`);
    expect(json).toEqual({ model: 'painter', prompt: 'a lighthouse', n: 1, size: '512x512' });
  });

  test.each([
    ['png', png],
    ['jpg', jpg],
    ['webp', webp],
    ['gif', gif],
  ])('%s by its bytes, whatever it is called', async (extension, bytes) => {
    server.script(cases.imageB64(bytes));
    expect(await draw()).toEqual({ bytes, extension });
    server.script(
      cases.byPath({ '/v1/images': cases.imageUrl('/files/1.png'), '/files/1.png': cases.picture(bytes, 'image/png') }),
    );
    expect(await draw()).toEqual({ bytes, extension });
  });

  test('behind a URL of the configured host, absolute or relative', async () => {
    for (const url of [`${server.origin}/files/1.png?x=1`, '/files/1.png', '../files/1.png']) {
      server.script(cases.byPath({ '/v1/images': cases.imageUrl(url), '/files/1.png': cases.picture() }));
      expect(await draw()).toEqual({ bytes: png, extension: 'png' });
    }
  });

  test('as a data: URL, in either field, and base64 with line breaks', async () => {
    const base64 = png.toString('base64');
    const dataUrl = `data:image/png;base64,${base64}`;
    server.script(
      cases.imageUrl(dataUrl),
      cases.json({ data: [{ b64_json: dataUrl }] }),
      cases.json({ data: [{ b64_json: base64.replace(/.{20}/g, '$&\n') }] }),
    );
    for (let i = 0; i < 3; i += 1) expect(await draw()).toEqual({ bytes: png, extension: 'png' });
  });

  test('size and response_format are sent only when given', async () => {
    server.script(cases.imageB64());
    await draw({ size: undefined });
    await draw({ responseFormat: 'b64_json' });
    expect(server.requests[0]?.json).toEqual({ model: 'painter', prompt: 'a lighthouse', n: 1 });
    expect(server.requests[1]?.json).toMatchObject({ response_format: 'b64_json' });
  });

  test('of exactly the largest size', async () => {
    server.script(cases.imageB64());
    expect((await draw({ maxBytes: png.length })).extension).toBe('png');
    expect(await failure({ maxBytes: png.length - 1 })).toMatchObject({ code: 'provider', retryable: false });
  });
});

const partial = (index: number, bytes: Uint8Array = png): string =>
  event({
    type: 'image_generation.partial_image',
    b64_json: Buffer.from(bytes).toString('base64'),
    partial_image_index: index,
  });
const completed = (bytes: Uint8Array = png): string =>
  event({
    type: 'image_generation.completed',
    b64_json: Buffer.from(bytes).toString('base64'),
    usage: { input_tokens: 7, output_tokens: 4000, total_tokens: 4007 },
  });

describe('[D3] previews as a stream', () => {
  const streamed = (partialImages: number, options: Partial<OpenaiImageOptions> = {}): Promise<Image> =>
    draw({ partialImages, ...options });

  test('each unfinished picture is shown and counted as the backend counts, then the picture; tokens are reported', async () => {
    server.script(cases.events(partial(0, jpg), partial(1, webp), partial(2), completed(gif)));
    expect(await streamed(3)).toEqual({ bytes: gif, extension: 'gif' });
    expect(told).toEqual([
      ['preview', 'jpg', jpg.length],
      [1, 3, 'preview'],
      ['preview', 'webp', webp.length],
      [2, 3, 'preview'],
      ['preview', 'png', png.length],
      [3, 3, 'preview'],
      { input: 7, output: 4000 },
    ]);
    expect(server.requests[0]?.json).toEqual({
      model: 'painter',
      prompt: 'a lighthouse',
      n: 1,
      size: '512x512',
      stream: true,
      partial_images: 3,
    });
    expect(server.requests[0]?.headers.accept).toContain('text/event-stream');
  });

  test('the picture may come before all previews have: what follows is not waited for, and the socket is closed', async () => {
    server.script(async (exchange) => {
      exchange.head(200, eventStream);
      await exchange.write(`${partial(0)}${completed()}${partial(1)}`);
    });
    expect(await streamed(2)).toEqual({ bytes: png, extension: 'png' });
    expect(told).toEqual([['preview', 'png', png.length], [1, 2, 'preview'], { input: 7, output: 4000 }]);
    expect(await (await server.awaitRequest()).closed).toBe('early');
  });

  test('cut anywhere: bytes one by one, line ends of every kind, comments, unknown events, [DONE]', async () => {
    const text = `\uFEFF: hello\r\n\r\nevent: image_generation.partial_image\r\ndata:{"b64_json":"${jpg.toString('base64')}",\r\ndata: "partial_image_index":0}\r\n\r\nevent: ping\ndata: {}\n\nid: 3\rretry\r${completed().replaceAll('\n', '\r')}data: [DONE]\n\n`;
    const oneByOne: Script = async (exchange) => {
      exchange.head(200, eventStream);
      for (const byte of Buffer.from(text)) await exchange.write(Uint8Array.of(byte));
      exchange.end();
    };
    server.script(oneByOne, cases.events(text));
    for (let i = 0; i < 2; i += 1) {
      told = [];
      expect((await streamed(1)).extension).toBe('png');
      expect(told).toEqual([['preview', 'jpg', jpg.length], [1, 1, 'preview'], { input: 7, output: 4000 }]);
    }
  });

  test('a server that ignores "stream" answers with JSON, which is used', async () => {
    const answer = { data: [{ b64_json: png.toString('base64') }], usage: { input_tokens: 1, output_tokens: 2 } };
    server.script(cases.json(answer));
    expect(await streamed(3)).toEqual({ bytes: png, extension: 'png' });
    expect(told).toEqual([{ input: 1, output: 2 }]);
    server.script(
      cases.byPath({ '/v1/images': cases.imageUrl('/files/1.png'), '/files/1.png': cases.picture(jpg, 'image/png') }),
    );
    expect(await streamed(3)).toEqual({ bytes: jpg, extension: 'jpg' });
  });

  test('after an abort nothing is shown, not even what has come already', async () => {
    server.script(cases.events(`${partial(0)}${partial(1)}${partial(2)}`));
    const controller = new AbortController();
    const model = openaiImage({ baseUrl: server.baseUrl, apiKey: key, model: 'painter', partialImages: 3 });
    let shown = 0;
    const preview = (): void => {
      shown += 1;
      controller.abort(new Error('stopped'));
    };
    await expect(model.generate(ask, controller.signal, { ...report, preview })).rejects.toThrow('stopped');
    await (
      await server.awaitRequest()
    ).closed;
    await new Promise((resolve) => setImmediate(resolve));
    expect(shown).toBe(1);
  });

  test('without previews no stream is asked for', async () => {
    server.script(cases.imageB64());
    await streamed(0);
    expect(server.requests[0]?.json).not.toHaveProperty('stream');
    expect(server.requests[0]?.json).not.toHaveProperty('partial_images');
  });

  test('a preview that is none, is an SVG, is cut or has no honest number does no harm', async () => {
    server.script(
      cases.events(
        event({ type: 'image_generation.partial_image', partial_image_index: 0 }),
        event({ type: 'image_generation.partial_image', b64_json: '!!', partial_image_index: 0 }),
        partial(0, Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>')),
        partial(0, png.subarray(0, 40)),
        partial(2),
        partial(0.5),
        completed(),
      ),
    );
    expect((await streamed(2)).extension).toBe('png');
    expect(told).toEqual([['preview', 'png', png.length], ['preview', 'png', png.length], { input: 7, output: 4000 }]);
  });

  test('[P8] a stream that ends without the picture is truncated, whatever it has shown', async () => {
    const tail = completed();
    server.script(
      cases.events(partial(0), partial(1)),
      cases.events(partial(0), event('[DONE]'), completed()),
      cases.events(),
      cases.events(partial(0), tail.slice(0, -1)),
    );
    for (const after of ['after 2 events', 'after 1 events', 'without a single event', 'after 1 events'])
      expect(await failure({ partialImages: 2 })).toMatchObject({
        code: 'truncated',
        retryable: true,
        message: sees(after),
      });
    server.script(cases.cut(partial(0)));
    expect(await failure({ partialImages: 2 })).toMatchObject({ code: 'connection', retryable: true });
  });

  test('[P8] an error in mid-stream, in each of its shapes, is the error of the call', async () => {
    const limited = { message: `slow down ${key}`, code: 'rate_limit_exceeded' };
    server.script(
      cases.events(partial(0), event({ error: { message: 'no', code: 'moderation_blocked' } }), completed()),
      cases.events(partial(0), `event: error\n${event({ message: 'out of memory' })}`, completed()),
      cases.events(event({ type: 'error', ...limited })),
      cases.events(event('{broken')),
      cases.status(400, {}, { code: 'moderation_blocked' }),
    );
    expect(await failure({ partialImages: 1 })).toMatchObject({ code: 'refused', retryable: false });
    expect(await failure({ partialImages: 1 })).toMatchObject({ code: 'provider', message: sees('out of memory') });
    expect(await failure({ partialImages: 1 })).toMatchObject({ code: 'rate_limited' });
    expect(await failure({ partialImages: 1 })).toMatchObject({ code: 'provider', message: sees('not JSON') });
    expect(await failure({ partialImages: 1 })).toMatchObject({ code: 'refused' });
  });

  test('[P8] the finished picture is checked as ever: no SVG, not cut, not nothing', async () => {
    server.script(
      cases.events(completed(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'))),
      cases.events(completed(png.subarray(0, 40))),
      cases.events(event({ type: 'image_generation.completed' })),
    );
    for (const message of ['SVG', 'is cut after 40 bytes', 'got neither'])
      expect(await failure({ partialImages: 1 })).toMatchObject({ code: 'provider', message: sees(message) });
  });

  test('an event, and a stream of events, without an end are errors and close the socket', async () => {
    server.script(cases.endless('data: '));
    expect(await failure({ partialImages: 1, maxBytes: 1000 })).toMatchObject({
      retryable: false,
      message: sees('one event of more than'),
    });
    expect(await (await server.awaitRequest()).closed).toBe('early');
    server.script(cases.endless(': still there\n\n'));
    expect(await failure({ partialImages: 1, maxBytes: 1000 })).toMatchObject({
      retryable: false,
      message: sees('an answer of more than'),
    });
    expect(await (await server.awaitRequest()).closed).toBe('early');
  });

  test.each([-1, 4, 1.5, NaN])('partialImages %s is refused', (partialImages) => {
    expect(() => openaiImage({ baseUrl: server.baseUrl, model: 'm', partialImages })).toThrow('from 0 to 3');
  });
});

test('[D2] what decides how a picture looks is the model and the size', () => {
  const variant = (size?: string) => openaiImage({ baseUrl: server.baseUrl, model: 'painter', size }).variant;
  expect([variant(), variant('512x512')]).toEqual(['painter', 'painter 512x512']);
});

describe('[P8] what is not a picture is an error', () => {
  test('HTML, no JSON, no data, neither field, 0 bytes', async () => {
    server.script(
      cases.html(200),
      cases.reply(200, '{"data":[', { 'content-type': 'application/json' }),
      cases.json({ created: 1, data: [] }),
      cases.json({ data: [{ revised_prompt: 'x' }] }),
      cases.imageB64(new Uint8Array()),
      cases.reply(200),
    );
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('got text/html: 200 Bad Gateway') });
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('expected JSON') });
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('without a picture') });
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('got neither') });
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('0 bytes') });
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('no body') });
  });

  test('base64 that is cut or none, and a data: URL without base64', async () => {
    const base64 = png.toString('base64');
    server.script(
      cases.json({ data: [{ b64_json: base64.slice(0, 33) }] }),
      cases.json({ data: [{ b64_json: '!!!!' }] }),
      cases.imageUrl('data:image/png,abc'),
      cases.imageUrl('data:nothing'),
      // A cut that falls on a multiple of four is good base64; the picture has no end.
      cases.json({ data: [{ b64_json: base64.slice(0, 40) }] }),
    );
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('cut or not base64') });
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('cut or not base64') });
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('not base64') });
    expect(await failure()).toMatchObject({ code: 'provider' });
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('the png') });
  });

  test('behind a URL: HTML with 200, 0 bytes, a truncated PNG, a 404, too many bytes', async () => {
    const served = [
      [cases.html(200), 'got: 200 Bad Gateway'],
      [cases.picture(new Uint8Array()), '0 bytes'],
      [cases.picture(png.subarray(0, 40)), 'is cut after 40 bytes'],
      [cases.status(404), 'HTTP 404'],
      [cases.endless('\x89PNG'), 'more than 100000 bytes'],
    ] as const;
    for (const [script, message] of served) {
      server.script(cases.byPath({ '/v1/images': cases.imageUrl('/1.png'), '/1.png': script }));
      expect(await failure({ maxBytes: 100_000 })).toMatchObject({ message: sees(message) });
    }
  });

  test('an SVG is refused, inline and behind a URL', async () => {
    const svg = Buffer.from('<?xml version="1.0"?><svg xmlns="x"><script>alert(1)</script></svg>');
    server.script(cases.imageB64(svg));
    expect(await failure()).toMatchObject({ code: 'provider', retryable: false, message: sees('SVG') });
    server.script(cases.byPath({ '/v1/images': cases.imageUrl('/1.png'), '/1.png': cases.picture(svg) }));
    expect(await failure()).toMatchObject({ code: 'provider', message: sees('SVG') });
  });

  test('an endless answer', async () => {
    server.script(cases.endless('{"data":[{"b64_json":"'));
    expect(await failure({ maxBytes: 100_000 })).toMatchObject({ code: 'provider', retryable: false });
    expect(await (await server.awaitRequest()).closed).toBe('early');
  });

  test('a content policy is refused; other errors as for texts', async () => {
    server.script(
      cases.status(400, {}, { code: 'content_policy_violation' }),
      cases.status(400, {}, { message: 'Your request was rejected as a result of our safety system.' }),
      cases.status(400, {}, { code: 'moderation_blocked' }),
      cases.status(400),
      cases.status(429, { 'retry-after': '2' }),
      cases.json({ error: { message: 'no credit', code: 402 } }),
      cases.cut('{"data":'),
      cases.status(401, {}, { message: `bad ${key}` }),
    );
    for (let i = 0; i < 3; i += 1) expect(await failure()).toMatchObject({ code: 'refused', retryable: false });
    expect(await failure()).toMatchObject({ code: 'bad_request' });
    expect(await failure()).toMatchObject({ code: 'rate_limited', retryAfterMs: 2000 });
    expect(await failure()).toMatchObject({ code: 'auth', retryable: false });
    expect(await failure()).toMatchObject({ code: 'connection', retryable: true });
    expect(await failure()).toMatchObject({ code: 'auth' });
  });
});

describe('[S6] a picture is fetched from the configured host only', () => {
  test.each([
    () => canary.origin,
    () => canary.origin.replace('127.0.0.1', 'localhost'),
    () => server.origin.replace('127.0.0.1', 'localhost'),
    () => server.origin.replace('http:', 'https:'),
    () => server.origin.replace('http://', 'http://user:pw@'),
    () => canary.origin.replace('http:', ''),
    () => `${server.origin}@${canary.origin.slice(7)}`,
    () => canary.origin.replace('127.0.0.1', '2130706433'),
    () => canary.origin.replace('127.0.0.1', '0x7f.1'),
    () => canary.origin.replace('127.0.0.1', '[::ffff:127.0.0.1]'),
    () => canary.origin.replace('http://', '\\\\'),
    () => 'http://169.254.169.254/latest/meta-data/',
    () => 'file:///etc/passwd',
    () => 'javascript:alert(1)',
    () => 'blob:http://x/1',
    () => 'http://',
  ])('%#: %s', async (url) => {
    const target = url();
    server.script(cases.imageUrl(target.includes(':') && !target.endsWith('//') ? `${target}/1.png` : target));
    expect(await failure()).toMatchObject({ code: 'provider', retryable: false, message: sees('not fetched') });
    expect(server.requests).toHaveLength(1);
  });

  test('a redirect is not followed, not even on the same host', async () => {
    for (const location of [`${canary.origin}/1.png`, '/2.png']) {
      server.script(
        cases.byPath({
          '/v1/images': cases.imageUrl('/1.png'),
          '/1.png': cases.reply(302, '', { location }),
          '/2.png': cases.picture(),
        }),
      );
      expect(await failure()).toMatchObject({ code: 'bad_request', message: sees('redirects are not followed') });
    }
    expect(server.requests.some(({ path }) => path === '/2.png')).toBe(false);
  });
});

describe('[P7] an abort ends the call at once and closes the socket', () => {
  const reason = new Error('superseded');

  test('before the start', async () => {
    await expect(draw({}, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(server.requests).toHaveLength(0);
  });

  test('during a stream, after a preview', async () => {
    server.script(async (exchange) => {
      exchange.head(200, eventStream);
      await exchange.write(partial(0));
    });
    const controller = new AbortController();
    const shown = gate();
    const model = openaiImage({ baseUrl: server.baseUrl, apiKey: key, model: 'painter', partialImages: 2 });
    const outcome = model
      .generate(ask, controller.signal, { ...report, preview: () => shown.open() })
      .catch((error: unknown) => error);
    await shown.opened;
    controller.abort(reason);
    expect(await outcome).toBe(reason);
    expect(await (await server.awaitRequest()).closed).toBe('early');
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test.each([
    ['the generation', cases.silence],
    ['the body', cases.headersThenSilence],
    ['the download', cases.byPath({ '/v1/images': cases.imageUrl('/1.png'), '/1.png': cases.silence })],
    ['the download body', cases.byPath({ '/v1/images': cases.imageUrl('/1.png'), '/1.png': cases.stall('x') })],
  ])('during %s', async (name, script) => {
    server.script(script);
    const controller = new AbortController();
    const outcome = draw({}, controller.signal).catch((error: unknown) => error);
    if (name.includes('download')) await server.awaitRequest();
    const exchange = await server.awaitRequest();
    controller.abort(reason);
    expect(await outcome).toBe(reason);
    expect(await exchange.closed).toBe('early');
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test('50 calls over one signal leave no listener on it', async () => {
    server.script(cases.imageB64());
    const { signal } = new AbortController();
    for (let i = 0; i < 50; i += 1) await draw({}, signal);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});

test('probe', async () => {
  const options = (): OpenaiImageOptions => ({ baseUrl: server.baseUrl, apiKey: key, model: 'painter' });
  server.script(cases.json({ data: [{ id: 'painter' }] }));
  expect(await probeImage(options())).toEqual({ ok: true, message: `${server.origin} lists painter` });
  server.script(cases.json({ data: [{ id: 'other' }] }));
  expect(await probeImage(options())).toEqual({
    ok: false,
    message: `expected painter at ${server.origin}: it is not listed; it lists other`,
  });
  server.script(cases.status(404));
  expect(await probeImage(options())).toMatchObject({ ok: true, message: sees('not checked') });
  server.script(cases.status(403));
  expect(await probeImage(options())).toMatchObject({ ok: false, message: sees('HTTP 403') });
  server.script(cases.silence);
  expect(await probeImage(options(), 20)).toMatchObject({ ok: false, message: sees('within 20 ms') });
});
