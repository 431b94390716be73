import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createScanner, createTagScanner, maxPromptUnits } from '../../../src/panes/illustrations/scan.ts';
import type { Found } from '../../../src/panes/illustrations/scan.ts';
import { withoutMarkup } from '../../../src/panes/prompts.ts';
import { cutAnywhere, scanAll } from './scan-all.ts';

const scan = (...pieces: string[]): Found[] => scanAll(createScanner(), pieces);
const prompts = (...pieces: string[]): string[] => scan(...pieces).map(({ prompt }) => prompt);

const name = 'img[-_]prompt';
const some = String.raw`[\t-\r \xa0]{0,32}`;
const opening = new RegExp(`(?:<!--${some}|<)${name}${some}=${some}$`, 'i');
const tag = new RegExp(
  `<!--${some}${name}${some}=${some}"((?:[^"\\\\]|\\\\[^])*)"${some}-->|<${name}${some}=${some}"((?:[^"\\\\]|\\\\[^])*)"${some}>`,
  'iy',
);

/** The same by regular expression over the whole text, from each `<` on. */
function reference(text: string): Found[] {
  const found: Found[] = [];
  for (let at = text.indexOf('<'); at >= 0; at = text.indexOf('<', at)) {
    tag.lastIndex = at;
    const match = tag.exec(text);
    const raw = match?.[1] ?? match?.[2] ?? '';
    at += 1;
    if (match === null || raw.length > maxPromptUnits || opening.test(raw)) continue;
    const prompt = raw.replaceAll(/\\(["\\])/g, '$1').trim();
    if (prompt !== '') found.push({ offset: match.index, length: match[0].length, prompt });
    at = match.index + match[0].length;
  }
  return found;
}

const parts = [
  '<!--img-prompt="a red door"-->',
  '<!-- IMG_prompt = "x" \n-->',
  '<img_prompt="q">',
  '<img-prompt=" b \\"c\\" \\\\" >',
  '<img-prompt="">',
  '<!--img-prompt="never',
  '<!--img-prompt="',
  '<img_prompt=',
  '<!--',
  '<!-',
  '<',
  '<<',
  'img-prompt',
  '=',
  '"',
  '\\"',
  '\\',
  '-->',
  '--',
  '>',
  ' ',
  '\n',
  '😀',
  'é',
  'word ',
  '<b title="x">',
];
const texts = fc.array(fc.constantFrom(...parts), { maxLength: 25 }).map((some) => some.join(''));
describe('prompts in the stream', () => {
  it.each([
    '<!--img-prompt="a door"-->',
    '<!--img_prompt="a door"-->',
    '<img-prompt="a door">',
    '<img_prompt="a door">',
    '<!-- IMG-Prompt = "a door" -->',
    '<IMG_PROMPT\n=\t"  a door "\n>',
  ])('[T23] %j is found with its place, however it is cut', (written) => {
    const text = `before ${written} after`;
    const expected = [{ offset: 7, length: written.length, prompt: 'a door' }];
    for (let cut = 0; cut <= text.length; cut += 1) {
      expect(scan(text.slice(0, cut), text.slice(cut))).toEqual(expected);
    }
    expect(scan(...text.split(''))).toEqual(expected);
  });

  it('[T23] a prompt is found on the piece that closes its tag, not before and not again', () => {
    const scanner = createScanner();
    expect(scanner.push('He looked up. <!--img-prompt="the lamp"--')).toEqual([]);
    expect(scanner.push('>')).toEqual([{ offset: 14, length: 28, prompt: 'the lamp' }]);
    expect(scanner.push(' And then nothing.')).toEqual([]);
    expect(scanner.end()).toEqual([]);
  });

  it('[T24] a tag in the last piece is found', () => {
    expect(prompts('text ', '<img-prompt="last">')).toEqual(['last']);
  });

  it('[T23] escaped quotes and backslashes are a part of the prompt', () => {
    expect(prompts(String.raw`<img-prompt="a sign \"Inn\" and a \\ and \n">`)).toEqual([
      String.raw`a sign "Inn" and a \ and \n`,
    ]);
    expect(prompts('<img-prompt="ends with \\', '\\', '">')).toEqual(['ends with \\']);
  });

  it('[T23] a pair of surrogates may be cut in the middle', () => {
    expect(scan('<img-prompt="\ud83d', '\ude00">')).toEqual([{ offset: 0, length: 17, prompt: '😀' }]);
  });

  it.each([
    '<img-prompt="open',
    '<img-prompt="  ">',
    '<img-prompt="">',
    "<img-prompt='single'>",
    '<img-prompt=bare>',
    '<img-prompt="a" x>',
    '<!--img-prompt="a">',
    '<img-prompt="a"-->',
    '< img-prompt="a">',
    '<!-img-prompt="a"-->',
    '<imgprompt="a">',
    '<img--prompt="a">',
  ])('[T23] %j is none', (text) => {
    expect(prompts(`${text} `)).toEqual([]);
  });

  it.each([
    '<!--img-prompt="never closed, and then ',
    '<img_prompt="never closed ',
    '<!--img-prompt="',
    '<!--img-prompt=',
    '<',
    '<img-prompt="odd \\',
  ])('[T23] after %j a proper tag is found', (text) => {
    expect(prompts(`${text}<!--img-prompt="blue"-->`)).toEqual(['blue']);
    expect(prompts(`${text}<img-prompt=" -->">`)).toEqual(['-->']);
  });

  it('[T25] two equal tags are two findings, each at its own place', () => {
    const written = '<!--img-prompt="the same"-->';
    const expected = [0, written.length, 2 * written.length + 1].map((offset) => ({
      offset,
      length: written.length,
      prompt: 'the same',
    }));
    expect(scan(written, written, ' ', written)).toEqual(expected);
    expect(scan(`${written}${written} ${written}`)).toEqual(expected);
  });

  it('[T23] a prompt has at most 2000 units, and a longer one hides nothing', () => {
    const fits = 'x'.repeat(2_000);
    expect(prompts(`<img-prompt="${fits}">`)).toEqual([fits]);
    expect(prompts(`<img-prompt="${fits}y">`)).toEqual([]);
    expect(prompts(`<img-prompt="${fits}y"><img-prompt="next">`)).toEqual(['next']);
    expect(prompts(`<img-prompt="${fits.slice(0, -5)}<img-prompt="next">`)).toEqual(['next']);
  });

  it('[T23] there may be 32 blanks at a place, not 33', () => {
    expect(prompts(`<img-prompt=${' '.repeat(32)}"x"${' '.repeat(32)}>`)).toEqual(['x']);
    expect(prompts(`<img-prompt=${' '.repeat(33)}"x">`, `<img-prompt="x"${' '.repeat(33)}>`)).toEqual([]);
  });

  it('[T23] finds what a regular expression over the whole text finds, for every text and every cut', () => {
    fc.assert(
      fc.property(cutAnywhere(texts), ({ text, pieces }) => {
        expect(scan(...pieces)).toEqual(reference(text));
      }),
      { numRuns: 3_000 },
    );
  });

  it('[T23] keeps no more than one prompt, and hostile text costs as much a unit when it is 16 times as long', () => {
    const hostile = '<!--img-prompt="';
    const cost = (times: number): number => {
      const text = hostile.repeat(times);
      const startMs = performance.now();
      for (let round = 0; round < 160_000 / times; round += 1) expect(createScanner().push(text)).toEqual([]);
      return performance.now() - startMs;
    };
    cost(1_000);
    // A quadratic scanner would need 16 times as long; the machine is shared.
    expect(Math.min(cost(16_000), cost(16_000))).toBeLessThan(6 * Math.max(cost(1_000), 2));
  });
});

describe('what a model reads', () => {
  it('[T67] has no tag that would be found, blank ones and all forms', () => {
    const text = 'a<!-- IMG_prompt = "x > y" -->b<img_prompt="q">c<img-prompt=" ">d<!--img-prompt="p\\"q"-->e';
    expect(withoutMarkup(text)).toBe('abcde');
  });

  it('[T67] has no inserted picture, and keeps other pictures and broken ones', () => {
    expect(withoutMarkup('a![p](/v1/assets/s/1.png)b![](/v1/assets/s/2.svg)c')).toBe('abc');
    expect(withoutMarkup('![a ![b](/v1/assets/x)')).toBe('![a ');
    for (const kept of [
      '![p](https://example.org/1.png)',
      '![p](/v1/assets/s/1.png',
      '[p](/v1/assets/s/1.png)',
      '![p]\n](/v1/assets/s/1.png)',
      '![p](/v1/assets/)',
    ])
      expect(withoutMarkup(kept)).toBe(kept);
    expect(withoutMarkup(`![${'p'.repeat(300)}](/v1/assets/x)`)).toBe('');
    const long = `![${'p'.repeat(301)}](/v1/assets/x)`;
    expect(withoutMarkup(long)).toBe(long);
  });

  it('[T67] has no tag that comes about when another one is taken out', () => {
    expect(withoutMarkup('<!--img-pro<img_prompt="x">mpt="secret"-->!')).toBe('!');
    expect(withoutMarkup('![a](/v1/ass![b](/v1/assets/x)ets/y)!')).toBe('!');
    let nested = '<img-prompt="x">';
    for (let depth = 0; depth < 20; depth += 1) nested = `<img-pro${nested}mpt="${depth}">`;
    expect(createTagScanner().push(withoutMarkup(nested))).toEqual([]);
  });

  it('[T67] is the text without what is found, and nothing is found in it, for every text', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const rest = withoutMarkup(text);
        expect(createTagScanner().push(rest)).toEqual([]);
        if (createTagScanner().push(text).length === 0) expect(rest).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each(['<!--img-prompt="', '![', '![a](/v1/assets/', '](/v1/assets/', '<img-pro'])(
    '[T67] takes linear time with a text full of %j',
    (hostile) => {
      const text = hostile.repeat(Math.floor(131_072 / hostile.length));
      const startMs = performance.now();
      withoutMarkup(text);
      expect(performance.now() - startMs).toBeLessThan(150);
    },
  );
});
