import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePatterns, maxMatchUnits } from '../../../src/panes/illustrations/patterns.ts';
import { cleanPrompt } from '../../../src/panes/illustrations/scan.ts';
import type { Found } from '../../../src/panes/illustrations/scan.ts';
import { cutAnywhere, scanAll } from './scan-all.ts';

const scan = (patterns: readonly string[], ...pieces: string[]): Found[] =>
  scanAll(compilePatterns(patterns).scanner(), pieces);
const prompts = (patterns: readonly string[], ...pieces: string[]): string[] =>
  scan(patterns, ...pieces).map(({ prompt }) => prompt);

/** The same by the regular expressions of the engine, over the whole text. */
function reference(patterns: readonly string[], text: string): Found[] {
  const all = new RegExp(patterns.map((source) => `(?:${source})`).join('|'), 'g');
  return [...text.matchAll(all)].flatMap((match) => {
    const prompt = cleanPrompt(match.slice(1).find((group) => group !== undefined) ?? '');
    return prompt === '' ? [] : [{ offset: match.index, length: match[0].length, prompt }];
  });
}

const own = [
  String.raw`<!--img-prompt="([^"\\]*(?:\\.[^"\\]*)*)"\s*-->`,
  String.raw`<img_prompt="([^"\\]*(?:\\.[^"\\]*)*)"\s*>`,
  String.raw`\[pic: ([^\]]+)\]`,
  '{{pic:(.*?)}}',
  String.raw`(?:image|img)\((?<what>.{1,40})\)`,
];

describe('own patterns', () => {
  it.each([
    { text: 'x <!--img-prompt="a \\"b\\"" --> y', expected: [{ offset: 2, length: 28, prompt: 'a "b"' }] },
    {
      text: '[pic: a door][pic: a door]',
      expected: [0, 13].map((offset) => ({ offset, length: 13, prompt: 'a door' })),
    },
    { text: '{{pic:}}{{pic: 😀 }}', expected: [{ offset: 8, length: 12, prompt: '😀' }] },
    { text: 'img(a (b) c) image(d)', expected: [{ offset: 0, length: 21, prompt: 'a (b) c) image(d' }] },
  ])('[T26] find $text with places, each once, however it is cut', ({ text, expected }) => {
    for (let cut = 0; cut <= text.length; cut += 1) {
      expect(scan(own, text.slice(0, cut), text.slice(cut))).toEqual(expected);
    }
    expect(scan(own, ...text.split(''))).toEqual(expected);
  });

  it('[T26] a prompt is found on the piece that closes it; where more could follow, when that is decided', () => {
    const closed = compilePatterns([String.raw`\[pic: ([^\]]+)\]`]).scanner();
    expect(closed.push('a [pic: x')).toEqual([]);
    expect(closed.push(']')).toEqual([{ offset: 2, length: 8, prompt: 'x' }]);
    const open = compilePatterns([String.raw`#(\w+)`]).scanner();
    expect(open.push('#lam')).toEqual([]);
    expect(open.push('p')).toEqual([]);
    expect(open.push('. #x')).toEqual([{ offset: 0, length: 5, prompt: 'lamp' }]);
    expect(open.end()).toEqual([{ offset: 7, length: 2, prompt: 'x' }]);
  });

  it.each([
    { pattern: '([', what: 'Invalid regular expression' },
    { pattern: 'a*?*(b)', what: 'Nothing to repeat' },
    { pattern: 'pic', what: 'expected a group "(…)" around the prompt' },
    { pattern: '(?:pic)', what: 'expected a group "(…)" around the prompt' },
    { pattern: '(a*)', what: 'it matches the empty text' },
    { pattern: '(a)|', what: 'it matches the empty text' },
    { pattern: `(a)[${'b'.repeat(496)}]`, what: 'expected at most 500 characters, got 501' },
    { pattern: String.raw`(["'])(.*)\1`, what: String.raw`back reference "\1" is not possible` },
    { pattern: String.raw`(?<q>x)\k<q>`, what: String.raw`back reference "\k" is not possible` },
    { pattern: '(?=a)(b)', what: 'lookaround "(?=a" is not possible' },
    { pattern: '(?<!a)(b)', what: 'lookaround "(?<!" is not possible' },
    { pattern: '^(b)', what: '^ is not possible' },
    { pattern: '(b)$', what: '$ is not possible' },
    { pattern: String.raw`\b(b)`, what: String.raw`"\b" is not possible` },
    { pattern: String.raw`(\p{L})`, what: String.raw`"\p" is not possible` },
    { pattern: String.raw`(\u{41})`, what: 'expected 4 hexadecimal digits' },
    { pattern: '(a){0}b', what: '{0} repeats nothing' },
    { pattern: '((a*)*)b', what: '* repeats what can be empty' },
    { pattern: '([ab]{300})', what: 'too large: more than 256 steps' },
    { pattern: '(a)'.repeat(9), what: 'expected at most 8 groups, got 9' },
  ])('[T26] $pattern is refused by name', ({ pattern, what }) => {
    const shown = JSON.stringify(pattern).slice(0, 60);
    const attempt = (): unknown => compilePatterns(['(ok)', pattern]);
    expect(attempt).toThrow(what);
    expect(attempt).toThrow(shown);
    expect(attempt).toThrow(/^pattern 2, /);
  });

  it('[T26] there are 1 to 16 of them, of at most 500 characters, 8 groups and 256 steps', () => {
    expect(() => compilePatterns([])).toThrow('expected 1 to 16 patterns, got 0');
    expect(() => compilePatterns(Array.from({ length: 17 }, () => '(a)'))).toThrow('got 17');
    expect(
      prompts(
        Array.from({ length: 16 }, (_, i) => `${i};(a)`),
        '15;a',
      ),
    ).toEqual(['a']);
    expect(prompts([`(a)[${'b'.repeat(495)}]`], 'ab')).toEqual(['a']);
    expect(prompts(['(a)'.repeat(8)], 'aaaaaaaa')).toEqual(['a']);
    // 256 = two for the group, one for the match.
    expect(prompts(['(a{253})'], 'a'.repeat(253))).toEqual(['a'.repeat(253)]);
    expect(() => compilePatterns(['(a{254})'])).toThrow('too large');
  });

  it('[T26] a match has at most 2400 units and a prompt 2000; longer ones hide nothing', () => {
    const pattern = [String.raw`\[pic: *([^\]]*)\]`];
    expect(prompts(pattern, `[pic:${'x'.repeat(2_000)}]`)).toEqual(['x'.repeat(2_000)]);
    expect(prompts(pattern, `[pic:${'x'.repeat(2_001)}]`)).toEqual([]);
    const blanks = (length: number): string => `[pic:${' '.repeat(length - 7)}x]`;
    expect(prompts(pattern, blanks(maxMatchUnits))).toEqual(['x']);
    expect(prompts(pattern, blanks(maxMatchUnits + 1))).toEqual([]);
    expect(prompts(pattern, `[pic: never closed ${'y'.repeat(maxMatchUnits)}[pic:z]`)).toEqual(['z']);
    expect(prompts(pattern, `[pic: never [pic: closed ${'y'.repeat(maxMatchUnits - 30)}[pic:z]`)).toEqual(['z']);
  });

  const atoms = [
    'a',
    'b',
    '.',
    '[ab]',
    '[^a]',
    String.raw`\w`,
    String.raw`\s`,
    '(a)',
    '(b|ab)',
    '(?:a|(b))',
    '(a+?)',
    '(.*?)b',
    '(?:ab)',
    'c',
  ];
  const signs = ['', '', '', '*', '+', '?', '*?', '+?', '??', '{2}', '{1,3}', '{2,}?'];
  const patterns = fc
    .array(fc.tuple(fc.constantFrom(...atoms), fc.constantFrom(...signs)), { minLength: 1, maxLength: 5 })
    .map((terms) => terms.map(([atom, sign]) => (atom === '(.*?)b' ? atom : atom + sign)).join(''))
    .chain((one) => fc.constantFrom(one, `(${one})`, `(?:${one})+`, `x(${one})y`, `${one}|(c)`));
  const texts = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'x', 'y', ' ', '\n', 'aab', 'xab'), maxLength: 40 });

  it('[T26] find what the regular expressions of the engine find, for every pattern, text and cut', () => {
    let compared = 0;
    fc.assert(
      fc.property(patterns, patterns, cutAnywhere(texts), (one, two, { text, pieces }) => {
        const both = [one, two].filter(isAccepted);
        if (both.length === 0) return;
        compared += 1;
        expect(scan(both, ...pieces)).toEqual(reference(both, text));
      }),
      { numRuns: 1_500 },
    );
    expect(compared).toBeGreaterThan(1_000);
  });
});

function isAccepted(pattern: string): boolean {
  try {
    compilePatterns([pattern]);
    return true;
  } catch {
    return false;
  }
}

/** Patterns that are known for taking for ever, and the texts that make them. */
const attacks = [
  { pattern: '(a+)+$', text: 'a' },
  { pattern: '(a+)+b', text: 'a' },
  { pattern: '(a|aa)+c', text: 'a' },
  { pattern: '(a|a)+c', text: 'a' },
  { pattern: '(a|a?)+c', text: 'a' },
  { pattern: '(.*)*x', text: 'y' },
  { pattern: '(.+)+x', text: 'y' },
  { pattern: String.raw`(\w+\s?)*!`, text: 'ab ' },
  { pattern: String.raw`(\w+\s?)+!`, text: 'ab ' },
  { pattern: String.raw`([a-zA-Z0-9]+)*\.`, text: 'aA0' },
  { pattern: String.raw`(\d+)*\d+x`, text: '1' },
  { pattern: '(.*?,){11}P', text: '1,' },
  { pattern: '(x+x+)+y', text: 'x' },
  { pattern: String.raw`(\s*\S*\s*)z`, text: ' a' },
  { pattern: '(.*.*.*.*.*.*.*.*=.*)z', text: 'x=' },
  { pattern: '(a?){30}a{30}', text: 'a' },
  { pattern: '(?:a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?)(aaaaaaaaaaaaaaaab)', text: 'a' },
  { pattern: String.raw`<img ([^>]*)*>`, text: '<img ' },
  { pattern: String.raw`<img ([^>]+)>`, text: '<img ' },
  { pattern: String.raw`([\w.]+)+@`, text: 'a.' },
  { pattern: 'a(b)(?:.*z)?', text: 'ab' },
  { pattern: 'a(b)(?:[^]*z)?', text: 'ab' },
  { pattern: String.raw`(?:(a)|(.)|(\w)|([^]))+!`, text: 'aé' },
  { pattern: `(${'.?'.repeat(126)}z)`, text: 'a' },
  { pattern: `(${'.*'.repeat(84)}z)`, text: 'a' },
  { pattern: `(${'(?:[ab]|.)?'.repeat(44)}z)`, text: 'a' },
  { pattern: String.raw`\[pic:([^\]]*)\]`, text: '[pic:' },
  { pattern: String.raw`((?:(.)|(\w)|(a)|([^]))+?!)`, text: `${'a'.repeat(1_900)}!` },
];

describe('patterns that are known for taking for ever', () => {
  it.each(attacks)('[T26] $pattern is refused, or reads $text without end at a bounded cost', ({ pattern, text }) => {
    if (!isAccepted(pattern)) return;
    const scanner = compilePatterns([pattern]).scanner();
    const piece = text.repeat(Math.ceil(4_096 / text.length));
    const tookMs = Array.from({ length: 12 }, () => {
      const begun = process.cpuUsage();
      scanner.push(piece);
      const { user, system } = process.cpuUsage(begun);
      return (user + system) / 1_000;
    }).toSorted((a, b) => a - b);
    // Measured: at most 5 ms on a busy machine; what backtracks needs seconds, or for ever.
    expect(tookMs[6]).toBeLessThan(15);
    expect(tookMs.at(-1)).toBeLessThan(100);
  });

  it('[T26] a pattern that takes too much for a text finds less in it, and then again all', () => {
    const pattern = `(${'.?'.repeat(100)}z)`;
    expect(prompts([pattern], 'aaz')).toEqual(['aaz']);
    const scanner = compilePatterns([pattern]).scanner();
    scanner.push('a'.repeat(4_096));
    expect(scanner.push(`z${'\n'.repeat(5_000)}`)).toEqual([]);
    expect(scanner.push('bz\n').map(({ prompt }) => prompt)).toEqual(['bz']);
  });

  it('[T26] one unit at a time costs no more than the whole', () => {
    const scanner = compilePatterns([String.raw`\[pic:([^\]]*)\]`]).scanner();
    const startMs = performance.now();
    for (let i = 0; i < 20_000; i += 1) for (const unit of '[pic:') scanner.push(unit);
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });
});
