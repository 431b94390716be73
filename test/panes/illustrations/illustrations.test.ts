import { describe, expect, it } from 'vitest';
import { illustrationsPane } from '../../../src/panes/illustrations/index.ts';
import { failedValue } from '../../../src/panes/illustrations/tasks.ts';
import type { PlanView, TaskContext, TaskPlan } from '../../../src/panes/define-tasks.ts';
import type { TextRequest } from '../../../src/ports/models.ts';
import { ProviderError } from '../../../src/ports/errors.ts';
import { limits } from '../../../src/protocol/names.ts';
import type { Json, JsonObject, PaneOptions } from '../../../src/protocol/records.ts';
import { utf8Bytes } from '../../../src/protocol/text.ts';
import type { Message, Part } from '../../../src/protocol/view.ts';
import { defaultPaneOptions } from '../../../src/server/sessions/pane-registry.ts';

const pane = illustrationsPane();
const options = (extra: Partial<PaneOptions> = {}): PaneOptions => ({
  ...defaultPaneOptions,
  ...pane.options,
  ...extra,
});

function message(id: string, text: string, extra: Partial<Message> = {}): Message {
  const at = '2026-11-20T18:00:00.000Z';
  return { id, role: 'assistant', text, generation: 1, at, final: true, outcome: 'complete', ...extra };
}

const door = { message: 'm1', rev: 0, offset: 3, length: 21, prompt: 'a door' };
const ready: JsonObject = { ...door, asset: '/v1/assets/s/1.svg', engine: 'painter', cached: false, status: 'ready' };
const part = (value: Json, version = 1): Part => ({ value, version, run: 'r1', seq: 9, earlier: [] });

function view(messages: Message[], parts: PlanView['parts'] = {}, extra: Partial<PaneOptions> = {}): PlanView {
  return { messages, parts, tasks: [], options: options(extra) };
}

function tasksOf(input: JsonObject | null, from: PlanView): TaskPlan[] {
  const plan = pane.plan(input, from);
  if ('refused' in plan) throw new Error(plan.refused);
  return plan.tasks;
}

interface Asked {
  texts: TextRequest[];
  pictures: { prompt: string; seed: string; fresh?: boolean }[];
}

function fakeTask(
  task: TaskPlan,
  given: { messages?: Message[]; parts?: PlanView['parts']; answer?: string; engine?: string } = {},
) {
  const asked: Asked = { texts: [], pictures: [] };
  const context: TaskContext = {
    session: 's',
    pane: 'illustrations',
    run: 'r1',
    generation: 1,
    attempt: 1,
    signal: new AbortController().signal,
    task: { ...task, checkpoint: null, guidance: null },
    messages: given.messages ?? [],
    parts: given.parts ?? {},
    options: options(),
    text: {
      engine: () => 'model',
      stream: () => {
        throw new Error('not streamed');
      },
      complete: (request) => {
        asked.texts.push(request);
        return Promise.resolve(given.answer ?? '');
      },
    },
    image: {
      engine: 'painter',
      generate: (request) => {
        asked.pictures.push(request);
        return Promise.resolve({ path: '/v1/assets/s/2.svg', engine: given.engine ?? 'painter', cached: true });
      },
    },
    show: () => undefined,
    store: () => Promise.reject(new Error('not stored')),
    load: () => Promise.reject(new Error('not there')),
  };
  return { asked, done: () => pane.stages[0].run(context) };
}

describe('a message that is being written', () => {
  it('[T23] becomes one task for each prompt, on the piece that closes it', () => {
    const watch = pane.watch?.({ id: 'm1', rev: 2 }, options());
    expect(watch?.push('He <img-prompt="a ')).toEqual([]);
    expect(watch?.push('door"> and')).toEqual([
      {
        offset: 3,
        length: 21,
        task: {
          id: 'm1.2.3',
          key: 'm1.2.3',
          label: 'a door',
          input: { message: 'm1', rev: 2, offset: 3, length: 21, prompt: 'a door' },
        },
      },
    ]);
    expect(watch?.end()).toEqual([]);
  });

  it('[T25] two equal tags have ids of their own', () => {
    const watch = pane.watch?.({ id: 'm1', rev: 0 }, options());
    const found = watch?.push('<img-prompt="x"><img-prompt="x">') ?? [];
    expect(found.map(({ task }) => task.id)).toEqual(['m1.0.0', 'm1.0.16']);
    expect(found.map(({ task }) => task.label)).toEqual(['x', 'x']);
  });

  it('[T23] asks for proposals at its end, if it has no prompts and they are wanted', () => {
    const ends = (text: string, propose: number): TaskPlan[] | undefined => {
      const watch = pane.watch?.({ id: 'm1', rev: 0 }, options({ propose }));
      watch?.push(text);
      return watch?.end();
    };
    expect(ends('plain', 0)).toEqual([]);
    expect(ends('<img-prompt="x">', 3)).toEqual([]);
    const input = { kind: 'propose', message: 'm1', rev: 0, count: 3 };
    expect(ends('plain', 3)).toEqual([{ id: 'm1.0.propose', key: '', label: 'Choosing what to illustrate', input }]);
    expect(ends('plain', 31)?.[0]?.input['count']).toBe(30);
  });

  it('[T23] has at most 64 pictures', () => {
    const watch = pane.watch?.({ id: 'm1', rev: 0 }, options());
    const tag = '<img-prompt="x">';
    expect(watch?.push(tag.repeat(63))).toHaveLength(63);
    expect(watch?.push(tag.repeat(9))).toHaveLength(1);
    expect(watch?.push(tag)).toEqual([]);
    expect(tasksOf(null, view([message('m1', tag.repeat(70))]))).toHaveLength(64);
  });

  it('[T26] is read with own patterns in place of the tags; a broken one is refused at once', () => {
    const own = illustrationsPane({ patterns: [String.raw`#(\w+)`] });
    const watch = own.watch?.({ id: 'm1', rev: 0 }, options());
    expect(watch?.push('#one <img-prompt="x"> #two').map(({ task }) => task.label)).toEqual(['one']);
    expect(watch?.end().map(({ key, label }) => [key, label])).toEqual([['m1.0.22', 'two']]);
    expect(() => illustrationsPane({ patterns: ['(a)\\1'] })).toThrow('pattern 1');
  });

  it('[T23] a label has at most 80 units, no line end, and no half character', () => {
    const watch = pane.watch?.({ id: 'm1', rev: 0 }, options());
    const [found] = watch?.push(`<img-prompt="a\n${'x'.repeat(77)}😀😀">`) ?? [];
    expect(found?.task.label).toBe(`a ${'x'.repeat(77)}`);
  });
});

describe('a picture', () => {
  const task: TaskPlan = { id: 'm1.0.3', key: 'm1.0.3', label: 'a door', input: door };

  it('[T23] is drawn from its prompt alone and committed with its place', async () => {
    const { asked, done } = fakeTask(task);
    const value = { ...door, asset: '/v1/assets/s/2.svg', engine: 'painter', cached: true, status: 'ready' };
    expect(await done()).toEqual({ outcome: 'done', value, asset: '/v1/assets/s/2.svg' });
    expect(asked.pictures).toEqual([{ prompt: 'a door', seed: 's:m1.0.3:0' }]);
    expect(asked.texts).toEqual([]);
  });

  it.each(['界', '\u0001', '😀', '"', 'x'])(
    '[T23] fits in a task and in a part, with a prompt of 2000 units of %j',
    async (unit) => {
      const prompt = unit.repeat(2_000 / unit.length);
      const source = message('m'.repeat(64), `<!--img-prompt="${unit === '"' ? '\\"'.repeat(1_000) : prompt}"-->`, {
        rev: 4_294_967_295,
      });
      const [planned] = tasksOf(null, view([source]));
      if (planned === undefined) throw new Error('no task');
      expect(planned.id.length).toBeLessThanOrEqual(128);
      expect(utf8Bytes(JSON.stringify(planned.input))).toBeLessThanOrEqual(limits.maxTaskBytes);
      const { asked, done } = fakeTask(planned, { engine: '画'.repeat(500) });
      const result = await done();
      expect(asked.pictures[0]?.prompt.length).toBeLessThanOrEqual(2_000);
      if (result.outcome !== 'done') throw new Error('not done');
      expect(utf8Bytes(JSON.stringify(result.value))).toBeLessThanOrEqual(limits.maxPartBytes);
    },
  );

  it('[T23] that has failed for good says where and why; one that was to be replaced stays', () => {
    const error = new ProviderError('refused', 'no');
    expect(failedValue({ input: door }, error)).toEqual({ ...door, status: 'failed', error: 'refused' });
    expect(failedValue({ input: { ...door, again: 'append' } }, error)).toMatchObject({ status: 'failed' });
    expect(failedValue({ input: { ...door, again: 'replace' } }, error)).toBeUndefined();
    expect(failedValue({ input: { kind: 'propose', message: 'm1', rev: 0, count: 2 } }, error)).toBeUndefined();
  });
});

describe('proposals', () => {
  const text = 'She lit the lamp. The sea was calm.';
  const [task] = tasksOf({ message: 'm1' }, view([message('m1', text)]));
  if (task === undefined) throw new Error('no task');
  const block = (snippet: string, prompt: string): string => `AFTER: ${snippet}\nPICTURE: ${prompt}\n`;

  it('[T23] become tasks of the same run, each with its place; unknown ones stand at the end', async () => {
    const answer = block('lit the lamp', 'A lamp.') + block('not there', 'A gull.') + block('nor there', 'A boat.');
    const { asked, done } = fakeTask(
      { ...task, input: { ...task.input, count: 3 } },
      { messages: [message('m1', text)], answer },
    );
    const place = (offset: number, prompt: string) => ({ message: 'm1', rev: 0, offset, length: 0, prompt });
    expect(await done()).toEqual({
      outcome: 'done',
      add: [
        { id: 'm1.0.17', key: 'm1.0.17', label: 'A lamp.', input: place(17, 'A lamp.') },
        { id: 'm1.0.35', key: 'm1.0.35', label: 'A gull.', input: place(35, 'A gull.') },
        { id: 'm1.0.35.2', key: 'm1.0.35.2', label: 'A boat.', input: place(35, 'A boat.') },
      ],
    });
    expect(asked.texts).toHaveLength(1);
    expect(asked.texts[0]).toMatchObject({
      stage: 'propose',
      material: { purpose: 'illustrations', count: 3, current: '', maxChars: 6_000, messages: [{ id: 'm1', text }] },
    });
    expect(asked.pictures).toEqual([]);
  });

  it.each([
    { why: 'is gone', messages: [] },
    { why: 'was edited', messages: [message('m1', 'new', { rev: 1 })] },
    { why: 'is blank', messages: [message('m1', ' ')] },
  ])('[T23] end without a call when the message $why', async ({ messages }) => {
    const { asked, done } = fakeTask(task, { messages });
    expect(await done()).toEqual({ outcome: 'done' });
    expect(asked.texts).toEqual([]);
  });

  it('[T67] are asked for without what is markup in the message', async () => {
    const shown = message('m1', 'a![p](/v1/assets/s/1.png)b<img-prompt=" ">c');
    const { asked, done } = fakeTask(task, { messages: [shown] });
    await done();
    expect(asked.texts[0]?.prompt[1]?.content).toContain('| abc\n');
    expect(asked.texts[0]?.material.messages[0]?.text).toBe('abc');
  });
});

describe('pane.run', () => {
  const tagged = message('m1', 'He <img-prompt="a door"> went.');

  it('[T43] without input draws the newest final assistant message', () => {
    const messages = [
      message('m0', '<img-prompt="old">'),
      tagged,
      message('u', 'x', { role: 'user' }),
      message('n', '', { final: false }),
    ];
    expect(pane.plan(null, view(messages))).toMatchObject({ tasks: [{ id: 'm1.0.3' }] });
    expect(tasksOf({ message: 'm0' }, view(messages))).toMatchObject([{ label: 'old' }]);
  });

  it('[T43] asks for proposals where there is no prompt: as many as the option says, else 2', () => {
    const plain = message('m1', 'plain');
    expect(tasksOf(null, view([plain]))).toMatchObject([{ key: '', input: { kind: 'propose', count: 2 } }]);
    expect(tasksOf(null, view([plain], {}, { propose: 5 }))).toMatchObject([{ input: { count: 5 } }]);
  });

  it('[T43] draws a picture again: in its place, or next to it', () => {
    const parts = { 'm1.0.3': part(ready, 3) };
    expect(pane.plan({ picture: 'm1.0.3' }, view([tagged], parts))).toEqual({
      tasks: [{ id: 'm1.0.3.after.3', key: 'm1.0.3', label: 'a door', input: { ...door, again: 'replace' } }],
    });
    const input = { picture: 'm1.0.3', mode: 'append', prompt: ' a red door ' };
    expect(tasksOf(input, view([tagged], parts))).toEqual([
      {
        id: 'm1.0.3+1.after.3',
        key: 'm1.0.3+1',
        label: 'a red door',
        input: { ...door, prompt: 'a red door', again: 'append' },
      },
    ]);
    const more = { ...parts, 'm1.0.3+1': part(ready), 'm1.0.3+2': part(ready) };
    expect(tasksOf({ picture: 'm1.0.3+1', mode: 'append' }, view([tagged], more))[0]?.key).toBe('m1.0.3+3');
  });

  it('[T43] a picture that is drawn again is another one than before', async () => {
    const parts = { 'm1.0.3': part(ready, 3) };
    const [task] = tasksOf({ picture: 'm1.0.3' }, view([tagged], parts));
    if (task === undefined) throw new Error('no task');
    const { asked, done } = fakeTask(task, { parts });
    expect(await done()).toMatchObject({ value: { ...door, status: 'ready' } });
    expect(asked.pictures).toEqual([{ prompt: 'a door', seed: 's:m1.0.3:3', fresh: true }]);
  });

  const parts = { 'm1.0.3': part(ready), odd: part('text'), 'm1.1.3': part({ ...ready, rev: 1 }) };
  it.each([
    { input: null, messages: [], refused: 'expected a final assistant message to illustrate, there is none' },
    { input: { message: 'm9' }, refused: 'input.message: expected a final message of this session, got "m9"' },
    {
      input: { message: 7 },
      refused: 'input: expected {message}, {picture, mode?, prompt?} or nothing, got {"message":7}',
    },
    { input: {}, refused: 'got {}' },
    { input: { message: 'm1', prompt: 'x' }, refused: 'input: expected {message}' },
    { input: { message: 'm1', picture: 'm1.0.3' }, refused: 'input: expected {message}' },
    {
      input: { colour: 'red' },
      refused: 'input.colour: expected message, or picture with mode and prompt, got "colour"',
    },
    { input: { picture: 'm1.0.9' }, refused: 'input.picture: expected the key of a picture, got "m1.0.9"' },
    { input: { picture: 'constructor' }, refused: 'input.picture: expected the key of a picture' },
    { input: { picture: 'odd' }, refused: 'input.picture: expected the key of a picture, got "odd"' },
    { input: { picture: 'm1.1.3' }, refused: 'a picture of a message that is still as it was' },
    { input: { picture: 'm1.0.3', mode: 'both' }, refused: 'input.mode: expected "replace" or "append", got "both"' },
    { input: { picture: 'm1.0.3', prompt: ' ' }, refused: 'input.prompt: expected 1 to 2000 UTF-16 units' },
    { input: { picture: 'm1.0.3', prompt: 'x'.repeat(2_001) }, refused: 'that are not blank, got 2001' },
    { input: { picture: 'm1.0.3' }, messages: [], refused: 'a picture of a message that is still as it was' },
    {
      input: null,
      messages: [{ ...tagged, cut: true }],
      refused: 'message: expected one that is wholly there, got "m1',
    },
    { input: { message: 'm1' }, messages: [{ ...tagged, final: false }], refused: 'a final message' },
  ])('[T43] refuses $input, saying what it expected', ({ input, messages, refused }) => {
    const plan = pane.plan(input, view(messages ?? [tagged], parts));
    expect(plan).toEqual({ refused: expect.stringContaining(refused) });
  });

  it('[T43] takes a prompt of 2000 units', () => {
    const input = { picture: 'm1.0.3', prompt: ` ${'x'.repeat(2_000)} ` };
    expect(tasksOf(input, view([tagged], parts))[0]?.input['prompt']).toHaveLength(2_000);
  });
});
