import { describe, expect, test } from 'vitest';
import { Store } from '../../src/client/store.ts';
import type { TaskLive } from '../../src/client/types.ts';
import type { LiveTask, SnapshotFrame } from '../../src/protocol/frames.ts';
import type { Fact, TaskChange } from '../../src/protocol/records.ts';
import { declare, FakeJournal, phase } from '../support/fake-socket.ts';

/** A store in the middle of run r1 of the pane `chapters`: tasks a and b are at work, c waits. */
function writing() {
  const journal = new FakeJournal();
  const store = new Store('chat-7', null);
  const tell = (fact: Fact) => {
    const record = journal.add(fact);
    return store.takeRecord({ type: 'record', session: 'chat-7', cursor: `e1.${record.seq}`, record });
  };
  const tasks: TaskChange[] = [
    { id: 'a', status: 'running' },
    { id: 'b', status: 'running' },
    { id: 'c', status: 'queued' },
  ];
  tell({ type: 'session.opened', panes: { chapters: declare('chapters', ['writing'], false) } });
  tell(phase('chapters', 'r1', 'writing', { tasks }));
  const live = (of: { [task: string]: LiveTask }, run = 'r1') =>
    store.takeLive({ type: 'live', session: 'chat-7', pane: 'chapters', run, attempt: 1, tasks: of }, 7);
  const text = (at: number, add: string, more: LiveTask = {}) =>
    live({ a: { stage: 'drafting', attempt: 1, text: { at, add }, ...more } });
  const shown = (id = 'a'): TaskLive | undefined => store.live.panes['chapters']?.tasks?.[id];
  const change = (...changes: TaskChange[]) => tell({ type: 'tasks', pane: 'chapters', run: 'r1', tasks: changes });
  return { store, journal, tell, live, text, shown, change };
}

describe('live values of a task', () => {
  test('are kept by task, each with its newest number, wait and picture', () => {
    const { live, shown } = writing();
    const progress = { value: 3, max: 20, unit: 'steps' };
    expect(live({ a: { stage: 'drawing', progress }, b: { wait: { reason: 'queue', position: 2 } } })).toBe(true);
    expect(live({ a: { stage: 'drawing', preview: '/p.png' } })).toBe(true);
    expect(shown()).toEqual({ stage: 'drawing', progress, preview: '/p.png' });
    expect(shown('b')).toEqual({ wait: { reason: 'queue', position: 2 } });
    live({ b: { wait: null } });
    expect(shown('b')?.wait ?? null).toBeNull();
  });

  test('text joins by `at`: it goes on, and what overlaps replaces what was there', () => {
    const { text, shown } = writing();
    text(0, 'It rai');
    text(6, 'ns');
    expect(shown()?.text).toBe('It rains');
    text(3, 'snows');
    expect(shown()?.text).toBe('It snows');
    text(0, '');
    expect(shown()?.text).toBe('');
  });

  test('text with a gap before it is dropped, the rest of the frame is not', () => {
    const { text, shown } = writing();
    text(1, 'gap');
    expect(shown()?.text).toBeUndefined();
    text(0, 'It');
    text(3, 'gap', { progress: { value: 1, max: 2, unit: 'parts' } });
    expect(shown()).toMatchObject({ text: 'It', progress: { value: 1 } });
    text(2, ' is');
    expect(shown()?.text).toBe('It is');
  });

  test.each<[string, LiveTask]>([
    ['stage', { stage: 'polishing', attempt: 1 }],
    ['attempt', { stage: 'drafting', attempt: 2 }],
  ])('another %s begins anew, without the values of the one before', (_, next) => {
    const { live, text, shown } = writing();
    text(0, 'It is', { progress: { value: 1, max: 2, unit: 'parts' }, preview: '/p.png' });
    live({ a: next });
    expect(shown()).toEqual(next);
    live({ a: { ...next, text: { at: 5, add: ' so' } } });
    expect(shown()).toEqual(next);
    live({ a: { ...next, text: { at: 0, add: 'New' } } });
    expect(shown()?.text).toBe('New');
  });

  test('of another run, or of a run that has ended, is dropped', () => {
    const { live, tell, store } = writing();
    expect(live({ a: { stage: 'drafting' } }, 'r0')).toBe(false);
    tell(phase('chapters', 'r1', 'cancelled', { reason: 'user' }));
    expect(live({ a: { stage: 'drafting' } })).toBe(false);
    expect(store.live.panes).toEqual({});
  });

  test('a task with a strange name is one like any other', () => {
    const { live, shown, change } = writing();
    change({ id: '__proto__', status: 'running' });
    live(Object.fromEntries([['__proto__', { stage: 'drafting' }]]));
    expect(shown('__proto__')).toEqual({ stage: 'drafting' });
  });
});

describe('live values of a task are forgotten', () => {
  /** Tasks a and b have text, number or both. */
  function known() {
    const all = writing();
    all.text(0, 'It is');
    all.live({ b: { stage: 'drafting', text: { at: 0, add: 'Then' } } });
    return all;
  }

  test('when a `tasks` record ends it; those of the others stay', () => {
    const { change, shown } = known();
    change({ id: 'a', status: 'failed', error: { code: 'timeout', message: 'slow', retryable: true } });
    expect(shown('a')).toBeUndefined();
    expect(shown('b')?.text).toBe('Then');
  });

  test('when it waits for another attempt', () => {
    const { change, shown } = known();
    change({ id: 'b', status: 'queued', attempt: 2, retryAt: '2026-11-20T18:00:09.000Z' });
    expect(shown('b')).toBeUndefined();
    expect(shown('a')?.text).toBe('It is');
  });

  test('when its `pane.content` record ends it; a part without a task takes nothing', () => {
    const { tell, shown } = known();
    const part = {
      type: 'pane.content',
      pane: 'chapters',
      run: 'r1',
      key: 'one',
      value: 'It is.',
      version: 1,
    } as const;
    tell(part);
    expect(shown('a')?.text).toBe('It is');
    tell({ ...part, version: 2, task: { id: 'a', status: 'succeeded' } });
    expect(shown('a')).toBeUndefined();
    expect(shown('b')?.text).toBe('Then');
  });

  test('when the run ends', () => {
    const { tell, store } = known();
    tell(phase('chapters', 'r1', 'updated'));
    expect(store.live.panes).toEqual({});
  });

  test('with a snapshot', () => {
    const { store, journal } = known();
    const { view } = journal;
    const frame: SnapshotFrame = { type: 'snapshot', session: 'chat-7', cursor: 'e1.2', reason: 'resync', view };
    store.takeSnapshot(frame);
    expect(store.live.panes).toEqual({});
  });

  test('but not when a record says something else about a task at work', () => {
    const { change, shown } = known();
    change({ id: 'a', stage: 'polishing' }, { id: 'c', status: 'running' });
    expect(shown('a')?.text).toBe('It is');
    expect(shown('b')?.text).toBe('Then');
  });
});
