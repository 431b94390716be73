import { describe, expect, test } from 'vitest';
import { Store, textOf } from '../../src/client/store.ts';
import type { ClientState } from '../../src/client/types.ts';
import type { LiveFrame, RecordFrame } from '../../src/protocol/frames.ts';
import type { Fact } from '../../src/protocol/records.ts';
import { FakeJournal, opened, phase } from '../support/fake-socket.ts';

/** A store in the middle of a reply: message m2 has `recorded` as its text, run r1 of the pane `reply` writes it. */
function streaming(recorded = '') {
  const journal = new FakeJournal();
  const store = new Store('chat-7', null);
  const tell = (fact: Fact) => {
    const record = journal.add(fact);
    const frame: RecordFrame = { type: 'record', session: 'chat-7', cursor: `e1.${record.seq}`, record };
    return store.takeRecord(frame);
  };
  const said = { id: 'm1', role: 'user', text: 'go', generation: 1, final: true, reply: 'pane' } as const;
  tell(opened);
  tell({ type: 'message.added', message: said });
  tell(phase('reply', 'r1', 'streaming'));
  const message = {
    id: 'm2',
    role: 'assistant',
    text: '',
    generation: 1,
    final: false,
    reply: 'none',
    run: 'r1',
  } as const;
  tell({ type: 'message.added', message });
  if (recorded !== '') tell({ type: 'message.text', text: { message: 'm2', at: 0, add: recorded } });
  const live = (at: number, add: string, more: Partial<LiveFrame> = {}) => {
    const text = { message: 'm2', at, add };
    return store.takeLive({ type: 'live', session: 'chat-7', pane: 'reply', run: 'r1', attempt: 1, text, ...more }, 7);
  };
  const shown = () => {
    const found = store.view.messages.find((candidate) => candidate.id === 'm2');
    const state: Pick<ClientState, 'text'> = { text: store.text() };
    return found && (state.text['m2'] ?? found.text);
  };
  return { store, journal, tell, live, shown };
}

describe('live text', () => {
  test('goes on from the recorded text and from itself', () => {
    const { live, shown, store } = streaming('It is');
    expect(live(5, '. Not')).toBe(true);
    expect(live(10, ' by much')).toBe(true);
    expect(shown()).toBe('It is. Not by much');
    expect(store.view.messages[1]?.text).toBe('It is');
  });

  test('that begins beyond the known end is dropped; the next record repairs it', () => {
    const { live, shown, tell } = streaming('It is');
    expect(live(6, 'gap')).toBe(false);
    expect(shown()).toBe('It is');
    tell({ type: 'message.text', text: { message: 'm2', at: 5, add: '. Not' } });
    expect(shown()).toBe('It is. Not');
  });

  test('never changes recorded text: what overlaps it is left out', () => {
    const { live, shown } = streaming('It is');
    expect(live(0, 'XXXXX. Not')).toBe(true);
    expect(shown()).toBe('It is. Not');
    expect(live(0, 'XXX')).toBe(false);
    expect(shown()).toBe('It is. Not');
  });

  test('or a frame that says so ends a wait', () => {
    const { live, store } = streaming();
    const frame: LiveFrame = { type: 'live', session: 'chat-7', pane: 'reply', run: 'r1', attempt: 1 };
    const queued = () => store.takeLive({ ...frame, wait: { reason: 'queue', position: 2 } }, 7);
    queued();
    expect(store.live.panes['reply']?.wait).toMatchObject({ position: 2 });
    live(0, 'It');
    expect(store.live.panes['reply']?.wait).toBeUndefined();
    queued();
    expect(store.takeLive({ ...frame, wait: null }, 8)).toBe(true);
    expect(store.live.panes['reply']?.wait).toBeUndefined();
    expect(store.takeLive({ ...frame, wait: null }, 9)).toBe(false);
  });

  test('of a final message is dropped', () => {
    const { live, shown, tell, store } = streaming('It is');
    live(5, ' so');
    tell({ type: 'message.ended', message: 'm2', outcome: 'stopped' });
    expect(shown()).toBe('It is');
    expect(live(5, ' so')).toBe(false);
    expect(store.text()).toEqual({});
  });

  test('of another run, of an ended run, of an older attempt or of an unknown message is dropped', () => {
    const { live, tell } = streaming('It is');
    expect(live(5, 'x', { run: 'r0' })).toBe(false);
    expect(live(5, 'x', { text: { message: 'm9', at: 0, add: 'x' } })).toBe(false);
    tell(phase('reply', 'r1', 'streaming', { attempt: 2 }));
    expect(live(5, 'x')).toBe(false);
    expect(live(5, 'x', { attempt: 2 })).toBe(true);
    tell(phase('reply', 'r1', 'cancelled', { attempt: 2, reason: 'user' }));
    expect(live(6, 'x', { attempt: 2 })).toBe(false);
  });

  test('of an app has neither pane nor run', () => {
    const { store, shown } = streaming('It is');
    store.takeLive({ type: 'live', session: 'chat-7', text: { message: 'm2', at: 5, add: ' so' } }, 0);
    expect(shown()).toBe('It is so');
  });

  test('is forgotten when the run starts another try', () => {
    const { live, shown, tell } = streaming();
    live(0, 'first try');
    tell(phase('reply', 'r1', 'retrying', { attempt: 2, retryAt: '2026-11-20T18:00:01.000Z' }));
    expect(shown()).toBe('');
  });

  test('that a record confirms stays ahead of it', () => {
    const { live, shown, tell } = streaming();
    live(0, 'It is. Not by much');
    tell({ type: 'message.text', text: { message: 'm2', at: 0, add: 'It is.' } });
    expect(shown()).toBe('It is. Not by much');
    expect(live(18, ': the warmth')).toBe(true);
    expect(shown()).toBe('It is. Not by much: the warmth');
  });

  test('that a record contradicts is overwritten from its `at`', () => {
    const { live, shown, tell } = streaming('It ');
    live(3, 'was. Not by much');
    tell({ type: 'message.text', text: { message: 'm2', at: 3, add: 'is' } });
    expect(shown()).toBe('It is');
  });

  test('is not shown with half of a surrogate pair, and a frame that would tear one is dropped', () => {
    const { live, shown } = streaming('a🌲');
    expect(live(2, 'x')).toBe(false);
    expect(live(3, '\ud83c')).toBe(true);
    expect(shown()).toBe('a🌲');
    expect(live(4, 'x')).toBe(false);
    expect(live(4, '\udf32!')).toBe(true);
    expect(shown()).toBe('a🌲🌲!');
  });

  test('gives the same text object until a text changes', () => {
    const { store, live, tell } = streaming('It is');
    live(5, ' so');
    const text = store.text();
    tell(phase('history', 'h1', 'waiting'));
    expect(store.text()).toBe(text);
    expect(textOf({ ...state, text }, { ...message, id: 'm2', text: 'It is' })).toBe('It is so');
    expect(textOf({ ...state, text }, { ...message, id: 'm1', text: 'go' })).toBe('go');
  });
});

describe('live values of a pane', () => {
  const frame = (more: Partial<LiveFrame>): LiveFrame => ({
    type: 'live',
    session: 'chat-7',
    pane: 'scene',
    run: 's1',
    attempt: 1,
    ...more,
  });

  test('carry the time they came; a number ends the wait', () => {
    const { store, tell } = streaming();
    tell(phase('scene', 's1', 'imaging'));
    store.takeLive(frame({ wait: { reason: 'queue', position: 2 } }), 100);
    expect(store.live.panes['scene']).toEqual({ run: 's1', wait: { reason: 'queue', position: 2, at: 100 } });
    store.takeLive(frame({ progress: { value: 12, max: 30, unit: 'step' } }), 200);
    store.takeLive(frame({ preview: '/v1/assets/chat-7/x.png' }), 300);
    expect(store.live.panes['scene']).toEqual({
      run: 's1',
      progress: { value: 12, max: 30, unit: 'step', at: 200 },
      preview: { asset: '/v1/assets/chat-7/x.png', at: 300 },
    });
  });

  test('a phase record clears the number, the end of the run clears all, another run is dropped', () => {
    const { store, tell } = streaming();
    tell(phase('scene', 's1', 'imaging'));
    expect(store.takeLive(frame({ run: 's0', preview: 'x' }), 0)).toBe(false);
    expect(store.takeLive(frame({ pane: 'chapters' }), 0)).toBe(false);
    store.takeLive(frame({ progress: { value: 1, max: 2, unit: 'step' }, preview: 'p' }), 0);
    tell(phase('scene', 's1', 'cancelling'));
    expect(store.live.panes['scene']).toEqual({ run: 's1', preview: { asset: 'p', at: 0 } });
    tell(phase('scene', 's1', 'cancelled'));
    expect(store.live.panes['scene']).toBeUndefined();
    expect(store.takeLive(frame({ preview: 'late' }), 0)).toBe(false);
  });
});

const message = { id: '', role: 'user', text: '', generation: 1, at: '', final: true, outcome: null } as const;
const state: ClientState = {
  status: 'live',
  view: new FakeJournal().view,
  text: {},
  live: {},
  retryAt: null,
  error: null,
  caughtUp: null,
  pending: 0,
};
