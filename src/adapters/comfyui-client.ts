import { ProviderError } from '../ports/errors.ts';
import { httpBackend, httpBytes, httpJson, scrubbed, type HttpBackend } from './http-json.ts';
import { field, httpError, networkError, parseJson, plainText, providerError } from './openai-errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { JsonObject } from '../protocol/records.ts';

/** Where a job is that is not over. */
export type Place = 'running' | 'pending';

/** A job in the queue. */
export interface QueuedJob {
  readonly id: string;
  /** Whoever gave it to the backend, as it calls itself; undefined = it did not say. */
  readonly clientId: string | undefined;
  readonly place: Place;
}

/** Where a picture is kept at the backend. */
export interface PictureAt {
  readonly filename: string;
  readonly subfolder: string;
  readonly type: string;
}

/** A job that is over. */
export interface Ended {
  /** Why it made nothing; undefined = it went well. */
  readonly failure: string | undefined;
  /** Results first, then what was only shown. */
  readonly pictures: readonly PictureAt[];
}

/** How one call is bounded. */
export interface Bounds {
  readonly signal: AbortSignal;
  readonly onBytes?: () => void;
}

/** Longest for a call with a small answer: a server that loads a model answers late. */
const callMs = 30_000;
const pictureMs = 120_000;
/** The queue and the history have each job's whole graph in them, images included where a node embeds them. */
const maxJsonBytes = 32 * 1024 * 1024;
const maxSubmitAnswerBytes = 1024 * 1024;

/** Checks where the backend is and what is sent with each call; throws a TypeError that never shows a header's value. */
export function comfyuiBackend(options: {
  readonly baseUrl: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly clock?: Clock | undefined;
}): HttpBackend {
  const { baseUrl, headers = {}, clock } = options;
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) throw new TypeError(`headers: ${JSON.stringify(name)} is no name`);
    if (!/^[\x20-\x7e]*$/.test(value))
      throw new TypeError(`headers.${name}: has characters that no HTTP header can carry`);
    // On loopback ComfyUI answers 403 to an Origin that is not its own, and to nothing else.
    if (/^(origin|host)$/i.test(name)) throw new TypeError(`headers.${name}: ComfyUI refuses calls with a foreign one`);
  }
  // What comes after a scheme ("Basic …") is as secret as the whole.
  const secrets = Object.values(headers).flatMap((value) => [value, value.slice(value.indexOf(' ') + 1)]);
  return { ...httpBackend({ baseUrl, clock }), headers, secrets };
}

/** All jobs that are not over. */
export async function queuedJobs(backend: HttpBackend, bounds: Bounds): Promise<QueuedJob[]> {
  const answer = await getJson(backend, '/queue', bounds);
  const running = field(answer, 'queue_running');
  const pending = field(answer, 'queue_pending');
  if (!Array.isArray(running) || !Array.isArray(pending)) {
    const message = `expected queue_running and queue_pending in GET /queue of ${backend.upstream.host}, got neither`;
    throw providerError(backend.upstream, 'provider', message);
  }
  const jobs = (items: unknown[], place: Place): QueuedJob[] => items.map((item) => queuedJob(item, place));
  return [...jobs(running, 'running'), ...jobs(pending, 'pending')];
}

/** The end of a job; undefined = it is not over, or the backend does not know it. To tell these apart, ask for the queue before. */
export async function endOf(backend: HttpBackend, id: string, bounds: Bounds): Promise<Ended | undefined> {
  const answer = await getJson(backend, `/history/${encodeURIComponent(id)}`, bounds);
  const entry = field(answer, id);
  if (entry === undefined) return undefined;
  return { failure: failureOf(field(entry, 'status')), pictures: picturesOf(field(entry, 'outputs')) };
}

/** Gives the backend a graph. Returns the id under which it took it: ours, unless it is too old to let us choose. */
export async function submit(
  backend: HttpBackend,
  job: { readonly prompt: JsonObject; readonly prompt_id: string; readonly client_id: string },
  bounds: Bounds,
): Promise<string> {
  const { host } = backend.upstream;
  const { status, headers, text } = await post(backend, job, bounds);
  const answer = parseJson(text);
  if (status !== 200) {
    const nodes = nodeErrors(field(answer, 'node_errors'));
    if (status !== 400 || nodes === undefined) throw httpError(backend.upstream, { status, headers }, text);
    throw providerError(backend.upstream, 'bad_request', `${host} refused the workflow: ${nodes}`);
  }
  const id = field(answer, 'prompt_id');
  if (typeof id === 'string' && id !== '' && id.length <= 200) return id;
  throw providerError(
    backend.upstream,
    'provider',
    `expected JSON with a prompt_id from ${host}, got: ${plainText(text)}`,
  );
}

/** Takes a job out of the queue; one that runs goes on. */
export async function remove(backend: HttpBackend, id: string, bounds: Bounds): Promise<void> {
  await postJson(backend, '/queue', { delete: [id] }, bounds);
}

/** Stops the job that runs. A backend from before September 2025 stops whichever that is: make sure that it is this one. */
export async function interrupt(backend: HttpBackend, id: string, bounds: Bounds): Promise<void> {
  await postJson(backend, '/interrupt', { prompt_id: id }, bounds);
}

/** The bytes of a picture. */
export async function pictureBytes(
  backend: HttpBackend,
  at: PictureAt,
  maxBytes: number,
  bounds: Bounds,
): Promise<Buffer> {
  const query = new URLSearchParams({ ...at }).toString();
  const call = { method: 'GET', path: `/view?${query}`, maxBytes, timeoutMs: pictureMs, ...bounds } as const;
  return (await httpBytes(backend, call)).body;
}

/** The JSON of a GET. */
export function getJson(backend: HttpBackend, path: string, bounds: Bounds): Promise<unknown> {
  return httpJson(backend, { method: 'GET', path, maxBytes: maxJsonBytes, timeoutMs: callMs, ...bounds });
}

async function postJson(backend: HttpBackend, path: string, json: JsonObject, bounds: Bounds): Promise<void> {
  await httpBytes(backend, {
    method: 'POST',
    path,
    json,
    maxBytes: maxSubmitAnswerBytes,
    timeoutMs: callMs,
    ...bounds,
  });
}

/** A POST whose error body is needed whole: the nodes that were refused are named beside the sentence that `httpJson` would keep. */
async function post(
  backend: HttpBackend,
  json: JsonObject,
  bounds: Bounds,
): Promise<{ status: number; headers: Pick<Headers, 'get'>; text: string }> {
  const { upstream, headers, clock } = backend;
  const own = new AbortController();
  const onAbort = (): void => own.abort();
  bounds.signal.throwIfAborted();
  bounds.signal.addEventListener('abort', onAbort, { once: true });
  const timer = clock.setTimeout(onAbort, callMs);
  try {
    const response = await fetch(`${upstream.baseUrl}/prompt`, {
      method: 'POST',
      // A pooled connection that the server has just closed would lose the job.
      headers: { ...headers, 'content-type': 'application/json', accept: 'application/json', connection: 'close' },
      body: JSON.stringify(json),
      redirect: 'manual',
      signal: own.signal,
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      bounds.onBytes?.();
      bytes += chunk.length;
      if (bytes > maxSubmitAnswerBytes) throw tooLong(upstream);
      chunks.push(Buffer.from(chunk));
    }
    const text = scrubbed(backend, Buffer.concat(chunks).toString('utf8'));
    const get = (name: string): string => scrubbed(backend, response.headers.get(name) ?? '');
    return { status: response.status, headers: { get: (name) => get(name) || null }, text };
  } catch (error) {
    bounds.signal.throwIfAborted();
    if (own.signal.aborted) {
      throw providerError(upstream, 'idle_timeout', `${upstream.host} did not answer POST /prompt within ${callMs} ms`);
    }
    throw error instanceof ProviderError ? error : networkError(upstream, error);
  } finally {
    bounds.signal.removeEventListener('abort', onAbort);
    clock.clearTimeout(timer);
    // Closes the socket of an answer that was not read to its end; without effect on one that was.
    own.abort();
  }
}

function tooLong(upstream: HttpBackend['upstream']): ProviderError {
  const message = `${upstream.host} sent an answer to POST /prompt of more than ${maxSubmitAnswerBytes} bytes`;
  return providerError(upstream, 'provider', message, { retryable: false });
}

/** An item is `[number, id, graph, extra_data, outputs]`. */
function queuedJob(item: unknown, place: Place): QueuedJob {
  const id = Array.isArray(item) ? text(item[1]) : undefined;
  const clientId = Array.isArray(item) ? text(field(item[3], 'client_id')) : undefined;
  return { id: id ?? '', clientId, place };
}

function failureOf(status: unknown): string | undefined {
  // Servers from before 2024 keep no status: what they list has gone well.
  if (field(status, 'status_str') !== 'error' && field(status, 'completed') !== false) return undefined;
  const messages = field(status, 'messages');
  for (const message of Array.isArray(messages) ? messages.toReversed() : []) {
    const [name, data]: unknown[] = Array.isArray(message) ? message : [];
    if (name === 'execution_error')
      return `${nodeName(data)}: ${text(field(data, 'exception_message')) ?? 'it failed'}`;
    if (name === 'execution_interrupted') return `${nodeName(data)}: it was interrupted at the backend`;
  }
  return 'it failed and did not say why';
}

function nodeName(data: unknown): string {
  return `${text(field(data, 'node_type')) ?? 'a node'} (node ${text(field(data, 'node_id')) ?? '?'})`;
}

/** `{"5": {class_type, errors: [{message, details}]}}` as a sentence; undefined when it names nobody. */
function nodeErrors(nodes: unknown): string | undefined {
  if (typeof nodes !== 'object' || nodes === null) return undefined;
  const sentences = Object.entries(nodes)
    .slice(0, 3)
    .map(([id, node]: [string, unknown]) => {
      const errors = field(node, 'errors');
      const said = (Array.isArray(errors) ? errors.slice(0, 2) : []).map((error: unknown) =>
        [text(field(error, 'message')), text(field(error, 'details'))].filter((part) => part !== undefined).join(': '),
      );
      return `${text(field(node, 'class_type')) ?? 'a node'} (node ${id}): ${said.join(', ') || 'refused'}`;
    });
  return sentences.length === 0 ? undefined : sentences.join('; ');
}

function picturesOf(outputs: unknown): PictureAt[] {
  if (typeof outputs !== 'object' || outputs === null) return [];
  const pictures = Object.values(outputs).flatMap((output: unknown) => {
    const images = field(output, 'images');
    return Array.isArray(images) ? images.flatMap((image: unknown) => pictureAt(image) ?? []) : [];
  });
  return ['output', 'temp'].flatMap((type) => pictures.filter((picture) => picture.type === type));
}

function pictureAt(image: unknown): PictureAt | undefined {
  const filename = text(field(image, 'filename'));
  if (filename === undefined || filename === '') return undefined;
  return { filename, subfolder: text(field(image, 'subfolder')) ?? '', type: text(field(image, 'type')) ?? 'output' };
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
