import { expect, test } from 'vitest';
import { connect, MullionError, type ConnectOptions } from '../../src/client/index.ts';
import { emptyView } from '../../src/protocol/view.ts';
import { declare, FakeClock, FakeJournal, fakeSockets, opened, phase, type Frame } from '../support/fake-socket.ts';

function start(options: Partial<ConnectOptions> = {}, random = () => 0.5) {
  const sockets = fakeSockets();
  const clock = new FakeClock();
  const events = new EventTarget();
  const client = connect('ws://test/v1/ws', {
    session: 'chat-7',
    webSocket: sockets.webSocket,
    clock,
    random,
    events,
    ...options,
  });
  return { client, sockets, clock, events, journal: new FakeJournal() };
}

/** A client that follows a session with its panes open. */
function live(options: Partial<ConnectOptions> = {}, random?: () => number) {
  const all = start(options, random);
  all.sockets.last().accept();
  all.journal.add(opened);
  all.sockets.last().say(all.journal.snapshot(), all.journal.caughtUp());
  return all;
}

const code = (error: unknown) => (error instanceof MullionError ? error.code : error);
const failure = (promise: Promise<unknown>) => promise.then(() => 'resolved', code);
const idOf = (frame: Frame | undefined) => String(frame?.['id']);

test('offers mullion.v1, greets with the token, subscribes without a cursor, is live after caughtUp', () => {
  const { client, sockets, journal } = start({ token: 'secret' });
  expect(client.getSnapshot().status).toBe('connecting');
  const socket = sockets.last();
  expect(socket.protocol).toBe('mullion.v1');
  socket.accept();
  expect(socket.sent).toMatchObject([
    { type: 'init', token: 'secret' },
    { type: 'subscribe', session: 'chat-7' },
  ]);
  expect(socket.sent[1]).not.toHaveProperty('cursor');
  journal.add(opened);
  socket.say(journal.snapshot());
  expect(client.getSnapshot().status).toBe('connecting');
  socket.say(journal.caughtUp());
  expect(client.getSnapshot()).toMatchObject({ status: 'live', retryAt: null, error: null, caughtUp: null });
  expect(client.getSnapshot().view).toEqual(journal.view);
});

test('gives the same state object until something changes, and one change for a whole replay', () => {
  const { client, sockets, journal } = start();
  let calls = 0;
  client.subscribe(() => (calls += 1));
  sockets.last().accept();
  sockets.last().say(journal.snapshot());
  for (let i = 0; i < 50; i += 1) sockets.last().say(journal.tell(opened));
  expect(calls).toBe(0);
  sockets.last().say(journal.caughtUp());
  expect(calls).toBe(1);
  const state = client.getSnapshot();
  sockets.last().say({ type: 'pong' });
  expect(client.getSnapshot()).toBe(state);
});

test('after a loss: resumes from the cursor, keeps the view, applies each record once, counts what was committed', () => {
  const { client, sockets, journal, clock } = live();
  sockets.last().say(journal.tell(phase('history', 'r1', 'summarizing')));
  sockets.last().fall();
  expect(client.getSnapshot()).toMatchObject({ status: 'reconnecting', retryAt: 250 });
  expect(client.getSnapshot().view.panes['history']?.phase).toBe('summarizing');
  const seen = journal.view.seq;
  journal.add(phase('history', 'r1', 'updated', { content: { text: 'one' } }));
  journal.add(phase('scene', 's1', 'updated', { content: { description: 'two' } }));
  clock.advance(250);
  sockets.last().accept();
  expect(sockets.last().of('subscribe')).toMatchObject([{ cursor: `e1.${seen}` }]);
  // One record too many: it is already folded.
  sockets.last().say(...journal.since(seen - 1), journal.caughtUp());
  expect(client.getSnapshot().view).toEqual(journal.view);
  expect(client.getSnapshot()).toMatchObject({
    status: 'live',
    caughtUp: { updates: 2, panes: { history: 1, scene: 1 } },
  });
});

test('a reset snapshot replaces everything and counts the panes that differ', () => {
  const { client, sockets, journal, clock } = live();
  sockets.last().fall();
  clock.advance(250);
  sockets.last().accept();
  const other = new FakeJournal();
  other.add({ type: 'session.opened', panes: { scene: declare('scene', ['imaging']) } });
  other.add(phase('scene', 's9', 'updated', { content: { description: 'elsewhere' } }));
  sockets.last().say(other.snapshot('reset'), other.caughtUp());
  expect(client.getSnapshot().view).toEqual(other.view);
  expect(client.getSnapshot().view).not.toEqual(journal.view);
  expect(client.getSnapshot().caughtUp).toEqual({ updates: 1, panes: { scene: 1 } });
});

test('a hole in seq: asks for a snapshot without a cursor, at most once a second, and takes nothing until it comes', () => {
  const { client, sockets, journal, clock } = live();
  const socket = sockets.last();
  clock.advance(5_000);
  const before = client.getSnapshot().view;
  journal.add(phase('history', 'r1', 'waiting'));
  socket.say(journal.tell(phase('history', 'r1', 'summarizing')));
  expect(socket.of('subscribe')).toHaveLength(2);
  expect(socket.of('subscribe')[1]).not.toHaveProperty('cursor');
  // More of the old subscription is under way: no reason to ask again.
  socket.say(journal.tell(phase('scene', 's1', 'waiting')), ...journal.since(1));
  clock.advance(1_000);
  expect(socket.of('subscribe')).toHaveLength(2);
  expect(client.getSnapshot().view).toBe(before);
  socket.say(journal.snapshot('resync'), journal.caughtUp());
  expect(client.getSnapshot().view).toEqual(journal.view);
  journal.add(phase('history', 'r1', 'retrying'));
  socket.say(journal.tell(phase('history', 'r1', 'cancelled')));
  expect(socket.of('subscribe')).toHaveLength(3);
  socket.say(journal.snapshot('resync'), journal.caughtUp());
  journal.add(phase('history', 'r2', 'waiting'));
  socket.say(journal.tell(phase('history', 'r2', 'cancelled')));
  clock.advance(999);
  expect(socket.of('subscribe')).toHaveLength(3);
  clock.advance(1);
  expect(socket.of('subscribe')).toHaveLength(4);
  client.close();
  expect(clock.waiting).toBe(0);
});

test('a record of an unknown type: asks for a snapshot instead of folding it', () => {
  const { client, sockets, journal, clock } = live();
  clock.advance(5_000);
  const view = client.getSnapshot().view;
  sockets.last().say({
    type: 'record',
    session: 'chat-7',
    cursor: 'e1.2',
    record: { seq: view.seq + 1, at: '', type: 'pane.renamed' },
  });
  expect(client.getSnapshot().view).toBe(view);
  expect(sockets.last().of('subscribe')).toHaveLength(2);
  sockets.last().say(journal.snapshot(), journal.caughtUp());
  expect(client.getSnapshot().status).toBe('live');
});

test('send fills in id and session, resolves with the ack, rejects with the typed error', async () => {
  const { client, sockets } = live();
  const said = client.say('hello');
  const run = client.run('history', { tone: 'dry' });
  expect(client.getSnapshot().pending).toBe(2);
  const [add] = sockets.last().of('message.add');
  const [start] = sockets.last().of('pane.run');
  expect(add).toMatchObject({ session: 'chat-7', role: 'user', text: 'hello' });
  expect(idOf(add)).toMatch(/^[0-9a-f-]{36}$/);
  sockets.last().say({ type: 'ack', id: idOf(add), session: 'chat-7', seq: 2, message: 'm1' });
  sockets.last().say({
    type: 'error',
    id: idOf(start),
    error: { code: 'CONFLICT', message: 'busy', retryable: false, data: { run: 'r1' } },
    fatal: false,
  });
  await expect(said).resolves.toMatchObject({ message: 'm1' });
  await expect(run).rejects.toMatchObject({ code: 'CONFLICT', retryable: false, data: { run: 'r1' } });
  expect(client.getSnapshot().pending).toBe(0);
});

test('a gap in message.delta rejects with CONFLICT and says where to go on', async () => {
  const { client, sockets } = live();
  const sent = client.send({ type: 'message.delta', message: 'm1', at: 90, text: 'late' });
  const data = { session: 'chat-7', message: 'm1', at: 40 };
  sockets.last().say({
    type: 'error',
    id: idOf(sockets.last().of('message.delta')[0]),
    error: { code: 'CONFLICT', message: 'expected at = 40', retryable: false, data },
    fatal: false,
  });
  await expect(sent).rejects.toMatchObject({ code: 'CONFLICT', data });
});

test('unanswered commands go out again after a reconnect: same ids, same order, after the subscription', async () => {
  const { client, sockets, clock } = live();
  const first = client.say('one');
  const second = client.say('two');
  const ids = sockets.last().of('message.add').map(idOf);
  sockets.last().fall();
  const third = client.say('three');
  clock.advance(250);
  expect(sockets.all).toHaveLength(2);
  sockets.last().accept();
  const again = sockets.last().sent.slice(1);
  expect(again.map((frame) => frame.type)).toEqual(['subscribe', 'message.add', 'message.add', 'message.add']);
  expect(again.slice(1, 3).map(idOf)).toEqual(ids);
  expect(again.map((frame) => frame['text'])).toEqual([undefined, 'one', 'two', 'three']);
  for (const frame of again.slice(1))
    sockets.last().say({ type: 'ack', id: idOf(frame), session: 'chat-7', duplicate: true });
  await Promise.all([first, second, third]);
});

test('the same command with the same id shares one answer; another command with that id is refused', async () => {
  const { client, sockets } = live();
  const [a, b] = [client.send({ type: 'pane.cancel', id: 'k1' }), client.send({ type: 'pane.cancel', id: 'k1' })];
  expect(await failure(client.send({ type: 'pane.cancel', id: 'k1', pane: 'scene' }))).toBe('CONFLICT');
  expect(sockets.last().of('pane.cancel')).toHaveLength(1);
  sockets.last().say({ type: 'ack', id: 'k1', session: 'chat-7' });
  expect(await a).toEqual(await b);
});

test('100 commands may wait; the 101st is refused with OVERLOADED', async () => {
  const { client, sockets } = start();
  const waiting = Array.from({ length: 100 }, (_, i) => failure(client.say(`${i}`)));
  expect(client.getSnapshot().pending).toBe(100);
  expect(await failure(client.say('one too many'))).toBe('OVERLOADED');
  sockets.last().accept();
  expect(sockets.last().of('message.add')).toHaveLength(100);
  client.close();
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(['CLOSED']));
});

test('a command larger than a frame may be is refused with TOO_LARGE and never sent', async () => {
  const { client, sockets } = start();
  sockets.last().accept(20_000, 400);
  expect(await failure(client.say('é'.repeat(200)))).toBe('TOO_LARGE');
  expect(sockets.last().of('message.add')).toHaveLength(0);
  void failure(client.say('e'.repeat(200)));
  expect(sockets.last().of('message.add')).toHaveLength(1);
  client.close();
});

test.each([
  [4400, 'BAD_MESSAGE'],
  [4401, 'UNAUTHENTICATED'],
  [4403, 'FORBIDDEN'],
  [4406, 'UNSUPPORTED'],
])('close %i ends the client with %s: no reconnect, waiting commands reject, no timer is left', async (close, name) => {
  const { client, sockets, clock } = live();
  const waiting = failure(client.say('x'));
  sockets.last().fall(close, 'because');
  expect(client.getSnapshot()).toMatchObject({ status: 'closed', retryAt: null });
  expect(client.getSnapshot().error).toMatchObject({ code: name, message: 'because', closeCode: close });
  expect(await waiting).toBe(name);
  expect(await failure(client.say('y'))).toBe(name);
  clock.advance(120_000);
  client.retryNow();
  expect(sockets.all).toHaveLength(1);
  expect(clock.waiting).toBe(0);
});

test('a fatal error frame stops the reconnects whatever the close code', () => {
  const { client, sockets, clock } = live();
  const error = { code: 'FORBIDDEN', message: 'not from this page', retryable: false };
  sockets.last().say({ type: 'error', error, fatal: true });
  sockets.last().fall(1000);
  expect(client.getSnapshot()).toMatchObject({ status: 'closed', error: { code: 'FORBIDDEN' } });
  expect(clock.waiting).toBe(0);
});

test('waits grow with full jitter up to 30 s, and start anew once the session is followed', () => {
  let random = 1 - 2 ** -20;
  const { client, sockets, clock, journal } = start({}, () => random);
  const waits: number[] = [];
  for (let i = 0; i < 9; i += 1) {
    sockets.last().fall();
    const waitMs = (client.getSnapshot().retryAt ?? 0) - clock.now();
    waits.push(waitMs);
    clock.advance(waitMs);
  }
  expect(waits).toEqual([499, 999, 1_999, 3_999, 7_999, 15_999, 29_999, 29_999, 29_999]);
  random = 0.1;
  sockets.last().fall();
  expect((client.getSnapshot().retryAt ?? 0) - clock.now()).toBe(3_000);
  clock.advance(3_000);
  sockets.last().accept();
  sockets.last().say(journal.snapshot(), journal.caughtUp());
  sockets.last().fall();
  expect((client.getSnapshot().retryAt ?? 0) - clock.now()).toBe(50);
});

test('1012 and 1013 spread the clients over 2 s at once, and a retryAfterMs is honoured', () => {
  const { client, sockets, clock } = live();
  sockets.last().fall(1012);
  expect(client.getSnapshot().retryAt).toBe(1_000);
  clock.advance(1_000);
  const error = { code: 'OVERLOADED', message: 'later', retryable: true, retryAfterMs: 7_000 };
  sockets.last().say({ type: 'error', error, fatal: false });
  sockets.last().fall(1013);
  expect((client.getSnapshot().retryAt ?? 0) - clock.now()).toBe(9_000);
});

test('silence: asks with ping after half a heartbeat, gives up after 2.5 heartbeats', () => {
  const { client, sockets, clock } = live();
  const socket = sockets.last();
  clock.advance(40_000);
  expect(socket.of('ping').length).toBeGreaterThan(0);
  socket.say({ type: 'pong' });
  clock.advance(49_000);
  expect(client.getSnapshot().status).toBe('live');
  clock.advance(1_000);
  expect(client.getSnapshot().status).toBe('reconnecting');
  expect(socket.closed).toBe(true);
  // What the given-up socket still says is not heard.
  socket.fall(4401);
  expect(client.getSnapshot().status).toBe('reconnecting');
});

test('a server that never answers init is given up after 12 s', () => {
  const { client, sockets, clock } = start();
  sockets.last().open();
  clock.advance(11_999);
  expect(client.getSnapshot().retryAt).toBeNull();
  clock.advance(1);
  expect(client.getSnapshot()).toMatchObject({ status: 'connecting', retryAt: 12_250 });
});

test('retryNow and the event `online` connect at once, and only while a wait is on', () => {
  const { client, sockets, events, clock } = live();
  events.dispatchEvent(new Event('online'));
  expect(sockets.all).toHaveLength(1);
  sockets.last().fall();
  events.dispatchEvent(new Event('online'));
  expect(sockets.all).toHaveLength(2);
  expect(client.getSnapshot()).toMatchObject({ status: 'reconnecting', retryAt: null });
  sockets.last().fall();
  client.retryNow();
  expect(sockets.all).toHaveLength(3);
  client.close();
  events.dispatchEvent(new Event('online'));
  expect(sockets.all).toHaveLength(3);
  expect(clock.waiting).toBe(0);
});

test('close ends the socket, the timers and the waiting commands; nobody is called afterwards', async () => {
  const { client, sockets, clock, journal } = live();
  const waiting = failure(client.say('x'));
  client.close();
  let calls = 0;
  client.subscribe(() => (calls += 1));
  sockets.last().say(journal.tell(opened));
  expect(await waiting).toBe('CLOSED');
  expect(client.getSnapshot()).toMatchObject({ status: 'closed', error: null, pending: 0 });
  expect([sockets.last().closed, clock.waiting, calls]).toEqual([true, 0, 0]);
});

test('close takes its listeners off the window', () => {
  const held = new Set<unknown>();
  const events = {
    addEventListener: (_type: string, listener: unknown) => void held.add(listener),
    removeEventListener: (_type: string, listener: unknown) => void held.delete(listener),
  };
  const { client } = start({ events });
  expect(held.size).toBe(2);
  client.close();
  expect(held.size).toBe(0);
});

test('an absent session: NOT_FOUND in the state, followed as soon as session.open is acked', async () => {
  const { client, sockets, journal } = start();
  const socket = sockets.last();
  socket.accept();
  const error = { code: 'NOT_FOUND', message: 'no such session', retryable: false };
  socket.say({ type: 'error', id: idOf(socket.of('subscribe')[0]), error, fatal: false });
  expect(client.getSnapshot()).toMatchObject({ status: 'live', error: { code: 'NOT_FOUND' } });
  const done = client.send({ type: 'session.open' });
  socket.say({ type: 'ack', id: idOf(socket.of('session.open')[0]), session: 'chat-7', seq: 1 });
  await done;
  expect(socket.of('subscribe')).toHaveLength(2);
  journal.add(opened);
  socket.say(journal.snapshot(), journal.caughtUp());
  expect(client.getSnapshot()).toMatchObject({ status: 'live', error: null });
});

test('a session that is gone when the connection comes back: the view is emptied', () => {
  const { client, sockets, clock } = live();
  sockets.last().fall();
  clock.advance(60_000);
  const socket = sockets.last();
  socket.accept();
  const error = { code: 'NOT_FOUND', message: 'no session chat-7', retryable: false };
  socket.say({ type: 'error', id: idOf(socket.of('subscribe')[0]), error, fatal: false });
  expect(client.getSnapshot()).toMatchObject({ status: 'live', error: { code: 'NOT_FOUND' } });
  expect(client.getSnapshot().view).toEqual(emptyView('chat-7'));
});

test('a subscription refused for a while is tried again after retryAfterMs', () => {
  const { client, sockets, clock } = start();
  const socket = sockets.last();
  socket.accept();
  const error = { code: 'RATE_LIMITED', message: 'later', retryable: true, retryAfterMs: 4_000 };
  socket.say({ type: 'error', id: idOf(socket.of('subscribe')[0]), error, fatal: false });
  clock.advance(3_999);
  expect(socket.of('subscribe')).toHaveLength(1);
  clock.advance(1);
  expect(socket.of('subscribe')).toHaveLength(2);
  socket.say({ type: 'error', id: idOf(socket.of('subscribe')[1]), error, fatal: false });
  client.close();
  expect(clock.waiting).toBe(0);
});

test('a deleted session: the view is emptied, the error says so, the socket stays', () => {
  const { client, sockets } = live();
  sockets.last().say({ type: 'ended', session: 'chat-7', reason: 'deleted' });
  expect(client.getSnapshot()).toMatchObject({ status: 'live', error: { code: 'NOT_FOUND' } });
  expect(client.getSnapshot().view).toEqual(emptyView('chat-7'));
  expect(sockets.last().closed).toBe(false);
});

test('storage keeps cursor and view together over a restart; damaged or foreign content is ignored', () => {
  const kept = new Map<string, string>();
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  };
  const one = live({ storage });
  one.events.dispatchEvent(new Event('pagehide'));
  expect(kept.size).toBe(1);
  const two = start({ storage });
  expect(two.client.getSnapshot().view).toEqual(one.journal.view);
  two.sockets.last().accept();
  expect(two.sockets.last().of('subscribe')).toMatchObject([{ cursor: 'e1.1' }]);
  for (const bad of ['{', '{"cursor":"x","view":{"session":"other"}}', '{"cursor":"x"}', '3']) {
    for (const key of kept.keys()) kept.set(key, bad);
    const three = start({ storage });
    three.sockets.last().accept();
    expect(three.sockets.last().of('subscribe')[0]).not.toHaveProperty('cursor');
  }
});

test('frames of other sessions, unknown types and broken JSON change nothing', () => {
  const { client, sockets } = live();
  const state = client.getSnapshot();
  sockets.last().raw('{');
  sockets.last().raw('null');
  sockets.last().say({ type: 'news' }, new FakeJournal('chat-8').snapshot());
  expect(client.getSnapshot()).toBe(state);
});
