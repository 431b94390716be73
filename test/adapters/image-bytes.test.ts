import { describe, expect, test } from 'vitest';
import { isWhole, sniff } from '../../src/adapters/image-bytes.ts';
import { png } from '../support/hostile-cases.ts';
import { gif, jpg, webp } from '../support/pictures.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('sniff', () => {
  test.each([
    ['png', png],
    ['jpg', jpg],
    ['webp', webp],
    ['gif', gif],
    ['gif', Buffer.from('GIF87a…')],
    ['svg', utf8('<svg xmlns="http://www.w3.org/2000/svg"/>')],
    ['svg', utf8('\uFEFF <?xml version="1.0"?>\n<!-- a --> <!DOCTYPE svg PUBLIC "x">\n<SVG>')],
    ['svg', utf8('<svg:svg xmlns:svg="x">')],
  ])('%s', (extension, bytes) => {
    expect(sniff(bytes)).toBe(extension);
    // A view into a larger buffer is read from its own start.
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    expect(sniff(shifted.subarray(3))).toBe(extension);
  });

  test.each([
    ['nothing', ''],
    ['HTML', '<!DOCTYPE html><html><svg></svg></html>'],
    ['text', 'svg'],
    ['another element', '<svgx>'],
    ['JSON', '{"error":1}'],
    ['PDF', '%PDF-1.7'],
    ['BMP', 'BM1234'],
    ['another RIFF', 'RIFF\x24\x00\x00\x00WAVEfmt '],
    ['an unclosed comment', '<!-- <svg>'],
  ])('not an image: %s', (_name, text) => {
    expect(sniff(utf8(text))).toBeUndefined();
  });

  test('half a magic number is none', () => {
    for (const bytes of [png, webp, gif, jpg]) expect(sniff(bytes.subarray(0, 2))).toBeUndefined();
    expect(sniff(png.subarray(0, 7))).toBeUndefined();
  });
});

describe('isWhole', () => {
  test.each([
    ['png', png],
    ['jpg', jpg],
    ['webp', webp],
    ['gif', gif],
    ['svg', utf8('<svg><g/></svg>\n')],
  ] as const)('%s: whole, and cut anywhere', (extension, bytes) => {
    expect(isWhole(bytes, extension)).toBe(true);
    // The last bytes of a PNG are a checksum, and white space may follow an SVG.
    const last = extension === 'png' ? bytes.length - 4 : bytes.length - 1 - (extension === 'svg' ? 1 : 0);
    for (let at = 0; at < last; at += 1) expect(isWhole(bytes.subarray(0, at), extension), `cut at ${at}`).toBe(false);
  });

  test('a PNG whose part lengths point far away ends', () => {
    const bad = Buffer.from(png);
    bad.writeUInt32BE(0xffffffff, 8);
    expect(isWhole(bad, 'png')).toBe(false);
  });
});
