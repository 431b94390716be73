import { ProviderError } from '../ports/errors.ts';
import { wholeCharacters } from '../protocol/text.ts';
import type { RunErrorCode } from '../protocol/codes.ts';

/** What error messages need to know of the backend: how to call it, and what must never be in them. */
export interface Upstream {
  /** Without a slash at the end. */
  readonly baseUrl: string;
  /** Scheme, host and port. */
  readonly host: string;
  readonly key: string;
}

const maxMessageChars = 300;
const maxRetryAfterMs = 10 * 60_000;

/** One printable line of at most 300 characters, without the api key or anything that looks like one. */
export function cleanMessage(text: string, key: string): string {
  // A key below 4 characters is a placeholder; replacing it would only garble the sentence.
  const secrets = key.length >= 4 ? [key, encodeURIComponent(key), JSON.stringify(key).slice(1, -1)] : [];
  const scrubbed = secrets
    .reduce((clean, secret) => clean.replaceAll(secret, '[key]'), text)
    .replace(/\bBearer\s+[^\s"',;]+/gi, 'Bearer [key]')
    .replace(/\bsk-[A-Za-z0-9_-]{8,}/g, '[key]');
  const line = scrubbed.replace(/[\s\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').trim();
  return line.length <= maxMessageChars ? line : `${wholeCharacters(line.slice(0, maxMessageChars - 1))}…`;
}

/** A ProviderError about this backend. No cause is kept: a cause may hold the key, and loggers print causes. */
export function providerError(
  upstream: Upstream,
  code: RunErrorCode,
  message: string,
  extra: { retryAfterMs?: number | undefined; retryable?: boolean } = {},
): ProviderError {
  return new ProviderError(code, cleanMessage(message, upstream.key), extra);
}

/** The value of a field, when there is an object that has it as its own. Answers are never trusted to have their documented shape. */
export function field(value: unknown, name: string | number | symbol): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  const found: unknown = Reflect.get(value, name);
  return found;
}

/** JSON, or undefined when it is not. */
export function parseJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}

/** What the server asks us to wait, in ms: at most 10 min; undefined when absent or absurd. */
export function retryAfterMs(headers: { get(name: string): string | null }, nowMs: number): number | undefined {
  const ms = positive(headers.get('retry-after-ms'));
  if (ms !== undefined) return Math.min(Math.ceil(ms), maxRetryAfterMs);
  const header = headers.get('retry-after');
  if (header === null) return undefined;
  const seconds = positive(header);
  if (seconds !== undefined) return Math.min(Math.ceil(seconds * 1000), maxRetryAfterMs);
  const until = Date.parse(header) - nowMs;
  return until > 0 ? Math.min(until, maxRetryAfterMs) : undefined;
}

function positive(header: string | null): number | undefined {
  if (header === null || !/^\s*\d+(\.\d+)?\s*$/.test(header)) return undefined;
  return Number(header);
}

/** The error of an HTTP status that is not 2xx. */
export function httpError(
  upstream: Upstream,
  response: { status: number; headers: { get(name: string): string | null } },
  body: string,
): ProviderError {
  const { status, headers } = response;
  if (status >= 300 && status < 400) {
    const target = headers.get('location') ?? 'nowhere';
    return providerError(
      upstream,
      'bad_request',
      `HTTP ${status} from ${upstream.host}: redirects are not followed; it points to ${target}`,
    );
  }
  const json = parseJson(body);
  // Servers without an `error` field (FastAPI, KoboldCpp, Ollama) put the sentence elsewhere in the body.
  const detail = field(json, 'error') ?? json;
  const text = sentence(detail) ?? plainText(body);
  const wait = status === 408 || status === 409 || status === 425 || status === 429 || status >= 500;
  return classified(upstream, { status, detail, text }, `HTTP ${status} from ${upstream.host}`, {
    retryAfterMs: wait ? retryAfterMs(headers, Date.now()) : undefined,
  });
}

/** The error of an `error` object that came inside an HTTP 200, whole or as a frame of the stream. */
export function bodyError(upstream: Upstream, detail: unknown): ProviderError {
  const number = Number(field(detail, 'code') ?? field(detail, 'status'));
  const status = number >= 400 && number < 600 ? number : undefined;
  const text = sentence(detail) ?? 'no message';
  return classified(upstream, { status, detail, text }, `error from ${upstream.host} in an HTTP 200`, {});
}

interface Failure {
  status: number | undefined;
  detail: unknown;
  text: string;
}

function classified(
  upstream: Upstream,
  failure: Failure,
  prefix: string,
  extra: { retryAfterMs?: number | undefined },
): ProviderError {
  const names = [field(failure.detail, 'code'), field(failure.detail, 'type')].filter((n) => typeof n === 'string');
  const name = names.join(' ');
  const outOfCredits = failure.status === 402 || /insufficient_quota|billing|credit/i.test(name);
  const message = `${prefix}: ${outOfCredits ? 'the account is out of credits: ' : ''}${failure.text}`;
  const code = codeOf(failure, name, outOfCredits);
  return providerError(upstream, code, message, code === 'rate_limited' || code === 'provider' ? extra : {});
}

function codeOf(failure: Failure, name: string, outOfCredits: boolean): RunErrorCode {
  const { status, text } = failure;
  if (/content_?(filter|policy)|moderation_blocked|safety/i.test(name)) return 'refused';
  if (status === 400 && /content[ _-]policy|safety system|moderation|flagged/i.test(text)) return 'refused';
  // No waiting helps an empty account: it must not be retried like a rate limit.
  if (outOfCredits) return 'auth';
  if (status !== undefined) return codeOfStatus(status);
  if (/rate_?limit/i.test(name)) return 'rate_limited';
  if (/invalid_api_key|authentication|permission/i.test(name)) return 'auth';
  if (/invalid_request|context_(length|size)|not_found/i.test(name)) return 'bad_request';
  return 'provider';
}

function codeOfStatus(status: number): RunErrorCode {
  if (status === 401 || status === 402 || status === 403) return 'auth';
  if (status === 429) return 'rate_limited';
  if (status === 408 || status === 409 || status === 425 || status >= 500) return 'provider';
  return status >= 400 ? 'bad_request' : 'provider';
}

function sentence(detail: unknown): string | undefined {
  if (typeof detail === 'string' && detail.trim() !== '') return detail;
  for (const name of ['message', 'detail', 'msg', 'error']) {
    const inner = field(detail, name);
    const found = inner === undefined ? undefined : sentence(inner);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The beginning of a body that is not JSON, an HTML page mostly, as text. */
export function plainText(body: string): string {
  const text = body
    .slice(0, 4096)
    .replace(/<(script|style)[\s\S]*?<\/\1>/gi, ' ')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  return text === '' ? 'no body' : text.slice(0, 160);
}

/** The error of a call that the network ended: no connection, a cut socket, a broken encoding. */
export function networkError(upstream: Upstream, error: unknown): ProviderError {
  const causes: string[] = [];
  let code = '';
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    const own = field(at, 'code');
    if (typeof own === 'string') code = own;
    if (at.message !== '') causes.push(at.message);
  }
  const why = [code, causes.at(-1)].filter((part) => part !== undefined && part !== '').join(': ');
  const said = why === '' ? 'the call failed' : why;
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') {
    return providerError(upstream, 'idle_timeout', `${upstream.host} went silent: ${said}`);
  }
  // A body that does not unzip is the backend's fault, not the network's.
  if (code.startsWith('Z_'))
    return providerError(upstream, 'provider', `unreadable body from ${upstream.host}: ${said}`);
  return providerError(upstream, 'connection', `no connection to ${upstream.host}, or it broke: ${said}`);
}
