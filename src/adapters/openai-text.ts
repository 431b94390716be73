import type { Report, TextModel, TextRequest } from '../ports/models.ts';
import { ProviderError } from '../ports/errors.ts';
import { utf8Bytes } from '../protocol/text.ts';
import { linkAbort } from './abort-link.ts';
import { preload, upstreamOf, watchedBody, watchedFetch, type Call } from './openai-client.ts';
import { bodyError, field, networkError, parseJson, plainText, providerError, type Upstream } from './openai-errors.ts';
import { thinkFilter } from './think-filter.ts';

export { preload };

/** Model names by stage; a stage without its own uses `default`. */
export interface StageModels {
  readonly default: string;
  readonly [stage: string]: string | undefined;
}

/** Configuration of a text backend that speaks OpenAI's Chat Completions. */
export interface OpenaiTextOptions {
  /** Up to and including `/v1`, as every server documents it. */
  readonly baseUrl: string;
  readonly apiKey?: string | undefined;
  readonly models: StageModels;
  /** Longest wait for the response headers. Local servers load a model before them: minutes. Default 10 min. */
  readonly headersTimeoutMs?: number | undefined;
  /** OpenAI's newer models take only `max_completion_tokens`, most others only `max_tokens`. */
  readonly tokenField?: 'max_tokens' | 'max_completion_tokens' | undefined;
  /** Largest answer in UTF-8 bytes. Default 1 MiB. */
  readonly maxAnswerBytes?: number | undefined;
  /** Asks llama.cpp for its progress through the prompt (`return_progress`); strict servers refuse the field. Default false. */
  readonly promptProgress?: boolean | undefined;
  /** Longest wait for `usage` and the end of the body once the backend has said that the answer is complete. Default 1 s. */
  readonly settleMs?: number | undefined;
}

type Settings = Required<{ [K in keyof OpenaiTextOptions]: NonNullable<OpenaiTextOptions[K]> }> & {
  upstream: Upstream;
};

/** A text engine behind any server that speaks OpenAI's Chat Completions. Throws a TypeError for a bad configuration. */
export function openaiText(options: OpenaiTextOptions): TextModel {
  const upstream = upstreamOf(options.baseUrl, options.apiKey);
  const settings: Settings = {
    baseUrl: upstream.baseUrl,
    apiKey: upstream.key,
    models: options.models,
    headersTimeoutMs: options.headersTimeoutMs ?? 10 * 60_000,
    tokenField: options.tokenField ?? 'max_tokens',
    maxAnswerBytes: options.maxAnswerBytes ?? 1024 * 1024,
    promptProgress: options.promptProgress ?? false,
    settleMs: options.settleMs ?? 1000,
    upstream,
  };
  const engine = (stage: string): string =>
    (Object.hasOwn(options.models, stage) ? options.models[stage] : undefined) ?? options.models.default;
  return {
    engine,
    host: upstream.host,
    stream: (request, signal, report) => streamAnswer(settings, engine(request.stage), request, signal, report),
  };
}

async function* streamAnswer(
  settings: Settings,
  model: string,
  request: TextRequest,
  signal: AbortSignal,
  report: Report,
): AsyncGenerator<string, void, undefined> {
  const link = linkAbort(signal);
  const call: Call = {
    upstream: settings.upstream,
    link,
    report,
    // A frame is some 250 bytes around a token of 4, and reasoning comes on top.
    maxBytes: 64 * settings.maxAnswerBytes + 1024 * 1024,
    maxEventBytes: 2 * settings.maxAnswerBytes + 64 * 1024,
    failure: undefined,
  };
  const answer = newAnswer(settings, report);
  const think = thinkFilter();
  let bytes = 0;
  const bounded = (piece: string): string => {
    bytes += utf8Bytes(piece);
    if (bytes <= settings.maxAnswerBytes) return piece;
    const message = `the answer is larger than ${settings.maxAnswerBytes} bytes`;
    throw providerError(settings.upstream, 'provider', message, { retryable: false });
  };
  let whole = false;
  try {
    const events = await link.race(open(settings, call, model, request));
    for (;;) {
      const next = await link.race(nextEvent(events, call, answer, settings.settleMs));
      if (next === undefined) break;
      if (next.done === true) {
        whole = true;
        break;
      }
      const piece = bounded(think.push(answer.take(next.value)));
      if (piece !== '') yield piece;
    }
    answer.check();
    const last = bounded(think.end());
    if (last !== '') yield last;
    signal.throwIfAborted();
  } catch (error) {
    whole = false;
    if (signal.aborted) throw signal.reason;
    throw mapped(settings, call, error);
  } finally {
    link.close(whole);
  }
}

/** Starts the call; resolves at the response headers. */
async function open(
  settings: Settings,
  call: Call,
  model: string,
  request: TextRequest,
): Promise<AsyncIterator<unknown>> {
  const { OpenAI } = await import('openai');
  const client = new OpenAI({
    baseURL: settings.baseUrl,
    apiKey: settings.apiKey,
    // These would else be read from the environment and sent to whatever server baseUrl names.
    organization: null,
    project: null,
    maxRetries: 0,
    timeout: settings.headersTimeoutMs,
    logLevel: 'off',
    fetch: (url, init) => fetchEvents(call, url, init ?? {}),
  });
  const limit = request.maxTokens === undefined ? {} : { [settings.tokenField]: request.maxTokens };
  const extra = settings.promptProgress ? { return_progress: true } : {};
  const stream = await client.chat.completions.create(
    {
      model,
      messages: request.prompt,
      stream: true,
      stream_options: { include_usage: true },
      ...limit,
      ...extra,
    },
    { signal: call.link.signal },
  );
  return stream[Symbol.asyncIterator]();
}

/** fetch for the SDK, which would take any body for a stream of events, and one without events for an empty answer. */
async function fetchEvents(call: Call, url: string | URL | Request, init: RequestInit): Promise<Response> {
  const response = await watchedFetch(call, url, init);
  const type = response.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
  const body = watchedBody(call, response);
  if (body !== null && (type === 'text/event-stream' || type === '')) {
    return new Response(body, { status: response.status, headers: response.headers });
  }
  const text = body === null ? '' : await new Response(body).text();
  const json = parseJson(text);
  const inner = field(json, 'error');
  const { host } = call.upstream;
  if (inner !== undefined && inner !== null) {
    call.failure ??= bodyError(call.upstream, inner);
  } else if (field(json, 'choices') !== undefined) {
    const message = `expected a stream of events from ${host}, got a whole JSON answer: it ignores "stream": true`;
    call.failure ??= providerError(call.upstream, 'provider', message, { retryable: false });
  } else {
    const came = `HTTP ${response.status} ${type === '' ? 'without a content type' : type}`;
    const message = `expected text/event-stream from ${host}, got ${came}: ${plainText(text)}`;
    call.failure ??= providerError(call.upstream, 'provider', message);
  }
  throw call.failure;
}

/**
 * The next event; undefined = no more are needed. Once the backend has said that the answer is complete, a socket that is cut or stays
 * open costs at most the token counts, never the answer.
 */
async function nextEvent(
  events: AsyncIterator<unknown>,
  call: Call,
  answer: Answer,
  settleMs: number,
): Promise<IteratorResult<unknown> | undefined> {
  if (!answer.finished()) return events.next();
  let timer: NodeJS.Timeout | undefined;
  const settled = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, settleMs, undefined);
  });
  try {
    return await Promise.race([events.next(), settled]);
  } catch (error) {
    if (call.failure?.code === 'connection') return undefined;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

interface Answer {
  /** Reads one event, reports what it counts, and gives back its text. */
  take(event: unknown): string;
  /** The backend has said that the answer is complete. */
  finished(): boolean;
  /** The stream has ended: throws unless the answer is complete and one that people may see. */
  check(): void;
}

const refusals: readonly string[] = ['content_filter', 'safety', 'refusal'];
const breaks: readonly string[] = ['error', 'abort', 'aborted', 'cancelled'];

function newAnswer({ upstream }: Settings, report: Report): Answer {
  let events = 0;
  let finish: string | undefined;
  let refusal = '';
  let usage: { input: number; output: number } | undefined;

  function take(event: unknown): string {
    events += 1;
    // vLLM sends its errors as a frame of their own kind.
    if (field(event, 'object') === 'error') throw bodyError(upstream, event);
    const progress = field(event, 'prompt_progress');
    const done = field(progress, 'processed');
    const total = field(progress, 'total');
    if (isCount(done) && isCount(total)) report.progress(done, total, 'token');
    const input = field(field(event, 'usage'), 'prompt_tokens');
    const output = field(field(event, 'usage'), 'completion_tokens');
    if (isCount(input) && isCount(output)) usage = { input, output };
    const choice = field(field(event, 'choices'), 0);
    const reason = field(choice, 'finish_reason');
    // Some servers send '' with every chunk.
    if (typeof reason === 'string' && reason !== '') finish = reason;
    const delta = field(choice, 'delta');
    const no = field(delta, 'refusal');
    if (typeof no === 'string') refusal = (refusal + no).slice(0, 1000);
    return textOf(field(delta, 'content'));
  }

  function check(): void {
    // Refused tokens are paid for too. Only the last count is reported: some servers repeat the total with every chunk.
    if (usage !== undefined) report.usage(usage);
    if (refusal !== '') throw providerError(upstream, 'refused', `the model refused: ${refusal}`);
    if (finish === undefined) {
      const after = events === 0 ? 'without a single event' : `after ${events} events, without finish_reason`;
      throw providerError(upstream, 'truncated', `the answer of ${upstream.host} ended ${after}`);
    }
    if (refusals.includes(finish)) {
      throw providerError(upstream, 'refused', `${upstream.host} stopped the answer: ${finish}`);
    }
    if (breaks.includes(finish)) {
      throw providerError(upstream, 'truncated', `${upstream.host} gave up on the answer: finish_reason ${finish}`);
    }
  }

  return { take, finished: () => finish !== undefined, check };
}

/** Content is a string, null, or (Mistral's reasoning models) a list of parts, of which only the text is for people. */
function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  const parts = content.map((part: unknown) => (field(part, 'type') === 'text' ? field(part, 'text') : ''));
  return parts.filter((text) => typeof text === 'string').join('');
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

/** One union for what our own code, the SDK and the runtime throw. */
function mapped(settings: Settings, call: Call, error: unknown): ProviderError {
  const { upstream } = settings;
  if (call.failure !== undefined) return call.failure;
  if (error instanceof ProviderError) return error;
  // Before anything else: the SDK's APIError of a frame with an `error` field.
  const inner = field(error, 'error');
  if (inner !== undefined && inner !== null) return bodyError(upstream, inner);
  if (error instanceof SyntaxError) {
    return providerError(upstream, 'provider', `${upstream.host} sent an event that is not JSON: ${error.message}`);
  }
  if (error instanceof Error && error.constructor.name === 'APIConnectionTimeoutError') {
    const message = `${upstream.host} sent no headers within ${settings.headersTimeoutMs} ms`;
    return providerError(upstream, 'idle_timeout', message);
  }
  return networkError(upstream, error);
}
