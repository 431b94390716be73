import { expect, test } from 'vitest';
import type { LiveWait, ServerFrame } from '../../src/protocol/frames.ts';
import { cases } from '../support/hostile-cases.ts';
import { gate } from '../support/hostile-server.ts';
import { a1111 } from './image-backends.ts';
import { expectEnded, expectWhole, follow, getJson, scripted, type ServerProcess } from './support.ts';

const panes = { reply: { enabled: false }, history: { enabled: false }, scene: { enabled: false } };
const chapters = ['one', 'two', 'three'].map((id) => ({ id, title: `Chapter ${id}`, brief: 'Anything.' }));

test('limits change while calls run and hold from the next start on; out of range is refused, and nothing changed [Q3]', async () => {
  const { model, server, origin } = await withSlots(1, { panes });
  const door = gate();
  model.script('outline', cases.stream(['Beats.'], { gate: door }));
  const wire = await follow(server, 's', { create: true });
  await wire.ack({ type: 'pane.run', pane: 'chapters', input: { chapters, parallel: true } });
  await model.next('outline');
  const waits = await wire.frame((frame) => waitsOf(frame).some(({ reason, position }) => isLine(reason, position, 2)));
  expect(waitsOf(waits).map(({ reason }) => reason)).toContain('queue');
  expect(await load(server, origin)).toMatchObject({ running: 1, waiting: 2, draining: 0, started: 1 });
  expect(await listed(server)).toMatchObject({ chapters: { reason: 'queue' } });

  for (const bad of [
    { concurrency: 0 },
    { concurrency: 10_001 },
    { concurrency: 1.5 },
    { minIntervalMs: -1 },
    { x: 1 },
  ])
    expect(await patch(server, { hosts: { [origin]: bad } })).toMatchObject({
      status: 400,
      body: { type: 'error', error: { code: 'BAD_MESSAGE', message: expect.stringContaining('expected') } },
    });
  expect(await load(server, origin)).toMatchObject({ limits: { concurrency: 1, minIntervalMs: 0 }, running: 1 });

  const changed = await patch(server, { hosts: { [origin]: { concurrency: 3 } } });
  expect(changed).toMatchObject({ status: 200, body: { hosts: { [origin]: { limits: { concurrency: 3 } } } } });
  await Promise.all([model.next('outline'), model.next('outline')]);
  expect(await load(server, origin)).toMatchObject({ running: 3, waiting: 0, started: 3 });
  expect(await listed(server)).toEqual({});
  door.open();
  await wire.view((view) => view.panes['chapters']?.phase === 'updated');
  expectEnded(wire);
});

test('an interval holds starts apart, and says until when [Q2] [T32]', async () => {
  const { model, server, origin } = await withSlots(8, { panes });
  const starts: number[] = [];
  model.script('outline', (exchange) => {
    starts.push(performance.now());
    return cases.stream(['Beats.'])(exchange);
  });
  model.script('draft', (exchange) => {
    starts.push(performance.now());
    return cases.stream(['Text.'])(exchange);
  });
  const wire = await follow(server, 's', { create: true });
  expect(await patch(server, { hosts: { [origin]: { minIntervalMs: 250 } } })).toMatchObject({ status: 200 });
  await wire.ack({ type: 'pane.run', pane: 'chapters', input: { chapters, parallel: true } });
  const limited = await wire.frame((frame) => waitsOf(frame).some(({ reason }) => reason === 'rate-limit'));
  expect(waitsOf(limited).find(({ reason }) => reason === 'rate-limit')?.until).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  await wire.view((view) => view.panes['chapters']?.phase === 'updated');
  expect(starts).toHaveLength(6);
  // 250 ms apart where they start. On their way to the other server some are late, the first one most of all.
  const [, second = 0, ...rest] = starts;
  expect(((rest.at(-1) ?? 0) - second) / rest.length).toBeGreaterThan(170);
});

test('a reply takes the slot of a running summary, which begins again: same attempt, reason yielded [Q5]', async () => {
  const { model, server, origin } = await withSlots(1);
  model.script('summarize', cases.silence, cases.stream(['The summary.']));
  const busy = await follow(server, 'busy', { create: true });
  await busy.ack({ type: 'session.open', panes: { scene: { enabled: false }, reply: { enabled: false } } });
  await busy.ack({ type: 'message.add', role: 'assistant', text: 'The lamp burns.' });
  const held = await model.next('summarize');
  const door = gate();
  model.script('reply', cases.stream(['Yes.'], { gate: door }));
  const other = await follow(server, 'other', { create: true });
  await other.ack({ type: 'session.open', panes: { scene: { enabled: false }, history: { enabled: false } } });
  await other.say('Is anybody there?');
  await model.next('reply');
  expect(await held.closed).toBe('early');
  await busy.frame((frame) => waitsOf(frame).some(({ reason }) => reason === 'yielded'));
  expect(await load(server, origin)).toMatchObject({ running: 1, waiting: 1 });
  expect(await listed(server, 'busy')).toMatchObject({ history: { reason: 'yielded' } });
  door.open();
  const view = await busy.quiet();
  expect(view.panes['history']).toMatchObject({ phase: 'updated', attempt: 1, content: { text: 'The summary.' } });
  expect(model.asked('summarize')).toHaveLength(2);
  expect(model.asked('evaluate-history')).toHaveLength(1);
  expect((await other.quiet(1)).messages.at(-1)).toMatchObject({ text: 'Yes.', outcome: 'complete' });
  for (const wire of [busy, other]) {
    expectWhole(wire);
    expectEnded(wire);
  }
});

test('a reply takes the slot of a picture on the same host; the task keeps its attempt [Q5]', async () => {
  const { model, server } = await withSlots(1, {
    panes: { history: { enabled: false }, scene: { enabled: false }, illustrations: { enabled: true } },
  });
  model.script('image', cases.silence, cases.imageB64());
  const wire = await follow(server, 's', { create: true });
  await wire.ack({ type: 'message.add', role: 'assistant', text: '<img-prompt="a lamp">', message: 'tale' });
  const held = await model.next('image');
  const door = gate();
  model.script('reply', cases.stream(['Yes.'], { gate: door }));
  await wire.say('And then?');
  await model.next('reply');
  expect(await held.closed).toBe('early');
  await wire.frame((frame) => waitsOf(frame).some(({ reason }) => reason === 'yielded'));
  door.open();
  const view = await wire.quiet(1);
  expect(view.panes['illustrations']).toMatchObject({ phase: 'updated', counts: { ok: 1, failed: 0 } });
  expect(Object.values(view.panes['illustrations']?.tasks ?? {})).toMatchObject([{ attempt: 1, status: 'succeeded' }]);
  expect(model.asked('image')).toHaveLength(2);
  expectWhole(wire);
  expectEnded(wire);
});

test('a cancelled job that its backend goes on with holds its slot, visibly, until it is really over [Q4]', async () => {
  const { fake, image, origin } = await a1111();
  fake.deafen();
  fake.onRequest = () => undefined;
  fake.script('a lamp', { do: 'draw', steps: 3 });
  const limits = { hosts: { [origin]: { concurrency: 1 } } };
  const { serve: up } = await scripted({ image, limits, panes: { ...panes, illustrations: { enabled: true } } });
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  const taken = new Promise<void>((resolve) => {
    fake.onRequest = (path) => {
      if (path === 'POST /internal/progress') resolve();
    };
  });
  const text = '<img-prompt="a lamp"> <img-prompt="a door">';
  await wire.ack({ type: 'message.add', role: 'assistant', text, message: 'tale' });
  await taken;
  await wire.ack({ type: 'task.cancel', pane: 'illustrations', task: 'tale.0.0' });
  await wire.frame((frame) => waitsOf(frame).some(({ reason }) => reason === 'draining'));
  expect(await load(server, origin)).toMatchObject({ running: 0, draining: 1, waiting: 1 });
  expect(await listed(server)).toMatchObject({ illustrations: { reason: 'draining' } });
  expect(fake.jobs().map(({ prompt, state }) => [prompt, state])).toEqual([['a lamp', 'running']]);
  fake.step(4);
  const view = await wire.view(({ panes: { illustrations } }) => illustrations?.phase === 'updated');
  expect(fake.jobs().map(({ prompt, state }) => [prompt, state])).toEqual([
    ['a lamp', 'ended'],
    ['a door', 'ended'],
  ]);
  expect(Object.keys(view.panes['illustrations']?.parts ?? {})).toEqual(['tale.0.22']);
  expect(view.panes['illustrations']?.tasks).toMatchObject({
    'tale.0.0': { status: 'cancelled' },
    'tale.0.22': { status: 'succeeded' },
  });
  expectWhole(wire);
  expectEnded(wire);
}, 20_000);

test('tasks that would not fit in the journal are refused with their size; many large runs at once are all stored [T36]', async () => {
  const { model, server } = await withSlots(4, { panes });
  model.script('outline', cases.silence);
  const wire = await follow(server, 's', { create: true });
  const many = (count: number, brief: string) =>
    Array.from({ length: count }, (_, index) => ({ id: `c${index}`, title: 'T', brief }));
  // The feedback is said once and stands in each of the tasks: 1.2 MB of a frame of 30 kB.
  const feedback = '\u{5b57}'.repeat(2_000);
  const large = { chapters: many(200, 'b'), feedback };
  expect(await wire.command({ type: 'pane.run', pane: 'chapters', input: large })).toMatchObject({
    type: 'error',
    error: { code: 'TOO_LARGE', retryable: false, message: expect.stringMatching(/393216 bytes together.* 1\d{6}/) },
  });
  const acks = await Promise.all(
    Array.from({ length: 8 }, () =>
      wire.ack({ type: 'pane.run', pane: 'chapters', input: { chapters: many(60, 'b'.repeat(3_000)) } }),
    ),
  );
  expect(new Set(acks.map(({ run }) => run)).size).toBe(8);
  await wire.ack({ type: 'session.close' });
  expectEnded(wire);
  expect(server.stderr()).not.toContain('sealed');
});

/** A server whose model server has so many slots. */
async function withSlots(concurrency: number, more: Record<string, unknown> = {}) {
  const probe = await scripted(more);
  const server = await probe.serve();
  const { origin } = probe.model;
  expect(await patch(server, { hosts: { [origin]: { concurrency } } })).toMatchObject({ status: 200 });
  return { model: probe.model, server, origin };
}

async function patch(server: ServerProcess, body: object): Promise<{ status: number; body: unknown }> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${server.url}/v1/limits`, { method: 'PATCH', headers, body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

async function load(server: ServerProcess, origin: string): Promise<unknown> {
  const body = await getJson(`${server.url}/v1/limits`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the server under test; what it says is compared
  return (body as { hosts: { [origin: string]: unknown } }).hosts[origin];
}

/** What a session waits for, in the list of sessions. */
async function listed(server: ServerProcess, session = 's'): Promise<unknown> {
  const body = await getJson(`${server.url}/v1/sessions`);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the server under test; what it says is compared
  const { sessions } = body as { sessions: { session: string; waits?: unknown }[] };
  return sessions.find((one) => one.session === session)?.waits ?? {};
}

function waitsOf(frame: ServerFrame): LiveWait[] {
  if (frame.type !== 'live') return [];
  return [frame.wait, ...Object.values(frame.tasks ?? {}).map(({ wait }) => wait)].flatMap((wait) => wait ?? []);
}

const isLine = (reason: string, position: number | undefined, place: number): boolean =>
  reason === 'queue' && position === place;
