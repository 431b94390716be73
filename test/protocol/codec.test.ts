import { describe, expect, it, test } from 'vitest';
import { canonicalJson } from '../../src/protocol/canonical.ts';
import { decodeClientFrame, decodeCommandBody } from '../../src/protocol/codec.ts';
import { limits } from '../../src/protocol/names.ts';

const base = { id: 'k1', session: 's1' };

/** `{"type":"pane.run",…,"input":…}` whose deepest value lies on the given level. */
function nested(levels: number): string {
  // The frame is level 1, `input` level 2.
  const inner = levels - 2;
  return `{"type":"pane.run","pane":"scene","id":"k1","session":"s1","input":{"a":${'['.repeat(inner)}${']'.repeat(inner)}}}`;
}

/** A frame with the given number of keys and array elements. */
function wide(keys: number): string {
  // type, id, session, pane, input, a = 6
  const list = Array.from({ length: keys - 6 }, () => '1').join(',');
  return `{"type":"pane.run","id":"k1","session":"s1","pane":"scene","input":{"a":[${list}]}}`;
}

describe('every message of the protocol is accepted', () => {
  const accepted: [string, object][] = [
    ['init', { type: 'init' }],
    ['init with token', { type: 'init', token: 't', client: 'web/1' }],
    ['subscribe', { type: 'subscribe', ...base }],
    ['subscribe with cursor', { type: 'subscribe', ...base, cursor: 'e1:4' }],
    ['unsubscribe', { type: 'unsubscribe', ...base }],
    ['ping', { type: 'ping' }],
    ['ping with t', { type: 'ping', t: 1.5 }],
    ['session.open', { type: 'session.open', ...base, panes: { scene: { debounceMs: 0, policy: 'latest' } } }],
    ['session.close', { type: 'session.close', ...base, ifGeneration: 3 }],
    ['session.delete', { type: 'session.delete', ...base }],
    ['message.add', { type: 'message.add', ...base, role: 'user', text: '' }],
    [
      'message.add, all fields',
      { type: 'message.add', ...base, role: 'system', text: 'x', message: 'm-1', final: false, reply: true },
    ],
    ['message.delta', { type: 'message.delta', ...base, message: 'm1', at: 0, text: 'a' }],
    [
      'message.delta without id',
      { type: 'message.delta', session: 's1', message: 'm1', at: 3, text: '', end: true, outcome: 'stopped' },
    ],
    ['message.edit', { type: 'message.edit', ...base, message: 'm1', text: 'b' }],
    ['message.remove', { type: 'message.remove', ...base, message: 'm1' }],
    ['pane.run', { type: 'pane.run', ...base, pane: 'scene', input: { a: [1, null, { b: 'c' }] } }],
    ['pane.cancel', { type: 'pane.cancel', ...base }],
    ['pane.cancel of a run', { type: 'pane.cancel', ...base, pane: 'scene', run: 'r1' }],
    ['pane.pause', { type: 'pane.pause', ...base, pane: 'scene' }],
    ['pane.resume', { type: 'pane.resume', ...base, pane: 'scene', input: {} }],
    ['task.cancel', { type: 'task.cancel', ...base, pane: 'illustrations', task: 't1' }],
    ['task.retry', { type: 'task.retry', ...base, pane: 'illustrations', task: 't1' }],
    ['task.prioritize', { type: 'task.prioritize', ...base, pane: 'illustrations', task: 't1' }],
  ];
  test.each(accepted)('%s', (_, frame) => {
    const decoded = decodeClientFrame(JSON.stringify(frame));
    expect(decoded.kind === 'control' ? decoded.frame : decoded.kind === 'command' && decoded.command).toEqual(frame);
    expect(decodeClientFrame(Buffer.from(JSON.stringify(frame)))).toEqual(decoded);
  });
});

describe('what is not a JSON object closes 4400', () => {
  test.each([
    ['nothing', ''],
    ['spaces', ' \n'],
    ['half an object', '{"type":"ping"'],
    ['an open string', '{"type":"pi'],
    ['two objects', '{"type":"ping"}{"type":"ping"}'],
    ['an array', '[{"type":"ping"}]'],
    ['an array of 200,000 levels', '['.repeat(200_000)],
    ['null', 'null'],
    ['a string', '"ping"'],
    ['a bad escape in a key', String.raw`{"\x":1}`],
    ['a byte order mark', '\uFEFF{"type":"ping"}'],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
  ])('%s', (_, data) => {
    expect(decodeClientFrame(data)).toMatchObject({ kind: 'close', close: 'badFrame', error: { code: 'BAD_MESSAGE' } });
  });
});

describe('a refused message keeps the connection and is told which field, what was expected and what came', () => {
  const add = { type: 'message.add', ...base, role: 'user', text: 'x' };
  const refused: [string, unknown, RegExp][] = [
    ['no type', { id: 'k1' }, /"type".*nothing came/],
    ['type of another kind', { id: 'k1', type: 7 }, /"type".*expected a string/],
    ['unknown type', { id: 'k1', type: 'pane.explode' }, /"type".*"pane\.explode" came/],
    ['type of the object prototype', { id: 'k1', type: 'toString' }, /"type".*"toString" came/],
    ['unknown field', { ...add, colour: 'red' }, /unknown field "colour"/],
    [
      'unknown field of an option',
      { type: 'session.open', ...base, panes: { scene: { speed: 1 } } },
      /unknown field "panes\.scene\.speed"/,
    ],
    ['field is missing', { type: 'message.edit', ...base, message: 'm1' }, /"text": expected string, nothing came/],
    ['wrong kind', { ...add, text: 5 }, /"text": expected string, 5 came/],
    ['null', { ...add, text: null }, /"text": expected string, null came/],
    [
      'not one of the list',
      { ...add, role: 'bot' },
      /"role": expected one of "user", "assistant", "system", "bot" came/,
    ],
    ['bad session', { ...add, session: '../etc' }, /"session": .*1 to 64.*"\.\.\/etc" came/],
    ['session of 65', { ...add, session: 'a'.repeat(65) }, /"session".*65 characters came/],
    ['bad pane', { type: 'pane.run', ...base, pane: 'Scene' }, /"pane": .*lower-case.*"Scene" came/],
    ['bad pane name', { type: 'session.open', ...base, panes: { Scene: {} } }, /"panes\.Scene": expected a valid name/],
    [
      'negative offset',
      { type: 'message.delta', ...base, message: 'm', at: -1, text: '' },
      /"at": expected at least 0, -1 came/,
    ],
    ['fraction', { type: 'message.delta', ...base, message: 'm', at: 0.5, text: '' }, /"at": .*0\.5 came/],
  ];
  test.each(refused)('%s', (_, frame, message) => {
    const decoded = decodeClientFrame(JSON.stringify(frame));
    expect(decoded).toMatchObject({ kind: 'error', id: 'k1', error: { code: 'BAD_MESSAGE', retryable: false } });
    if (decoded.kind === 'error') expect(decoded.error.message).toMatch(message);
  });

  it('names no id when the message has no usable one', () => {
    for (const id of ['', 'x'.repeat(129), 5, null, undefined])
      expect(decodeClientFrame(JSON.stringify({ type: 'session.close', session: 's1', id }))).not.toHaveProperty('id');
  });

  it('repeats nothing of an init, which may hold a token', () => {
    for (const frame of [
      { type: 'init', token: 7_777_777 },
      { type: 'init', token: 'canary'.repeat(900) },
      { type: 'init', client: ['canary'] },
    ])
      expect(JSON.stringify(decodeClientFrame(JSON.stringify(frame)))).not.toMatch(/canary|7777777/);
  });
});

describe('limits, on both sides', () => {
  const idOf = (length: number) => JSON.stringify({ type: 'session.close', session: 's1', id: 'k'.repeat(length) });
  const textOf = (length: number) =>
    JSON.stringify({ type: 'message.add', ...base, role: 'user', text: 'x'.repeat(length) });

  it(`takes an id of ${limits.maxIdChars} characters, not one more`, () => {
    expect(decodeClientFrame(idOf(limits.maxIdChars)).kind).toBe('command');
    expect(decodeClientFrame(idOf(limits.maxIdChars + 1)).kind).toBe('error');
  });

  it(`takes a text of ${limits.maxTextUnits} units; one more is TOO_LARGE`, () => {
    expect(decodeClientFrame(textOf(limits.maxTextUnits)).kind).toBe('command');
    expect(decodeClientFrame(textOf(limits.maxTextUnits + 1))).toMatchObject({
      kind: 'error',
      id: 'k1',
      error: { code: 'TOO_LARGE' },
    });
  });

  it(`takes ${limits.maxDepth} levels, not one more`, () => {
    expect(decodeClientFrame(nested(limits.maxDepth)).kind).toBe('command');
    expect(decodeClientFrame(nested(limits.maxDepth + 1))).toMatchObject({
      kind: 'error',
      id: 'k1',
      error: { message: expect.stringMatching(/16 levels/) },
    });
  });

  it(`takes ${limits.maxKeys} keys and elements, not one more`, () => {
    expect(decodeClientFrame(wide(limits.maxKeys)).kind).toBe('command');
    expect(decodeClientFrame(wide(limits.maxKeys + 1))).toMatchObject({
      kind: 'error',
      id: 'k1',
      error: { message: expect.stringMatching(/1000 keys/) },
    });
  });

  it('counts bytes, not characters, up to the frame limit', () => {
    const frame = JSON.stringify({ type: 'message.add', ...base, role: 'user', text: 'é'.repeat(1000) });
    const bytes = Buffer.byteLength(frame);
    for (const data of [frame, Buffer.from(frame)]) {
      expect(decodeClientFrame(data, bytes).kind).toBe('command');
      expect(decodeClientFrame(data, bytes - 1)).toMatchObject({
        kind: 'close',
        close: 'tooBig',
        error: { code: 'TOO_LARGE' },
      });
    }
  });

  it('refuses 200,000 levels in linear time and without recursion, and still names the id', () => {
    const deep = `{"type":"pane.run","input":${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)},"id":"k1"}`;
    expect(decodeClientFrame(deep, 10_000_000)).toMatchObject({
      kind: 'error',
      id: 'k1',
      error: { code: 'BAD_MESSAGE' },
    });
    const strings = `{"type":"${String.raw`\"`.repeat(100_000)}","id":"k1"}`;
    expect(decodeClientFrame(strings, 10_000_000)).toMatchObject({ kind: 'error', id: 'k1' });
  });

  it('does not count brackets and colons inside strings', () => {
    const text = `${'[{'.repeat(2000)}\\":,${'"a":'.repeat(2000)}`;
    expect(decodeClientFrame(JSON.stringify({ type: 'message.add', ...base, role: 'user', text })).kind).toBe(
      'command',
    );
  });
});

describe('keys that reach prototypes are refused anywhere', () => {
  test.each([
    ['__proto__', '{"type":"pane.run","id":"k1","session":"s1","pane":"a","input":{"__proto__":{"x":1}}}'],
    ['__proto__ on top', '{"__proto__":{"type":"init"},"id":"k1"}'],
    [
      '__proto__ in an array',
      '{"type":"pane.run","id":"k1","session":"s1","pane":"a","input":{"l":[{"__proto__" : 1}]}}',
    ],
    [
      '__proto__ with escapes',
      String.raw`{"type":"pane.run","id":"k1","session":"s1","pane":"a","input":{"\u005f_proto_\u005f":1}}`,
    ],
    ['constructor as a pane', '{"type":"session.open","id":"k1","session":"s1","panes":{"constructor":{}}}'],
    ['prototype', '{"type":"pane.run","id":"k1","session":"s1","pane":"a","input":{"prototype":1}}'],
  ])('%s', (_, text) => {
    expect(decodeClientFrame(text)).toMatchObject({
      kind: 'error',
      id: 'k1',
      error: { message: expect.stringMatching(/is not allowed/) },
    });
  });

  it('takes them as values', () => {
    const frame = { type: 'message.add', ...base, role: 'user', text: '__proto__' };
    expect(decodeClientFrame(JSON.stringify(frame)).kind).toBe('command');
  });
});

describe('the body of an HTTP command', () => {
  const body = (fields: object) => JSON.stringify({ type: 'pane.pause', pane: 'scene', ...fields });
  const context = { session: 's1', key: undefined };

  it('takes session from the path and id from the header', () => {
    expect(decodeCommandBody(body({}), { session: 's1', key: 'k1' })).toMatchObject({ kind: 'command', command: base });
    expect(decodeCommandBody(body(base), { session: 's1', key: 'k1' }).kind).toBe('command');
    expect(decodeCommandBody(body({ id: 'k1' }), context).kind).toBe('command');
  });

  test.each([
    ['another id than the header', body({ id: 'k2' }), { session: 's1', key: 'k1' }, /Idempotency-Key/],
    ['another session than the path', body({ id: 'k1', session: 's2' }), context, /the path/],
    ['no id at all', body({}), context, /"id": expected string, nothing came/],
    ['an empty header', body({}), { session: 's1', key: '' }, /"id"/],
    ['a frame that is no command', '{"type":"subscribe","id":"k1"}', context, /"type"/],
    ['not JSON', 'x', context, /JSON object/],
    ['not UTF-8', Buffer.from([0xff]), context, /UTF-8/],
  ])('refuses %s', (_, data, given, message) => {
    const decoded = decodeCommandBody(data, given);
    expect(decoded).toMatchObject({
      kind: 'error',
      error: { code: 'BAD_MESSAGE', message: expect.stringMatching(message) },
    });
  });

  it('refuses more bytes than allowed as TOO_LARGE', () => {
    const data = body(base);
    expect(decodeCommandBody(data, { ...context, maxBytes: data.length }).kind).toBe('command');
    expect(decodeCommandBody(data, { ...context, maxBytes: data.length - 1 })).toMatchObject({
      error: { code: 'TOO_LARGE' },
    });
  });
});

describe('canonical JSON', () => {
  it('is the same for the same content in any order, and differs for any other', () => {
    const a = { type: 'pane.run', input: { b: [1, { d: null, c: 'x' }], a: 'é' }, id: 'k' };
    const b = { id: 'k', ifGeneration: undefined, input: { a: 'é', b: [1, { c: 'x', d: null }] }, type: 'pane.run' };
    expect(canonicalJson(a)).toBe(canonicalJson(b));
    expect(canonicalJson(a)).toBe('{"id":"k","input":{"a":"é","b":[1,{"c":"x","d":null}]},"type":"pane.run"}');
    expect(canonicalJson({ ...a, id: 'K' })).not.toBe(canonicalJson(a));
  });
});
