import { seed } from '../support/seed.ts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { serverEvents, type ServerEvent } from '../../src/adapters/sse-events.ts';

async function eventsOf(...chunks: Uint8Array[]): Promise<ServerEvent[]> {
  async function* body(): AsyncGenerator<Uint8Array> {
    yield* chunks;
  }
  const events: ServerEvent[] = [];
  for await (const event of serverEvents(body())) events.push(event);
  return events;
}

const cases: readonly [name: string, text: string, events: ServerEvent[]][] = [
  ['one line', 'data: a\n\n', [{ event: '', data: 'a' }]],
  ['several lines', 'data: a\ndata:b\ndata\n\n', [{ event: '', data: 'a\nb\n' }]],
  ['only one blank after the colon goes', 'data:  a: b\n\n', [{ event: '', data: ' a: b' }]],
  [
    'a name, for one event',
    'event: x\ndata: 1\n\ndata: 2\n\n',
    ['x', ''].map((event, i) => ({ event, data: `${i + 1}` })),
  ],
  ['comments, other fields and events without data are none', ': hi\n\nid: 3\nretry: 1\n\nevent: x\n\n', []],
  [
    'CR LF',
    'event: x\r\ndata: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n',
    [
      { event: 'x', data: 'a\nb' },
      { event: '', data: 'c' },
    ],
  ],
  [
    'CR',
    'data: a\rdata: b\r\rdata: c\r\r',
    [
      { event: '', data: 'a\nb' },
      { event: '', data: 'c' },
    ],
  ],
  [
    'a byte order mark and many bytes a character',
    '\uFEFFdata: \u{1F5FC}\u00E9\n\n',
    [{ event: '', data: '\u{1F5FC}\u00E9' }],
  ],
  ['an event that the body ends in is none', 'data: a\n\ndata: b\n', [{ event: '', data: 'a' }]],
  ['nothing', '', []],
];

describe('[D3] server-sent events', () => {
  test.each(cases)('%s', async (_, text, events) => {
    expect(await eventsOf(Buffer.from(text))).toEqual(events);
  });

  test('are the same however the bytes are cut', async () => {
    const text = fc.constantFrom(...cases.map(([, one]) => one));
    const cuts = fc.array(fc.nat(60), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fc.array(text, { maxLength: 3 }), cuts, async (texts, places) => {
        const bytes = Buffer.from(texts.join(''));
        const ends = [...new Set(places)].filter((at) => at < bytes.length).sort((a, b) => a - b);
        const chunks = [0, ...ends].map((from, index) => bytes.subarray(from, ends[index]));
        expect(await eventsOf(...chunks)).toEqual(await eventsOf(bytes));
        expect(await eventsOf(...Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(await eventsOf(bytes));
      }),
      { seed, numRuns: 150 },
    );
  });
});
