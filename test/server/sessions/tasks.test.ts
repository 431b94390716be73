import { describe, expect, it } from 'vitest';
import { ProviderError } from '../../../src/ports/errors.ts';
import { reportEveryMs } from '../../../src/machines/tasks/pane-setup.ts';
import { promptRemover } from '../../../src/panes/illustrations/patterns.ts';
import { limits } from '../../../src/protocol/names.ts';
import { rememberedTasks } from '../../../src/protocol/state.ts';
import { asking, worksPane } from './task-pane.ts';
import { Harness, type HarnessOptions } from './harness.ts';

async function start(pane: Parameters<typeof worksPane>[0] = {}, more: Partial<HarnessOptions> = {}) {
  const host = new Harness({ panes: [worksPane(pane)], ...more });
  await host.open('c1', { reply: { enabled: false }, history: { enabled: false }, scene: { enabled: false } });
  return host;
}

const run = (host: Harness, ...tasks: Parameters<typeof asking>) =>
  host.ok({ type: 'pane.run', session: 'c1', id: host.id(), pane: 'works', input: asking(...tasks) });

async function answer(host: Harness, task: string, text = `Text of ${task}.`): Promise<void> {
  host.call(task).say(text).end();
  await host.clock.advance(0);
}

async function works(host: Harness) {
  const pane = (await host.view()).panes['works'];
  if (pane === undefined) throw new Error('no pane works');
  return pane;
}

const statuses = async (host: Harness) =>
  Object.fromEntries(Object.entries((await works(host)).tasks).map(([id, { status }]) => [id, status]));

describe('[T27] a run of tasks', () => {
  it('has all of its tasks with its first phase, commits each as it ends, and ends once', async () => {
    const host = await start();
    const ack = await run(host, 'a', 'b');
    const first = (await host.records()).find((record) => record.type === 'pane.phase' && record.pane === 'works');
    expect(first).toMatchObject({ phase: 'writing', run: ack.run, tasks: [{ id: 'a' }, { id: 'b' }] });
    expect((await works(host)).counts).toEqual({ total: 2, done: 0, ok: 0, failed: 0, pending: 2 });
    await answer(host, 'b');
    expect((await works(host)).parts['b']).toMatchObject({ value: { text: 'Text of b.' }, version: 1 });
    expect(await statuses(host)).toEqual({ a: 'running', b: 'succeeded' });
    await answer(host, 'a');
    expect(await host.phases('works')).toEqual(['writing', 'updated']);
    expect((await works(host)).counts).toEqual({ total: 2, done: 2, ok: 2, failed: 0, pending: 0 });
  });

  it('is refused with what was expected when the input is none', async () => {
    const host = await start();
    expect(
      await host.refusal({ type: 'pane.run', session: 'c1', id: 'x', pane: 'works', input: { tasks: 3 } }),
    ).toMatchObject({ code: 'BAD_MESSAGE', message: 'tasks: expected a list, got 3' });
    expect(
      await host.refusal({ type: 'pane.run', session: 'c1', id: 'y', pane: 'works', input: asking() }),
    ).toMatchObject({
      code: 'BAD_MESSAGE',
    });
  });
});

describe('[T37] partial success', () => {
  it('ends updated when one task has failed, and the failed one can be tried again in a run of its own', async () => {
    const host = await start();
    const { run: first } = await run(host, 'a', 'b');
    host.call('a').fail(new ProviderError('refused', 'not this'));
    await answer(host, 'b');
    await host.clock.advance(1_000);
    expect(await host.phases('works')).toEqual(['writing', 'updated']);
    expect((await works(host)).tasks['a']).toMatchObject({ status: 'failed', error: { code: 'refused' } });
    const ack = await host.ok({ type: 'task.retry', session: 'c1', id: 'again', pane: 'works', task: 'a' });
    const begun = (await host.records()).findLast((record) => record.type === 'pane.phase');
    expect(begun).toMatchObject({ phase: 'writing', run: ack.run, tasks: [{ id: 'a', attempt: 2 }] });
    expect(ack.run).not.toBe(first);
    await answer(host, 'a');
    expect((await works(host)).counts).toMatchObject({ total: 1, ok: 1 });
  });

  it('ends in error when every task has failed', async () => {
    const host = await start();
    await run(host, 'a', 'b');
    host.call('a').fail(new ProviderError('refused', 'not this'));
    host.call('b').fail(new ProviderError('auth', 'who are you'));
    await host.clock.advance(1_000);
    expect((await works(host)).error).toMatchObject({ code: 'auth', message: /none of 2 tasks succeeded/ });
  });

  it('fails a task that takes too long and goes on with the others', async () => {
    const host = await start({ options: { taskTimeoutMs: 5_000, idleTimeoutMs: 60_000 } });
    await run(host, 'a', 'b');
    const { signal } = host.call('a');
    await answer(host, 'b');
    await host.clock.advance(5_001);
    expect(signal.aborted).toBe(true);
    expect((await works(host)).tasks['a']).toMatchObject({ status: 'failed', error: { code: 'timeout' } });
    expect(await host.phases('works')).toEqual(['writing', 'updated']);
  });
});

describe('[T35] order', () => {
  it('works on as many as it may, and on the first of the line next', async () => {
    const host = await start({ options: { parallel: 2 } });
    await run(host, 'a', 'b', 'c', 'd');
    expect(await statuses(host)).toEqual({ a: 'running', b: 'running', c: 'queued', d: 'queued' });
    await host.ok({ type: 'task.prioritize', session: 'c1', id: 'p', pane: 'works', task: 'd' });
    await answer(host, 'a');
    await host.clock.advance(reportEveryMs);
    expect(await statuses(host)).toMatchObject({ b: 'running', c: 'queued', d: 'running' });
  });

  it('waits for what has to come before, however it ends', async () => {
    const host = await start();
    await run(host, 'a', { id: 'b', after: ['a'] });
    expect(await statuses(host)).toEqual({ a: 'running', b: 'queued' });
    host.call('a').fail(new ProviderError('refused', 'no'));
    await host.clock.advance(reportEveryMs);
    expect(await statuses(host)).toEqual({ a: 'failed', b: 'running' });
  });
});

describe('[T45] cancel', () => {
  it('one task: at once, with the text it had kept, the others go on', async () => {
    const host = await start();
    await run(host, 'a', 'b');
    host.call('a').say('Half of');
    await host.clock.advance(0);
    const { signal } = host.call('a');
    await host.ok({ type: 'task.cancel', session: 'c1', id: 'x', pane: 'works', task: 'a' });
    await host.clock.advance(0);
    expect(signal.aborted).toBe(true);
    expect((await works(host)).tasks['a']).toMatchObject({ status: 'cancelled', asset: /\.md$/ });
    expect((await works(host)).parts['a']?.value).toEqual({ text: 'Half of', partial: true });
    await answer(host, 'b');
    expect(await host.phases('works')).toEqual(['writing', 'updated']);
  });

  it('the run: acknowledged, then over when the work has unwound; what was finished stays', async () => {
    const host = await start();
    await run(host, 'a', 'b');
    await answer(host, 'a');
    host.call('b').say('Half of b');
    await host.clock.advance(0);
    await host.ok({ type: 'pane.cancel', session: 'c1', id: 'x', pane: 'works' });
    await host.clock.advance(10);
    expect(await host.phases('works')).toEqual(['writing', 'cancelling', 'cancelled user']);
    expect((await works(host)).parts).toMatchObject({
      a: { value: { text: 'Text of a.' } },
      b: { value: { text: 'Half of b', partial: true } },
    });
    expect(await statuses(host)).toEqual({ a: 'succeeded', b: 'cancelled' });
    await run(host, 'b');
    await answer(host, 'b');
    expect((await works(host)).parts['b']).toMatchObject({ value: { partial: false }, version: 2 });
  });
});

describe('[T46] pause', () => {
  it('stands still at the end of the stage, calls nobody, and goes on with the next one, also after a restart', async () => {
    const host = await start();
    await run(host, { id: 'a', polish: true }, { id: 'b', after: ['a'] });
    await host.ok({ type: 'pane.pause', session: 'c1', id: 'p', pane: 'works' });
    expect((await works(host)).phase).toBe('writing');
    await answer(host, 'a', 'Draft.');
    expect((await works(host)).phase).toBe('paused');
    expect((await works(host)).tasks['a']).toMatchObject({
      status: 'queued',
      stage: 'polishing',
      checkpoint: { text: 'Draft.' },
    });
    const calls = host.calls.length;
    await host.clock.advance(600_000);
    expect(host.calls).toHaveLength(calls);
    await host.crash();
    await host.clock.advance(600_000);
    expect(host.calls).toHaveLength(calls);
    await host.ok({ type: 'pane.resume', session: 'c1', id: 'r', pane: 'works' });
    await answer(host, 'a+', 'Polished.');
    expect((await works(host)).parts['a']?.value).toMatchObject({ text: 'Draft. Polished.' });
    await answer(host, 'b');
    expect(await host.phases('works')).toEqual(['writing', 'paused', 'writing', 'updated']);
  });

  it('[T47] pauses by itself for a review, and hands on what was said', async () => {
    const host = await start();
    await run(host, { id: 'a', review: true }, { id: 'b', after: ['a'] });
    await answer(host, 'a');
    expect(await host.phases('works')).toEqual(['writing', 'paused review']);
    await host.ok({ type: 'pane.resume', session: 'c1', id: 'r', pane: 'works', input: { feedback: 'darker' } });
    await answer(host, 'b');
    expect(await host.phases('works')).toEqual(['writing', 'paused review', 'writing', 'updated']);
  });
});

describe('[T48] several requests', () => {
  it('join when nobody writes what they want, and stand in line when somebody does', async () => {
    const host = await start({ joins: true });
    const first = await run(host, 'a');
    const second = await run(host, 'b');
    expect(second.run).toBe(first.run);
    await host.clock.advance(reportEveryMs);
    expect(await statuses(host)).toEqual({ a: 'running', b: 'running' });
    const third = await run(host, { id: 'a.2', key: 'a' });
    expect(third.run).not.toBe(first.run);
    expect((await works(host)).queued).toEqual([third.run]);
    await answer(host, 'a');
    await answer(host, 'b');
    await answer(host, 'a.2', 'Another.');
    expect((await works(host)).parts['a']).toMatchObject({
      value: { text: 'Another.' },
      version: 2,
      earlier: [{ value: { text: 'Text of a.' }, version: 1 }],
    });
  });

  it('are refused under reject', async () => {
    const host = await start({ joins: true, options: { policy: 'reject' } });
    await run(host, 'a');
    expect(
      await host.refusal({ type: 'pane.run', session: 'c1', id: 'x', pane: 'works', input: asking('a') }),
    ).toMatchObject({ code: 'CONFLICT', message: /somebody is writing a/ });
    await run(host, 'b');
  });
});

describe('[T23] watching a text', () => {
  it('starts a run with the first find, adds the others to it, and ends it after the text', async () => {
    const host = await start();
    await host.ok({
      type: 'message.add',
      session: 'c1',
      id: 'm',
      role: 'assistant',
      message: 'm1',
      text: '',
      final: false,
    });
    await host.send({ type: 'message.delta', session: 'c1', message: 'm1', at: 0, text: 'no stars' });
    expect(await host.phases('works')).toEqual([]);
    await host.send({ type: 'message.delta', session: 'c1', message: 'm1', at: 8, text: ' one * here' });
    await host.clock.advance(0);
    expect(await statuses(host)).toEqual({ 'm1.0.13': 'running' });
    await answer(host, 'm1.0.13');
    expect((await works(host)).phase).toBe('writing');
    await host.send({ type: 'message.delta', session: 'c1', message: 'm1', at: 19, text: '*', end: true });
    await host.clock.advance(0);
    await answer(host, 'm1.0.19');
    expect(await host.phases('works')).toEqual(['writing', 'updated']);
    expect((await works(host)).counts).toMatchObject({ total: 2, ok: 2 });
  });

  it('cancels what an edited or removed message wanted', async () => {
    const host = await start();
    await host.ok({ type: 'message.add', session: 'c1', id: 'm', role: 'assistant', message: 'm1', text: 'a * b' });
    const { signal } = host.call('m1.0.2');
    await host.ok({ type: 'message.edit', session: 'c1', id: 'e', message: 'm1', text: 'a b' });
    expect(signal.aborted).toBe(true);
    await host.clock.advance(10);
    expect(await host.phases('works')).toEqual(['writing', 'cancelled superseded']);
  });

  it('[T68] finds each once over a restart, whatever was on record', async () => {
    const host = await start();
    await host.ok({
      type: 'message.add',
      session: 'c1',
      id: 'm',
      role: 'assistant',
      message: 'm1',
      text: '',
      final: false,
    });
    await host.ok({ type: 'message.delta', session: 'c1', id: 'd1', message: 'm1', at: 0, text: 'one * two' });
    await host.crash();
    await host.ok({ type: 'message.delta', session: 'c1', id: 'd2', message: 'm1', at: 9, text: ' * end', end: true });
    await answer(host, 'm1.0.4');
    await answer(host, 'm1.0.10');
    expect((await works(host)).tasks).toMatchObject({ 'm1.0.4': { attempt: 2 }, 'm1.0.10': { attempt: 1 } });
    expect(await host.phases('works')).toEqual(['writing', 'writing', 'updated']);
  });
});

describe('[T32] waiting', () => {
  it('is in the list of sessions: what for, and until when', async () => {
    const host = await start({ options: { retries: 2 } });
    await run(host, 'a');
    host.call('a').fail(new ProviderError('rate_limited', 'slow down', { retryAfterMs: 20_000 }));
    await host.clock.advance(reportEveryMs);
    const [line] = await host.sessions.list(1);
    expect(line?.waits).toEqual({ works: { reason: 'backoff', until: (await works(host)).tasks['a']?.retryAt } });
    expect(line?.summary).toMatchObject({ panes: { works: { phase: 'writing', done: 0, total: 1 } } });
    await host.clock.advance(20_000);
    expect((await host.sessions.list(1))[0]?.waits).toBeUndefined();
  });
});

describe('[T36] bounds', () => {
  const names = (count: number) => Array.from({ length: count }, (_, index) => `t${index}`);

  it('a run may have so many tasks, and is refused with what is full beyond', async () => {
    const host = await start({ maxTasks: limits.maxTasks, joins: true });
    const input = asking(...names(limits.maxTasks + 1));
    expect(await host.refusal({ type: 'pane.run', session: 'c1', id: 'x', pane: 'works', input })).toMatchObject({
      code: 'OVERLOADED',
      message: /may have 1000 tasks; asked for 1001/,
    });
    await run(host, ...names(limits.maxTasks));
    expect((await works(host)).counts).toMatchObject({ total: limits.maxTasks });
    expect(
      await host.refusal({ type: 'pane.run', session: 'c1', id: 'y', pane: 'works', input: asking('more') }),
    ).toMatchObject({ code: 'OVERLOADED' });
  });

  it('what a text asks for beyond is told at the end of the run', async () => {
    const host = await start({ maxTasks: 2 });
    await host.ok({ type: 'message.add', session: 'c1', id: 'm', role: 'assistant', message: 'm1', text: '***' });
    await answer(host, 'm1.0.0');
    await answer(host, 'm1.0.1');
    expect(await host.phases('works')).toEqual([
      'writing',
      'updated 1 more were asked for than the 2 tasks that a run may have',
    ]);
  });
});

describe('[T67] what a pane reads', () => {
  it('has no prompts for pictures in it, nor those of own patterns', async () => {
    const remove = promptRemover(['\\[\\[([^\\]]+)\\]\\]']);
    const host = new Harness({ answers: { evaluate: 'YES' }, withoutPrompts: remove });
    await host.open('c1', { reply: { enabled: false }, scene: { enabled: false } });
    const text = 'A <!--img-prompt="a door"--> B [[a cat]] C ![x](/v1/assets/c1/0.png) D';
    await host.ok({ type: 'message.add', session: 'c1', id: 'm', role: 'assistant', message: 'm1', text });
    await host.clock.advance(5_000);
    expect(host.call('evaluate').request.material.messages[0]?.text).toMatch(/^A\s+B\s+C\s+D$/);
  });
});

describe('[T39] trying again', () => {
  it('works for a task of an older run too, also after a restart, once', async () => {
    const host = await start();
    const { run: first } = await run(host, 'a', 'b');
    host.call('a').fail(new ProviderError('refused', 'no'));
    await answer(host, 'b');
    await host.clock.advance(reportEveryMs);
    await run(host, 'c');
    await answer(host, 'c');
    await host.crash();
    const ack = await host.ok({ type: 'task.retry', session: 'c1', id: 'again', pane: 'works', task: 'a' });
    const begun = (await host.records()).find((record) => record.type === 'pane.phase' && record.run === ack.run);
    expect(begun).toMatchObject({ of: first, tasks: [{ id: 'a', key: 'a', attempt: 2 }] });
    await answer(host, 'a');
    await run(host, 'd');
    await answer(host, 'd');
    expect(
      await host.refusal({ type: 'task.retry', session: 'c1', id: 'once', pane: 'works', task: 'a' }),
    ).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('is remembered of so many, the newest', async () => {
    const host = await start({ maxTasks: 100, options: { parallel: 64 } });
    const names = Array.from({ length: rememberedTasks + 1 }, (_, index) => `t${index}`);
    await run(host, ...names);
    await host.ok({ type: 'pane.cancel', session: 'c1', id: 'x', pane: 'works' });
    await host.clock.advance(10);
    await run(host, 'other');
    const retry = (task: string) => ({ type: 'task.retry', session: 'c1', id: task, pane: 'works', task }) as const;
    expect(await host.refusal(retry('t0'))).toMatchObject({ code: 'NOT_FOUND' });
    await host.ok(retry('t1'));
  });
});

describe('[T23] what a pane that does not read any more', () => {
  it('was to make of a message is not wanted after an edit either', async () => {
    const host = await start();
    await host.ok({ type: 'message.add', session: 'c1', id: 'm', role: 'assistant', message: 'm1', text: 'a * b' });
    const { signal } = host.call('m1.0.2');
    await host.open('c1', { works: { enabled: false } });
    await host.ok({ type: 'message.edit', session: 'c1', id: 'e', message: 'm1', text: 'a b' });
    expect(signal.aborted).toBe(true);
  });
});

describe('[T23] what a paused pane was to make of a message', () => {
  it.each(['open', 'queued'] as const)(
    'is not wanted any more after an edit, also by a pane without an actor: %s',
    async (where) => {
      const host = await start();
      const say = (message: string) =>
        host.ok({ type: 'message.add', session: 'c1', id: message, role: 'assistant', message, text: 'a * b' });
      await host.ok({ type: 'pane.pause', session: 'c1', id: 'p', pane: 'works' });
      await say('m1');
      if (where === 'queued') await say('m2');
      const edited = where === 'queued' ? 'm2' : 'm1';
      await host.crash();
      await host.ok({ type: 'message.edit', session: 'c1', id: 'e', message: edited, text: 'a b' });
      await host.ok({ type: 'pane.resume', session: 'c1', id: 'r', pane: 'works' });
      if (where === 'queued') await answer(host, 'm1.0.2');
      await host.clock.advance(1_000);
      expect(host.calls.map(({ stage }) => stage)).toEqual(where === 'queued' ? ['m1.0.2'] : []);
    },
  );
});
