import type { Clock } from '../ports/clock.ts';
import { ProviderError } from '../ports/errors.ts';
import type { Image } from '../ports/models.ts';
import { decodedPicture, jsonBytesOf, shownPicture } from './a1111-picture.ts';
import { httpBackend, httpJson, type HttpBackend } from './http-json.ts';
import { field } from './openai-errors.ts';

/** Configuration of a backend that speaks the API of AUTOMATIC1111's web UI: Forge and SD.Next do, too. */
export interface A1111Options {
  /** Where its web page is, such as `http://127.0.0.1:7860`. */
  readonly baseUrl: string;
  /** What it was started with as `--api-auth user:password`. */
  readonly auth?: { readonly user: string; readonly password: string } | undefined;
  /** A checkpoint, as `GET /sdapi/v1/sd-models` names it; absent = the one that is loaded there. */
  readonly model?: string | undefined;
  /** `WIDTHxHEIGHT` in pixels, each 64 to 8192. Absent here and below: the backend's own default. */
  readonly size?: string | undefined;
  readonly steps?: number | undefined;
  readonly cfgScale?: number | undefined;
  readonly sampler?: string | undefined;
  readonly negativePrompt?: string | undefined;
  /** Largest picture in bytes. Default 20 MiB. */
  readonly maxBytes?: number | undefined;
  /** Time between two looks at a job's progress. Default 500 ms. */
  readonly pollMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** The backend as one engine uses it. */
export interface A1111Server {
  readonly backend: HttpBackend;
  /** The part of every request that the configuration decides. */
  readonly recipe: Readonly<Record<string, unknown>>;
  readonly model: string | undefined;
  readonly maxBytes: number;
  readonly pollMs: number;
  /** It has once known a job by the name that we gave it. SD.Next and old versions never do: there silence about a job says nothing. */
  knowsNames: boolean;
}

/** What the backend says about one of our jobs. */
export interface Sight {
  /** It works on this very job now. */
  readonly running: boolean;
  readonly queued: boolean;
  /** 0 to 1, as the backend counts it; undefined = it gave none. */
  readonly progress: number | undefined;
  /** What it expects to need yet. */
  readonly etaMs: number | undefined;
  readonly preview: Image | undefined;
  /** Name of the newest preview; sent with the next look, so that none comes twice. */
  readonly previewId: number;
}

/** Longest that a look or an interrupt may take: they are answered from memory. */
const smallCallMs = 10_000;

/** Checks the configuration; throws a TypeError that names the setting. */
export function a1111Server(options: A1111Options): A1111Server {
  const { model, steps, cfgScale, sampler, negativePrompt, size } = options;
  const given = {
    ...(size === undefined ? {} : sizeOf(size)),
    steps,
    cfg_scale: cfgScale,
    sampler_name: sampler,
    negative_prompt: negativePrompt,
    override_settings: model === undefined ? undefined : { sd_model_checkpoint: model },
  };
  return {
    backend: httpBackend(options),
    recipe: Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    model,
    maxBytes: options.maxBytes ?? 20 * 1024 * 1024,
    pollMs: options.pollMs ?? 500,
    knowsNames: false,
  };
}

function sizeOf(size: string): { width: number; height: number } {
  const [, width, height] = (/^(\d{2,4})x(\d{2,4})$/.exec(size) ?? []).map(Number);
  const fits = (side: number | undefined): side is number => side !== undefined && side >= 64 && side <= 8192;
  if (!fits(width) || !fits(height)) {
    throw new TypeError(`size: expected WIDTHxHEIGHT of 64 to 8192 pixels each, got ${JSON.stringify(size)}`);
  }
  return { width, height };
}

/** A job under way at the backend. */
export interface Submitted {
  /** The picture. */
  readonly picture: Promise<Image>;
  /** Resolves when the backend has begun to answer: it does that when its work is over. Never rejects, may never resolve. */
  readonly answered: Promise<void>;
  /** broken: the socket ended before an answer, so how the work goes on is not known from it any more. */
  readonly state: () => 'waiting' | 'answered' | 'broken';
  /** Closes the socket. The backend takes no notice of that while it works. */
  close(): void;
}

/** Gives the backend a job under the name `id`. */
export function submit(
  server: A1111Server,
  id: string,
  request: { readonly prompt: string; readonly seed: number },
  heard: () => void,
): Submitted {
  const { backend, recipe, maxBytes } = server;
  const end = new AbortController();
  let state: 'waiting' | 'answered' | 'broken' = 'waiting';
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const json = httpJson(backend, {
    method: 'POST',
    path: '/sdapi/v1/txt2img',
    json: {
      ...recipe,
      ...request,
      batch_size: 1,
      n_iter: 1,
      send_images: true,
      save_images: false,
      force_task_id: id,
    },
    maxBytes: jsonBytesOf(maxBytes),
    signal: end.signal,
    onHead: () => {
      state = 'answered';
      answer();
    },
    onBytes: heard,
  });
  const picture = json.then(
    (body) => decodedPicture(server, body),
    (error: unknown) => {
      if (state === 'waiting') state = 'broken';
      throw unknownModel(server, error);
    },
  );
  // Nobody awaits it any more after an abort.
  picture.catch(() => undefined);
  return { picture, answered, state: () => state, close: () => end.abort() };
}

/** Forge answers 500 for a model that it does not have, A1111 and SD.Next 404: neither gets better by itself. */
function unknownModel({ model }: A1111Server, error: unknown): unknown {
  if (!(error instanceof ProviderError) || error.code !== 'provider' || model === undefined) return error;
  const isMissing = error.message.includes(model) && /not found/i.test(error.message);
  return isMissing ? new ProviderError('bad_request', error.message) : error;
}

/** What the backend says of the job `id`; absent = it has no such call, unclear = the call failed. Rejects only when `signal` aborts. */
export async function look(
  server: A1111Server,
  id: string,
  previewId: number | 'none',
  signal: AbortSignal,
): Promise<Sight | 'absent' | 'unclear'> {
  const said = await small(server, signal, {
    method: 'POST',
    path: '/internal/progress',
    // `live_preview` is Forge's; A1111 ignores it.
    json: { id_task: id, id_live_preview: previewId === 'none' ? -1 : previewId, live_preview: previewId !== 'none' },
  });
  if (said === 'absent') return 'absent';
  const [active, queued] = [field(said, 'active'), field(said, 'queued')];
  if (typeof active !== 'boolean' || typeof queued !== 'boolean') return 'unclear';
  if (active || queued || field(said, 'completed') === true) server.knowsNames = true;
  const etaS = numberOf(field(said, 'eta'));
  const progress = numberOf(field(said, 'progress'));
  return {
    running: active && !queued,
    queued,
    progress: progress !== undefined && progress >= 0 && progress <= 1 ? progress : undefined,
    etaMs: etaS === undefined ? undefined : etaS * 1000,
    preview: shownPicture(server, field(said, 'live_preview')),
    previewId: numberOf(field(said, 'id_live_preview')) ?? -1,
  };
}

/** Interrupts whatever runs at the backend now. Call it only when that is known to be ours. True = the backend heard it. */
export async function interrupt(server: A1111Server, signal: AbortSignal): Promise<boolean> {
  const said = await small(server, signal, { method: 'POST', path: '/sdapi/v1/interrupt' });
  return said !== 'failed' && said !== 'absent';
}

/**
 * Whether the last job that began at the backend was interrupted or skipped: the answer to it is an HTTP 200 all the same, with a picture that is
 * half-made. The flags stay until the next job begins, so this is asked at once after the answer.
 */
export async function wasInterrupted(server: A1111Server, signal: AbortSignal): Promise<boolean> {
  const said = await small(server, signal, { method: 'GET', path: '/sdapi/v1/progress?skip_current_image=true' });
  const state = field(said, 'state');
  return field(state, 'interrupted') === true || field(state, 'skipped') === true;
}

/** A small call, bounded in time; `absent` when the backend has none of that name, `failed` for any other failure. Rejects only on abort. */
async function small(
  { backend, maxBytes }: A1111Server,
  signal: AbortSignal,
  call: { method: 'GET' | 'POST'; path: string; json?: unknown },
): Promise<unknown> {
  try {
    return await httpJson(backend, { ...call, signal, maxBytes: jsonBytesOf(maxBytes), timeoutMs: smallCallMs });
  } catch (error) {
    if (signal.aborted) throw error;
    return error instanceof ProviderError && error.code === 'bad_request' ? 'absent' : 'failed';
  }
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}
