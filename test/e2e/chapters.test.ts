import { describe, expect, test } from 'vitest';
import type { LiveTask, ServerFrame } from '../../src/protocol/frames.ts';
import type { JsonObject } from '../../src/protocol/records.ts';
import type { PaneView } from '../../src/protocol/view.ts';
import { cases, token } from '../support/hostile-cases.ts';
import { gate, type Script } from '../support/hostile-server.ts';
import { randomFrom } from './random.ts';
import { expectEnded, expectWhole, follow, partOf, scripted, textOf, type ModelServer, type Wire } from './support.ts';

const panes = { reply: { enabled: false }, history: { enabled: false }, scene: { enabled: false } };
const [one, two, three] = [
  { id: 'one', title: 'The lamp', brief: 'Somebody lights it.' },
  { id: 'two', title: 'The storm', brief: 'It goes out.' },
  { id: 'three', title: 'The boat', brief: 'They leave.' },
];
const book = { chapters: [one, two, three] };
const write = (wire: Wire, input: JsonObject) => wire.ack({ type: 'pane.run', pane: 'chapters', input });
/** Requests of a stage that are about this chapter: its title stands behind the sign of a wish only in its own. */
function asked(model: ModelServer, need: 'outline' | 'draft' | 'edit', title: string) {
  return model.asked(need).filter(({ body }) => body.includes(`Title of the chapter:\\n> ${title}`));
}

/** A stage that answers when its gate opens. */
function held(tokens: readonly string[]): { script: Script; open: () => void } {
  const door = gate();
  return { script: cases.stream(tokens, { gate: door }), open: () => door.open() };
}

test('cancel in the middle of the second of three: the first is kept, the second as a partial, and writing goes on later [T44] [T45]', async () => {
  const { model, serve: up } = await scripted({ panes });
  model.script('draft', cases.stream(['The whole first.']), cases.stall('Half ', 'of two'), cases.stream(['Later.']));
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  const { run } = await write(wire, book);
  await wire.frame((frame) => tasksOf(frame).some(({ text }) => text?.add.includes('of two') === true));
  const cancelling = wire.phase('chapters', 'cancelling').then(() => performance.now());
  const [, exchange] = model.asked('draft');
  await wire.ack({ type: 'pane.cancel', pane: 'chapters' });
  expect(await exchange?.closed).toBe('early');
  expect((exchange?.closedAt ?? Infinity) - (await cancelling)).toBeLessThan(50);
  expect(await wire.phase('chapters', 'cancelled')).toMatchObject({ run, reason: 'user' });
  const view = await wire.quiet();
  const { parts, tasks, counts } = view.panes['chapters'] ?? {};
  expect(Object.keys(parts ?? {})).toEqual(['one', 'two']);
  expect(partOf(view, 'chapters', 'one').value).toMatchObject({ title: one.title, partial: false });
  expect(partOf(view, 'chapters', 'two').value).toMatchObject({ title: two.title, partial: true });
  expect(await textOf(server, partOf(view, 'chapters', 'one').value)).toBe('The whole first.');
  expect(await textOf(server, partOf(view, 'chapters', 'two').value)).toBe('Half of two');
  expect(Object.values(tasks ?? {}).map(({ status }) => status)).toEqual(['succeeded', 'cancelled', 'cancelled']);
  expect(counts).toMatchObject({ total: 3, done: 3, ok: 1 });
  expect(asked(model, 'outline', three.title)).toHaveLength(0);

  const { run: next } = await write(wire, { chapters: [two, three] });
  expect(next).not.toBe(run);
  await wire.view((now) => now.panes['chapters']?.phase === 'updated');
  expect(partOf(wire.current, 'chapters', 'two')).toMatchObject({ version: 2, value: { partial: false } });
  expect(await textOf(server, partOf(wire.current, 'chapters', 'two').value)).toBe('Later.');
  expect(partOf(wire.current, 'chapters', 'three').version).toBe(1);
  expectWhole(wire);
  expectEnded(wire);
});

test('pause: the stage ends, nobody is called until resume, also over kill -9; then the next stage, each once [T46]', async () => {
  const { model, serve: up } = await scripted({ panes });
  const outline = held(['Beats.']);
  model.script('outline', outline.script, cases.stream(['More beats.']));
  const first = await up();
  const before = await follow(first, 's', { create: true });
  const { run } = await write(before, { chapters: [one, two], edit: true });
  await model.next('outline');
  await before.ack({ type: 'pane.pause', pane: 'chapters' });
  expect(before.current.panes['chapters']).toMatchObject({ phase: 'writing', paused: true });
  outline.open();
  await before.phase('chapters', 'paused');
  expect(before.current.panes['chapters']?.tasks['one.1']).toMatchObject({ stage: 'drafting', attempt: 1 });
  await first.end('SIGKILL');
  await before.closed;

  const second = await up();
  const after = await follow(second, 's', { seen: before.seen });
  // Recovery has called whom it wants to call: another session gets through from beginning to end meanwhile.
  const other = await follow(second, 'other', { create: true });
  await write(other, { chapters: [three] });
  await other.view((view) => view.panes['chapters']?.phase === 'updated');
  expect(asked(model, 'draft', one.title)).toHaveLength(0);
  expect(after.current.panes['chapters']).toMatchObject({ phase: 'paused', run, paused: true });
  await after.ack({ type: 'pane.resume', pane: 'chapters' });
  const view = await after.view(({ panes: { chapters } }) => chapters?.phase === 'updated');
  for (const { title } of [one, two])
    for (const need of ['outline', 'draft', 'edit'] as const)
      expect(asked(model, need, title), `${need} of ${title}`).toHaveLength(1);
  expect(Object.values(view.panes['chapters']?.tasks ?? {}).map(({ attempt }) => attempt)).toEqual([1, 1]);
  expect(partOf(view, 'chapters', 'two')).toMatchObject({ version: 1, run });
  expectWhole(after);
  expectEnded(after);
});

test('kill -9 in the middle of a draft: its outline is not asked for again, what is committed is not made twice [T68]', async () => {
  const { model, serve: up } = await scripted({ panes });
  model.script('draft', cases.stream(['The first.']), cases.stall('Half '), cases.stream(['The second.']));
  const first = await up();
  const before = await follow(first, 's', { create: true });
  const { run } = await write(before, { chapters: [one, two] });
  await before.frame((frame) => tasksOf(frame).some(({ text }) => text?.add.includes('Half') === true));
  await first.end('SIGKILL');
  await before.closed;
  const server = await up();
  const after = await follow(server, 's', { seen: before.seen });
  const view = await after.view(({ panes: { chapters } }) => chapters?.phase === 'updated');
  expect(view.panes['chapters']).toMatchObject({ run, attempt: 2 });
  expect(view.panes['chapters']?.tasks).toMatchObject({ 'one.1': { attempt: 1 }, 'two.1': { attempt: 2 } });
  for (const { title } of [one, two]) expect(asked(model, 'outline', title)).toHaveLength(1);
  expect(asked(model, 'draft', one.title)).toHaveLength(1);
  expect(asked(model, 'draft', two.title)).toHaveLength(2);
  expect(await textOf(server, partOf(view, 'chapters', 'two').value)).toBe('The second.');
  expectWhole(after);
  expectEnded(after);
});

test('review: the run waits after each chapter, and what is said at resume goes to the next [T46]', async () => {
  const { model, serve: up } = await scripted({ panes });
  const wire = await follow(await up(), 's', { create: true });
  await write(wire, { chapters: [one, two], review: true });
  const paused = await wire.phase('chapters', 'paused');
  expect(paused).toMatchObject({ reason: 'review' });
  expect(wire.current.panes['chapters']?.counts).toMatchObject({ total: 2, ok: 1, pending: 1 });
  expect(asked(model, 'outline', two.title)).toHaveLength(0);
  await wire.ack({ type: 'pane.resume', pane: 'chapters', input: { feedback: 'More rain in it.' } });
  await wire.view(
    ({ panes: { chapters } }) => chapters?.counts?.ok === 2 && ['paused', 'updated'].includes(chapters.phase),
  );
  if (wire.current.panes['chapters']?.phase === 'paused') await wire.ack({ type: 'pane.resume', pane: 'chapters' });
  await wire.view(({ panes: { chapters } }) => chapters?.phase === 'updated');
  expect(asked(model, 'outline', one.title).map(({ body }) => body.includes('More rain'))).toEqual([false]);
  expect(asked(model, 'draft', two.title).map(({ body }) => body.includes('More rain'))).toEqual([true]);
  expectWhole(wire);
  expectEnded(wire);
});

test('a rewrite reads what is there and makes a version; revert brings the earlier one back [T43] [T44]', async () => {
  const { model, serve: up } = await scripted({ panes });
  model.script('draft', cases.stream(['As it was.']), cases.stream(['As it is.']), cases.stall('Half a rewrite'));
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  await write(wire, { chapters: [one] });
  await wire.view((view) => view.panes['chapters']?.parts['one']?.version === 1);
  await wire.quiet();
  await write(wire, { chapters: [{ id: 'one' }], mode: 'rewrite', feedback: 'Shorter.' });
  const second = await wire.view((view) => view.panes['chapters']?.parts['one']?.version === 2);
  await wire.quiet();
  expect(second.panes['chapters']?.parts['one']?.earlier).toMatchObject([{ version: 1 }]);
  expect(model.asked('draft')[1]?.body).toContain('As it was.');
  expect(model.asked('draft')[1]?.body).toContain('Shorter.');
  expect(await textOf(server, partOf(second, 'chapters', 'one').value)).toBe('As it is.');

  // A rewrite that is stopped leaves the version that was there.
  await write(wire, { chapters: [{ id: 'one' }], mode: 'rewrite' });
  await wire.frame((frame) => tasksOf(frame).some(({ text }) => text?.add.includes('Half a rewrite') === true));
  await wire.ack({ type: 'pane.cancel', pane: 'chapters' });
  const stopped = await wire.quiet();
  expect(partOf(stopped, 'chapters', 'one')).toMatchObject({ version: 2, value: { partial: false } });
  const [cancelled] = Object.values(stopped.panes['chapters']?.tasks ?? {});
  expect(await (await fetch(`${server.url}${cancelled?.asset}`)).text()).toBe('Half a rewrite');

  await write(wire, { revert: { id: 'one', version: 1 } });
  const last = await wire.view((view) => view.panes['chapters']?.parts['one']?.version === 3);
  await wire.quiet();
  expect(await textOf(server, partOf(last, 'chapters', 'one').value)).toBe('As it was.');
  expect(model.asked('draft')).toHaveLength(3);
  expectWhole(wire);
  expectEnded(wire);
});

test('other chapters join the run at work, one in work queues behind it, under reject it is a CONFLICT [T48]', async () => {
  const { model, serve: up } = await scripted({ panes });
  const outline = held(['Beats.']);
  model.script('outline', outline.script, cases.stream(['More beats.']));
  const wire = await follow(await up(), 's', { create: true });
  const { run } = await write(wire, { chapters: [one] });
  await model.next('outline');
  const joined = await write(wire, { chapters: [two] });
  expect(joined.run).toBe(run);
  await wire.view((view) => view.panes['chapters']?.parts['two'] !== undefined);
  expect(wire.current.panes['chapters']).toMatchObject({ run, phase: 'writing', counts: { total: 2, ok: 1 } });
  const behind = await write(wire, { chapters: [one], feedback: 'Again.' });
  expect(behind.run).not.toBe(run);
  expect(wire.current.panes['chapters']?.queued).toEqual([behind.run]);
  // The transcript stays writable.
  await wire.ack({ type: 'message.add', role: 'user', text: 'Go on.', reply: false });
  await wire.ack({ type: 'session.open', panes: { chapters: { policy: 'reject' } } });
  const refused = await wire.command({ type: 'pane.run', pane: 'chapters', input: { chapters: [one] } });
  expect(refused).toMatchObject({ error: { code: 'CONFLICT', data: { run } } });
  const rest = await write(wire, { chapters: [three] });
  expect(rest.run).toBe(run);
  outline.open();
  const view = await wire.quiet();
  expect(view.panes['chapters']?.phase).toBe('updated');
  expect(partOf(view, 'chapters', 'three')).toMatchObject({ version: 1, run });
  expectWhole(wire);
  expectEnded(wire);
});

describe('races: one end each, whatever meets whatever', () => {
  const random = randomFrom(20_261_121);

  test('cancel with completion, fifty times [T49]', async () => {
    const { model, serve: up } = await scripted({ panes });
    const wire = await follow(await up(), 's', { create: true });
    const ends = new Map<string, number>();
    for (let n = 0; n < 50; n += 1) {
      const door = gate();
      model.script('draft', async (exchange) => {
        exchange.head(200, { 'content-type': 'text/event-stream' });
        await exchange.write(token('Nearly'));
        await door.opened;
        await exchange.write(token(' there.'));
        exchange.end('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
      });
      const { run } = await write(wire, { chapters: [{ ...one, id: `c${n}` }] });
      await model.next('draft');
      const cancelFirst = random() < 0.5;
      const cancel = (): Promise<unknown> => wire.ack({ type: 'pane.cancel', pane: 'chapters' });
      if (!cancelFirst) door.open();
      await passed(random() * 12);
      const cancelled = cancel();
      if (cancelFirst) door.open();
      await cancelled;
      await wire.view(({ panes: { chapters } }) => isOver(chapters, run));
      const phase = wire.current.panes['chapters']?.phase ?? '';
      ends.set(phase, (ends.get(phase) ?? 0) + 1);
      const part = wire.current.panes['chapters']?.parts[`c${n}`]?.value;
      // Whole or a marked partial: never half of one under the name of the other.
      if (phase === 'updated') expect(part).toMatchObject({ partial: false, chars: 'Nearly there.'.length });
    }
    expect([...ends.keys()].toSorted()).toEqual(['cancelled', 'updated']);
    expectWhole(wire);
    expectEnded(wire);
  });

  test('pause with the task running out of time, twenty times [T49]', async () => {
    const { model, serve: up } = await scripted({ panes: { ...panes, chapters: { taskTimeoutMs: 100, retries: 0 } } });
    model.script('outline', cases.silence);
    const wire = await follow(await up(), 's', { create: true });
    const paused: boolean[] = [];
    for (let n = 0; n < 20; n += 1) {
      const { run } = await write(wire, { chapters: [{ ...one, id: `c${n}` }] });
      await passed(70 + random() * 100);
      await wire.ack({ type: 'pane.pause', pane: 'chapters' });
      paused.push(!isOver(wire.current.panes['chapters'], run));
      await wire.ack({ type: 'pane.resume', pane: 'chapters' });
      const view = await wire.view(({ panes: { chapters } }) => isOver(chapters, run));
      expect(view.panes['chapters']).toMatchObject({ phase: 'error', error: { code: 'timeout' } });
    }
    expect(new Set(paused)).toEqual(new Set([true, false]));
    expectWhole(wire);
    expectEnded(wire);
  });

  test('restart with anything: eight servers, each ended at another moment of the work [T50]', async () => {
    const { model, serve: up } = await scripted({ panes });
    const slow = cases.stream(['A ', 'few ', 'words.'], { firstMs: 5, everyMs: 5 });
    for (const need of ['outline', 'draft', 'edit'] as const) model.script(need, slow);
    let server = await up();
    let wire = await follow(server, 's', { create: true });
    for (let n = 0; n < 8; n += 1) {
      await write(wire, { chapters: [1, 2, 3].map((m) => ({ ...one, id: `c${n}-${m}` })), edit: true });
      const records = Math.floor(random() * 12);
      const from = wire.seen.records.length;
      await wire.until(() => wire.seen.records.length >= from + records || isAtRest(wire), 'some records');
      const type = [undefined, 'pane.cancel', 'pane.pause'][Math.floor(random() * 3)];
      if (type !== undefined) wire.send({ type, id: `x${n}`, session: 's', pane: 'chapters' });
      await server.end(random() < 0.5 ? 'SIGKILL' : 'SIGTERM');
      await wire.closed;
      server = await up();
      wire = await follow(server, 's', { seen: wire.seen });
      await wire.ack({ type: 'pane.resume', pane: 'chapters' });
    }
    const view = await wire.quiet();
    for (const part of Object.values(view.panes['chapters']?.parts ?? {}))
      expect(part.version, JSON.stringify(part)).toBe(1);
    expectWhole(wire);
    expectEnded(wire);
  }, 30_000);
});

/** The moments of these races are chosen, not waited for: whatever happens first, the rules hold. */
async function passed(ms: number): Promise<void> {
  for (const until = performance.now() + ms; performance.now() < until;)
    await new Promise((resolve) => setImmediate(resolve));
}

const isEnd = (phase: string): boolean => ['updated', 'unchanged', 'cancelled', 'error'].includes(phase);
const isOver = (pane: PaneView | undefined, run: string | undefined): boolean =>
  pane !== undefined && pane.run === run && isEnd(pane.phase);
const isAtRest = (wire: Wire): boolean => isEnd(wire.current.panes['chapters']?.phase ?? '');

function tasksOf(frame: ServerFrame): LiveTask[] {
  return frame.type === 'live' ? Object.values(frame.tasks ?? {}) : [];
}
