import { describe, expect, test } from 'vitest';
import { assetName } from '../../../src/adapters/assets-disk.ts';
import { Previews, previewBounds } from '../../../src/server/sessions/previews.ts';
import type { Image } from '../../../src/ports/models.ts';

const picture = (first: number, size = 10): Image => ({
  bytes: new Uint8Array(size).fill(first, 0, 1),
  extension: 'jpg',
});
const nameOf = (path: string | undefined): string => path?.split('/').at(-1) ?? '';

describe('[D3] unfinished pictures are kept for a while', () => {
  test('under the name that the finished one would have as an asset, and only in their session', () => {
    const previews = new Previews();
    const path = previews.put('s', picture(1));
    expect(path).toBe(`/v1/assets/s/${assetName(picture(1).bytes, 'jpg')}`);
    expect(previews.get('s', nameOf(path))).toEqual(picture(1).bytes);
    expect(previews.get('t', nameOf(path))).toBeUndefined();
    expect(previews.get('s', 'nothing')).toBeUndefined();
  });

  test('as a copy: of a view only what is shown, and a buffer that is used again changes nothing', () => {
    const previews = new Previews();
    const frame = new Uint8Array(1000).fill(7);
    const path = previews.put('s', { bytes: frame.subarray(10, 20), extension: 'png' });
    frame.fill(9);
    const kept = previews.get('s', nameOf(path));
    expect(kept).toEqual(new Uint8Array(10).fill(7));
    expect(kept?.buffer.byteLength).toBe(10);
  });

  test('a session that is deleted takes its own along', () => {
    const previews = new Previews();
    const [mine, other] = [previews.put('s', picture(1)), previews.put('t', picture(1))];
    previews.erase('s');
    expect([previews.get('s', nameOf(mine)), previews.get('t', nameOf(other))?.length]).toEqual([undefined, 10]);
    expect([previews.bytes, previews.count]).toEqual([10, 1]);
  });

  test('one over its limit is not kept; one at the limit is', () => {
    const previews = new Previews({ maxBytes: 100, maxOneBytes: 10, maxCount: 9 });
    expect(previews.put('s', picture(1, 11))).toBeUndefined();
    expect(previews.put('s', picture(1, 10))).toMatch(/^\/v1\/assets\/s\//);
    expect([previews.bytes, previews.count]).toEqual([10, 1]);
    const tight = new Previews({ maxBytes: 9, maxOneBytes: 10, maxCount: 9 });
    expect(tight.put('s', picture(1, 10))).toBeUndefined();
  });

  test('at the limit of bytes, and of count, the oldest go first; the same again is one, and the newest', () => {
    for (const bounds of [
      { maxBytes: 30, maxOneBytes: 30, maxCount: 99 },
      { maxBytes: 999, maxOneBytes: 30, maxCount: 3 },
    ]) {
      const previews = new Previews(bounds);
      const names = [1, 2, 3].map((first) => nameOf(previews.put('s', picture(first))));
      expect([previews.bytes, previews.count]).toEqual([30, 3]);
      previews.put('s', picture(1));
      expect([previews.bytes, previews.count]).toEqual([30, 3]);
      names.push(nameOf(previews.put('s', picture(4))));
      expect(names.map((name) => previews.get('s', name) !== undefined)).toEqual([true, false, true, true]);
      expect([previews.bytes, previews.count]).toEqual([30, 3]);
    }
  });

  test('32 MiB in all and 2 MiB each by default', () => {
    expect(previewBounds).toMatchObject({ maxBytes: 33_554_432, maxOneBytes: 2_097_152 });
  });

  test.each(['', '../x', 'a/b', 'x'.repeat(65)])('no name of a session: %j', (session) => {
    expect(() => new Previews().put(session, picture(1))).toThrow(RangeError);
  });
});
