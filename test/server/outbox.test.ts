import { createServer } from 'node:http';
import { Writable } from 'node:stream';
import { describe, expect, it, onTestFinished, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Flusher, socketsPerTurn } from '../../src/server/transport/flusher.ts';
import { Outbox, type OutboxOptions } from '../../src/server/transport/outbox.ts';
import type { Subscription } from '../../src/server/session-api.ts';
import { Batch, textFrame } from '../../src/server/transport/stream.ts';
import { batchOf } from '../support/fake-sessions.ts';
import { SimClock } from '../support/sim-clock.ts';

/** A socket whose system takes bytes only when the test says so; counts system calls. */
class SlowWire extends Writable {
  calls = 0;
  taken = '';
  stuck = false;
  #release: (() => void) | undefined;

  constructor() {
    super({ highWaterMark: 1024, decodeStrings: false });
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this._writev([{ chunk }], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.calls += 1;
    for (const { chunk } of chunks) this.taken += chunk.toString('latin1');
    if (this.stuck) this.#release = done;
    else done();
  }

  /** The system takes what it has in hand. */
  async take(): Promise<void> {
    const release = this.#release;
    this.#release = undefined;
    release?.();
    await turn();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

const record = (session: string, text: string): Batch =>
  batchOf({
    type: 'record',
    session,
    cursor: 'c',
    record: { seq: 1, at: '', type: 'message.text', text: { message: 'm', at: 0, add: text } },
  });
const live = (session: string, add: string): Batch =>
  batchOf({ type: 'live', session, text: { message: 'm', at: 0, add } });
const snapshot = (session: string): Batch => batchOf({ type: 'caughtUp', session, cursor: 'resynced' });
const ended = (session: string): Batch => batchOf({ type: 'ended', session, reason: 'deleted' });

function setup(options: Partial<OutboxOptions> = {}) {
  const wire = new SlowWire();
  const clock = new SimClock();
  const dropped = { live: 0, record: 0, connection: 0 };
  const seen = { resyncs: 0, slow: 0, paused: [] as boolean[] };
  const outbox = new Outbox({
    wire,
    open: () => true,
    encoding: 'ws',
    outboxBytes: 4096,
    graceMs: 10_000,
    clock,
    flusher: new Flusher(),
    counters: { dropped: (kind, amount) => void (dropped[kind] += amount), resynced: () => void (seen.resyncs += 1) },
    tooSlow: () => void (seen.slow += 1),
    pause: (paused) => void seen.paused.push(paused),
    ...options,
  });
  const subscribe = (session: string) => {
    const lane = outbox.lane(() => {});
    const subscription: Subscription & { resyncs: number; closed: number } = {
      session,
      resyncs: 0,
      closed: 0,
      resync: () => {
        subscription.resyncs += 1;
        return snapshot(session);
      },
      close: () => void (subscription.closed += 1),
    };
    lane.attach(subscription);
    return { lane, subscription };
  };
  return { wire, clock, outbox, dropped, seen, subscribe };
}

/** Makes the socket full: nothing more is written until `take`. */
async function block({ wire, outbox }: ReturnType<typeof setup>): Promise<void> {
  wire.stuck = true;
  outbox.answer(Buffer.alloc(1500, 'x'));
  await turn();
  expect(outbox.blocked).toBe(true);
}

describe('one tick, one write', () => {
  it('hands everything that a tick produced over in one call, in order', async () => {
    const { wire, outbox, subscribe } = setup();
    const a = subscribe('a').lane;
    a.push(record('a', 'first'));
    outbox.answer(textFrame('{"ack":1}'));
    a.push(live('a', 'second'));
    expect(wire.calls).toBe(0);
    await turn();
    expect(wire.calls).toBe(1);
    expect(wire.taken).toMatch(/first.*ack.*second/s);
  });

  it('writes a single batch as its shared buffer, not a copy', async () => {
    const { wire, subscribe } = setup();
    const batch = record('a', 'x');
    const written: unknown[] = [];
    wire._write = (chunk: Buffer, _encoding: string, done: () => void) => {
      written.push(chunk);
      done();
    };
    subscribe('a').lane.push(batch);
    await turn();
    expect(written[0]).toBe(batch.ws);
  });

  it(`cuts a large fan-out into turns of ${socketsPerTurn}`, async () => {
    const turns: (() => void)[] = [];
    const flusher = new Flusher((fn) => void turns.push(fn));
    let flushed = 0;
    for (let i = 0; i < socketsPerTurn + 1; i += 1) flusher.schedule({ flush: () => void (flushed += 1) });
    expect(turns).toHaveLength(1);
    turns[0]?.();
    expect([flushed, turns.length]).toEqual([socketsPerTurn, 2]);
    turns[1]?.();
    expect([flushed, turns.length]).toEqual([socketsPerTurn + 1, 2]);
    flusher.schedule({ flush: () => void (flushed += 1) });
    turns[2]?.();
    expect(flushed).toBe(socketsPerTurn + 2);
  });
});

describe('past outboxBytes', () => {
  it('drops live frames first, keeps records and answers', async () => {
    const s = setup();
    const { lane, subscription } = s.subscribe('a');
    await block(s);
    lane.push(live('a', 'L'.repeat(1000)));
    lane.push(record('a', 'R'.repeat(1000)));
    expect(s.dropped.live).toBe(0);
    lane.push(live('a', 'L'.repeat(1000)));
    expect(s.dropped.live).toBe(2);
    lane.push(live('a', 'also later ones')); // until it has drained
    expect(s.dropped.live).toBe(3);
    s.wire.stuck = false;
    await s.wire.take();
    expect(s.wire.taken).toContain('RRR');
    expect(s.wire.taken).not.toMatch(/L{3}|later/);
    expect(subscription.resyncs).toBe(0);
    lane.push(live('a', 'again'));
    await turn();
    expect(s.wire.taken).toContain('again');
  });

  it('then replaces the records of the fullest subscription by one resync, made when the socket is free', async () => {
    const s = setup();
    const full = s.subscribe('full');
    const small = s.subscribe('small');
    await block(s);
    small.lane.push(record('small', 'kept'));
    for (let i = 0; i < 3; i += 1) full.lane.push(record('full', 'F'.repeat(900)));
    s.outbox.answer(textFrame('{"ack":1}'));
    expect(s.dropped.record).toBe(3);
    full.lane.push(record('full', 'FFF pushed while stale: in the snapshot'));
    expect(full.subscription.resyncs).toBe(0);
    s.wire.stuck = false;
    await s.wire.take();
    expect(s.wire.taken).not.toContain('FFF');
    expect(s.wire.taken).toMatch(/kept.*ack.*"session":"full","cursor":"resynced"/s);
    expect([full.subscription.resyncs, small.subscription.resyncs, s.seen.resyncs]).toEqual([1, 0, 1]);
    full.lane.push(record('full', 'after'));
    await turn();
    expect(s.wire.taken).toContain('after');
  });

  it('never holds more than its bound, whatever comes', async () => {
    const s = setup();
    const lanes = ['a', 'b', 'c'].map((name) => s.subscribe(name).lane);
    await block(s);
    for (let i = 0; i < 300; i += 1)
      for (const [n, lane] of lanes.entries()) {
        lane.push(i % 2 === 0 ? record(`${n}`, 'r'.repeat(700)) : live(`${n}`, 'l'.repeat(700)));
        expect(s.outbox.pending).toBeLessThanOrEqual(4096);
      }
  });

  it('gives a batch over the bound as a resync at once', async () => {
    const s = setup();
    const { lane, subscription } = s.subscribe('a');
    lane.push(record('a', 'R'.repeat(5000)));
    await turn();
    expect(s.wire.taken).not.toContain('RRR');
    expect(subscription.resyncs).toBe(1);
  });

  it('lets a quick client have more than the bound in one tick', async () => {
    const s = setup();
    const { lane, subscription } = s.subscribe('a');
    for (let i = 0; i < 20; i += 1) {
      lane.push(record('a', `${'R'.repeat(900)} ${i};`));
      // What a real socket does at once: the system takes it all.
      if (s.outbox.blocked) await turn();
    }
    await turn();
    for (let i = 0; i < 20; i += 1) expect(s.wire.taken).toContain(` ${i};`);
    expect([subscription.resyncs, s.dropped.record]).toEqual([0, 0]);
  });

  it('keeps `ended` and makes no resync of what is over', async () => {
    const s = setup();
    const { lane, subscription } = s.subscribe('a');
    await block(s);
    for (let i = 0; i < 3; i += 1) lane.push(record('a', 'R'.repeat(900)));
    lane.push(ended('a'));
    s.wire.stuck = false;
    await s.wire.take();
    expect(s.wire.taken).toContain('"type":"ended"');
    expect(s.wire.taken).not.toContain('RRR');
    expect(subscription.resyncs).toBe(0);
  });

  it('keeps `ended` also when the batch that holds it is what breaks the bound', async () => {
    const s = setup();
    const { lane, subscription } = s.subscribe('a');
    await block(s);
    for (let i = 0; i < 2; i += 1) lane.push(record('a', 'R'.repeat(900)));
    lane.push(new Batch([...record('a', 'R'.repeat(900)).frames, ...ended('a').frames]));
    expect(s.outbox.pending).toBeLessThan(2000);
    s.wire.stuck = false;
    await s.wire.take();
    expect(s.wire.taken).toContain('"type":"ended"');
    expect(s.wire.taken).not.toContain('RRR');
    expect(subscription.resyncs).toBe(0);
  });

  it('never drops answers; stops reading from a client that lets them pile up', async () => {
    const s = setup();
    await block(s);
    for (let i = 0; i < 10; i += 1) s.outbox.answer(Buffer.from(`<${i}>${'a'.repeat(500)}`));
    expect(s.seen.paused).toEqual([true]);
    s.wire.stuck = false;
    await s.wire.take();
    for (let i = 0; i < 10; i += 1) expect(s.wire.taken).toContain(`<${i}>`);
    expect(s.seen.paused).toEqual([true, false]);
  });
});

describe('the grace', () => {
  it('closes after 10 s without progress, not before', async () => {
    const s = setup();
    await block(s);
    await s.clock.advance(9_999);
    expect(s.seen.slow).toBe(0);
    await s.clock.advance(1);
    expect([s.seen.slow, s.dropped.connection]).toEqual([1, 1]);
  });

  it('goes on while the system takes anything', async () => {
    let inHand = 1000;
    const s = setup({ inHand: () => inHand });
    await block(s);
    for (let i = 0; i < 5; i += 1) {
      inHand -= 1;
      await s.clock.advance(10_000);
    }
    expect(s.seen.slow).toBe(0);
    await s.clock.advance(10_000);
    expect(s.seen.slow).toBe(1);
  });

  it('ends with the outbox', async () => {
    const s = setup();
    await block(s);
    s.outbox.close();
    await s.clock.advance(60_000);
    expect(s.seen.slow).toBe(0);
  });
});

it('closes a subscription that the host gives after the lane was closed', () => {
  const { outbox } = setup();
  const lane = outbox.lane(() => {});
  lane.close();
  let closed = 0;
  lane.attach({ session: 'a', resync: () => snapshot('a'), close: () => void (closed += 1) });
  expect(closed).toBe(1);
});

test.each([0, 1, 125, 126, 65_535, 65_536, 200_000])(
  'a pre-framed text of %i bytes is what the ws Receiver reads',
  async (length) => {
    const text = 'é'.repeat(Math.floor(length / 2)) + 'x'.repeat(length % 2);
    const http = createServer();
    const wss = new WebSocketServer({ noServer: true });
    http.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, () => void socket.write(textFrame(text)));
    });
    await new Promise<void>((resolve) => void http.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void http.close());
    const address = http.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const client = new WebSocket(`ws://127.0.0.1:${port}`);
    onTestFinished(() => client.terminate());
    const [data, isBinary] = await new Promise<[Buffer, boolean]>((resolve, reject) => {
      client.on('message', (data: Buffer, isBinary) => resolve([data, isBinary]));
      client.on('error', reject);
    });
    expect([data.toString() === text, isBinary]).toEqual([true, false]);
  },
);
