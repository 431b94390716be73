import { expect, test } from 'vitest';
import { cases } from '../support/hostile-cases.ts';
import { expectWhole, follow, imageOf, folder, scripted, serve } from './support.ts';

const story = 'Ines reaches the glasshouse in the snow.';

test('kill -9 in mid-reply with recorded text: it ends failed, the text stays, the panes follow [P4] [P5]', async () => {
  const { model, serve: up } = await scripted();
  model.script('reply', cases.stall('The door ', 'opens'));
  const first = await up();
  const before = await follow(first, 's', { create: true });
  const { run } = await before.say(story);
  await before.record((record) => record.type === 'message.text');
  await first.end('SIGKILL');
  await before.closed;

  const after = await follow(await up(), 's', { seen: before.seen });
  const view = await after.quiet(1);
  expect(view.messages.at(-1)).toMatchObject({ text: 'The door opens', outcome: 'failed', final: true });
  expect(view.panes['reply']).toMatchObject({ run, phase: 'error', error: { code: 'interrupted' } });
  expect(view.panes['history']).toMatchObject({ phase: 'updated', fresh: true });
  expect(model.asked('reply')).toHaveLength(1);
  expectWhole(after);
});

test('kill -9 in mid-reply before any text: same run, attempt 2, answered once [P1]', async () => {
  const { model, serve: up } = await scripted();
  model.script('reply', cases.headersThenSilence, cases.stream(['Come in.']));
  const first = await up();
  const before = await follow(first, 's', { create: true });
  const { run } = await before.say(story);
  await model.next('reply');
  await before.phase('reply', 'streaming');
  await first.end('SIGKILL');

  const after = await follow(await up(), 's', { seen: before.seen });
  const view = await after.quiet(1);
  expect(view.panes['reply']).toMatchObject({ run, phase: 'updated', attempt: 2 });
  expect(view.messages.map(({ text }) => text)).toEqual([story, 'Come in.']);
  expectWhole(after);
});

test('kill -9 in mid-summary: same run, attempt 2 from the summary, without a second evaluation [P4] [P6]', async () => {
  const { model, serve: up } = await scripted();
  model.script('summarize', cases.silence, cases.stream(['A summary.']));
  const first = await up();
  const before = await follow(first, 's', { create: true });
  await before.say(story);
  const { run } = await before.phase('history', 'summarizing');
  await model.next('summarize');
  await first.end('SIGKILL');

  const after = await follow(await up(), 's', { seen: before.seen });
  const view = await after.quiet(1);
  expect(view.panes['history']).toMatchObject({ run, phase: 'updated', attempt: 2, content: { text: 'A summary.' } });
  expect(model.asked('evaluate-history')).toHaveLength(1);
  expectWhole(after);
});

test('kill -9 in mid-image: the picture is drawn from the recorded description [P4]', async () => {
  const { model, serve: up } = await scripted();
  model.script('image', cases.silence, cases.imageB64());
  const first = await up();
  const before = await follow(first, 's', { create: true });
  await before.say(story);
  const { run } = await before.phase('scene', 'imaging');
  await model.next('image');
  await first.end('SIGKILL');

  const server = await up();
  const after = await follow(server, 's', { seen: before.seen });
  const view = await after.quiet(1);
  expect(view.panes['scene']).toMatchObject({
    run,
    phase: 'updated',
    attempt: 2,
    content: { description: 'A glasshouse in the snow at night.' },
  });
  expect(model.asked('describe')).toHaveLength(1);
  expect((await fetch(server.url + imageOf(view))).status).toBe(200);
  expectWhole(after);
});

test('the third recovery of the same run ends in error interrupted: it may be what kills the process', async () => {
  const { model, serve: up } = await scripted();
  model.script('summarize', cases.silence);
  let server = await up();
  let wire = await follow(server, 's', { create: true });
  await wire.say(story);
  const { run } = await wire.phase('history', 'summarizing');
  for (const attempt of [2, 3]) {
    await model.next('summarize');
    await server.end('SIGKILL');
    server = await up();
    wire = await follow(server, 's', { seen: wire.seen });
    await wire.phase('history', 'summarizing', attempt);
  }
  await model.next('summarize');
  await server.end('SIGKILL');
  wire = await follow(await up(), 's', { seen: wire.seen });
  const ended = await wire.phase('history', 'error');
  expect(ended).toMatchObject({ run, error: { code: 'interrupted' } });
  expect(model.asked('summarize')).toHaveLength(3);
  expectWhole(wire);
});

test('kill -9 while a run waits, debounces or is paused: the same run goes on, attempt 1', async () => {
  const { model, serve: up } = await scripted({
    panes: { history: { debounceMs: 60_000, debounceMaxMs: 60_000 }, scene: { debounceMs: 5 }, reply: { retries: 0 } },
  });
  model.script('reply', cases.headersThenSilence, cases.stream(['Yes.']));
  const first = await up();
  const before = await follow(first, 's', { create: true });
  await before.ack({ type: 'pane.pause', pane: 'scene' });
  await before.say(story);
  const scene = await before.phase('scene', 'paused');
  const waiting = await before.phase('history', 'waiting');
  await model.next('reply');
  await first.end('SIGKILL');

  const after = await follow(await up(), 's', { seen: before.seen });
  const debouncing = await after.phase('history', 'debouncing');
  expect(debouncing).toMatchObject({ run: waiting.run, attempt: 1 });
  expect(after.current.panes['scene']).toMatchObject({ run: scene.run, phase: 'paused', paused: true });
  expect(model.asked('evaluate-scene')).toHaveLength(0);
  await after.ack({ type: 'pane.resume', pane: 'scene' });
  expect(await after.phase('scene', 'updated')).toMatchObject({ run: scene.run });
  expectWhole(after);
});

test('after a restart the same command id answers duplicate:true, another body CONFLICT [P4]', async () => {
  const data = folder();
  const first = await serve({ data });
  const before = await follow(first, 's', { create: true });
  const say = { type: 'message.add', role: 'user', text: story, reply: false } as const;
  const acked = await before.ack({ ...say, id: 'k1' });
  await first.end('SIGKILL');

  const after = await follow(await serve({ data }), 's', { seen: before.seen });
  expect(await after.command({ ...say, id: 'k1' })).toEqual({ ...acked, duplicate: true });
  expect(await after.command({ ...say, text: 'Other', id: 'k1' })).toMatchObject({ error: { code: 'CONFLICT' } });
  expect(after.current.messages).toHaveLength(1);
  expectWhole(after);
});

test("an app's open message goes on after a kill -9, from the durable length", async () => {
  const data = folder();
  const first = await serve({ data });
  const before = await follow(first, 's', { create: true });
  await before.ack({ type: 'message.add', role: 'assistant', text: '', message: 'm1', final: false });
  expect(await before.ack({ type: 'message.delta', message: 'm1', at: 0, text: 'Half ' })).toMatchObject({ at: 5 });
  await first.end('SIGKILL');

  const after = await follow(await serve({ data }), 's', { seen: before.seen });
  expect(await after.command({ type: 'message.delta', message: 'm1', at: 9, text: 'x' })).toMatchObject({
    error: { code: 'CONFLICT', data: { message: 'm1', at: 5 } },
  });
  await after.ack({ type: 'message.delta', message: 'm1', at: 3, text: 'f the text', end: true });
  const view = await after.view(({ messages }) => messages.at(-1)?.final === true);
  expect(view.messages.at(-1)).toMatchObject({ text: 'Half the text', outcome: 'complete' });
  expectWhole(after);
});
