import type { Image, ImageModel, ImageRequest, Report } from '../ports/models.ts';
import type { ProviderError } from '../ports/errors.ts';
import { isWhole, sniff } from './image-bytes.ts';
import { linkAbort, readBody, upstreamOf, watchedFetch, type Call, type Link } from './openai-client.ts';
import { bodyError, field, parseJson, plainText, providerError, type Upstream } from './openai-errors.ts';

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
}

interface Settings extends OpenaiImageOptions {
  readonly upstream: Upstream;
  readonly maxBytes: number;
}

/** An image engine behind any server with `/images/generations`. Throws a TypeError for a bad configuration. */
export function openaiImage(options: OpenaiImageOptions): ImageModel {
  const upstream = upstreamOf(options.baseUrl, options.apiKey);
  const settings: Settings = { ...options, upstream, maxBytes: options.maxBytes ?? 20 * 1024 * 1024 };
  return {
    engine: options.model,
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
  const { upstream, model, size, responseFormat, maxBytes } = settings;
  // Base64 is 4/3 of the bytes; the rest of the JSON is small.
  const call: Call = { upstream, link, report, maxBytes: Math.ceil(maxBytes * 1.4) + 64 * 1024, failure: undefined };
  const response = await watchedFetch(call, `${upstream.baseUrl}/images/generations`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      authorization: `Bearer ${upstream.key}`,
    },
    body: JSON.stringify({
      model,
      prompt: request.prompt,
      n: 1,
      ...(size === undefined ? {} : { size }),
      ...(responseFormat === undefined ? {} : { response_format: responseFormat }),
    }),
    signal: link.signal,
  });
  const text = (await readBody(call, response)).toString('utf8');
  const first = firstResult(upstream, response, text);
  const inline = field(first, 'b64_json');
  if (typeof inline === 'string') return checked(settings, decoded(settings, inline), 'b64_json');
  const url = field(first, 'url');
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

function firstResult(upstream: Upstream, response: Response, text: string): unknown {
  const json = parseJson(text);
  const error = field(json, 'error');
  if (error !== undefined && error !== null) throw bodyError(upstream, error);
  const data = field(json, 'data');
  if (Array.isArray(data) && data.length > 0) return data[0];
  const type = response.headers.get('content-type') ?? 'no content type';
  const problem =
    json === undefined
      ? `expected JSON from ${upstream.host}, got ${type}: ${plainText(text)}`
      : `${upstream.host} answered without a picture: ${plainText(text)}`;
  throw providerError(upstream, 'provider', problem);
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
