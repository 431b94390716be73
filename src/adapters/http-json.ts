import { request as requestPlain, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestTls } from 'node:https';
import type { Clock } from '../ports/clock.ts';
import { ProviderError } from '../ports/errors.ts';
import { field, httpError, networkError, parseJson, plainText, providerError, type Upstream } from './openai-errors.ts';

/** Largest error body that is read: enough for a message. */
const maxErrorBytes = 64 * 1024;

/** A local backend that speaks plain JSON over HTTP, as `httpBackend` made it. */
export interface HttpBackend {
  readonly upstream: Upstream;
  /** Sent with every call. */
  readonly headers: Readonly<Record<string, string>>;
  /** What must be in no message: the password, and what goes over the wire in its place. */
  readonly secrets: readonly string[];
  readonly clock: Clock;
}

/** One call. */
export interface HttpCall {
  readonly method: 'GET' | 'POST';
  /** Begins with `/`; comes after the path of the base URL. */
  readonly path: string;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Largest answer, in bytes. */
  readonly maxBytes: number;
  /** Closes the socket; the call rejects with its reason. */
  readonly signal: AbortSignal;
  /** Longest that the whole call may take; absent = as long as it takes. */
  readonly timeoutMs?: number;
  /** The status line came, whatever it says. */
  readonly onHead?: () => void;
  /** Bytes came. */
  readonly onBytes?: () => void;
}

/** Checks the configuration of a backend; throws a TypeError that names the setting and never shows the password. */
export function httpBackend(options: {
  readonly baseUrl: string;
  readonly auth?: { readonly user: string; readonly password: string } | undefined;
  readonly clock?: Clock | undefined;
}): HttpBackend {
  const { baseUrl, auth, clock = platformClock } = options;
  if (!URL.canParse(baseUrl)) throw new TypeError('baseUrl: expected a URL like http://127.0.0.1:7860');
  const url = new URL(baseUrl);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new TypeError(`baseUrl: expected http: or https:, got ${url.protocol}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new TypeError('baseUrl: has credentials in it; put them in auth');
  }
  if (url.search !== '' || url.hash !== '') throw new TypeError('baseUrl: must not have a query or a fragment');
  if (auth?.user.includes(':') === true) throw new TypeError('auth.user: no user name of HTTP has a colon in it');
  const upstream = { baseUrl: url.href.replace(/\/+$/, ''), host: url.origin, key: auth?.password ?? '' };
  if (auth === undefined) return { upstream, headers: {}, secrets: [], clock };
  const token = Buffer.from(`${auth.user}:${auth.password}`, 'utf8').toString('base64');
  return { upstream, headers: { authorization: `Basic ${token}` }, secrets: [token, auth.password], clock };
}

/** The JSON of an answer with a 2xx status, undefined for an empty one. Anything else is a ProviderError. */
export async function httpJson(backend: HttpBackend, call: HttpCall): Promise<unknown> {
  const { body, type } = await httpBytes(backend, call);
  if (body.length === 0) return undefined;
  const text = body.toString('utf8');
  const json = parseJson(text);
  if (json !== undefined) return json;
  const start = scrubbed(backend, plainText(text));
  throw providerError(
    backend.upstream,
    'provider',
    `expected JSON from ${backend.upstream.host}, got ${type}: ${start}`,
  );
}

/**
 * The bytes of an answer with a 2xx status. Everything else throws: a ProviderError, or the signal's reason. Each call has a socket of its
 * own, which is closed when the promise settles; redirects are not followed, and nothing but the call's own `timeoutMs` ends the wait for a
 * status line: fetch would give up after 300 s, and a cold model takes longer.
 */
export async function httpBytes(backend: HttpBackend, call: HttpCall): Promise<{ body: Buffer; type: string }> {
  const { upstream, clock } = backend;
  call.signal.throwIfAborted();
  const request = send(backend, call);
  const ended = refusable();
  const onAbort = (): void => ended.refuse(call.signal.reason);
  call.signal.addEventListener('abort', onAbort, { once: true });
  const { timeoutMs } = call;
  const late = (): void =>
    ended.refuse(providerError(upstream, 'idle_timeout', `${upstream.host} did not answer within ${timeoutMs} ms`));
  const timer = timeoutMs === undefined ? undefined : clock.setTimeout(late, timeoutMs);
  try {
    return await Promise.race([answered(backend, call, request), ended.promise]);
  } catch (error) {
    throw call.signal.aborted || error instanceof ProviderError ? error : networkError(upstream, error);
  } finally {
    call.signal.removeEventListener('abort', onAbort);
    clock.clearTimeout(timer);
    request.destroy();
  }
}

/** Text without the secrets of this backend: for whatever the backend said, before it is shortened. */
export function scrubbed(backend: HttpBackend, text: string): string {
  return backend.secrets.reduce(
    (clean, secret) => (secret.length < 4 ? clean : clean.replaceAll(secret, '[key]')),
    text,
  );
}

function send({ upstream, headers }: HttpBackend, call: HttpCall): ClientRequest {
  const body = call.json === undefined ? undefined : JSON.stringify(call.json);
  const request = (upstream.baseUrl.startsWith('https:') ? requestTls : requestPlain)(upstream.baseUrl + call.path, {
    method: call.method,
    // No pool: a socket that is closed with its call cannot bring the next one down.
    agent: false,
    headers: {
      ...headers,
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
    },
  });
  request.end(body);
  return request;
}

async function answered(
  backend: HttpBackend,
  call: HttpCall,
  request: ClientRequest,
): Promise<{ body: Buffer; type: string }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve);
    request.on('error', reject);
  });
  call.onHead?.();
  const { statusCode: status = 0, headers } = response;
  if (status < 200 || status > 299) throw statusError(backend, response, status, await start(response, call));
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    const piece = Buffer.from(chunk);
    bytes += piece.length;
    if (bytes > call.maxBytes) throw tooLarge(backend.upstream, call.maxBytes);
    call.onBytes?.();
    chunks.push(piece);
  }
  return { body: Buffer.concat(chunks), type: headers['content-type'] ?? 'no content type' };
}

/** As much of an error's body as comes and is needed. */
async function start(response: IncomingMessage, call: HttpCall): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      const piece = Buffer.from(chunk);
      call.onBytes?.();
      chunks.push(piece);
      bytes += piece.length;
      if (bytes >= maxErrorBytes) break;
    }
  } catch {
    // The status says what matters; a body that breaks off only shortens the message.
  }
  return Buffer.concat(chunks).subarray(0, maxErrorBytes);
}

/** A promise that only ever rejects, for a race, and what makes it. */
function refusable(): { promise: Promise<never>; refuse(error: unknown): void } {
  let refuse: (error: unknown) => void = () => undefined;
  const promise = new Promise<never>((_, reject) => {
    refuse = reject;
  });
  return { promise, refuse };
}

function tooLarge(upstream: Upstream, maxBytes: number): ProviderError {
  const message = `${upstream.host} sent an answer of more than ${maxBytes} bytes`;
  return providerError(upstream, 'provider', message, { retryable: false });
}

function statusError(backend: HttpBackend, response: IncomingMessage, status: number, body: Buffer): ProviderError {
  const get = (name: string): string | null => {
    const value = response.headers[name];
    return typeof value === 'string' ? scrubbed(backend, value) : null;
  };
  const text = scrubbed(backend, body.toString('utf8'));
  const said = spoken(parseJson(text));
  const shown = said === undefined ? text : JSON.stringify({ error: said });
  return httpError(backend.upstream, { status, headers: { get } }, shown);
}

/**
 * The sentence in an error of FastAPI and of what is built on it: `detail`, as a text or as a list of `{loc, msg}`; A1111 has only the name
 * of a Python class in `error` and the sentence in `detail` or `errors`. Undefined = none of these.
 */
export function spoken(json: unknown): string | undefined {
  const detail = field(json, 'detail');
  if (typeof detail === 'string' && detail !== '') return detail;
  if (Array.isArray(detail)) {
    const parts = detail.slice(0, 5).map((part: unknown) => {
      const where = field(part, 'loc');
      return `${Array.isArray(where) ? where.join('.') : '?'}: ${String(field(part, 'msg'))}`;
    });
    if (parts.length > 0) return parts.join('; ');
  }
  const errors = field(json, 'errors');
  return typeof errors === 'string' && errors !== '' ? errors : undefined;
}

/** The clock of this machine; timers do not keep the process alive, open sockets do. */
export const platformClock: Clock = {
  now: () => Date.now(),
  setTimeout: (fn, delayMs) => setTimeout(fn, delayMs).unref(),
  clearTimeout: (timer) => {
    if (timer instanceof Object && Symbol.toPrimitive in timer) clearTimeout(Number(timer));
  },
  defer: (fn) => void setImmediate(fn),
};
