import { comfyuiImage, type ComfyuiImageOptions } from '../../src/adapters/comfyui-image.ts';
import { ProviderError } from '../../src/ports/errors.ts';
import type { Image, ImageModel, ImageRequest, Report } from '../../src/ports/models.ts';
import type { ImageBench, ImageCan } from './image-engine.contract.ts';
import { startFakeComfyui, type FakeComfyui } from '../support/fake-comfyui.ts';
import { SimClock } from '../support/sim-clock.ts';

/** What ComfyUI can. */
export const comfyuiCan: ImageCan = {
  progress: true,
  preview: true,
  queue: true,
  interrupt: true,
  halfMade: 'ComfyUI keeps no picture of an interrupted job',
  outlives: true,
  names: true,
  reattach: true,
  seed: true,
  secret: true,
};

/** A bench with the fake server in reach. */
export interface ComfyuiBench extends ImageBench {
  readonly server: FakeComfyui;
}

/** Starts a fake ComfyUI server and a model that talks to it. */
export async function openComfyui(options: Partial<ComfyuiImageOptions> = {}): Promise<ComfyuiBench> {
  const server = await startFakeComfyui();
  const clock = new SimClock();
  const secret = 'dXNlcjpzZWNyZXQ9';
  const maxBytes = 64 * 1024;
  const model = comfyuiImage({
    baseUrl: server.origin,
    checkpoint: 'sd15.safetensors',
    headers: { authorization: `Basic ${secret}` },
    maxBytes,
    clock,
    ...options,
  });
  return {
    server,
    model,
    clock,
    can: comfyuiCan,
    maxBytes,
    secret,
    script: (prompt, first, ...more) => server.script(prompt, first, ...more),
    step: (count) => server.step(count),
    foreign: (steps) => server.foreign(steps),
    interruptByOther: () => server.interruptByOther(),
    deafen: () => server.deafen(),
    restart: () => server.restart(),
    cutSockets: () => server.cutSockets(),
    jobs: () => server.jobs,
    interrupts: server.interrupts,
    said: server.said,
    openExchanges: () => server.open,
    dispose: () => server.close(),
  };
}

/** A call under way, and all that it has reported. */
export interface Call {
  readonly progress: string[];
  readonly previews: Image[];
  readonly heard: number;
  readonly outcome: { image: Image } | { error: unknown } | undefined;
  abort(reason: unknown): void;
}

/** Calls the model; the prompt is `it` unless said otherwise. */
export function call(model: ImageModel, request: Partial<ImageRequest> = {}): Call {
  const controller = new AbortController();
  const state = {
    progress: [] as string[],
    previews: [] as Image[],
    heard: 0,
    outcome: undefined as Call['outcome'],
    abort: (reason: unknown) => controller.abort(reason),
  };
  const report: Report = {
    heard: () => void (state.heard += 1),
    progress: (value, max, unit) => void state.progress.push(`${value}/${max} ${unit}`),
    preview: (image) => void state.previews.push(image),
    usage: () => undefined,
  };
  model.generate({ prompt: 'it', seed: 's', ...request }, controller.signal, report).then(
    (image) => (state.outcome = { image }),
    (error: unknown) => (state.outcome = { error }),
  );
  return state;
}

/** Real sockets get a real millisecond, the clocks nothing. */
export function tick(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 1);
  });
}

/** Goes on until `seen`, `stepMs` of the clock for each real millisecond; throws after 3 s. */
export async function until(clock: SimClock, what: string, seen: () => boolean, stepMs = 25): Promise<void> {
  const endMs = performance.now() + 3000;
  while (!seen()) {
    if (performance.now() > endMs) throw new Error(`never seen: ${what}`);
    await tick();
    await clock.advance(stepMs);
  }
}

/** The picture of a call, once it has settled. */
export async function pictureOf(clock: SimClock, made: Call): Promise<Image> {
  await until(clock, 'the picture', () => made.outcome !== undefined);
  if (made.outcome === undefined || 'error' in made.outcome) throw made.outcome?.error;
  return { bytes: Buffer.from(made.outcome.image.bytes), extension: made.outcome.image.extension };
}

/** The error of a call, once it has settled. */
export async function errorOf(clock: SimClock, made: Call): Promise<ProviderError> {
  await until(clock, 'the error', () => made.outcome !== undefined);
  const error = made.outcome !== undefined && 'error' in made.outcome ? made.outcome.error : undefined;
  if (error instanceof ProviderError) return error;
  throw new Error(`expected a ProviderError, got ${String(error)}`);
}
