import { randomUUID } from 'node:crypto';
import type { Clock } from '../ports/clock.ts';
import { settleMs, type Image, type ImageModel, type ImageRequest, type Report } from '../ports/models.ts';
import type { JsonObject } from '../protocol/records.ts';
import { comfyuiBackend, pictureBytes, type Bounds, type Ended } from './comfyui-client.ts';
import { findJob, followJob, giveJob, newBell, stopJob, type Job, type Located } from './comfyui-job.ts';
import { openJobSocket, type JobSocket } from './comfyui-socket.ts';
import { recipeName, seedNumber, textToImage, workflowOf, type SlotValues, type Workflow } from './comfyui-workflow.ts';
import type { HttpBackend } from './http-json.ts';
import { isWhole, sniff } from './image-bytes.ts';
import { providerError } from './openai-errors.ts';

/** Configuration of a ComfyUI server. What a workflow has no slot for is not used. */
export interface ComfyuiImageOptions {
  /** Where its editor opens, such as `http://127.0.0.1:8188`; with `/api` or another path behind it too. */
  readonly baseUrl: string;
  /** A graph in the API format with slots: strings such as `{{prompt}}`. Default: text to image with one checkpoint. */
  readonly workflow?: JsonObject | undefined;
  /** File name as the backend lists it. The built-in workflow needs it. */
  readonly checkpoint?: string | undefined;
  /** Default `1024x1024`. */
  readonly size?: string | undefined;
  /** Default 25. */
  readonly steps?: number | undefined;
  /** Default 7. */
  readonly cfgScale?: number | undefined;
  /** Default `euler`. */
  readonly sampler?: string | undefined;
  /** Default `normal`. */
  readonly scheduler?: string | undefined;
  readonly negativePrompt?: string | undefined;
  /** What this service is called in front of each job's own client id. The same for a whole installation: jobs are found again by it. */
  readonly clientId?: string | undefined;
  /** Sent with each call, also the WebSocket's: what a reverse proxy wants to see. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Largest picture in bytes. Default 20 MiB. */
  readonly maxBytes?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** A checked configuration. */
export interface ComfyuiSettings {
  readonly backend: HttpBackend;
  readonly graph: JsonObject;
  readonly workflow: Workflow;
  readonly values: SlotValues;
  readonly clientPrefix: string;
  readonly maxBytes: number;
}

/** An image engine behind ComfyUI. Throws a TypeError for a bad configuration. */
export function comfyuiImage(options: ComfyuiImageOptions): ImageModel {
  const settings = comfyuiSettings(options);
  return {
    engine: options.checkpoint ?? 'comfyui',
    variant: recipeName(settings.graph, settings.values),
    host: settings.backend.upstream.host,
    generate: (request, signal, report) => generate(settings, request, signal, report),
  };
}

/** Checks a configuration; throws a TypeError that names the setting. */
export function comfyuiSettings(options: ComfyuiImageOptions): ComfyuiSettings {
  const { workflow: graph = textToImage, checkpoint, clientId = '' } = options;
  const workflow = workflowOf(graph);
  if (workflow.slots.has('checkpoint') && (checkpoint === undefined || checkpoint === '')) {
    throw new TypeError('checkpoint: expected the name of one, the workflow has a {{checkpoint}}');
  }
  if (!/^[\w.-]{0,64}$/.test(clientId)) throw new TypeError('clientId: expected up to 64 letters, digits, _ . or -');
  const values: SlotValues = {
    prompt: '',
    seed: 0,
    negative: options.negativePrompt ?? '',
    ...sizeOf(options.size ?? '1024x1024'),
    steps: inRange('steps', options.steps ?? 25, 1, 10_000),
    cfg: inRange('cfgScale', options.cfgScale ?? 7, 0, 100),
    sampler: options.sampler ?? 'euler',
    scheduler: options.scheduler ?? 'normal',
    checkpoint: checkpoint ?? '',
  };
  if (!Number.isInteger(values.steps)) throw new TypeError(`steps: expected a whole number, got ${values.steps}`);
  return {
    backend: comfyuiBackend(options),
    graph,
    workflow,
    values,
    clientPrefix: clientId === '' ? '' : `${clientId}-`,
    maxBytes: options.maxBytes ?? 20 * 1024 * 1024,
  };
}

/** One call of `generate`. */
interface Run {
  readonly settings: ComfyuiSettings;
  readonly request: ImageRequest;
  readonly report: Report;
  /** Bounds of what an abort ends at once. */
  readonly now: Bounds;
  /** Bounds of what goes on after an abort: until `settleMs` later. */
  readonly later: Bounds;
  /** Set as soon as the backend might have it. */
  job?: Job;
  socket?: JobSocket;
}

async function generate(
  settings: ComfyuiSettings,
  request: ImageRequest,
  signal: AbortSignal,
  report: Report,
): Promise<Image> {
  signal.throwIfAborted();
  const { clock } = settings.backend;
  const limit = new AbortController();
  const onBytes = (): void => {
    if (!signal.aborted) report.heard();
  };
  const run: Run = { settings, request, report, now: { signal, onBytes }, later: { signal: limit.signal, onBytes } };
  let timer: unknown;
  const onAbort = (): void => {
    run.socket?.close();
    timer = clock.setTimeout(() => limit.abort(signal.reason), settleMs);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await drawOrStop(run);
  } finally {
    signal.removeEventListener('abort', onAbort);
    clock.clearTimeout(timer);
    run.socket?.close();
  }
}

async function drawOrStop(run: Run): Promise<Image> {
  try {
    const image = await draw(run);
    run.now.signal.throwIfAborted();
    return image;
  } catch (error) {
    if (!run.now.signal.aborted) throw error;
    if (run.job !== undefined) await stopJob(run.settings.backend, run.job, run.later);
    throw run.now.signal.reason;
  }
}

async function draw(run: Run): Promise<Image> {
  const { settings, now } = run;
  const { job, at } = await locate(run);
  if (typeof at === 'object') return fetchPicture(settings, at, now);
  const bell = newBell();
  const socket = listen(run, job, () => bell.ring());
  // Before the job: a backend tells nobody afterwards what it has told before.
  await untilAborted(now.signal, socket.settled);
  if (at === 'nowhere') await give(run, job);
  const end = await followJob(settings.backend, job, bell, () => socket.alive, now);
  return fetchPicture(settings, end, now);
}

/** The job of a request, and where the backend has it. */
async function locate(run: Run): Promise<Located> {
  const { backend, clientPrefix } = run.settings;
  const name = run.request.job;
  if (name === undefined || !isUuid(name)) {
    const id = randomUUID();
    return { job: { id, clientId: clientPrefix + id, named: true }, at: 'nowhere' };
  }
  return findJob(backend, name.toLowerCase(), clientPrefix, run.now, (job) => void (run.job = job));
}

async function give(run: Run, job: Job): Promise<void> {
  const { backend, workflow, values } = run.settings;
  const { prompt, seed } = run.request;
  const graph = workflow.graphOf({ ...values, prompt, seed: seedNumber(seed) });
  run.job = job;
  // An abort does not end this call: without its answer nobody knows whether there is something to stop.
  await giveJob(backend, job, graph, run.later);
  run.now.signal.throwIfAborted();
}

function listen(run: Run, job: Job, wake: () => void): JobSocket {
  const { samplers } = run.settings.workflow;
  const { report, now } = run;
  let last = { value: -1, max: 0 };
  const socket = openJobSocket(run.settings.backend, job.clientId, {
    // What runs for somebody who gave no client id is told to everybody.
    isOurs: (id) => id === job.id,
    heard: () => now.onBytes?.(),
    progress(nodes, value, max) {
      if (samplers !== undefined && !nodes.some((id) => samplers.has(id))) return;
      // The first pass of the sampler is what counts; a second one would begin anew.
      if (value <= last.value || (last.max !== 0 && max !== last.max)) return;
      last = { value, max };
      report.progress(value, max, 'step');
    },
    preview: (image) => report.preview(image),
    wake,
  });
  run.socket = socket;
  return socket;
}

async function fetchPicture({ backend, maxBytes }: ComfyuiSettings, end: Ended, bounds: Bounds): Promise<Image> {
  const { upstream } = backend;
  const [at] = end.pictures;
  if (at === undefined) {
    const message = `${upstream.host} ended the job without a picture; does the workflow have a SaveImage node?`;
    throw providerError(upstream, 'provider', message, { retryable: false });
  }
  const bytes = await pictureBytes(backend, at, maxBytes, bounds);
  const extension = sniff(bytes);
  if (extension === 'svg') {
    const message = `${upstream.host} sent an SVG: refused, an SVG can run scripts`;
    throw providerError(upstream, 'provider', message, { retryable: false });
  }
  if (extension === undefined) {
    const message = `expected a PNG, JPEG, WebP or GIF from GET /view of ${upstream.host}, got ${bytes.length} other bytes`;
    throw providerError(upstream, 'provider', message);
  }
  if (!isWhole(bytes, extension)) {
    const message = `the ${extension} from ${upstream.host} is cut after ${bytes.length} bytes`;
    throw providerError(upstream, 'provider', message);
  }
  return { bytes, extension };
}

/** Rejects with the signal's reason as soon as it aborts, whatever the work does. */
function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function sizeOf(size: string): { width: number; height: number } {
  const [, width = 0, height = 0] = (/^(\d{2,5})x(\d{2,5})$/.exec(size) ?? []).map(Number);
  if (![width, height].every((side) => side >= 16 && side <= 16_384 && side % 8 === 0)) {
    throw new TypeError(`size: expected WIDTHxHEIGHT in multiples of 8 from 16 to 16384, got ${JSON.stringify(size)}`);
  }
  return { width, height };
}

function inRange(name: string, value: number, min: number, max: number): number {
  if (value >= min && value <= max) return value;
  throw new TypeError(`${name}: expected ${min} to ${max}, got ${value}`);
}

function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}
