import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { yamlMapping } from '../../../src/server/export/yaml.ts';
import '../../support/seed.ts';

const hostile = [
  '',
  ' ',
  'null',
  'yes',
  '1e3',
  '2026-11-20',
  '---',
  '...',
  '\n---\nadmin: true\n',
  '\r\n---\r\n',
  '"',
  '\\',
  '\\"',
  "it's",
  '# no comment',
  'a: b',
  '- item',
  '[x]',
  '{x: 1}',
  '&anchor *alias !tag',
  '%YAML 1.2',
  '@at `tick',
  '| block\n  > folded',
  '\u0000\u0007\u001b[31m\u007f\u0085\u009f',
  '\u2028\u2029\ufeff\ufffe\uffff',
  'é 漢 👩‍👩‍👧',
  '\ud800 half',
];

describe('front matter', () => {
  it.each(hostile)('[X2] %j is one quoted text on one line, and nothing else', (text) => {
    const yaml = yamlMapping({ key: text, next: 1 });
    const [line = '', next, end] = yaml.split('\n');
    expect([next, end]).toEqual(['next: 1', '']);
    expect(line).toMatch(/^key: "(?:[^"\\]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*"$/);
    expect(JSON.parse(line.slice('key: '.length))).toBe(text.replace('\ud800', '\ufffd'));
    // oxlint-disable-next-line no-control-regex -- these must not be there
    expect(yaml).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]|\p{Surrogate}/u);
  });

  it('[X2] any text is read back as it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const yaml = yamlMapping({ key: text });
        expect(yaml.split('\n')).toHaveLength(2);
        expect(JSON.parse(yaml.slice('key: '.length))).toBe(text);
      }),
    );
  });

  it('[X2] writes numbers, truth, nothing, lists and mappings', () => {
    expect(yamlMapping({ a: -1, b: true, c: null, d: ['x', 2, null], e: [], f: {}, g: { h: 'y', i: { j: 0 } } })).toBe(
      'a: -1\nb: true\nc: null\nd: ["x", 2, null]\ne: []\nf: {}\ng:\n  h: "y"\n  i:\n    j: 0\n',
    );
  });

  it.each(['', 'a b', 'a:', '1', '-', 'No', 'null', 'ä', 'a\nb'])('[X2] refuses the key %j', (key) => {
    expect(() => yamlMapping({ [key]: 1 })).toThrow(TypeError);
  });

  it.each([NaN, Infinity, 0.5, 2 ** 53])('[X2] refuses the number %d', (number) => {
    expect(() => yamlMapping({ key: number })).toThrow(RangeError);
  });
});
