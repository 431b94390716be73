import { describe, expect, test } from 'vitest';
import { maxRememberedPictures, PictureCache, type PictureKey } from '../../../src/server/sessions/picture-cache.ts';

const key = (over: Partial<PictureKey> = {}): PictureKey => ({
  session: 's',
  model: { engine: 'painter', variant: 'painter 512x512' },
  prompt: 'a lighthouse',
  ...over,
});

describe('[D2] pictures that were drawn are found', () => {
  test('by session, engine, variant and the exact prompt; anything else is another picture', () => {
    const cache = new PictureCache();
    cache.remember(key(), '/p');
    expect(cache.find(key())).toBe('/p');
    const others: Partial<PictureKey>[] = [
      { session: 't' },
      { prompt: 'a lighthouse ' },
      { prompt: 'A lighthouse' },
      { model: { engine: 'other', variant: 'painter 512x512' } },
      { model: { engine: 'painter', variant: 'painter 1024x1024' } },
      { model: { engine: 'painter' } },
    ];
    for (const other of others) expect(cache.find(key(other))).toBeUndefined();
    expect(cache.counts).toEqual({ hits: 1, misses: 6, evicted: 0 });
  });

  test('the parts of a key do not run into each other', () => {
    const cache = new PictureCache();
    cache.remember(key({ model: { engine: 'a', variant: 'b"c' }, prompt: 'd' }), '/p');
    expect(cache.find(key({ model: { engine: 'a', variant: 'b' }, prompt: '"c,d' }))).toBeUndefined();
    expect(cache.find(key({ model: { engine: 'a', variant: 'null' } }))).toBeUndefined();
  });

  test('a session that is deleted is forgotten, the others are not', () => {
    const cache = new PictureCache();
    cache.remember(key(), '/1');
    cache.remember(key({ session: 't' }), '/2');
    cache.forget('s');
    expect([cache.find(key()), cache.find(key({ session: 't' })), cache.size]).toEqual([undefined, '/2', 1]);
  });

  test('at the limit the one that was not used for longest goes; one below it nothing does', () => {
    const cache = new PictureCache(3);
    for (const prompt of ['1', '2', '3']) cache.remember(key({ prompt }), `/${prompt}`);
    expect([cache.size, cache.counts.evicted]).toEqual([3, 0]);
    cache.find(key({ prompt: '1' }));
    cache.remember(key({ prompt: '4' }), '/4');
    const found = ['1', '2', '3', '4'].map((prompt) => cache.find(key({ prompt })));
    expect(found).toEqual(['/1', undefined, '/3', '/4']);
    expect([cache.size, cache.counts.evicted]).toEqual([3, 1]);
    cache.remember(key({ prompt: '4' }), '/new');
    expect([cache.size, cache.counts.evicted, cache.find(key({ prompt: '4' }))]).toEqual([3, 1, '/new']);
  });

  test('1,000 by default', () => {
    const cache = new PictureCache();
    for (let i = 0; i <= maxRememberedPictures; i += 1) cache.remember(key({ prompt: String(i) }), `/${i}`);
    expect([maxRememberedPictures, cache.size]).toEqual([1000, 1000]);
    expect([cache.find(key({ prompt: '0' })), cache.find(key({ prompt: '1' }))]).toEqual([undefined, '/1']);
  });
});
