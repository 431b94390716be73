import { describe, expect, it } from 'vitest';
import { offlineImage } from '../../src/adapters/offline-image.ts';
import { describeScene } from '../../src/adapters/offline/describe.ts';
import { places, things, times, weathers } from '../../src/adapters/offline/lexicon.ts';
import type { Place, Thing, Time, Weather } from '../../src/adapters/offline/lexicon.ts';

const silent = { heard: () => {}, progress: () => {}, usage: () => {}, preview: () => {} };
const engine = offlineImage();
const storm = 'The open sea at night in a violent storm. A dark lighthouse and a small boat. A green light glows.';

async function draw(prompt: string, seed = 'chat-7:9') {
  const { bytes, extension } = await engine.generate({ prompt, seed }, new AbortController().signal, silent);
  expect(extension).toBe('svg');
  return new TextDecoder().decode(bytes);
}

/** Throws where the text is not well-formed XML of elements and attributes, and finds doubled attributes and unknown references. */
function checkXml(svg: string): void {
  const open: string[] = [];
  const ids = new Set<string>();
  let at = 0;
  for (const match of svg.matchAll(/<(\/?)([A-Za-z]+)((?: [\w:-]+="[^"<&]*")*)(\/?)>/g)) {
    if (match.index !== at) throw new Error(`stray text at ${at}: ${svg.slice(at, at + 60)}`);
    at += match[0].length;
    const [, closing, name = '', attributes = '', empty] = match;
    const names = [...attributes.matchAll(/ ([\w:-]+)="/g)].map(([, attribute]) => attribute);
    if (new Set(names).size !== names.length) throw new Error(`an attribute twice: ${match[0]}`);
    const id = / id="([^"]+)"/.exec(attributes)?.[1];
    if (id !== undefined) ids.add(id);
    if (closing === '/') {
      if (open.pop() !== name) throw new Error(`wrong end tag ${name} at ${at}`);
    } else if (empty !== '/') open.push(name);
  }
  if (at !== svg.length || open.length > 0) throw new Error(`ends at ${at} of ${svg.length}, open: ${open.join(' ')}`);
  for (const [, id = ''] of svg.matchAll(/url\(#([^)]+)\)/g))
    if (!ids.has(id)) throw new Error(`unknown reference ${id}`);
  if (/NaN|undefined|Infinity/.test(svg)) throw new Error('a number is not one');
}

describe('every scene', () => {
  const keys = <Key extends string>(source: { [key in Key]: unknown }) => {
    const found: Key[] = [];
    for (const key in source) found.push(key);
    return found;
  };

  it.each(keys<Place>(places))(
    '%s is well-formed, at most 60 KB, without scripts, text and outside references',
    async (place) => {
      const all = keys<Thing>(things);
      let turn = 0;
      for (const time of keys<Time>(times))
        for (const weather of keys<Weather>(weathers)) {
          const four = [0, 1, 2, 3].map((step) => ({
            thing: all[(turn * 4 + step) % all.length] ?? 'tree',
            look: step === 1 ? 'red' : '',
          }));
          turn += 1;
          const svg = await draw(describeScene({ place, time, weather, things: four, accent: 'gold', mood: 'calm' }));
          checkXml(svg);
          expect(svg.length).toBeLessThanOrEqual(60 * 1024);
          expect(svg.replace('xmlns="http://www.w3.org/2000/svg"', '')).not.toMatch(
            /script|href|http|data:|<text|<image|<foreignObject|@import| on[a-z]+=/i,
          );
          expect(svg).toContain('viewBox="0 0 1536 960"');
        }
    },
  );
});

it('is the same for the same seed and prompt, another for another seed, and follows the description', async () => {
  expect(await draw(storm)).toBe(await draw(storm));
  expect(await draw(storm, 'chat-7:10')).not.toBe(await draw(storm));
  expect(await draw('A sunny desert by day.')).not.toContain('#3dffa2');
  expect(await draw(storm)).toContain('#3dffa2');
});

it('never puts words of the prompt into the picture', async () => {
  const svg = await draw('A forest at night <script>alert(1)</script> "&" onload=x');
  checkXml(svg);
  expect(svg).not.toMatch(/alert|onload/);
});

it('draws something for a description in which nothing can be seen, and refuses an empty one', async () => {
  checkXml(await draw('Quarterly figures in a spreadsheet'));
  await expect(draw('  ')).rejects.toMatchObject({ name: 'ProviderError', code: 'bad_request' });
});

it('reports each layer once, in order, of a total that does not change', async () => {
  const seen: [number, number, string][] = [];
  const report = {
    ...silent,
    progress: (value: number, max: number, unit: string) => void seen.push([value, max, unit]),
  };
  await engine.generate({ prompt: storm, seed: 's' }, new AbortController().signal, report);
  expect(seen.map(([value]) => value)).toEqual(seen.map((_, index) => index + 1));
  expect(new Set(seen.map(([, max]) => max))).toEqual(new Set([seen.length]));
  expect(seen.every(([, , unit]) => unit === 'layer')).toBe(true);
});

it('stops at the layer at which it is aborted, with the reason', async () => {
  const controller = new AbortController();
  const reason = new Error('superseded');
  let layers = 0;
  const report = {
    ...silent,
    progress: () => {
      layers += 1;
      if (layers === 2) controller.abort(reason);
    },
  };
  await expect(engine.generate({ prompt: storm, seed: 's' }, controller.signal, report)).rejects.toBe(reason);
  expect(layers).toBe(2);
});
