import type { ProviderError } from '../ports/errors.ts';
import type { Image } from '../ports/models.ts';
import type { A1111Server } from './a1111-server.ts';
import { scrubbed, spoken } from './http-json.ts';
import { isWhole, sniff } from './image-bytes.ts';
import { bodyError, field, plainText, providerError } from './openai-errors.ts';

/** Largest JSON around one picture of `maxBytes`: base64 is 4/3 of the bytes, and A1111 repeats the whole request in its answer. */
export function jsonBytesOf(maxBytes: number): number {
  return Math.ceil(maxBytes * 1.4) + 256 * 1024;
}

/** The picture in the answer to txt2img. */
export function decodedPicture(server: A1111Server, body: unknown): Image {
  const { upstream } = server.backend;
  const error = field(body, 'error');
  if (error !== undefined && error !== null && error !== '') {
    const said = spoken(body) ?? spoken(error);
    throw bodyError(upstream, said === undefined ? error : scrubbed(server.backend, said));
  }
  const images = field(body, 'images');
  const first: unknown = Array.isArray(images) ? images[0] : undefined;
  if (typeof first !== 'string') {
    const start = plainText(scrubbed(server.backend, JSON.stringify(body) ?? ''));
    throw providerError(upstream, 'provider', `${upstream.host} answered without a picture: ${start}`);
  }
  const bytes = base64Bytes(first);
  if (bytes === undefined) {
    throw providerError(upstream, 'provider', `${upstream.host} sent base64 that is cut or not base64`);
  }
  return checked(server, bytes);
}

/** A live preview; undefined for none, and for what is not a picture: it is not worth an error. */
export function shownPicture({ maxBytes }: A1111Server, uri: unknown): Image | undefined {
  const bytes = typeof uri === 'string' ? base64Bytes(uri) : undefined;
  if (bytes === undefined || bytes.length > maxBytes) return undefined;
  const extension = sniff(bytes);
  if (extension === undefined || extension === 'svg' || !isWhole(bytes, extension)) return undefined;
  return { bytes, extension };
}

/** Bytes of a base64 text, with or without `data:…;base64,` before it. Buffer.from skips what is not base64, so it is checked first. */
function base64Bytes(source: string): Buffer | undefined {
  const comma = /^data:/i.test(source) ? source.indexOf(',') : -1;
  if (comma >= 0 && !/;base64$/i.test(source.slice(0, comma))) return undefined;
  const text = source.slice(comma + 1).replace(/\s+/g, '');
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  return Buffer.from(text, 'base64');
}

function checked({ backend, maxBytes }: A1111Server, bytes: Buffer): Image {
  const fail = (message: string, retryable?: false): ProviderError =>
    providerError(backend.upstream, 'provider', message, retryable === undefined ? {} : { retryable });
  const { host } = backend.upstream;
  if (bytes.length === 0) throw fail(`${host} sent a picture of 0 bytes`);
  if (bytes.length > maxBytes) throw fail(`the picture of ${host} is larger than ${maxBytes} bytes`, false);
  const extension = sniff(bytes);
  if (extension === 'svg') throw fail(`${host} sent an SVG: refused, an SVG can run scripts`, false);
  if (extension === undefined) {
    const start = plainText(scrubbed(backend, bytes.toString('latin1', 0, 512)));
    throw fail(`expected a PNG, JPEG, WebP or GIF from ${host}, got: ${start}`);
  }
  if (!isWhole(bytes, extension)) throw fail(`the ${extension} from ${host} is cut after ${bytes.length} bytes`);
  return { bytes, extension };
}
