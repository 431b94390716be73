import { describe, expect, it } from 'vitest';
import { maxOpenMessages } from '../../../src/machines/decide-message.ts';
import { definePane } from '../../../src/panes/define.ts';
import type { Journal } from '../../../src/ports/journal.ts';
import { limits } from '../../../src/protocol/names.ts';
import { maxReplayRecords } from '../../../src/server/sessions/subscription.ts';
import { Harness, quietPanes } from './harness.ts';

const base = { session: 'c1' } as const;

describe('refusals', () => {
  it('[SC6] ifGeneration behind the session: STALE_GENERATION with its generation, nothing done', async () => {
    const host = new Harness({ paneOptions: quietPanes });
    await host.open();
    await host.say();
    await host.say();
    const late = { ...base, type: 'message.add', id: host.id(), role: 'user', text: 'late', ifGeneration: 1 } as const;
    expect(await host.refusal(late)).toMatchObject({ code: 'STALE_GENERATION', data: { generation: 2 } });
    expect(await host.ok({ ...late, id: host.id(), ifGeneration: 2 })).toMatchObject({ generation: 3 });
  });

  it('[SC10] an id of a message is never used again, also after its removal and after a restart', async () => {
    const host = new Harness({ paneOptions: quietPanes });
    await host.open();
    const add = () =>
      ({ ...base, type: 'message.add', id: host.id(), role: 'user', text: 'x', message: 'm1' }) as const;
    await host.ok(add());
    expect(await host.refusal(add())).toMatchObject({ code: 'CONFLICT' });
    await host.ok({ ...base, type: 'message.remove', id: host.id(), message: 'm1' });
    expect(await host.refusal(add())).toMatchObject({ code: 'CONFLICT' });
    await host.crash();
    expect(await host.refusal(add())).toMatchObject({ code: 'CONFLICT' });
  });

  it(`[L6] ${maxOpenMessages} messages are streamed at a time, one more is OVERLOADED`, async () => {
    const host = new Harness({ paneOptions: quietPanes });
    await host.open();
    const stream = () =>
      ({ ...base, type: 'message.add', id: host.id(), role: 'assistant', text: '', final: false }) as const;
    for (let i = 0; i < maxOpenMessages; i += 1) await host.ok(stream());
    expect(await host.refusal(stream())).toMatchObject({ code: 'OVERLOADED', retryable: true });
    await host.ok({ ...base, type: 'session.close', id: host.id() });
    expect((await host.view()).messages.every((message) => message.final && message.outcome === 'stopped')).toBe(true);
    await host.ok(stream());
  });

  it(`[L6] ${limits.maxQueuedRuns} runs of a pane are queued, one more is OVERLOADED`, async () => {
    const host = new Harness({ paneOptions: { ...quietPanes, history: { policy: 'queue' } } });
    await host.open();
    await host.say();
    const run = () => ({ ...base, type: 'pane.run', id: host.id(), pane: 'history' }) as const;
    for (let i = 0; i <= limits.maxQueuedRuns; i += 1) await host.ok(run());
    expect((await host.view()).panes['history']?.queued).toHaveLength(limits.maxQueuedRuns);
    expect(await host.refusal(run())).toMatchObject({ code: 'OVERLOADED', retryable: true });
  });
});

describe('[G5] a pane whose actor crashes', () => {
  it('ends its run in error internal; the session and the next run of the pane go on', async () => {
    let crashes = 1;
    const includes = (): boolean => {
      crashes -= 1;
      if (crashes >= 0) throw new Error('a guard that throws');
      return false;
    };
    const shaky = definePane({
      name: 'shaky',
      imaging: Object.assign([], { includes }),
      options: { startOn: 'message', debounceMs: 0, retries: 0 },
      stages: [{ name: 'shaking', run: () => Promise.reject(new Error('on purpose')) }],
    });
    const host = new Harness({ paneOptions: quietPanes, panes: [shaky] });
    await host.open();
    await host.say();
    await host.clock.advance(10);
    const [first] = [(await host.view()).panes['shaky']];
    expect(first).toMatchObject({ phase: 'error', error: { code: 'internal', retryable: true } });
    expect(host.errors.join()).toContain('a pane crashed');
    expect(await host.say('On.')).toMatchObject({ generation: 2 });
    await host.clock.advance(10);
    const second = (await host.view()).panes['shaky'];
    expect(second).toMatchObject({ phase: 'error', generation: 2 });
    expect(second?.run).not.toBe(first?.run);
  });
});

describe('[W11] a cursor far behind', () => {
  it(`more than ${maxReplayRecords} records: a snapshot instead of a replay`, async () => {
    const untrimmed = (inner: Journal): Journal =>
      new Proxy(inner, {
        get: (target, key) => {
          if (key === 'trim') return () => Promise.resolve();
          const member: unknown = Reflect.get(target, key);
          return typeof member === 'function' ? member.bind(target) : member;
        },
      });
    const host = new Harness({ paneOptions: quietPanes, journal: untrimmed });
    await host.open();
    await host.say();
    const { cursor } = await host.watch();
    const add = () => ({ ...base, type: 'message.add', id: host.id(), role: 'user', text: 'x' }) as const;
    for (let i = 0; i < maxReplayRecords; i += 1) void host.sessions.command(add());
    await host.clock.advance(100);
    expect((await host.watch('c1', cursor)).kinds).toHaveLength(maxReplayRecords + 1);
    await host.ok(add());
    expect((await host.watch('c1', cursor)).kinds).toEqual(['snapshot reset', 'caughtUp']);
  });
});
