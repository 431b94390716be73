import { createHash } from 'node:crypto';
import type { Picture } from '../../panes/define.ts';
import type { Assets } from '../../ports/assets.ts';
import { ProviderError } from '../../ports/errors.ts';
import type { Image, ImageModel, ImageRequest, Report } from '../../ports/models.ts';
import { wholeCharacters } from '../../protocol/text.ts';
import type { PictureCache, PictureKey } from './picture-cache.ts';
import type { Previews } from './previews.ts';
import { callProvider, orAborted, type ProviderCall, type Providers } from './provider.ts';

/** What drawing needs: the engines in the order in which they are asked, and where pictures are kept. */
export interface Drawing extends Providers {
  images: readonly [ImageModel, ...ImageModel[]];
  /** Longest work of an engine that has another one behind it, ms. Time in the queue of its host does not count. */
  tryTimeoutMs: number;
  assets: Assets;
  pictures: PictureCache;
  /** Where whoever hears `events.preview` keeps what it is shown. */
  previews: Previews;
}

export interface DrawRequest extends ImageRequest {
  session: string;
  /** Draws also what was drawn before. */
  fresh?: boolean;
}

/**
 * One picture, stored. Each engine is asked in turn: for its picture of the same description, if it has drawn one in this session and the
 * file is still there, else to draw, from a slot of its own host. One that fails, or takes longer than `tryTimeoutMs`, is followed by the
 * next at once, also when it could be tried again: that comes after all have failed. Rejects with the last one's error; with the signal's
 * reason as soon as it aborts; with `Yielded` when the slot was taken back.
 *
 * From the second engine on the progress `n of m, unit engine` begins its share: numbers of the engine before it say nothing any more.
 */
export async function draw(drawing: Drawing, call: ProviderCall, request: DrawRequest): Promise<Picture> {
  const { images, pictures, assets } = drawing;
  const failures: Failure[] = [];
  for (const [index, model] of images.entries()) {
    const { engine } = model;
    const key: PictureKey = { session: request.session, model, prompt: request.prompt };
    const known = request.fresh === true ? undefined : await drawnBefore(drawing, call, key);
    if (known !== undefined) return { path: known, engine, cached: true };
    call.signal.throwIfAborted();
    if (index > 0) call.events.progress(index + 1, images.length, 'engine');
    const image = await ask(drawing, call, index, request);
    if (image instanceof ProviderError) {
      failures.push({ engine, error: image });
      continue;
    }
    const path = await orAborted(assets.put(request.session, image.bytes, image.extension), call.signal);
    pictures.remember(key, path);
    return { path, engine, cached: false };
  }
  throw failureOf(failures);
}

/** Path of the picture that this engine has drawn; undefined when there is none, or its file cannot be read any more. */
async function drawnBefore(
  { pictures, assets }: Drawing,
  { signal }: ProviderCall,
  key: PictureKey,
): Promise<string | undefined> {
  const path = pictures.find(key);
  if (path === undefined) return undefined;
  const name = path.slice(path.lastIndexOf('/') + 1);
  const bytes = await orAborted(
    assets.get(key.session, name).catch(() => undefined),
    signal,
  );
  return bytes === undefined ? undefined : path;
}

/** The picture of one engine, or why it has none. Everything else that ends a call is thrown. */
async function ask(
  drawing: Drawing,
  call: ProviderCall,
  index: number,
  request: DrawRequest,
): Promise<Image | ProviderError> {
  const model = drawing.images[index];
  if (model === undefined) throw new RangeError(`no engine ${index}`);
  const asked: ImageRequest = { prompt: request.prompt, seed: request.seed, ...jobOf(request, index) };
  const hasNext = index + 1 < drawing.images.length;
  const share = startShare(drawing, call, hasNext ? drawing.tryTimeoutMs : undefined, model.engine);
  try {
    return await callProvider(drawing, { ...call, signal: share.signal }, model, (signal, report) => {
      share.begin();
      return model.generate(asked, signal, shown(share, hasNext, report));
    });
  } catch (error) {
    if (call.signal.aborted || !(error instanceof ProviderError)) throw error;
    return error;
  } finally {
    share.end();
  }
}

/** One engine's part of the time, and of what is shown. */
interface Share {
  /** Aborts with the call, and when the time is over. */
  readonly signal: AbortSignal;
  /** False when the engine is not asked any more: its backend may go on sending. */
  readonly isOpen: boolean;
  /** It has got its slot. */
  begin(): void;
  end(): void;
}

function startShare({ clock }: Drawing, call: ProviderCall, timeoutMs: number | undefined, engine: string): Share {
  const controller = new AbortController();
  const abort = (): void => controller.abort(call.signal.reason);
  call.signal.addEventListener('abort', abort, { once: true });
  let isOpen = true;
  let timer: unknown;
  return {
    signal: controller.signal,
    get isOpen() {
      return isOpen && !controller.signal.aborted;
    },
    begin() {
      if (timeoutMs === undefined) return;
      const late = new ProviderError('timeout', `${engine} did not draw within ${timeoutMs} ms`);
      timer = clock.setTimeout(() => controller.abort(late), timeoutMs);
    },
    end() {
      isOpen = false;
      clock.clearTimeout(timer);
      call.signal.removeEventListener('abort', abort);
    },
  };
}

/**
 * What people see of the engine's work: nothing after its share. The first byte of an engine that has another one behind it does not count as
 * heard: the idle timeout of the run would go on while the next one, which may send nothing until it is done, is at work.
 */
function shown(share: Share, hasNext: boolean, report: Report): Report {
  return {
    heard: () => {
      if (share.isOpen && !hasNext) report.heard();
    },
    progress: (value, max, unit) => {
      if (share.isOpen) report.progress(value, max, unit);
    },
    preview: (image) => {
      if (share.isOpen) report.preview(image);
    },
    usage: (tokens) => report.usage(tokens),
  };
}

/**
 * What an engine calls this picture of the job, the same again after a restart. One name each: two engines may share a backend, where the
 * first one's work has failed under its name, and a stage may draw two pictures, of which none is to be found in place of the other.
 */
function jobOf({ job, prompt, seed }: DrawRequest, index: number): { job?: string } {
  if (job === undefined) return {};
  const hex = createHash('sha256')
    .update(JSON.stringify([job, index, prompt, seed]))
    .digest('hex');
  // A UUID of version 8: its bits are the maker's own (RFC 9562).
  return {
    job: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`,
  };
}

interface Failure {
  engine: string;
  error: ProviderError;
}

/** The last one's error. It may be tried again when any of them may: the next try begins with the first. */
function failureOf(failures: readonly Failure[]): ProviderError {
  const last = failures.at(-1);
  if (last === undefined) throw new RangeError('no engine was asked');
  if (failures.length === 1) return last.error;
  const before = failures.slice(0, -1).map(({ engine, error }) => `${shortened(engine)}: ${error.code}`);
  const again = failures.findLast(({ error }) => error.retryable)?.error;
  const message = `${last.error.message} (failed before it: ${before.join(', ')})`;
  return new ProviderError(last.error.code, message, {
    retryable: again !== undefined,
    retryAfterMs: again?.retryAfterMs,
  });
}

const shortened = (engine: string): string =>
  engine.length <= 40 ? engine : `${wholeCharacters(engine.slice(0, 39))}…`;
