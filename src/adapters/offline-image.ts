import { ProviderError } from '../ports/errors.ts';
import type { Image, ImageModel, ImageRequest, Report } from '../ports/models.ts';
import { seeded } from './offline/random.ts';
import { readScene } from './offline/scene.ts';
import type { Scene } from './offline/scene.ts';
import { slices } from './offline/slices.ts';
import { Sheet } from './offline/svg-paint.ts';
import { layersOf } from './offline/svg-scene.ts';

/** What is drawn of a description in which nothing can be seen. */
const nowhere: Scene = { place: 'field', time: 'dusk', weather: 'clear', things: [], accent: null, mood: 'calm' };

/**
 * Pictures without a model: a description is read with the same lexicon as the offline scene, and drawn as an SVG of at most 60 KB, 8:5. The same
 * seed and prompt give the same bytes. Progress counts layers drawn.
 */
export function offlineImage(): ImageModel {
  return { engine: 'offline sketch', host: null, generate };
}

async function generate(request: ImageRequest, signal: AbortSignal, report: Report): Promise<Image> {
  signal.throwIfAborted();
  if (request.prompt.trim() === '')
    throw new ProviderError('bad_request', 'the prompt is empty; expected a description');
  const breathe = slices(signal);
  const read = (await readScene([request.prompt], breathe)) ?? nowhere;
  // Beyond the air there is neither day nor weather.
  const scene: Scene = read.place === 'space' ? { ...read, time: 'night', weather: 'clear' } : read;
  const random = seeded(`${request.seed}\n${request.prompt}`);
  const mirrored = random() < 0.5;
  const sheet = new Sheet(random);
  const layers = layersOf(sheet, scene);
  report.heard();
  for (const [index, paint] of layers.entries()) {
    paint();
    report.progress(index + 1, layers.length, 'layer');
    // Sees an abort also where the slice is not used up.
    const pause = breathe();
    if (pause !== undefined) await pause;
  }
  return { bytes: new TextEncoder().encode(sheet.toSvg(mirrored)), extension: 'svg' };
}
