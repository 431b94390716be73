import type { Link } from './abort-link.ts';
import type { Report } from '../ports/models.ts';
import { ProviderError } from '../ports/errors.ts';
import { field, httpError, networkError, providerError, type Upstream } from './openai-errors.ts';

/** Largest error body that is read: enough for a message. */
const maxErrorBytes = 64 * 1024;

/** Loads the SDK ahead of the first call (60 to 90 ms), so that the first pane does not wait for it. */
export async function preload(): Promise<void> {
  await import('openai');
}

/** Checks the configuration of a backend; throws a TypeError that names the setting and never shows the key. */
export function upstreamOf(baseUrl: string, apiKey: string | undefined): Upstream {
  if (!URL.canParse(baseUrl)) throw new TypeError('baseUrl: expected a URL like http://127.0.0.1:11434/v1');
  const url = new URL(baseUrl);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new TypeError(`baseUrl: expected http: or https:, got ${url.protocol}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new TypeError('baseUrl: has credentials in it; put the key in apiKey');
  }
  if (url.search !== '' || url.hash !== '') throw new TypeError('baseUrl: must not have a query or a fragment');
  // Keys come from files with a newline at the end; the SDK also insists on one that is not empty.
  const key = apiKey?.trim() ?? '';
  if (!/^[\x21-\x7e]*$/.test(key)) throw new TypeError('apiKey: has characters that no HTTP header can carry');
  return { baseUrl: url.href.replace(/\/+$/, ''), host: url.origin, key: key === '' ? 'unused' : key };
}

/** What is watched while one call lasts. */
export interface Call {
  readonly upstream: Upstream;
  readonly link: Link;
  readonly report: Pick<Report, 'heard'>;
  /** Largest body, in bytes. */
  readonly maxBytes: number;
  /** Largest event of a stream, in bytes: the SDK joins an unfinished event anew with every chunk. */
  readonly maxEventBytes?: number;
  /** What went wrong below the SDK, which hides causes and names. */
  failure: ProviderError | undefined;
}

/** fetch with our rules: no redirects, errors as ProviderError, every body bounded, `heard` on headers and every chunk. */
export async function watchedFetch(call: Call, url: string | URL | Request, init: RequestInit): Promise<Response> {
  try {
    call.link.signal.throwIfAborted();
    const dispatcher = patientDispatcher();
    const response = await fetch(url, {
      ...init,
      redirect: 'manual',
      ...(dispatcher === undefined ? {} : { dispatcher }),
    });
    heard(call);
    if (response.ok) return response;
    throw httpError(call.upstream, response, await readStart(call, response));
  } catch (error) {
    throw failed(call, error, init.signal);
  }
}

/** Reads a body to its end as bytes; more than the bound is an error. */
export async function readBody(call: Call, response: Response): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of watchedBody(call, response) ?? []) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** The body as a stream that counts, reports and bounds what goes through it; null when there is none. */
export function watchedBody(call: Call, response: Response): ReadableStream<Uint8Array> | null {
  if (response.body === null) return null;
  const reader = response.body.getReader();
  // fetch holds its side of an abort by weak references only: close the socket from here, too.
  const close = (): void => void reader.cancel().catch(() => undefined);
  call.link.signal.addEventListener('abort', close, { once: true });
  const count = byteCount(call);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) {
            controller.close();
            return;
          }
          heard(call);
          count(value);
          controller.enqueue(value);
        } catch (error) {
          close();
          throw failed(call, error, call.link.signal);
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** Returns a function that takes the next bytes and throws when the body, or the event it is in, is too large. */
function byteCount(call: Call): (value: Uint8Array) => void {
  let total = 0;
  let event = 0;
  let tail: Uint8Array = new Uint8Array();
  return (value) => {
    total += value.length;
    if (total > call.maxBytes) throw tooLarge(call, 'an answer', call.maxBytes);
    if (call.maxEventBytes === undefined) return;
    // The blank line that ends an event may be cut itself: look at the last bytes of the chunk before, too.
    const joined = Buffer.concat([tail, value]);
    const end = Math.max(...['\n\n', '\r\r', '\r\n\r\n'].map((blank) => joined.lastIndexOf(blank)));
    event = end < 0 ? event + value.length : joined.length - end;
    tail = joined.subarray(-3);
    if (event > call.maxEventBytes) throw tooLarge(call, 'one event', call.maxEventBytes);
  };
}

function tooLarge(call: Call, what: string, bytes: number): ProviderError {
  return providerError(call.upstream, 'provider', `${call.upstream.host} sent ${what} of more than ${bytes} bytes`, {
    retryable: false,
  });
}

async function readStart(call: Call, response: Response): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response.body ?? []) {
      heard(call);
      chunks.push(Buffer.from(chunk));
      bytes += chunk.length;
      if (bytes >= maxErrorBytes) break;
    }
  } catch {
    // The status says what matters; a body that breaks off only shortens the message.
  }
  return Buffer.concat(chunks).toString('utf8', 0, maxErrorBytes);
}

function heard(call: Call): void {
  if (!call.link.signal.aborted) call.report.heard();
}

/** Keeps the first error with a meaning; what an abort or the SDK's timeout throws is passed on as it is. */
function failed(call: Call, error: unknown, signal: AbortSignal | null | undefined): unknown {
  if (signal?.aborted === true) return error;
  call.failure ??= error instanceof ProviderError ? error : networkError(call.upstream, error);
  return call.failure;
}

type Dispatcher = NonNullable<RequestInit['dispatcher']>;
let patient: Dispatcher | undefined;

/**
 * Node's fetch gives up after 300 s without headers or between two chunks, and a cold local model takes longer: the run's own timers
 * decide. Node exports no Agent to say so, hence the class of the global one; someone's own dispatcher (a proxy) is left in place.
 */
function patientDispatcher(): Dispatcher | undefined {
  if (patient !== undefined) return patient;
  void globalThis.Response;
  const global = field(globalThis, Symbol.for('undici.globalDispatcher.1'));
  if (typeof global !== 'object' || global === null || global.constructor.name !== 'Agent') return undefined;
  const made: unknown = Reflect.construct(global.constructor, [{ headersTimeout: 0, bodyTimeout: 0 }]);
  if (isDispatcher(made)) patient = made;
  return patient;
}

function isDispatcher(value: unknown): value is Dispatcher {
  return typeof value === 'object' && value !== null && 'dispatch' in value && typeof value.dispatch === 'function';
}
