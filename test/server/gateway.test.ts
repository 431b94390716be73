import { readFileSync } from 'node:fs';
import net from 'node:net';
import { describe, expect, it, test, vi } from 'vitest';
import { closeCodes, errorCodes, fatalCloseCodes, wireError } from '../../src/protocol/codes.ts';
import type { AckFrame } from '../../src/protocol/frames.ts';
import type { Refused } from '../../src/server/session-api.ts';
import { ready, startEdge, TestClient } from '../support/edge.ts';
import { SimClock } from '../support/sim-clock.ts';

/** Frames that arrive are proof that everything sent before them has been handled. */
async function settle(client: TestClient): Promise<void> {
  client.send({ type: 'ping', t: 1 });
  await client.until('pong');
}

describe('PROTOCOL section 8', () => {
  const page = readFileSync(new URL('../../docs/PROTOCOL.md', import.meta.url), 'utf8');
  const section = /## 8\. Close codes\n([\s\S]*?)\n## 9/.exec(page)?.[1] ?? '';
  const [closing = '', naming = ''] = section.split('Error codes:');

  it('lists exactly the close codes of the table', () => {
    const [codes = '', never = ''] = closing.split('Do not retry:');
    const listed = codes.split('·').map((entry) => Number.parseInt(entry.trim(), 10));
    expect(listed).toEqual(Object.values(closeCodes).map(({ code }) => code));
    expect(never.match(/\d{4}/g)?.map(Number)).toEqual(fatalCloseCodes);
    expect(
      Object.values(closeCodes)
        .filter(({ code, retry }) => !retry && code >= 4000)
        .map(({ code }) => code),
    ).toEqual(fatalCloseCodes);
  });

  it('lists exactly the error codes of the table', () => {
    const listed = naming.split('.')[0]?.match(/[A-Z_]{5,}/g);
    expect(listed).toEqual(Object.keys(errorCodes));
  });
});

describe('subprotocol', () => {
  it('selects mullion.v1 wherever it stands in the offer', async () => {
    const { port } = await startEdge();
    const client = new TestClient(port, { protocols: ['other', 'mullion.v1'] });
    await client.opened;
    expect(client.ws.protocol).toBe('mullion.v1');
  });

  it('takes the first offered one and closes 4406 when it is another', async () => {
    const { port } = await startEdge();
    const client = new TestClient(port, { protocols: ['mullion.v9', 'x'] });
    await client.opened;
    expect(client.ws.protocol).toBe('mullion.v9');
    expect(await client.next()).toMatchObject({ type: 'error', fatal: true });
    expect(await client.closed).toEqual({ code: 4406, reason: 'subprotocol' });
  });

  it('closes 4406 when none is offered', async () => {
    const { port } = await startEdge();
    const client = new TestClient(port, { protocols: [] });
    expect((await client.closed).code).toBe(4406);
  });
});

describe('init', () => {
  it('is answered by ready', async () => {
    const { port } = await startEdge({ config: { server: 'mullion/9' } });
    const client = new TestClient(port);
    await client.opened;
    client.send({ type: 'init', client: 'test' });
    expect(await client.next()).toMatchObject({
      type: 'ready',
      protocol: 1,
      connection: 'c1',
      heartbeatMs: 20_000,
      maxFrameBytes: 262_144,
      server: 'mullion/9',
    });
  });

  test.each([
    ['ping', { type: 'ping' }],
    ['a command', { type: 'session.close', id: 'k', session: 's1' }],
    ['an unknown message', { type: 'hello' }],
  ])('is expected first: %s closes 4401', async (_, frame) => {
    const { port, host } = await startEdge();
    const client = new TestClient(port);
    await client.opened;
    client.send(frame);
    client.send({ type: 'init' });
    expect(await client.next()).toMatchObject({ type: 'error', fatal: true, error: { code: 'UNAUTHENTICATED' } });
    expect((await client.closed).code).toBe(4401);
    expect(host.commands).toEqual([]);
  });

  it('must come within 10 s: 4408', async () => {
    const clock = new SimClock();
    const { port } = await startEdge({ clock });
    const early = new TestClient(port);
    const late = new TestClient(port);
    await Promise.all([early.opened, late.opened]);
    early.send({ type: 'init' });
    await early.until('ready');
    await clock.advance(9_999);
    await settle(early);
    expect(late.ws.readyState).toBe(1);
    await clock.advance(1);
    expect((await late.closed).code).toBe(4408);
    await settle(early);
  });

  it('is taken only once', async () => {
    const { port } = await startEdge();
    const client = await ready(port);
    client.send({ type: 'init' });
    expect(await client.next()).toMatchObject({ type: 'error', fatal: false, error: { code: 'BAD_MESSAGE' } });
  });
});

describe('frames', () => {
  test.each([
    ['not JSON', 'x', 4400],
    ['an array', '[]', 4400],
    ['binary', Buffer.from('{"type":"ping"}'), 4400],
    ['a byte too many', `{"type":"ping"}${' '.repeat(486)}`, 1009],
  ])('%s closes', async (_, frame, code) => {
    const { port } = await startEdge({ config: { maxFrameBytes: 500 } });
    const client = await ready(port);
    client.send(frame);
    expect((await client.closed).code).toBe(code);
  });

  it('is closed 1009 at the announced length, before its bytes are there', async () => {
    const { port } = await startEdge();
    const stuck = await stuckClient(port);
    const header = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    header.writeUInt32BE(262_145, 6);
    const closed = new Promise<Buffer>((resolve) => void stuck.once('data', resolve));
    stuck.resume();
    stuck.write(header);
    expect((await closed).readUInt16BE(2)).toBe(1009);
    stuck.destroy();
  });

  it('takes a frame of exactly maxFrameBytes', async () => {
    const { port } = await startEdge({ config: { maxFrameBytes: 500 } });
    const client = await ready(port);
    client.send(`{"type":"ping"}${' '.repeat(485)}`);
    expect(await client.next()).toEqual({ type: 'pong' });
  });

  it('answers a bad message with an error and stays', async () => {
    const { port } = await startEdge();
    const client = await ready(port);
    client.send({ type: 'nonsense', id: 'k9' });
    expect(await client.next()).toMatchObject({
      type: 'error',
      id: 'k9',
      fatal: false,
      error: { code: 'BAD_MESSAGE' },
    });
    await settle(client);
  });

  it('closes 4429 when more come than the bucket holds, and refills it with time', async () => {
    const clock = new SimClock();
    const { port } = await startEdge({ clock, config: { framesPerSecond: 10, frameBurst: 5 } });
    const client = await ready(port); // one
    for (let i = 0; i < 4; i += 1) await settle(client);
    await clock.advance(100);
    await settle(client);
    client.send({ type: 'ping' });
    expect((await client.closed).code).toBe(4429);
  });
});

describe('commands', () => {
  it('are acked with their id, in the order of the host', async () => {
    const { port, host } = await startEdge();
    const waiting: (() => void)[] = [];
    host.answer = (command) =>
      new Promise<AckFrame>((resolve) => {
        waiting.push(() => resolve({ type: 'ack', id: command.id ?? '', session: command.session, seq: 7 }));
      });
    const client = await ready(port);
    client.send({ type: 'session.close', id: 'slow', session: 's1' });
    client.send({ type: 'session.close', id: 'quick', session: 's2' });
    await settle(client);
    waiting[1]?.();
    expect(await client.next()).toMatchObject({ type: 'ack', id: 'quick', session: 's2', seq: 7 });
    waiting[0]?.();
    expect(await client.next()).toMatchObject({ type: 'ack', id: 'slow' });
  });

  it('pass refusals on as error frames', async () => {
    const { port, host } = await startEdge();
    host.answer = async () => ({
      refused: wireError('STALE_GENERATION', 'generation 8 is behind 9', { data: { generation: 9 } }),
    });
    const client = await ready(port);
    client.send({ type: 'session.close', id: 'k1', session: 's1', ifGeneration: 8 });
    expect(await client.next()).toEqual({
      type: 'error',
      id: 'k1',
      session: 's1',
      fatal: false,
      error: {
        code: 'STALE_GENERATION',
        message: 'generation 8 is behind 9',
        retryable: false,
        data: { generation: 9 },
      },
    });
  });

  it('without id are answered only when refused', async () => {
    const { port, host } = await startEdge();
    const client = await ready(port);
    const delta = { type: 'message.delta', session: 's1', message: 'm1', at: 0, text: 'x' };
    client.send(delta);
    client.send({ ...delta, session: 'nobody' });
    expect(await client.next()).toMatchObject({ type: 'error', session: 'nobody', error: { code: 'NOT_FOUND' } });
    expect(host.commands).toHaveLength(2);
  });

  it('over the in-flight cap are refused, nothing is lost, and the cap frees itself', async () => {
    const { port, host, metrics } = await startEdge({ config: { maxInFlight: 2 } });
    const waiting: (() => void)[] = [];
    host.answer = (command) =>
      new Promise<AckFrame | Refused>((resolve) => {
        waiting.push(() => resolve({ type: 'ack', id: command.id ?? '', session: 's1' }));
      });
    const client = await ready(port);
    for (const id of ['a', 'b', 'c']) client.send({ type: 'session.close', id, session: 's1' });
    expect(await client.next()).toMatchObject({
      type: 'error',
      id: 'c',
      error: { code: 'RATE_LIMITED', retryable: true },
    });
    expect(metrics.commands.with({ type: 'session.close', result: 'RATE_LIMITED' }).value).toBe(1);
    for (const answer of waiting.splice(0)) answer();
    expect([(await client.next())['id'], (await client.next())['id']]).toEqual(['a', 'b']);
    client.send({ type: 'session.close', id: 'c', session: 's1' });
    await settle(client);
    waiting[0]?.();
    expect(await client.next()).toMatchObject({ type: 'ack', id: 'c' });
  });

  it('on a host that throws get INTERNAL without the cause; the socket stays', async () => {
    const { port, host, errors } = await startEdge();
    host.answer = () => {
      throw new Error('secret detail');
    };
    host.throwOnSubscribe = true;
    const client = await ready(port);
    client.send({ type: 'session.close', id: 'k1', session: 's1' });
    const error = await client.next();
    expect(error).toMatchObject({ type: 'error', id: 'k1', error: { code: 'INTERNAL' } });
    expect(JSON.stringify(error)).not.toContain('secret');
    client.send({ type: 'subscribe', id: 'k2', session: 's1' });
    expect(await client.next()).toMatchObject({ type: 'error', id: 'k2', error: { code: 'INTERNAL' } });
    await settle(client);
    expect(errors).toHaveLength(2);
  });
});

describe('subscriptions', () => {
  it('get a snapshot and what follows; with a cursor the missed records', async () => {
    const { port, host } = await startEdge();
    host.publish('s1', 'one', 'two');
    const client = await ready(port);
    client.send({ type: 'subscribe', id: 'k1', session: 's1' });
    expect(await client.next()).toMatchObject({ type: 'snapshot', reason: 'initial', cursor: 'e1:2' });
    expect(await client.next()).toMatchObject({ type: 'caughtUp', cursor: 'e1:2' });
    client.send({ type: 'subscribe', id: 'k2', session: 's1', cursor: 'e1:1' });
    expect(await client.next()).toMatchObject({ type: 'record', cursor: 'e1:2', record: { seq: 2 } });
    await client.until('caughtUp');
    host.publish('s1', 'three');
    expect(await client.next()).toMatchObject({ type: 'record', record: { seq: 3 } });
    await settle(client); // replaced, not doubled
    expect([host.subscribed, host.unsubscribed]).toEqual([2, 1]);
  });

  it('end with unsubscribe, with `ended`, and with the socket', async () => {
    const { port, host } = await startEdge();
    const client = await ready(port);
    client.send({ type: 'subscribe', id: 'k1', session: 's1' });
    await client.until('caughtUp');
    client.send({ type: 'unsubscribe', id: 'k2', session: 's1' });
    expect(await client.next()).toEqual({ type: 'ack', id: 'k2', session: 's1' });
    expect(host.unsubscribed).toBe(1);
    client.send({ type: 'subscribe', id: 'k3', session: 's2' });
    await client.until('caughtUp');
    host.delete('s2');
    expect(await client.next()).toEqual({ type: 'ended', session: 's2', reason: 'deleted' });
    client.send({ type: 'subscribe', id: 'k4', session: 's1' });
    await client.until('caughtUp');
    client.ws.close(1000);
    expect((await client.closed).code).toBe(1000);
    await vi.waitFor(() => expect(host.sessions.get('s1')?.subscribers.size).toBe(0));
  });

  it('are refused with the id', async () => {
    const { port } = await startEdge();
    const client = await ready(port);
    client.send({ type: 'subscribe', id: 'k1', session: 'nobody' });
    expect(await client.next()).toMatchObject({
      type: 'error',
      id: 'k1',
      error: { code: 'NOT_FOUND', message: 'no session nobody' },
    });
  });

  it('are capped; ended, refused and replaced ones do not count', async () => {
    const { port, host } = await startEdge({ config: { maxSubscriptions: 1 } });
    const client = await ready(port);
    const subscribe = (session: string) => client.send({ type: 'subscribe', id: session, session });
    subscribe('nobody');
    await client.until('error');
    subscribe('s1');
    await client.until('caughtUp');
    subscribe('s1');
    await client.until('caughtUp');
    subscribe('s2');
    expect(await client.next()).toMatchObject({ type: 'error', id: 's2', error: { code: 'RATE_LIMITED' } });
    host.delete('s1');
    await client.until('ended');
    subscribe('s2');
    await client.until('caughtUp');
  });
});

describe('heartbeat', () => {
  it('pings every 20 s and cuts a client that misses two', async () => {
    const clock = new SimClock();
    const { port } = await startEdge({ clock });
    const alive = await ready(port);
    const dead = await ready(port, undefined, { autoPong: false });
    // Three beats: the first finds the client heard (init), then one ping, two pings unanswered.
    for (let i = 0; i < 3; i += 1) {
      expect(dead.ws.readyState).toBe(1);
      const pinged = Promise.all(
        [alive, dead].map(({ ws }) => new Promise((resolve) => void ws.once('ping', resolve))),
      );
      await clock.advance(20_000);
      if (i < 2) await pinged;
      await settle(alive);
    }
    expect((await dead.closed).code).toBe(1006);
    await settle(alive);
  });
});

/** A client that stops reading after its subscription; resolves with the socket and a way to read on. */
async function stuckClient(port: number): Promise<net.Socket> {
  const socket = net.connect(port, '127.0.0.1');
  const masked = (text: string): Buffer => {
    const body = Buffer.from(text);
    return Buffer.concat([Buffer.from([0x81, 0x80 | body.length, 0, 0, 0, 0]), body]);
  };
  socket.write(
    `GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mullion.v1\r\n\r\n',
  );
  socket.write(masked('{"type":"init"}'));
  socket.write(masked('{"type":"subscribe","id":"k","session":"s1"}'));
  await new Promise<void>((resolve) => {
    let text = '';
    socket.on('data', function read(chunk: Buffer) {
      text += chunk.toString('latin1');
      if (!text.includes('caughtUp')) return;
      socket.off('data', read);
      socket.pause();
      resolve();
    });
  });
  return socket;
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('a client that does not read', () => {
  it('costs a bounded number of bytes, does not slow others, and converges by a resync', async () => {
    const clock = new SimClock();
    const { port, host, metrics, edge } = await startEdge({ clock });
    const sockets: net.Socket[] = [];
    edge.server.on('connection', (socket) => sockets.push(socket));
    const good = await ready(port);
    good.send({ type: 'subscribe', id: 'k', session: 's1' });
    await good.until('caughtUp');
    const stuck = await stuckClient(port);
    const pad = 'p'.repeat(100_000);
    let worst = 0;
    for (let i = 0; i < 300; i += 1) {
      host.publish('s1', `${i} ${pad}`);
      expect(await good.until('record')).toMatchObject({ record: { seq: i + 1 } });
      await turn();
      worst = Math.max(worst, ...sockets.map((socket) => socket.writableLength));
    }
    expect(worst).toBeLessThanOrEqual(1_048_576 + 200_000);
    expect(metrics.outboxDropped.with({ kind: 'record' }).value).toBeGreaterThan(100);
    // It reads again: what it had in hand, then the state of now.
    let text = '';
    const converged = new Promise<void>((resolve) => {
      stuck.on('data', (chunk) => {
        text = (text + chunk.toString('latin1')).slice(-300_000);
        if (text.includes('"reason":"resync"') && text.includes('"cursor":"e1:300"') && text.includes('caughtUp'))
          resolve();
      });
    });
    stuck.resume();
    await converged;
    expect(text).toContain('"text":"299 p');
    expect(metrics.resyncs.with({}).value).toBe(1);
    stuck.destroy();
  });

  it('is closed 4508 when it takes nothing for the grace', async () => {
    const clock = new SimClock();
    const { port, host, metrics } = await startEdge({ clock });
    const stuck = await stuckClient(port);
    const pad = 'p'.repeat(200_000);
    for (let i = 0; i < 60; i += 1) {
      host.publish('s1', pad);
      await turn();
    }
    await clock.advance(9_999);
    await turn();
    expect(host.sessions.get('s1')?.subscribers.size).toBe(1);
    await clock.advance(10_001);
    await turn();
    expect(host.sessions.get('s1')?.subscribers.size).toBe(0);
    expect(metrics.outboxDropped.with({ kind: 'connection' }).value).toBe(1);
    // What was written before comes first, then a close frame whose first two payload bytes are the code.
    const code = Buffer.from([4508 >> 8, 4508 & 255]);
    await new Promise<void>((resolve) => {
      let tail = Buffer.alloc(0);
      stuck.on('data', (chunk) => {
        tail = Buffer.concat([tail, chunk]).subarray(-64);
        if (tail.includes(Buffer.concat([code, Buffer.from('too slow')]))) resolve();
      });
      stuck.resume();
    });
    stuck.destroy();
  });
});

it('sends the frames of one tick as one write', async () => {
  const { port, host, edge } = await startEdge();
  const sockets: net.Socket[] = [];
  edge.server.on('connection', (socket) => sockets.push(socket));
  const client = await ready(port);
  for (const session of ['s1', 's2']) {
    client.send({ type: 'subscribe', id: session, session });
    await client.until('caughtUp');
  }
  const [socket] = sockets;
  if (socket === undefined) throw new Error('expected a connection');
  let writes = 0;
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) throw new Error('expected a handle');
  for (const name of ['writev', 'writeBuffer']) {
    const original: unknown = Reflect.get(handle, name);
    if (typeof original !== 'function') throw new Error(`expected ${name}`);
    Reflect.set(handle, name, (...args: unknown[]) => {
      writes += 1;
      return Reflect.apply(original, handle, args);
    });
  }
  host.publish('s1', 'a', 'b', 'c');
  host.publish('s2', 'd');
  host.live('s1', 'e');
  for (const type of ['record', 'record', 'record', 'record', 'live']) expect((await client.next()).type).toBe(type);
  expect(writes).toBe(1);
});

it('ends all connections with 1012 when the server stops', async () => {
  const { port, edge } = await startEdge();
  const client = await ready(port);
  const [closed] = await Promise.all([client.closed, edge.closeAll()]);
  expect(closed).toEqual({ code: 1012, reason: 'restart' });
});
