import { describe, expect, it } from 'vitest';
import { buildExport, maxChapterBytes } from '../../../src/server/export/build.ts';
import type { Transcript } from '../../../src/server/export/transcript.ts';
import { hashOfRest } from './hash.ts';
import { assetPath, at, message, pane, TestSource, transcript } from './source.ts';

async function exported(content: Transcript, assets: { [path: string]: string } = {}): Promise<string> {
  const source = new TestSource();
  source.sessions.set('c1', content);
  for (const [path, text] of Object.entries(assets)) source.assets.set(path, text);
  const made = await buildExport(source, 'c1', setImmediate);
  if ('refused' in made) throw new Error(made.refused.message);
  const text = made.bytes.toString();
  expect(text.split('\n').slice(0, 2)).toEqual(['---', `mullion: "sha256-${made.hash}"`]);
  expect(hashOfRest(text)).toBe(made.hash);
  return text.split('\n').slice(2).join('\n');
}

const picture = assetPath('c1', 'picture');

describe('the document', () => {
  it('[X1] has front matter, scene, messages and chapters', async () => {
    const chapter = assetPath('c1', 'chapter', 'md');
    const text = await exported(
      transcript(
        [
          message('m1', 'We set out.\n\nAt dawn.'),
          message('m2', 'The sea', { role: 'assistant', outcome: 'stopped', reason: 'user', generation: 1 }),
          message('m3', 'Storm', { role: 'assistant', outcome: 'failed', reason: 'timeout', rev: 2 }),
          message('m4', 'Calm', { role: 'assistant', outcome: 'complete', rev: 1 }),
          message('m5', '', { role: 'assistant', final: false }),
        ],
        {
          history: pane({ text: 'They "left".', engine: 'e', asOf: 'm4' }),
          scene: { ...pane({ description: 'A [grey] sea', image: picture, engine: 'e', asOf: 'm1' }), fresh: false },
          chapters: pane(null, {
            c10: { title: 'Last', asset: '', chars: 1, excerpt: 'It begins', partial: true },
            c2: { title: 'First', asset: chapter, chars: 9, excerpt: 'One', partial: false },
          }),
        },
      ),
      { [chapter]: 'One\n# two' },
    );
    expect(text).toBe(`session: "c1"
seq: 9
generation: 2
transcript: 8
at: "${at}"
messages: 5
leftOut: 0
history:
  summary: "They \\"left\\"."
  engine: "e"
  asOf: "m4"
  generation: 1
  covers: 7
  fresh: true
  phase: "updated"
scene:
  description: "A [grey] sea"
  image: "${picture}"
  engine: "e"
  asOf: "m1"
  generation: 1
  covers: 7
  fresh: false
  phase: "updated"
---

# c1

## Scene

![A \\[grey\\] sea](${picture})

## Messages

### user · ${at} · generation 1 · m1

> We set out.
>
> At dawn.

### assistant · ${at} · generation 1 · m2 · stopped (user)

> The sea

### assistant · ${at} · generation 1 · m3 · failed (timeout) · edited 2 times

> Storm

### assistant · ${at} · generation 1 · m4 · edited

> Calm

### assistant · ${at} · generation 1 · m5 · being written

>

## Chapters

### 1. First

> One
> # two

### 2. Last · unfinished

<!-- only the beginning: the text of this chapter cannot be had, or is too long -->

> It begins
`);
  });

  it('[X1] an illustration takes the place of its tag, in the revision that it is of', async () => {
    const text = 'A fox <img prompt="fox"> and an owl [owl].';
    const part = (tag: string, more: object = {}) => ({
      message: 'm1',
      rev: 1,
      offset: text.indexOf(tag),
      length: tag.length,
      prompt: `the ${tag}`,
      asset: picture,
      status: 'ok',
      ...more,
    });
    const fox = '<img prompt="fox">';
    const line = async (parts: { [key: string]: object | string }) =>
      (
        await exported(
          transcript([message('m1', text, { rev: 1 })], {
            illustrations: pane(null, JSON.parse(JSON.stringify(parts))),
          }),
        )
      )
        .split('\n')
        .find((candidate) => candidate.startsWith('> '));
    const foxPicture = `![the \\<img prompt="fox"\\>](${picture})`;
    expect(await line({ a: part('[owl]'), b: part(fox) })).toBe(
      `> A fox ${foxPicture} and an owl ![the \\[owl\\]](${picture}).`,
    );
    const plain = '> A fox &lt;img prompt="fox"> and an owl [owl].';
    expect(await line({ a: part(fox, { rev: 0 }), b: part(fox, { rev: 2 }) })).toBe(plain);
    expect(await line({ a: part(fox, { asset: 'javascript:alert(1)' }), b: part(fox, { asset: null }) })).toBe(plain);
    expect(await line({ a: part(fox, { asset: assetPath('c2', 'x') }) })).toBe(plain);
    expect(await line({ a: part(fox, { offset: text.length - 1, length: 2 }), b: part(fox, { offset: -1 }) })).toBe(
      plain,
    );
    expect(await line({ a: part(fox, { offset: 0.5 }), b: part(fox, { message: 'm2' }), c: 'text', d: ['x'] })).toBe(
      plain,
    );
    // The one that begins first stays.
    expect(await line({ a: part(fox), b: part('prompt') })).toBe(`> A fox ${foxPicture} and an owl [owl].`);
    expect(await line({ a: part(fox, { length: 0 }) })).toBe(plain.replace('&lt;', `${foxPicture}&lt;`));
  });

  it('[X2] no text of anybody can begin a line, a heading, a comment or HTML of the document', async () => {
    const forged = [
      '# c1',
      '---',
      'mullion: "sha256-0"',
      '### user · now',
      '<!-- hidden',
      '<script>alert(1)</script>',
      '</blockquote><h2>forged</h2>',
      '<![CDATA[',
      '<?php',
      '\\<b>',
      'a\r# carriage',
      'b\r\n# both',
      '```',
      '<i>in code</i>',
      'x < y, a<1',
      '\u001b[31mred\u0000',
      '',
    ].join('\n');
    const chapter = assetPath('c1', 'chapter', 'md');
    const text = await exported(
      transcript([message('m1', forged, { outcome: 'failed', reason: 'a\n# b' }), message('m2', 'end')], {
        history: pane({ text: forged, engine: forged, asOf: '' }),
        scene: pane({ description: forged, image: picture, engine: '', asOf: '' }),
        illustrations: pane(null, {
          a: { message: 'm2', rev: 0, offset: 0, length: 3, prompt: `${forged}](x) <b>`, asset: picture, status: 'ok' },
        }),
        chapters: pane(null, { c1: { title: forged, asset: chapter, chars: 1, excerpt: '', partial: false } }),
      }),
      { [chapter]: forged },
    );
    const [front = '', ...rest] = text.split('\n---\n');
    expect(front.split('\n').every((line) => /^ {0,2}[a-zA-Z]+:(?: ("(?:[^"\\]|\\.)*"|[\w-]+))?$/.test(line))).toBe(
      true,
    );
    expect(rest).toHaveLength(1);
    const body = (rest[0] ?? '').split('\n');
    const own = body.filter((line) => line !== '' && !line.startsWith('>'));
    expect(own.map((line) => line.slice(0, 12))).toEqual([
      '# c1',
      '## Scene',
      '![\\# c1 --- ',
      '## Messages',
      '### user · 2',
      '### user · 2',
      '## Chapters',
      '### 1. \\# c1',
    ]);
    // No HTML begins anywhere, and nothing that a terminal obeys is left.
    expect(body.join('\n').replaceAll(/\\</g, '')).not.toMatch(/<[A-Za-z/!?]/);
    // oxlint-disable-next-line no-control-regex -- these must not be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(body).toContain('> \\&lt;b>');
    expect(body).toContain('> x < y, a<1');
    expect(body).toContain('> # both');
  });

  it('[X4] the same state gives the same bytes, another one others', async () => {
    const state = () => transcript([message('m1', 'one')], { history: pane({ text: 't', engine: '', asOf: 'm1' }) });
    expect(await exported(state())).toBe(await exported(state()));
    expect(await exported({ ...state(), leftOut: 3 })).toContain('<!-- 3 earlier messages are left out');
  });

  it('[X4] chapters together have a bound; one that is over it is shown by its beginning', async () => {
    const [a, b, c] = [1, 2, 3].map((n) => assetPath('c1', String(n), 'md'));
    if (a === undefined || b === undefined || c === undefined) throw new Error('three paths');
    const value = (asset: string) => ({ title: 't', asset, chars: 1, excerpt: `begins ${asset}`, partial: false });
    const chapters = pane(null, { c1: value(a), c2: value(b), c3: value(c) });
    const texts = { [a]: 'a'.repeat(maxChapterBytes - 5), [b]: 'bbbbbb', [c]: 'ccccc' };
    const text = await exported(transcript([], { chapters }), texts);
    expect(text).toContain(`\n> begins ${b}\n`);
    expect(text).not.toContain('bbbbbb');
    expect(text).toContain('\n> ccccc\n');
    expect(text).toContain(`\n> ${'a'.repeat(100)}`);
  });
});
