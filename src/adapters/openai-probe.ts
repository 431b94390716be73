import type { Probe } from '../ports/models.ts';
import { ProviderError } from '../ports/errors.ts';
import { openaiText, type OpenaiTextOptions } from './openai-text.ts';
import type { OpenaiImageOptions } from './openai-image.ts';
import { linkAbort } from './abort-link.ts';
import { readBody, upstreamOf, watchedFetch, type Call } from './openai-client.ts';
import { cleanMessage, field, parseJson, type Upstream } from './openai-errors.ts';

/** Longest that one engine's check may take. */
const defaultBoundMs = 5000;

const silent = {
  heard: () => undefined,
  progress: () => undefined,
  preview: () => undefined,
  usage: () => undefined,
};

/**
 * Whether a text backend can be used: it lists its models, or, when it lists none of that name (llama.cpp takes any), answers with one
 * token. Never rejects.
 */
export function probeText(options: OpenaiTextOptions, boundMs: number = defaultBoundMs): Promise<Probe> {
  return bounded(options, boundMs, async (upstream, signal) => {
    const wanted = [...new Set(Object.values(options.models))].filter((name) => name !== undefined);
    const listed = await listModels(upstream, signal);
    const missing = listed === undefined ? wanted : wanted.filter((name) => !isListed(listed, name));
    if (missing.length === 0) return { ok: true, message: `${upstream.host} lists ${wanted.join(', ')}` };
    for (const name of missing) {
      const failure = await oneToken({ ...options, models: { default: name } }, signal);
      if (failure !== undefined)
        return { ok: false, message: `expected ${name} at ${upstream.host}: ${failure}${offers(listed)}` };
    }
    return { ok: true, message: `${upstream.host} answers as ${missing.join(', ')}` };
  });
}

/** Whether an image backend can be reached and lists its model. It draws nothing: a picture costs money and minutes. Never rejects. */
export function probeImage(options: OpenaiImageOptions, boundMs: number = defaultBoundMs): Promise<Probe> {
  return bounded(options, boundMs, async (upstream, signal) => {
    const listed = await listModels(upstream, signal);
    if (listed === undefined) {
      return { ok: true, message: `${upstream.host} answers; it lists no models, so ${options.model} is not checked` };
    }
    if (isListed(listed, options.model)) return { ok: true, message: `${upstream.host} lists ${options.model}` };
    return { ok: false, message: `expected ${options.model} at ${upstream.host}: it is not listed${offers(listed)}` };
  });
}

async function bounded(
  options: { readonly baseUrl: string; readonly apiKey?: string | undefined },
  boundMs: number,
  work: (upstream: Upstream, signal: AbortSignal) => Promise<Probe>,
): Promise<Probe> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), boundMs);
  try {
    const upstream = upstreamOf(options.baseUrl, options.apiKey);
    const probe = await work(upstream, controller.signal);
    return { ok: probe.ok, message: cleanMessage(probe.message, upstream.key) };
  } catch (error) {
    if (controller.signal.aborted) {
      return { ok: false, message: `expected an answer of ${options.baseUrl} within ${boundMs} ms, none came` };
    }
    return { ok: false, message: error instanceof Error ? error.message : 'the check failed' };
  } finally {
    clearTimeout(timer);
  }
}

/** Names of the models; undefined = the server answers, but has no such list. */
async function listModels(upstream: Upstream, signal: AbortSignal): Promise<string[] | undefined> {
  const link = linkAbort(signal);
  const call: Call = { upstream, link, report: silent, maxBytes: 8 * 1024 * 1024, failure: undefined };
  let whole = false;
  try {
    const init = { headers: { authorization: `Bearer ${upstream.key}` }, signal: link.signal };
    const response = await link.race(watchedFetch(call, `${upstream.baseUrl}/models`, init));
    const data = field(parseJson((await link.race(readBody(call, response))).toString('utf8')), 'data');
    whole = true;
    if (!Array.isArray(data)) return undefined;
    return data.map((entry: unknown) => field(entry, 'id')).filter((id) => typeof id === 'string');
  } catch (error) {
    if (error instanceof ProviderError && error.code === 'bad_request') return undefined;
    throw error;
  } finally {
    link.close(whole);
  }
}

/** Ollama lists `name:latest` for what people call `name`. */
function isListed(listed: readonly string[], name: string): boolean {
  return listed.includes(name) || listed.includes(`${name}:latest`);
}

function offers(listed: readonly string[] | undefined): string {
  if (listed === undefined || listed.length === 0) return '';
  const more = listed.length > 5 ? ` and ${listed.length - 5} more` : '';
  return `; it lists ${listed.slice(0, 5).join(', ')}${more}`;
}

/** Asks for one token; what went wrong, or undefined. */
async function oneToken(options: OpenaiTextOptions, signal: AbortSignal): Promise<string | undefined> {
  const request = {
    stage: 'default',
    prompt: [{ role: 'user' as const, content: 'Say: ok' }],
    material: { messages: [], current: '', maxChars: 16 },
    maxTokens: 1,
  };
  try {
    const pieces = openaiText(options).stream(request, signal, silent);
    for await (const _ of pieces);
    return undefined;
  } catch (error) {
    // What it says matters little: a refusal is an answer.
    if (error instanceof ProviderError && error.code !== 'refused') return error.message;
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}
