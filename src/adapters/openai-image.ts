import type { Image, ImageModel, ImageRequest, Report } from '../ports/models.ts';
import { ProviderError } from '../ports/errors.ts';
import { isWhole, sniff } from './image-bytes.ts';
import { linkAbort, type Link } from './abort-link.ts';
import { readBody, upstreamOf, watchedBody, watchedFetch, type Call } from './openai-client.ts';
import { bodyError, field, parseJson, plainText, providerError, type Upstream } from './openai-errors.ts';
import { serverEvents } from './sse-events.ts';

/** Configuration of a backend that speaks OpenAI's image generation. */
export interface OpenaiImageOptions {
  /** Up to and including `/v1`. */
  readonly baseUrl: string;
  readonly apiKey?: string | undefined;
  readonly model: string;
  /** As the backend names it: `1024x1024`, `auto` … */
  readonly size?: string | undefined;
  /** Largest picture in bytes. Default 20 MiB. */
  readonly maxBytes?: number | undefined;
  /** Sent only when given: gpt-image models refuse the field, dall-e and many local servers answer with a URL without it. */
  readonly responseFormat?: 'b64_json' | 'url' | undefined;
  /** Asks for a stream with up to this many unfinished pictures, 0 to 3. Default 0: no stream. Strict servers refuse the fields. */
  readonly partialImages?: number | undefined;
}

interface Settings extends OpenaiImageOptions {
  readonly upstream: Upstream;
  readonly maxBytes: number;
  readonly partialImages: number;
}

/** An image engine behind any server with `/images/generations`. Throws a TypeError for a bad configuration. */
export function openaiImage(options: OpenaiImageOptions): ImageModel {
  const upstream = upstreamOf(options.baseUrl, options.apiKey);
  const { model, size, maxBytes = 20 * 1024 * 1024, partialImages = 0 } = options;
  if (!Number.isInteger(partialImages) || partialImages < 0 || partialImages > 3) {
    throw new TypeError(`partialImages: expected a whole number from 0 to 3, got ${partialImages}`);
  }
  const settings: Settings = { ...options, upstream, maxBytes, partialImages };
  return {
    engine: model,
    variant: size === undefined ? model : `${model} ${size}`,
    host: upstream.host,
    async generate(request: ImageRequest, signal: AbortSignal, report: Report): Promise<Image> {
      const link = linkAbort(signal);
      let whole = false;
      try {
        const image = await link.race(generate(settings, request, link, report));
        whole = true;
        return image;
      } finally {
        link.close(whole);
      }
    },
  };
}

async function generate(settings: Settings, request: ImageRequest, link: Link, report: Report): Promise<Image> {
  const { upstream, model, size, responseFormat, maxBytes, partialImages } = settings;
  const streamed = partialImages > 0;
  // Base64 is 4/3 of the bytes; the rest of the JSON is small.
  const pictureBytes = Math.ceil(maxBytes * 1.4) + 64 * 1024;
  const call: Call = {
    upstream,
    link,
    report,
    maxBytes: pictureBytes * (1 + partialImages),
    ...(streamed ? { maxEventBytes: pictureBytes } : {}),
    failure: undefined,
  };
  const response = await watchedFetch(call, `${upstream.baseUrl}/images/generations`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: streamed ? 'text/event-stream, application/json' : 'application/json',
      authorization: `Bearer ${upstream.key}`,
    },
    body: JSON.stringify({
      model,
      prompt: request.prompt,
      n: 1,
      ...(size === undefined ? {} : { size }),
      ...(responseFormat === undefined ? {} : { response_format: responseFormat }),
      ...(streamed ? { stream: true, partial_images: partialImages } : {}),
    }),
    signal: link.signal,
  });
  // Many servers do not know `stream`, and answer as they always do.
  const found = isEventStream(response)
    ? await streamedResult(settings, call, response, report)
    : await wholeResult(upstream, call, response, report);
  return pictureOf(settings, link, report, found);
}

/** The picture of a result: inline, or behind a URL of the same host. */
async function pictureOf(settings: Settings, link: Link, report: Report, found: unknown): Promise<Image> {
  const { upstream } = settings;
  const inline = field(found, 'b64_json');
  if (typeof inline === 'string') return checked(settings, decoded(settings, inline), 'b64_json');
  const url = field(found, 'url');
  if (typeof url !== 'string') {
    throw providerError(
      upstream,
      'provider',
      `expected b64_json or url in the answer of ${upstream.host}, got neither`,
    );
  }
  if (/^data:/i.test(url)) return checked(settings, decoded(settings, url), 'a data: URL');
  return checked(settings, await download(settings, link, report, url), 'the picture behind url');
}

function isEventStream(response: Response): boolean {
  return /^\s*text\/event-stream\s*(;|$)/i.test(response.headers.get('content-type') ?? '');
}

/** Shows the unfinished pictures of a stream; resolves with the event of the finished one, which may come before all of them have. */
async function streamedResult(settings: Settings, call: Call, response: Response, report: Report): Promise<unknown> {
  const { upstream } = settings;
  let events = 0;
  for await (const { event, data } of serverEvents(watchedBody(call, response) ?? nothing())) {
    if (data === '[DONE]') break;
    events += 1;
    const said = parseJson(data);
    if (said === undefined) {
      throw providerError(upstream, 'provider', `${upstream.host} sent an event that is not JSON: ${plainText(data)}`);
    }
    const error = field(said, 'error');
    if (error !== undefined && error !== null) throw bodyError(upstream, error);
    const type = field(said, 'type') ?? event;
    if (type === 'error') throw bodyError(upstream, said);
    if (type === 'image_generation.partial_image') showPreview(settings, call, said, report);
    if (type === 'image_generation.completed') {
      reportUsage(said, report);
      return said;
    }
  }
  const after = events === 0 ? 'without a single event' : `after ${events} events, without the finished picture`;
  throw providerError(upstream, 'truncated', `the answer of ${upstream.host} ended ${after}`);
}

async function* nothing(): AsyncGenerator<Uint8Array, void, undefined> {}

/** Its number is the backend's own: preview 1 of up to 3. One that cannot be shown is left out: the picture itself may still be good. */
function showPreview(settings: Settings, call: Call, said: unknown, report: Report): void {
  const preview = previewOf(settings, said);
  // What one chunk brought may be read after an abort.
  if (preview === undefined || call.link.signal.aborted) return;
  report.preview(preview);
  const index = field(said, 'partial_image_index');
  if (typeof index === 'number' && Number.isInteger(index) && index >= 0 && index < settings.partialImages) {
    report.progress(index + 1, settings.partialImages, 'preview');
  }
}

function previewOf(settings: Settings, said: unknown): Image | undefined {
  const inline = field(said, 'b64_json');
  try {
    return typeof inline === 'string' ? checked(settings, decoded(settings, inline), 'a preview') : undefined;
  } catch (error) {
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}

async function wholeResult(upstream: Upstream, call: Call, response: Response, report: Report): Promise<unknown> {
  const text = (await readBody(call, response)).toString('utf8');
  const json = parseJson(text);
  const error = field(json, 'error');
  if (error !== undefined && error !== null) throw bodyError(upstream, error);
  reportUsage(json, report);
  const data = field(json, 'data');
  if (Array.isArray(data) && data.length > 0) return data[0];
  const type = response.headers.get('content-type') ?? 'no content type';
  const problem =
    json === undefined
      ? `expected JSON from ${upstream.host}, got ${type}: ${plainText(text)}`
      : `${upstream.host} answered without a picture: ${plainText(text)}`;
  throw providerError(upstream, 'provider', problem);
}

/** gpt-image models count tokens; what is paid for is reported also when the picture turns out not to be one. */
function reportUsage(answer: unknown, report: Report): void {
  const input = field(field(answer, 'usage'), 'input_tokens');
  const output = field(field(answer, 'usage'), 'output_tokens');
  if (isCount(input) && isCount(output)) report.usage({ input, output });
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

/** Bytes of a base64 text, with or without `data:…;base64,` before it. Buffer.from skips what is not base64, so it is checked first. */
function decoded({ upstream }: Settings, source: string): Buffer {
  const comma = /^data:/i.test(source) ? source.indexOf(',') : -1;
  if (comma >= 0 && !/;base64$/i.test(source.slice(0, comma))) {
    throw providerError(upstream, 'provider', `${upstream.host} sent a data: URL that is not base64`);
  }
  const text = source.slice(comma + 1).replace(/\s+/g, '');
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw providerError(upstream, 'provider', `${upstream.host} sent base64 that is cut or not base64`);
  }
  return Buffer.from(text, 'base64');
}

/** Gets a picture from the configured host, the only one that a backend may send us to: anything else could be our own network. */
async function download(settings: Settings, link: Link, report: Report, url: string): Promise<Buffer> {
  const { upstream, maxBytes } = settings;
  const base = `${upstream.baseUrl}/`;
  const target = URL.canParse(url, base) ? new URL(url, base) : undefined;
  if (target === undefined || target.origin !== upstream.host || target.username !== '' || target.password !== '') {
    const where = target === undefined ? 'an unreadable URL' : `${target.protocol}//${target.host}`;
    const message = `the picture is not on ${upstream.host} but on ${where}, which is not fetched; ask for b64_json`;
    throw providerError(upstream, 'provider', message, { retryable: false });
  }
  const call: Call = { upstream, link, report, maxBytes, failure: undefined };
  const response = await watchedFetch(call, target, {
    headers: { accept: 'image/*', authorization: `Bearer ${upstream.key}` },
    signal: link.signal,
  });
  return readBody(call, response);
}

function checked({ upstream, maxBytes }: Settings, bytes: Buffer, where: string): Image {
  if (bytes.length === 0) throw providerError(upstream, 'provider', `${upstream.host} sent 0 bytes in ${where}`);
  if (bytes.length > maxBytes) throw tooLarge(upstream, maxBytes);
  const extension = sniff(bytes);
  if (extension === 'svg') {
    const message = `${upstream.host} sent an SVG in ${where}: refused, an SVG can run scripts`;
    throw providerError(upstream, 'provider', message, { retryable: false });
  }
  if (extension === undefined) {
    const start = plainText(bytes.subarray(0, 512).toString('latin1'));
    throw providerError(upstream, 'provider', `expected a PNG, JPEG, WebP or GIF in ${where}, got: ${start}`);
  }
  if (!isWhole(bytes, extension)) {
    throw providerError(
      upstream,
      'provider',
      `the ${extension} from ${upstream.host} is cut after ${bytes.length} bytes`,
    );
  }
  return { bytes, extension };
}

function tooLarge(upstream: Upstream, maxBytes: number): ProviderError {
  const message = `the picture of ${upstream.host} is larger than ${maxBytes} bytes`;
  return providerError(upstream, 'provider', message, { retryable: false });
}
