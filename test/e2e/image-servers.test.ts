import { expect, test } from 'vitest';
import { png } from '../support/hostile-cases.ts';
import { gif } from '../support/pictures.ts';
import { a1111, comfyui, jobTaken, openaiImages, slowPicture } from './image-backends.ts';
import {
  assetOf,
  cli,
  expectEnded,
  expectWhole,
  folder,
  follow,
  imageOf,
  partOf,
  scripted,
  writeConfig,
} from './support.ts';

const off = { reply: { enabled: false }, history: { enabled: false }, scene: { enabled: false } };
const panes = { ...off, illustrations: { enabled: true } };
const lamp = { type: 'message.add', role: 'assistant', text: '<img-prompt="a lamp">', message: 'tale' } as const;

test.each([
  ['is still at work on it', false],
  ['has finished it while we were away', true],
])('kill -9 while ComfyUI draws, which %s: the same job is picked up, never a second one [I21]', async (_, isDone) => {
  const { fake, image } = await comfyui();
  fake.script('a lamp', slowPicture);
  const { serve: up } = await scripted({ image, panes });
  const first = await up();
  const before = await follow(first, 's', { create: true });
  const taken = jobTaken(fake);
  await before.ack(lamp);
  await taken;
  fake.step(2);
  await before.frame((frame) => frame.type === 'live' && frame.tasks?.['tale.0.0']?.progress?.value === 2);
  const [job] = fake.jobs;
  await first.end('SIGKILL');
  if (isDone) fake.step(3);
  else fake.onRequest = ({ path }) => void (path.endsWith('/queue') && setImmediate(() => fake.step(3)));

  const after = await follow(await up(), 's', { seen: before.seen });
  const view = await after.view((seen) => seen.panes['illustrations']?.phase === 'updated');
  expect(fake.jobs.map(({ id, state }) => [id, state])).toEqual([[job?.id, 'ended']]);
  expect(fake.requests.filter(({ method, path }) => method === 'POST' && path.endsWith('/prompt'))).toHaveLength(1);
  expect(fake.interrupts).toEqual([]);
  expect(view.panes['illustrations']).toMatchObject({ attempt: 2, counts: { total: 1, ok: 1 } });
  expect(partOf(view, 'illustrations', 'tale.0.0').value).toMatchObject({ status: 'ready', cached: false });
  expectWhole(after);
  expectEnded(after);
});

test('the first image server is down: the second one draws, and is named in the content [D1]', async () => {
  const [primary, secondary] = [await a1111(), await openaiImages()];
  await primary.fake.close();
  secondary.fake.script('a lamp', { do: 'draw', bytes: gif });
  const { serve: up } = await scripted({ image: { engines: [primary.image, secondary.image] }, panes });
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  await wire.ack(lamp);
  const view = await wire.view((seen) => seen.panes['illustrations']?.phase === 'updated');
  const { value } = partOf(view, 'illustrations', 'tale.0.0');
  expect(value).toMatchObject({ status: 'ready', engine: 'm-image', cached: false });
  const picture = await assetOf(server, value);
  expect(Buffer.from(await picture.arrayBuffer())).toEqual(gif);
  expect(Object.values(view.panes['illustrations']?.tasks ?? {})).toMatchObject([{ attempt: 1 }]);
  expectEnded(wire);
});

test('the same description again costs no call and says so; asked for anew it is drawn anew [D2] [T43]', async () => {
  const { fake, image } = await openaiImages();
  const { serve: up } = await scripted({ image, panes });
  const wire = await follow(await up(), 's', { create: true });
  await wire.ack(lamp);
  await wire.view((view) => view.panes['illustrations']?.parts['tale.0.0'] !== undefined);
  await wire.ack({ ...lamp, message: 'again' });
  const view = await wire.view((seen) => seen.panes['illustrations']?.parts['again.0.0'] !== undefined);
  const { asset } = partOf(view, 'illustrations', 'tale.0.0').value;
  expect(partOf(view, 'illustrations', 'tale.0.0').value).toMatchObject({ cached: false });
  expect(partOf(view, 'illustrations', 'again.0.0').value).toMatchObject({ cached: true, asset });
  expect(fake.jobs()).toHaveLength(1);
  await wire.quiet();

  fake.script('a lamp', { do: 'draw', bytes: gif });
  await wire.ack({ type: 'pane.run', pane: 'illustrations', input: { picture: 'again.0.0', mode: 'replace' } });
  const replaced = await wire.view((seen) => seen.panes['illustrations']?.parts['again.0.0']?.version === 2);
  expect(partOf(replaced, 'illustrations', 'again.0.0').value).toMatchObject({ cached: false, prompt: 'a lamp' });
  expect(replaced.panes['illustrations']?.parts['again.0.0']?.earlier).toMatchObject([
    { version: 1, value: { asset } },
  ]);
  expect(fake.jobs()).toHaveLength(2);
  await wire.quiet();
  await wire.ack({
    type: 'pane.run',
    pane: 'illustrations',
    input: { picture: 'again.0.0', mode: 'append', prompt: 'a dark lamp' },
  });
  const appended = await wire.view((seen) => Object.keys(seen.panes['illustrations']?.parts ?? {}).length === 3);
  expect(partOf(appended, 'illustrations', 'again.0.0').version).toBe(2);
  const [added] = Object.entries(appended.panes['illustrations']?.parts ?? {}).filter(([, part]) =>
    JSON.stringify(part.value).includes('a dark lamp'),
  );
  expect(added?.[0]).toMatch(/^again\.0\.0/);
  await wire.quiet();
  expectEnded(wire);
});

test.each([
  ['AUTOMATIC1111', a1111],
  ['ComfyUI', () => comfyui(10)],
] as const)('%s: check finds it, and the scene has its picture [D4]', async (_, backend) => {
  const { image } = await backend();
  const { serve: up, data, model } = await scripted({ image });
  const { code, stdout } = await cli(['check', '--config', `${data}/mullion.config.json`], { cwd: data });
  expect(code, stdout).toBe(0);
  expect(stdout).toMatch(/image/);
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  await wire.say('What do you see?');
  const view = await wire.quiet(1);
  expect(view.panes['scene']).toMatchObject({ phase: 'updated' });
  const picture = await fetch(server.url + imageOf(view));
  expect(Buffer.from(await picture.arrayBuffer())).toEqual(png);
  expect(model.asked('image')).toHaveLength(0);
  expectEnded(wire);
});

test('an image server that is down is named by check, with where it was looked for [D4]', async () => {
  const { fake, image, origin } = await a1111();
  await fake.close();
  const data = folder();
  const config = writeConfig(data, { image });
  const { code, stdout, stderr } = await cli(['check', '--config', config], { cwd: data });
  expect(code).not.toBe(0);
  expect(stdout + stderr).toContain(origin);
});
