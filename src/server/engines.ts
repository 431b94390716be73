import { a1111Image } from '../adapters/a1111-image.ts';
import { probeA1111 } from '../adapters/a1111-probe.ts';
import { comfyuiImage } from '../adapters/comfyui-image.ts';
import { probeComfyui } from '../adapters/comfyui-probe.ts';
import { offlineImage } from '../adapters/offline-image.ts';
import { offlineText } from '../adapters/offline-text.ts';
import { openaiImage } from '../adapters/openai-image.ts';
import { probeImage, probeText } from '../adapters/openai-probe.ts';
import { openaiText, preload } from '../adapters/openai-text.ts';
import type { Ids } from '../ports/clock.ts';
import { ProviderError } from '../ports/errors.ts';
import type { ImageModel, Probe, TextModel } from '../ports/models.ts';
import type { NamedProbe } from './check.ts';
import type { ImageConfig, ImageEngineConfig, TextConfig } from './config/config.ts';

/** The text engine of the configuration. */
export function textEngine(config: TextConfig, ids: Ids): TextModel {
  if (config.engine === 'offline') return offlineText({ random: () => ids.random() });
  const { baseUrl, apiKey, models } = config;
  return openaiText({ baseUrl, apiKey: apiKey ?? undefined, models });
}

/** The image engines of the configuration, in the order in which they are asked. */
export function imageEngines({ engines: [first, ...rest] }: ImageConfig): readonly [ImageModel, ...ImageModel[]] {
  return [imageEngine(first), ...rest.map(imageEngine)];
}

/** One image engine. Throws a TypeError that names the setting it cannot work with. */
export function imageEngine(config: ImageEngineConfig): ImageModel {
  switch (config.engine) {
    case 'offline':
      return offlineImage();
    case 'none':
      return noImage;
    case 'openai':
      return openaiImage(config);
    case 'a1111':
      return a1111Image(config);
    case 'comfyui':
      return comfyuiImage(config);
  }
}

const noImage: ImageModel = {
  engine: 'none',
  host: null,
  generate: () => Promise.reject(new ProviderError('refused', 'no image engine is configured (image.engine is none)')),
};

/** Loads what the first call would otherwise wait for. */
export async function preloadEngines(text: TextConfig): Promise<void> {
  if (text.engine === 'openai') await preload();
}

/** What `mullion check` asks of the configured engines: each of a chain is asked, since each may have to draw. */
export function probesOf(text: TextConfig, image: ImageConfig): NamedProbe[] {
  const { engines } = image;
  return [
    { name: 'text', probe: () => probeOfText(text) },
    ...engines.map((engine, index) => ({
      name: engines.length === 1 ? 'image' : `image ${index + 1}`,
      probe: () => probeOfImage(engine),
    })),
  ];
}

async function probeOfText(config: TextConfig): Promise<Probe> {
  if (config.engine === 'offline') return works('offline engine: extracts and describes, no model');
  const { baseUrl, apiKey, models } = config;
  return probeText({ baseUrl, apiKey: apiKey ?? undefined, models });
}

async function probeOfImage(config: ImageEngineConfig): Promise<Probe> {
  switch (config.engine) {
    case 'offline':
      return works('offline sketches, no model');
    case 'none':
      return works('none: scenes keep no picture');
    case 'openai':
      return probeImage(config);
    case 'a1111':
      return probeA1111(config);
    case 'comfyui':
      return probeComfyui(config);
  }
}

const works = (message: string): Probe => ({ ok: true, message });
