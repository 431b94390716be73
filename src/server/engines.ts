import { offlineImage } from '../adapters/offline-image.ts';
import { offlineText } from '../adapters/offline-text.ts';
import { openaiImage } from '../adapters/openai-image.ts';
import { probeImage, probeText } from '../adapters/openai-probe.ts';
import { openaiText, preload } from '../adapters/openai-text.ts';
import type { Ids } from '../ports/clock.ts';
import { ProviderError } from '../ports/errors.ts';
import type { ImageModel, TextModel } from '../ports/models.ts';
import type { NamedProbe } from './check.ts';
import type { ImageConfig, TextConfig } from './config/config.ts';

/** The text engine of the configuration. */
export function textEngine(config: TextConfig, ids: Ids): TextModel {
  if (config.engine === 'offline') return offlineText({ random: () => ids.random() });
  const { baseUrl, apiKey, models } = config;
  return openaiText({ baseUrl, apiKey: apiKey ?? undefined, models });
}

/** The image engine of the configuration. */
export function imageEngine(config: ImageConfig): ImageModel {
  switch (config.engine) {
    case 'offline':
      return offlineImage();
    case 'none':
      return noImage;
    case 'openai': {
      const { baseUrl, apiKey, model, size } = config;
      return openaiImage({ baseUrl, apiKey: apiKey ?? undefined, model, size: size ?? undefined });
    }
  }
}

const noImage: ImageModel = {
  engine: 'none',
  host: null,
  generate: () => Promise.reject(new ProviderError('refused', 'no image engine is configured (image.engine is none)')),
};

/** Loads what the first call would otherwise wait for. */
export async function preloadEngines(text: TextConfig, image: ImageConfig): Promise<void> {
  if (text.engine === 'openai' || image.engine === 'openai') await preload();
}

/** What `mullion check` asks of the configured engines. */
export function probesOf(text: TextConfig, image: ImageConfig): NamedProbe[] {
  const works = (message: string) => () => Promise.resolve({ ok: true, message });
  return [
    {
      name: 'text',
      probe:
        text.engine === 'offline'
          ? works('offline engine: extracts and describes, no model')
          : () => probeText({ baseUrl: text.baseUrl, apiKey: text.apiKey ?? undefined, models: text.models }),
    },
    {
      name: 'image',
      probe:
        image.engine === 'openai'
          ? () =>
              probeImage({
                baseUrl: image.baseUrl,
                apiKey: image.apiKey ?? undefined,
                model: image.model,
                size: image.size ?? undefined,
              })
          : works(image.engine === 'offline' ? 'offline sketches, no model' : 'none: scenes keep no picture'),
    },
  ];
}
