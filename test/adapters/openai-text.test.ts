import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { getEventListeners } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { inspect } from 'node:util';
import * as fc from 'fast-check';
import { openaiText, preload, type OpenaiTextOptions } from '../../src/adapters/openai-text.ts';
import { retryAfterMs, cleanMessage } from '../../src/adapters/openai-errors.ts';
import { linkAbort } from '../../src/adapters/abort-link.ts';
import { watchedBody } from '../../src/adapters/openai-client.ts';
import { probeText } from '../../src/adapters/openai-probe.ts';
import { thinkFilter } from '../../src/adapters/think-filter.ts';
import { ProviderError } from '../../src/ports/errors.ts';
import type { Report, TextRequest } from '../../src/ports/models.ts';
import { gate, startHostileServer, type HostileServer } from '../support/hostile-server.ts';
import { cases, chunk, doneEvent, event, eventStream, finish, token, usage } from '../support/hostile-cases.ts';

const key = 'sk-test-0123456789abcdef';
const request: TextRequest = {
  stage: 'summarize',
  prompt: [{ role: 'user', content: 'Sum it up.' }],
  material: { messages: [], current: '', maxChars: 400 },
};

let server: HostileServer;
const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown): void => void unhandled.push(reason);

beforeAll(preload);
beforeEach(async () => {
  server = await startHostileServer();
  process.on('unhandledRejection', onUnhandled);
});
afterEach(async () => {
  await server.close();
  // A rejection is reported at the end of the tick in which nobody caught it.
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', onUnhandled);
  expect(unhandled).toEqual([]);
});

interface Seen extends Report {
  heardCount: number;
  progressCalls: Array<[number, number, string]>;
  usageCalls: Array<{ input: number; output: number }>;
}

function newReport(): Seen {
  const seen: Seen = {
    heardCount: 0,
    progressCalls: [],
    usageCalls: [],
    heard: () => {
      seen.heardCount += 1;
    },
    progress: (value, max, unit) => seen.progressCalls.push([value, max, unit]),
    usage: (tokens) => seen.usageCalls.push(tokens),
    preview: () => undefined,
  };
  return seen;
}

function model(options: Partial<OpenaiTextOptions> = {}) {
  return openaiText({ baseUrl: server.baseUrl, apiKey: key, models: { default: 'm' }, ...options });
}

interface Outcome {
  text: string;
  error: unknown;
  report: Seen;
}

/** Runs one call to its end; errors are part of the outcome. */
async function run(
  options: Partial<OpenaiTextOptions> = {},
  signal: AbortSignal = new AbortController().signal,
  ask: TextRequest = request,
): Promise<Outcome> {
  const report = newReport();
  let text = '';
  try {
    for await (const piece of model(options).stream(ask, signal, report)) text += piece;
  } catch (error) {
    return { text, error, report };
  }
  return { text, error: undefined, report };
}

/** The error of a failed call, checked for what holds for every one: a ProviderError, one line, short, without the key. */
async function failure(options: Partial<OpenaiTextOptions> = {}): Promise<ProviderError> {
  const { error } = await run(options);
  return asProviderError(error);
}

function asProviderError(error: unknown): ProviderError {
  expect(error).toBeInstanceOf(ProviderError);
  if (!(error instanceof ProviderError)) throw error;
  expect(error.message.length).toBeLessThanOrEqual(300);
  expect(error.message).not.toMatch(/[\r\n]/);
  expect(inspect(error, { depth: 9 })).not.toContain(key);
  return error;
}

describe('a good answer', () => {
  test('pieces come as they are sent, with counts', async () => {
    server.script(cases.stream(['Hel', 'lo ', 'Märta 👩‍🚀']));
    const { text, error, report } = await run();
    expect(error).toBeUndefined();
    expect(text).toBe('Hello Märta 👩‍🚀');
    expect(report.usageCalls).toEqual([{ input: 7, output: 3 }]);
    expect(report.heardCount).toBeGreaterThan(1);
  });

  test('the request: path, key, stream options, model by stage, token field', async () => {
    server.script(cases.stream(['x']));
    const models = { default: 'big', summarize: 'small' };
    await run({ models, tokenField: 'max_completion_tokens' }, undefined, { ...request, maxTokens: 99 });
    await run({ models, apiKey: ' ' }, undefined, { ...request, stage: 'constructor', maxTokens: 5 });
    const [first, second] = server.requests;
    expect(first?.path).toBe('/v1/chat/completions');
    expect(first?.headers.authorization).toBe(`Bearer ${key}`);
    expect(first?.json).toEqual({
      model: 'small',
      messages: request.prompt,
      stream: true,
      stream_options: { include_usage: true },
      max_completion_tokens: 99,
    });
    expect(second?.headers.authorization).toBe('Bearer unused');
    expect(second?.json).toMatchObject({ model: 'big', max_tokens: 5 });
  });

  test('the environment adds nothing to the request', async () => {
    process.env['OPENAI_ORG_ID'] = 'org-env';
    process.env['OPENAI_PROJECT_ID'] = 'project-env';
    process.env['OPENAI_ADMIN_KEY'] = 'admin-env';
    process.env['OPENAI_API_KEY'] = 'key-env';
    try {
      server.script(cases.stream(['x']));
      await run({ apiKey: undefined });
      expect(JSON.stringify(server.requests[0]?.headers)).not.toContain('-env');
    } finally {
      for (const name of ['ORG_ID', 'PROJECT_ID', 'ADMIN_KEY', 'API_KEY']) delete process.env[`OPENAI_${name}`];
    }
  });

  test("Node's own 300 s limits of fetch are off: a cold local model takes longer", async () => {
    const spy = vi.spyOn(globalThis, 'fetch');
    try {
      server.script(cases.stream(['x']));
      await run();
      const dispatcher: unknown = Reflect.get(spy.mock.calls[0]?.[1] ?? {}, 'dispatcher');
      const options = inspect(dispatcher, { depth: 3, showHidden: true });
      expect(options).toMatch(/headersTimeout: 0,\s+bodyTimeout: 0/);
    } finally {
      spy.mockRestore();
    }
  });

  test('host is the origin; engine is the model of the stage', () => {
    const text = model({ baseUrl: `${server.origin}/api/v1/`, models: { default: 'a', reply: 'b' } });
    expect(text.host).toBe(server.origin);
    expect([text.engine('reply'), text.engine('evaluate'), text.engine('toString')]).toEqual(['b', 'a', 'a']);
  });

  test.each([
    'not a url',
    'ftp://host/v1',
    'http://user:secret@host/v1',
    'http://:secret@host/v1',
    'http://host/v1?x=1',
    'http://host/v1#x',
    '',
  ])('baseUrl %j is refused', (baseUrl) => {
    expect(() => model({ baseUrl })).toThrow(/^baseUrl: (?!.*secret)/);
  });

  test('a key that no header can carry is refused, and not shown', () => {
    expect(() => model({ apiKey: 'geheim\nschlüssel' })).toThrow(/^apiKey: (?!.*geheim)/);
  });

  test('finish_reason length is a complete answer', async () => {
    server.script(cases.events(token('cut sho'), finish('length'), doneEvent));
    expect(await run()).toMatchObject({ text: 'cut sho', error: undefined });
  });

  test('empty choices, null content, no choices, null frames and list content are read', async () => {
    server.script(
      cases.events(
        event({ choices: [] }),
        event(chunk({ role: 'assistant', content: null })),
        event({ id: 'x' }),
        event('null'),
        event('17'),
        event(
          chunk({
            content: [
              { type: 'thinking', thinking: 'hidden' },
              { type: 'text', text: 'seen' },
            ],
          }),
        ),
        event({ choices: [{ index: 0, delta: null, finish_reason: '' }] }),
        usage(1, 1),
        finish(),
        doneEvent,
      ),
    );
    expect(await run()).toMatchObject({ text: 'seen', error: undefined });
  });

  test('[DONE] twice, data after [DONE], and no [DONE] at all', async () => {
    const late = token('late');
    server.script(
      cases.events(token('a'), finish(), doneEvent, doneEvent),
      cases.events(token('a'), finish(), doneEvent, late),
      cases.events(token('a'), finish()),
    );
    for (let i = 0; i < 3; i += 1) expect(await run()).toMatchObject({ text: 'a', error: undefined });
  });

  test.each(['\n', '\r\n', '\r'])('line ends %j', async (eol) => {
    const raw = `${token('a')}: comment\n\n${token('b')}${finish()}${doneEvent}`.replaceAll('\n', eol);
    server.script(cases.events(raw));
    expect(await run()).toMatchObject({ text: 'ab', error: undefined });
  });

  test.each([1, 2, 3, 7])('events cut every %i bytes, inside UTF-8 sequences too', async (size) => {
    server.script(cases.drip('Zoë 👩‍🚀 <b>日本</b>', size));
    expect(await run()).toMatchObject({ text: 'Zoë 👩‍🚀 <b>日本</b>', error: undefined });
  });

  test('after finish_reason a socket that stays open or is cut costs nothing', async () => {
    const held = gate();
    server.script(
      async (exchange) => {
        exchange.head(200, eventStream);
        await exchange.write(`${token('a')}${finish()}${usage(3, 1)}`);
        await held.opened;
      },
      cases.cut(token('b'), finish()),
    );
    const first = await run({ settleMs: 5 });
    expect(first).toMatchObject({ text: 'a', error: undefined });
    expect(first.report.usageCalls).toEqual([{ input: 3, output: 1 }]);
    expect(await (await server.awaitRequest()).closed).toBe('early');
    held.open();
    expect(await run()).toMatchObject({ text: 'b', error: undefined });
  });

  test('llama.cpp: progress through the prompt', async () => {
    const progress = (processed: number) =>
      event({ ...chunk({}), prompt_progress: { total: 90, cache: 0, processed } });
    server.script(cases.events(progress(30), progress(90), token('a'), finish(), doneEvent));
    const { report } = await run({ promptProgress: true });
    expect(report.progressCalls).toEqual([
      [30, 90, 'token'],
      [90, 90, 'token'],
    ]);
    expect(server.requests[0]?.json).toMatchObject({ return_progress: true });
  });

  test('heard: at the headers, for comments, for reasoning', async () => {
    const first = gate();
    const second = gate();
    server.script(async (exchange) => {
      exchange.head(200, eventStream);
      await first.opened;
      await exchange.write(': OPENROUTER PROCESSING\n\n');
      await second.opened;
      await exchange.write(event(chunk({ reasoning: 'hm' })));
      exchange.end(`${finish()}${doneEvent}`);
    });
    let count = 0;
    const report: Report = {
      ...newReport(),
      heard: () => {
        count += 1;
        if (count === 1) first.open();
        if (count === 2) second.open();
      },
    };
    // Each step of the server waits for `heard` of the one before: a missing call would hang here.
    for await (const piece of model().stream(request, new AbortController().signal, report)) expect(piece).toBe('');
    expect(count).toBeGreaterThanOrEqual(3);
  });

  test('reasoning fields and think blocks never reach the output', async () => {
    const parts = ['<th', 'ink>secret</', 'think', '>\n\nHe', 'l<think>more', '</think>lo <thi', 'n'];
    server.script(
      cases.events(
        event(chunk({ reasoning_content: 'secret' })),
        event(chunk({ reasoning: 'secret', content: '' })),
        ...parts.map(token),
        finish(),
        doneEvent,
      ),
      cases.events(token('Hi<think>never closed'), token(' secret'), finish(), doneEvent),
    );
    expect((await run()).text).toBe('Hello <thin');
    expect((await run()).text).toBe('Hi');
  });
});

describe('think filter', () => {
  const parts = fc.constantFrom(
    '<think>',
    '</think>',
    '<THINK>',
    '<',
    '</',
    'th',
    'think>',
    'a',
    ' ',
    '\n',
    'İ',
    '👩',
    '<b>',
  );

  test('the cuts do not matter', () => {
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 20 }), fc.array(fc.nat(60), { maxLength: 10 }), (words, cuts) => {
        const text = words.join('');
        const edges = [0, ...cuts.map((cut) => Math.min(cut, text.length)).sort((a, b) => a - b), text.length];
        const pieces = edges.slice(1).map((edge, index) => text.slice(edges[index], edge));
        const whole = thinkFilter();
        const cut = thinkFilter();
        const expected = whole.push(text) + whole.end();
        expect(pieces.map((piece) => cut.push(piece)).join('') + cut.end()).toBe(expected);
      }),
    );
  });

  test.each([
    ['<think>a</thi', ''],
    ['<think>a', ''],
    ['a<think>b</think> c', 'a c'],
    ['<think>a</think>\n\n b ', 'b '],
    ['<think>', ''],
    ['a </think> b', 'a  b'],
    ['<think>a<think>b</think>c', 'c'],
  ])('%j shows %j', (text, expected) => {
    const filter = thinkFilter();
    expect(filter.push(text) + filter.end()).toBe(expected);
  });

  test('text without tags passes unchanged', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (pieces) => {
        const filter = thinkFilter();
        const text = pieces.join('');
        fc.pre(!/<\/?think>/i.test(text));
        expect(pieces.map((piece) => filter.push(piece)).join('') + filter.end()).toBe(text);
      }),
    );
  });
});

describe('[P8] what is not a complete answer is an error', () => {
  test('a stream without finish_reason, with and without [DONE]', async () => {
    const empty = event(chunk({ content: 'half' }, ''));
    server.script(
      cases.events(token('half')),
      cases.events(token('half'), doneEvent),
      cases.events(),
      cases.events(empty, doneEvent),
    );
    expect(await failure()).toMatchObject({ code: 'truncated', retryable: true });
    expect(await failure()).toMatchObject({ code: 'truncated' });
    expect(await failure()).toMatchObject({
      code: 'truncated',
      message: expect.stringContaining('without a single event'),
    });
    expect(await failure()).toMatchObject({ code: 'truncated' });
  });

  test('JSON answered to stream: true', async () => {
    server.script(cases.jsonForStream, cases.reply(200, '{"choices":[]}'));
    expect(await failure()).toMatchObject({
      code: 'provider',
      retryable: false,
      message: expect.stringContaining('stream'),
    });
    // Without a content type it can only be seen that no event came.
    expect(await failure()).toMatchObject({ code: 'truncated' });
  });

  test('HTML with 200, 204 without a body, another content type', async () => {
    server.script(cases.html(200), cases.reply(204), cases.reply(200, token('x'), { 'content-type': 'text/plain' }));
    expect(await failure()).toMatchObject({
      code: 'provider',
      message: expect.stringContaining('text/html: 200 Bad Gateway nginx'),
    });
    expect(await failure()).toMatchObject({ code: 'provider', message: expect.stringContaining('HTTP 204') });
    expect(await failure()).toMatchObject({ code: 'provider', message: expect.stringContaining('text/plain') });
  });

  test.each<[string, unknown, string, boolean]>([
    ['numeric code', { message: 'slow down', code: 429 }, 'rate_limited', true],
    ['numeric 5xx', { message: 'upstream died', code: 502 }, 'provider', true],
    [
      'a name',
      { message: 'too long', type: 'invalid_request_error', code: 'context_length_exceeded' },
      'bad_request',
      false,
    ],
    ['auth', { message: 'bad key', code: 'invalid_api_key' }, 'auth', false],
    ['filter', { message: 'no', code: 'content_filter' }, 'refused', false],
    ['a string', 'model crashed', 'provider', true],
    ['nothing known', { foo: 1 }, 'provider', true],
  ])('an error inside HTTP 200, as JSON and as a frame: %s', async (_name, error, code, retryable) => {
    server.script(cases.json({ error }), cases.events(token('half'), event({ error }), finish(), doneEvent));
    expect(await failure()).toMatchObject({ code, retryable });
    expect(await failure()).toMatchObject({ code, retryable });
  });

  test('an error frame of vLLM', async () => {
    server.script(cases.events(token('a'), event({ object: 'error', message: 'too long', code: 400 }), doneEvent));
    expect(await failure()).toMatchObject({ code: 'bad_request', message: expect.stringContaining('too long') });
  });

  test('a frame that is not JSON', async () => {
    server.script(cases.events(token('a'), 'data: {"choices":[{\n\n', finish(), doneEvent));
    expect(await failure()).toMatchObject({
      code: 'provider',
      retryable: true,
      message: expect.stringContaining('not JSON'),
    });
  });

  test('a body that does not unzip', async () => {
    server.script(cases.reply(200, 'not gzip at all', { ...eventStream, 'content-encoding': 'gzip' }));
    expect(await failure()).toMatchObject({ code: 'provider' });
  });

  test('a socket cut after every byte of the answer', async () => {
    const small = (delta: object, reason?: string) => event({ choices: [{ delta, finish_reason: reason }] });
    const bytes = Buffer.from(`${small({ content: 'ab' })}${small({ content: 'cd' })}`);
    const end = Buffer.from(small({}, 'stop'));
    for (let at = 0; at <= bytes.length + end.length; at += 1) {
      server.script(cases.cut(Buffer.concat([bytes, end]).subarray(0, at)));
      const { error, text } = await run();
      // The blank line need not be whole: the last line of a stream counts.
      if (at < bytes.length + end.length - 2) expect(asProviderError(error).code, `cut at ${at}`).toBe('connection');
      expect('abcd'.startsWith(text)).toBe(true);
    }
  });

  test('a socket closed before any answer', async () => {
    server.script(cases.reset);
    expect(await failure()).toMatchObject({ code: 'connection', retryable: true });
  });

  test('connection refused, unknown host, no TLS', async () => {
    const { origin } = server;
    await server.close();
    expect(await failure()).toMatchObject({ code: 'connection', message: expect.stringContaining('ECONNREFUSED') });
    expect(await failure({ baseUrl: 'http://no-such-host.invalid/v1' })).toMatchObject({ code: 'connection' });
    server = await startHostileServer();
    expect(server.origin).not.toBe(origin);
    const tls = `${server.origin.replace('http:', 'https:')}/v1`;
    expect(await failure({ baseUrl: tls })).toMatchObject({ code: 'connection' });
  });

  test('an answer that is not HTTP', async () => {
    const { port, close } = await rawServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
    expect(await failure({ baseUrl: `http://127.0.0.1:${port}/v1` })).toMatchObject({ code: 'connection' });
    await close();
  });

  test('content_filter and refusals are refused; error and abort are not complete', async () => {
    server.script(
      cases.events(token('some'), finish('content_filter'), doneEvent),
      cases.events(event(chunk({ refusal: 'I can' })), event(chunk({ refusal: 'not.' })), finish(), doneEvent),
      cases.events(token('some'), finish('error'), doneEvent),
      cases.events(token('some'), finish('abort'), doneEvent),
    );
    expect(await failure()).toMatchObject({ code: 'refused', retryable: false });
    expect(await failure()).toMatchObject({ code: 'refused', message: expect.stringContaining('I cannot.') });
    expect(await failure()).toMatchObject({ code: 'truncated' });
    expect(await failure()).toMatchObject({ code: 'truncated' });
  });

  test.each([
    [400, 'bad_request', false],
    [401, 'auth', false],
    [402, 'auth', false],
    [403, 'auth', false],
    [404, 'bad_request', false],
    [408, 'provider', true],
    [409, 'provider', true],
    [413, 'bad_request', false],
    [422, 'bad_request', false],
    [425, 'provider', true],
    [429, 'rate_limited', true],
    [500, 'provider', true],
    [502, 'provider', true],
    [503, 'provider', true],
    [529, 'provider', true],
  ])('HTTP %i is %s', async (status, code, retryable) => {
    server.script(cases.status(status, { 'retry-after': '3' }));
    const error = await failure();
    expect(error).toMatchObject({ code, retryable, retryAfterMs: retryable ? 3000 : undefined });
    expect(error.message).toContain(`HTTP ${status} from ${server.origin}: `);
    expect(error.message).toContain(`scripted ${status}`);
    expect(error.message.includes('credits')).toBe(status === 402);
    expect(server.requests).toHaveLength(1);
  });

  test('an empty account is not retried like a rate limit; a filtered prompt is refused', async () => {
    server.script(
      cases.status(429, {}, { code: 'insufficient_quota' }),
      cases.status(400, {}, { code: 'content_filter' }),
      cases.json({ detail: { msg: 'Server is busy; please try again later.', type: 'service_unavailable' } }, 503),
      cases.json({ error: 'model "m" not found, try pulling it first' }, 404),
      cases.html(502),
      cases.reply(500, ''),
    );
    expect(await failure()).toMatchObject({
      code: 'auth',
      retryable: false,
      message: expect.stringContaining('credits'),
    });
    expect(await failure()).toMatchObject({ code: 'refused', retryable: false });
    expect((await failure()).message).toContain('HTTP 503');
    expect((await failure()).message).toContain('try pulling it first');
    expect((await failure()).message).toMatch(/: 502 Bad Gateway nginx$/);
    expect((await failure()).message).toMatch(/no body$/);
  });

  test('redirects are not followed: no request and no key go elsewhere', async () => {
    server.script(cases.reply(307, '', { location: `${server.origin}/canary` }));
    expect(await failure()).toMatchObject({ code: 'bad_request', message: expect.stringContaining('/canary') });
    expect(server.requests).toHaveLength(1);
  });

  test.each<[Record<string, string>, number | undefined]>([
    [{ 'retry-after': '8' }, 8000],
    [{ 'retry-after': '1.5' }, 1500],
    [{ 'retry-after-ms': '250', 'retry-after': '8' }, 250],
    [{ 'retry-after-ms': 'x', 'retry-after': '8' }, 8000],
    [{ 'retry-after': 'Fri, 20 Nov 2026 00:00:30 GMT' }, 30_000],
    [{ 'retry-after': 'Fri, 20 Nov 2020 00:00:30 GMT' }, undefined],
    [{ 'retry-after': 'Fri, 20 Nov 2099 00:00:30 GMT' }, 600_000],
    [{ 'retry-after': '-5' }, undefined],
    [{ 'retry-after': '1000000000' }, 600_000],
    [{ 'retry-after': '1e9' }, undefined],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after': '' }, undefined],
    [{}, undefined],
  ])('Retry-After %j is %j ms', async (headers, expected) => {
    expect(retryAfterMs(new Headers(headers), Date.parse('Fri, 20 Nov 2026 00:00:00 GMT'))).toBe(expected);
    if (JSON.stringify(headers).includes('GMT')) return;
    server.script(cases.status(429, headers));
    expect((await failure()).retryAfterMs).toBe(expected);
  });

  test('no headers within the timeout', async () => {
    server.script(cases.silence);
    expect(await failure({ headersTimeoutMs: 20 })).toMatchObject({ code: 'idle_timeout', retryable: true });
    expect(await (await server.awaitRequest()).closed).toBe('early');
  });

  test('bounds: an endless answer, endless reasoning, endless comments, one huge event, one huge error', async () => {
    server.script(
      cases.endless(token('word ')),
      cases.endless(event(chunk({ reasoning: 'hm '.repeat(500) }))),
      cases.endless(': still here\n\n'),
      cases.endless('data: "x'),
      cases.endless('data:\n'),
    );
    for (const expected of [
      'the answer is larger',
      'an answer of more',
      'an answer of more',
      'one event',
      'one event',
    ]) {
      const error = await failure({ maxAnswerBytes: 20_000 });
      expect(error).toMatchObject({ code: 'provider', retryable: false, message: expect.stringContaining(expected) });
      expect(await (await server.awaitRequest()).closed).toBe('early');
    }
    server.script(async (exchange) => {
      exchange.head(500, { 'content-type': 'text/plain' });
      while (!exchange.over) await exchange.write('no '.repeat(4096));
    });
    expect(await failure()).toMatchObject({ code: 'provider' });
    expect(await (await server.awaitRequest()).closed).toBe('early');
  });

  test('many events are not one large event, even when every blank line is cut', async () => {
    const events = Array.from({ length: 600 }, () => token('a')).join('') + finish() + doneEvent;
    server.script(async (exchange) => {
      exchange.head(200, eventStream);
      for (const part of events.split(/(?<=\n)(?=\n)/)) {
        await exchange.write(part);
        // One turn between the parts: the client joins what it gets in one.
        await new Promise((resolve) => setImmediate(resolve));
      }
      exchange.end();
    });
    expect(events.length).toBeGreaterThan(2 * 1000 + 64 * 1024);
    expect(await run({ maxAnswerBytes: 1000 })).toMatchObject({ error: undefined, text: 'a'.repeat(600) });
  });

  test('an answer of exactly the bound passes', async () => {
    server.script(cases.stream(['ä'.repeat(50)]), cases.stream(['ä'.repeat(50), 'x']));
    expect(await run({ maxAnswerBytes: 100 })).toMatchObject({ error: undefined });
    expect(await failure({ maxAnswerBytes: 100 })).toMatchObject({ code: 'provider' });
  });

  test('messages hold neither the key nor a line break, and are short', async () => {
    const leak = `Incorrect key ${key}\r\n\u0000sent as Bearer ${key} ${'x'.repeat(900)}`;
    server.script(
      cases.status(401, {}, { message: leak }),
      cases.reply(500, leak),
      cases.events(event({ error: { message: leak } })),
      cases.events(`data: ${leak}\n\n`),
      cases.events(event(chunk({ refusal: leak })), finish()),
      cases.reply(302, '', { location: `http://elsewhere/?key=${key}` }),
    );
    for (let i = 0; i < 6; i += 1) expect((await failure()).message).not.toMatch(/0123456789/);
    expect(cleanMessage('key geheim/42 or geheim%2F42', 'geheim/42')).toBe('key [key] or [key]');
    expect(cleanMessage(`a\u0085b\u2028c ${'👩'.repeat(200)}`, 'unused')).toMatch(/^a b c (👩)+…$/);
  });
});

describe('[P7] an abort ends the call at once and closes the socket', () => {
  const reason = new Error('superseded');

  test('before the start: no request', async () => {
    const { error } = await run({}, AbortSignal.abort(reason));
    expect(error).toBe(reason);
    expect(server.requests).toHaveLength(0);
  });

  test.each(['silence', 'headersThenSilence'] as const)('during %s', async (name) => {
    server.script(cases[name]);
    const controller = new AbortController();
    const outcome = run({}, controller.signal);
    const exchange = await server.awaitRequest();
    controller.abort(reason);
    expect((await outcome).error).toBe(reason);
    expect(await exchange.closed).toBe('early');
  });

  test('in the middle of the answer, while waiting for the next chunk', async () => {
    server.script(cases.stall('one ', 'two '));
    const controller = new AbortController();
    const report = newReport();
    const pieces = model().stream(request, controller.signal, report)[Symbol.asyncIterator]();
    expect(await pieces.next()).toMatchObject({ value: 'one ' });
    expect(await pieces.next()).toMatchObject({ value: 'two ' });
    const next = pieces.next();
    const heard = report.heardCount;
    controller.abort(reason);
    await expect(next).rejects.toBe(reason);
    expect(await (await server.awaitRequest()).closed).toBe('early');
    expect(await pieces.next()).toEqual({ done: true, value: undefined });
    expect(report.heardCount).toBe(heard);
  });

  test('while the consumer holds a piece: the socket closes before it asks for more, and no buffered piece follows', async () => {
    server.script(cases.stall('one ', 'two ', 'three '));
    const controller = new AbortController();
    const pieces = model().stream(request, controller.signal, newReport())[Symbol.asyncIterator]();
    await pieces.next();
    controller.abort(reason);
    expect(await (await server.awaitRequest()).closed).toBe('early');
    await expect(pieces.next()).rejects.toBe(reason);
  });

  test('in the last chunk: an abort wins over a complete answer', async () => {
    server.script(cases.stream(['all of it']));
    const controller = new AbortController();
    const pieces = model().stream(request, controller.signal, newReport())[Symbol.asyncIterator]();
    await pieces.next();
    await (
      await server.awaitRequest()
    ).closed;
    controller.abort(reason);
    await expect(pieces.next()).rejects.toBe(reason);
  });

  test('after the very last piece, which was held back as a possible tag', async () => {
    server.script(cases.stream(['a', '<th']));
    const controller = new AbortController();
    const pieces = model().stream(request, controller.signal, newReport())[Symbol.asyncIterator]();
    expect(await pieces.next()).toMatchObject({ value: 'a' });
    expect(await pieces.next()).toMatchObject({ value: '<th' });
    controller.abort(reason);
    await expect(pieces.next()).rejects.toBe(reason);
  });

  test('while it waits for the end after finish_reason', async () => {
    server.script(async (exchange) => {
      exchange.head(200, eventStream);
      await exchange.write(`${token('a')}${finish()}`);
    });
    const controller = new AbortController();
    const pieces = model({ settleMs: 60_000 }).stream(request, controller.signal, newReport())[Symbol.asyncIterator]();
    await pieces.next();
    const next = pieces.next();
    controller.abort(reason);
    await expect(next).rejects.toBe(reason);
    expect(await (await server.awaitRequest()).closed).toBe('early');
  });

  test('while an error body is being read, and during a 429 that asks for 8 s', async () => {
    server.script(
      async (exchange) => {
        exchange.head(500, {});
        await exchange.write('part');
      },
      async (exchange) => {
        exchange.head(429, { 'retry-after': '8' });
        await exchange.write('part');
      },
    );
    for (let i = 0; i < 2; i += 1) {
      const controller = new AbortController();
      const outcome = run({}, controller.signal);
      const exchange = await server.awaitRequest();
      controller.abort(reason);
      expect((await outcome).error).toBe(reason);
      expect(await exchange.closed).toBe('early');
    }
  });

  test('in the same tick as the start, with undefined as the reason, and by a timeout signal', async () => {
    server.script(cases.silence);
    const controller = new AbortController();
    const outcome = run({}, controller.signal);
    controller.abort();
    expect((await outcome).error).toBe(controller.signal.reason);
    const timeout = AbortSignal.timeout(5);
    expect((await run({}, timeout)).error).toBe(timeout.reason);
  });

  test('whatever ignores the abort is not waited for', async () => {
    const controller = new AbortController();
    const link = linkAbort(controller.signal);
    const never = link.race(new Promise<string>(() => undefined));
    controller.abort(reason);
    await expect(never).rejects.toBe(reason);
    await expect(link.race(Promise.resolve('too late'))).rejects.toBe(reason);
    await expect(link.race(Promise.reject(new Error('other')))).rejects.toBe(reason);
    expect(link.signal.aborted).toBe(true);
    expect(() => linkAbort(controller.signal)).toThrow(reason);
    // The work is done, its result is on the way, and then comes the abort.
    const settled = new AbortController();
    const work = Promise.resolve('just before');
    const late = linkAbort(settled.signal).race(work);
    void work.then(() => settled.abort(reason));
    await expect(late).rejects.toBe(reason);
  });

  test('a chunk that was on the way is not heard any more', async () => {
    const controller = new AbortController();
    const report = newReport();
    const upstream = { baseUrl: 'http://x/v1', host: 'http://x', key: 'unused' };
    const link = linkAbort(controller.signal);
    let cancelled = false;
    let send: ReadableStreamDefaultController<Uint8Array> | undefined;
    const source = new ReadableStream<Uint8Array>({
      start: (sender) => void (send = sender),
      cancel: () => void (cancelled = true),
    });
    const body = watchedBody({ upstream, link, report, maxBytes: 99, failure: undefined }, new Response(source));
    const read = body?.getReader().read();
    await new Promise((resolve) => setImmediate(resolve));
    send?.enqueue(Buffer.from('late'));
    controller.abort(reason);
    await read;
    expect(report.heardCount).toBe(0);
    expect(cancelled).toBe(true);
  });

  test('a consumer that stops reading closes the socket', async () => {
    server.script(cases.stall('one'));
    for await (const piece of model().stream(request, new AbortController().signal, newReport())) {
      expect(piece).toBe('one');
      break;
    }
    expect(await (await server.awaitRequest()).closed).toBe('early');
  });

  test('50 calls over one signal leave no listener on it, however they end', async () => {
    const ends = [
      cases.stream(['a']),
      cases.status(500),
      cases.cut(token('a')),
      cases.events(token('a')),
      cases.json({ error: 'x' }),
    ];
    server.script((exchange) => ends[exchange.index % ends.length]?.(exchange));
    const { signal } = new AbortController();
    for (let i = 0; i < 50; i += 1) {
      await run({}, signal);
      expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    }
    expect(server.requests).toHaveLength(50);
  });

  test('50 calls at once over one signal: all end with its reason', async () => {
    server.script(cases.stall('one'));
    const controller = new AbortController();
    const outcomes = Array.from({ length: 50 }, () => run({}, controller.signal));
    const exchanges = await Promise.all(outcomes.map(() => server.awaitRequest()));
    controller.abort(reason);
    for (const { error } of await Promise.all(outcomes)) expect(error).toBe(reason);
    expect(await Promise.all(exchanges.map(({ closed }) => closed))).toEqual(Array(50).fill('early'));
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test('an answer that comes whole leaves the connection for the next call', async () => {
    server.script(cases.stream(['a']));
    for (let i = 0; i < 3; i += 1) expect((await run()).error).toBeUndefined();
    expect(await Promise.all(server.requests.map(({ closed }) => closed))).toEqual([
      'finished',
      'finished',
      'finished',
    ]);
  });
});

describe('probe', () => {
  const options = (names: Record<string, string> & { default: string }): OpenaiTextOptions => ({
    baseUrl: server.baseUrl,
    apiKey: key,
    models: names,
  });

  test('all models are listed', async () => {
    server.script(cases.byPath({ '/v1/models': cases.json({ data: [{ id: 'a' }, { id: 'b:latest' }] }) }));
    expect(await probeText(options({ default: 'a', reply: 'b' }))).toEqual({
      ok: true,
      message: `${server.origin} lists a, b`,
    });
  });

  test('not listed, but it answers', async () => {
    const chat = cases.stream(['ok']);
    server.script(cases.byPath({ '/v1/models': cases.json({ data: [{ id: '/models/x.gguf' }] }), '/v1/chat': chat }));
    expect(await probeText(options({ default: 'a' }))).toEqual({ ok: true, message: `${server.origin} answers as a` });
    server.script(cases.byPath({ '/v1/chat': chat }));
    expect(await probeText(options({ default: 'a' }))).toMatchObject({ ok: true });
  });

  test('not listed, and no answer: says what came', async () => {
    server.script(cases.byPath({ '/v1/models': cases.json({ data: [{ id: 'other' }] }) }));
    const probe = await probeText(options({ default: 'a' }));
    expect(probe).toMatchObject({ ok: false });
    expect(probe.message).toMatch(/^expected a at http.*HTTP 404.*it lists other$/);
  });

  test('a wrong key, a silent server, a bad configuration, no server', async () => {
    server.script(cases.status(401));
    expect((await probeText(options({ default: 'a' }))).message).toContain('HTTP 401');
    server.script(cases.silence);
    expect((await probeText(options({ default: 'a' }), 20)).message).toContain('within 20 ms, none came');
    expect((await probeText({ ...options({ default: 'a' }), baseUrl: 'x' })).message).toMatch(/^baseUrl/);
    expect((await probeText({ ...options({ default: 'a' }), baseUrl: 'http://127.0.0.1:1/v1' })).ok).toBe(false);
  });
});

function rawServer(answer: (socket: Socket) => void): Promise<{ port: number; close: () => Promise<void> }> {
  const raw: Server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => answer(socket));
  });
  return new Promise((resolve) => {
    raw.listen(0, '127.0.0.1', () => {
      const address = raw.address();
      if (address === null || typeof address === 'string') throw new Error('no port');
      const close = (): Promise<void> => new Promise((done) => void raw.close(() => done()));
      resolve({ port: address.port, close });
    });
  });
}
