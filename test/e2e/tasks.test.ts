import { describe, expect, test } from 'vitest';
import type { LiveFrame, LiveTask } from '../../src/protocol/frames.ts';
import type { Rec } from '../../src/protocol/records.ts';
import { cases } from '../support/hostile-cases.ts';
import { sse, type SentEvent } from './events.ts';
import { a1111, comfyui, jobTaken, openaiImages, slowPicture } from './image-backends.ts';
import { assetOf, expectEnded, expectWhole, follow, partOf, scripted, type Wire } from './support.ts';

const lamp = 'a brass lamp 🪔 in fog';
const door = 'a "red" door';
/** Three tags: two equal ones, and the last one is the end of the message. */
const story = [
  'The lamp burns. 🪔 ',
  `<!--img-prompt="${lamp}"-->`,
  ' Somebody knocks. ',
  `<img-prompt="${door.replaceAll('"', String.raw`\"`)}">`,
  ' Nobody comes. ',
  `<img_prompt="${lamp}">`,
];
const text = story.join('');
const offsets = [1, 3, 5].map((index) => story.slice(0, index).join('').length);
const key = (index: number): string => `tale.0.${offsets[index]}`;

/** Panes that have nothing to say here are off. */
const quietPanes = { reply: { enabled: false }, history: { enabled: false }, scene: { enabled: false } };
const illustrated = { panes: { ...quietPanes, illustrations: { enabled: true } } };

describe.each([
  ['AUTOMATIC1111', () => a1111()],
  ['ComfyUI', () => comfyui(4)],
] as const)('%s', (_, backend) => {
  test('three tags of a message in pieces: run, tasks and pictures come while it streams, once each [T23] [T24] [T25] [T28]', async () => {
    const { fake, image } = await backend();
    const steps = { ...slowPicture, steps: image['engine'] === 'comfyui' ? 120 : 3 };
    fake.script(lamp, steps);
    fake.script(door, steps);
    const { serve: up } = await scripted({ image, ...illustrated });
    const server = await up();
    const wire = await follow(server, 's', { create: true });
    const events = `${server.url}/v1/sessions/s/events`;
    const heard = sse(events, {}, (all) => all.some(({ data }) => isEnd(data)));
    const add = { type: 'message.add', role: 'assistant', text: '', message: 'tale', final: false } as const;
    await wire.ack(add);

    const firstEnds = (offsets[0] ?? 0) + (story[1]?.length ?? 0);
    const pieces = stream(wire, 0, firstEnds);
    expect(pieces.some((piece, index) => index > 10 && /[\ud800-\udbff]$/.test(piece))).toBe(true);
    const began = await wire.phase('illustrations', 'imaging');
    expect(began.tasks).toMatchObject([{ id: key(0), key: key(0), label: lamp, input: { prompt: lamp } }]);
    const previewed = await wire.frame((frame) => tasksOf(frame).some(({ preview }) => preview !== undefined));
    const [path] = tasksOf(previewed).flatMap(({ preview }) => preview ?? []);
    const preview = await fetch(`${server.url}${path}`);
    expect(preview.status).toBe(200);
    expect(preview.headers.get('content-type')).toMatch(/^image\/(?:gif|webp)$/);
    expect(wire.current.messages).toMatchObject([{ id: 'tale', final: false }]);

    stream(wire, firstEnds, text.length - 1);
    await wire.view((view) => view.panes['illustrations']?.counts?.total === 2);
    const late = await follow(server, 's');
    expect(late.current.panes['illustrations']?.counts).toMatchObject({ total: 2, failed: 0 });
    // The last character of the text is the end of the third tag.
    wire.send({ type: 'message.delta', session: 's', message: 'tale', at: text.length - 1, text: '>', end: true });
    const view = await wire.view(({ panes }) => panes['illustrations']?.phase === 'updated');

    const tasks = Object.values(view.panes['illustrations']?.tasks ?? {});
    expect(tasks.map(({ id, status, attempt }) => [id, status, attempt])).toEqual(
      [0, 1, 2].map((index) => [key(index), 'succeeded', 1]),
    );
    expect(view.messages).toMatchObject([{ id: 'tale', text, final: true }]);
    for (const [index, prompt] of [lamp, door, lamp].entries()) {
      const { value, version } = partOf(view, 'illustrations', key(index));
      const length = story[1 + 2 * index]?.length;
      expect(value).toMatchObject({ message: 'tale', offset: offsets[index], length, prompt, status: 'ready' });
      expect(version).toBe(1);
      await assetOf(server, value);
    }
    expect(recordsOf(wire, 'pane.content')).toHaveLength(3);
    expect(view.panes['illustrations']?.counts).toEqual({ total: 3, done: 3, ok: 3, failed: 0, pending: 0 });
    expectCounts(wire);
    expectPaced(wire);
    expectWhole(wire);
    expectEnded(wire);

    await late.view((seen) => seen.seq === view.seq);
    expect(late.current).toEqual(view);
    expect(late.seen.violations).toEqual([]);
    const same = recordsIn(await heard);
    expect(same.length).toBeGreaterThan(5);
    expect(same).toEqual(wire.seen.records.slice(-same.length));
  }, 20_000);
});

test('a late subscriber hears at once how far each picture is, and of which attempt [T23]', async () => {
  const { fake, image } = await comfyui();
  fake.script(lamp, slowPicture);
  const { serve: up } = await scripted({ image, ...illustrated });
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  const taken = jobTaken(fake);
  await wire.ack({ type: 'message.add', role: 'assistant', text: story.slice(0, 2).join(''), message: 'tale' });
  await wire.phase('illustrations', 'imaging');
  await taken;
  fake.step(2);
  await wire.frame((frame) => tasksOf(frame).some(({ progress }) => progress?.value === 2));
  const late = await follow(server, 's');
  const live = await late.frame((frame) => frame.type === 'live');
  expect(tasksOf(live)).toEqual([
    expect.objectContaining({ attempt: 1, stage: 'imaging', progress: { value: 2, max: 4, unit: 'step' } }),
  ]);
  fake.step(3);
  await late.view(({ panes }) => panes['illustrations']?.phase === 'updated');
  await wire.quiet();
  expect(late.current).toEqual(wire.current);
});

test('the reply pane writes tags: pictures come, and no model ever reads markup [T23] [T67]', async () => {
  const { model, serve: up } = await scripted({
    panes: { history: { debounceMs: 5 }, scene: { debounceMs: 5 }, illustrations: { enabled: true } },
  });
  model.script('reply', cases.stream(text.match(/[\s\S]{1,3}/gu) ?? []), cases.stream(['Yes.']));
  const wire = await follow(await up(), 's', { create: true });
  await wire.say('Light the lamp.');
  const first = await wire.quiet(1);
  const reply = first.messages.at(-1);
  expect(reply).toMatchObject({ text, final: true, outcome: 'complete' });
  expect(first.panes['illustrations']).toMatchObject({ phase: 'updated', counts: { total: 3, ok: 3 } });
  for (const offset of offsets)
    expect(partOf(first, 'illustrations', `${reply?.id}.0.${offset}`).value).toMatchObject({ status: 'ready' });
  await wire.say('And then? <img-prompt="from the user">');
  await wire.ack({
    type: 'pane.run',
    pane: 'chapters',
    input: { chapters: [{ id: 'one', title: 'One', brief: 'The lamp. <img-prompt="in the brief">' }], edit: true },
  });
  await wire.quiet(2);
  const needs = [
    'reply',
    'evaluate-history',
    'evaluate-scene',
    'summarize',
    'describe',
    'outline',
    'draft',
    'edit',
  ] as const;
  for (const need of needs) {
    expect(model.asked(need), need).not.toHaveLength(0);
    for (const { body } of model.asked(need)) expect(body).not.toMatch(/img[-_]prompt|in the brief|from the user/);
  }
  expect(model.asked('reply').at(-1)?.body).toContain('Somebody knocks.');
  const drawn = model.asked('image').map(({ json }) => JSON.stringify(json));
  expect(drawn.filter((body) => body.includes('brass lamp')).length).toBeGreaterThan(0);
  expectWhole(wire);
  expectEnded(wire);
});

test('a pattern of the configuration: pictures come from it, and no model ever reads what it has matched [T26] [T67]', async () => {
  const illustrations = { enabled: true, patterns: [String.raw`\[\[draw ([^\]]+)\]\]`] };
  const { model, serve: up } = await scripted({
    panes: { history: { debounceMs: 5 }, scene: { enabled: false }, illustrations },
  });
  model.script('reply', cases.stream(['The lamp [[dr', `aw ${lamp}]`, '] burns.']), cases.stream(['Yes.']));
  const wire = await follow(await up(), 's', { create: true });
  await wire.say('Light the lamp.');
  const view = await wire.quiet(1);
  expect(partOf(view, 'illustrations', `${view.messages.at(-1)?.id}.0.9`).value).toMatchObject({ prompt: lamp });
  await wire.say('And then?');
  await wire.quiet(2);
  for (const need of ['reply', 'evaluate-history', 'summarize'] as const) {
    expect(model.asked(need), need).toHaveLength(2);
    for (const { body } of model.asked(need)) expect(body).not.toMatch(/draw|brass lamp/);
  }
  expect(model.asked('reply').at(-1)?.body).toContain('The lamp');
});

test('more messages than runs may stand in line: the last run takes the rest, and no picture is lost [T23]', async () => {
  const { serve: up } = await scripted({ ...illustrated });
  const wire = await follow(await up(), 's', { create: true });
  await wire.ack({ type: 'pane.pause', pane: 'illustrations' });
  const messages = Array.from({ length: 16 }, (_, index) => `m${index}`);
  for (const message of messages)
    await wire.ack({ type: 'message.add', role: 'assistant', text: `<img-prompt="for ${message}">`, message });
  expect(wire.current.panes['illustrations']).toMatchObject({ phase: 'paused', counts: { total: 1, pending: 1 } });
  expect(wire.current.panes['illustrations']?.queued).toHaveLength(12);
  await wire.ack({ type: 'pane.resume', pane: 'illustrations' });
  const view = await wire.quiet();
  expect(new Set(Object.keys(view.panes['illustrations']?.parts ?? {}))).toEqual(
    new Set(messages.map((message) => `${message}.0.0`)),
  );
  expectWhole(wire);
  expectEnded(wire);
});

test('one picture of three fails: the run is updated, the failed one keeps prompt and retry, by id and by key [T37]', async () => {
  const { fake, image } = await openaiImages();
  const panes = { ...quietPanes, illustrations: { enabled: true, retries: 1 } };
  const fault = { do: 'error', status: 500 } as const;
  fake.script(door, fault, fault, { do: 'draw' });
  fake.script('the sea', fault, fault, { do: 'draw' });
  const { serve: up } = await scripted({ image, panes });
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  await wire.ack({ type: 'message.add', role: 'assistant', text, message: 'tale' });
  const first = await wire.view(({ panes: { illustrations } }) => illustrations?.phase === 'updated');
  const { counts, tasks, run: oldRun } = first.panes['illustrations'] ?? {};
  expect(counts).toEqual({ total: 3, done: 3, ok: 2, failed: 1, pending: 0 });
  expect(tasks?.[key(1)]).toMatchObject({ status: 'failed', error: { code: 'provider' } });
  expect(partOf(first, 'illustrations', key(1)).value).toMatchObject({ status: 'failed', prompt: door });

  const { run } = await wire.ack({ type: 'task.retry', pane: 'illustrations', task: key(1) });
  expect(run).not.toBe(oldRun);
  const again = await wire.record((record) => record.type === 'pane.phase' && record.run === run);
  expect(again).toMatchObject({ phase: 'imaging', of: oldRun, tasks: [{ id: key(1) }] });
  const second = await wire.view(({ panes: { illustrations } }) => isOver(illustrations, run));
  expect(partOf(second, 'illustrations', key(1))).toMatchObject({
    version: 2,
    run,
    value: { status: 'ready', prompt: door, offset: offsets[1] },
  });
  expect(second.panes['illustrations']?.counts).toEqual({ total: 1, done: 1, ok: 1, failed: 0, pending: 0 });
  expect(partOf(second, 'illustrations', key(0)).version).toBe(1);

  // A failed part of an older run, after a newer one has begun and ended.
  const failing = { type: 'message.add', role: 'assistant', text: '<img-prompt="the sea">', message: 'sea' } as const;
  await wire.ack(failing);
  const third = await wire.view(({ panes: { illustrations } }) => illustrations?.parts['sea.0.0'] !== undefined);
  await wire.quiet();
  const { run: seaRun } = partOf(third, 'illustrations', 'sea.0.0');
  expect(wire.current.panes['illustrations']).toMatchObject({ phase: 'error', run: seaRun });
  await wire.ack({ type: 'message.add', role: 'assistant', text: '<img-prompt="a shell">', message: 'shell' });
  await wire.view(({ panes: { illustrations } }) => illustrations?.parts['shell.0.0'] !== undefined);
  const shell = await wire.quiet();
  expect(shell.panes['illustrations']?.tasks).not.toHaveProperty('sea.0.0');
  const { run: last } = await wire.ack({ type: 'task.retry', pane: 'illustrations', task: 'sea.0.0' });
  const end = await wire.view(({ panes: { illustrations } }) => isOver(illustrations, last));
  expect(partOf(end, 'illustrations', 'sea.0.0')).toMatchObject({ version: 2, value: { status: 'ready' } });
  expect(await wire.command({ type: 'task.retry', pane: 'illustrations', task: 'sea.0.0' })).toMatchObject({
    error: { code: 'CONFLICT' },
  });
  expectWhole(wire);
  expectEnded(wire);
});

/** Sends the text from one place to another in pieces of 1 to 3 UTF-16 units; returns these. */
function stream(wire: Wire, from: number, to: number): string[] {
  const pieces: string[] = [];
  for (let at = from, size = 1; at < to; at += size, size = (size % 3) + 1) {
    const piece = text.slice(at, Math.min(to, at + size));
    wire.send({ type: 'message.delta', session: 's', message: 'tale', at, text: piece });
    pieces.push(piece);
  }
  return pieces;
}

const tasksOf = (frame: { type: string } | LiveFrame): LiveTask[] =>
  'tasks' in frame && frame.type === 'live' ? Object.values(frame.tasks ?? {}) : [];

function isOver(pane: { phase: string; run: string | null } | undefined, run: string | undefined): boolean {
  return pane?.run === run && pane?.phase === 'updated';
}

function recordsOf(wire: Wire, type: Rec['type']): Rec[] {
  return wire.seen.records.filter((record) => record.type === type);
}

/** The total is right from the first record on; nothing of the counts goes back. */
function expectCounts(wire: Wire): void {
  const tasks = new Map<string, string>();
  let done = 0;
  for (const record of wire.seen.records) {
    const changes =
      record.type === 'pane.phase' || record.type === 'tasks'
        ? (record.tasks ?? [])
        : record.type === 'pane.content' && record.task !== undefined
          ? [record.task]
          : [];
    for (const { id, status } of changes) if (typeof status === 'string') tasks.set(id, status);
    const now = [...tasks.values()].filter((status) => status === 'succeeded').length;
    expect(now).toBeGreaterThanOrEqual(done);
    done = now;
  }
  expect(done).toBe(3);
}

/** At most ten live frames a second, over any ten of them; the wire may be late with one, never early. */
function expectPaced(wire: Wire): void {
  const times = wire.arrivals.filter((_, index) => {
    const frame = wire.frames[index];
    return frame?.type === 'live' && frame.pane === 'illustrations';
  });
  expect(times.length).toBeGreaterThan(3);
  const elapsedMs = (times.at(-1) ?? 0) - (times[0] ?? 0);
  expect(times.length - 1).toBeLessThanOrEqual(elapsedMs / 100 + 1);
}

function isEnd(data: string): boolean {
  return data.includes('"phase":"updated"') && data.includes('"type":"record"');
}

function recordsIn(events: readonly SentEvent[]): Rec[] {
  return events.flatMap(({ event, data }) => {
    if (event !== 'record') return [];
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- frames of the server under test
    return [(JSON.parse(data) as { record: Rec }).record];
  });
}
