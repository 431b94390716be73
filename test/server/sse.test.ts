import http from 'node:http';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { wireError } from '../../src/protocol/codes.ts';
import { startEdge } from '../support/edge.ts';
import { SimClock } from '../support/sim-clock.ts';

/** An event stream read by hand: every block as it came. */
class Events {
  readonly response: http.IncomingMessage;
  readonly ended: Promise<void>;
  #text = '';
  #wake: () => void = () => {};

  constructor(response: http.IncomingMessage) {
    this.response = response;
    this.ended = new Promise((resolve) => response.on('close', resolve));
    response.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString();
      this.#wake();
    });
    response.on('error', () => {});
    onTestFinished(() => void response.destroy());
  }

  static open(url: string, headers: { [name: string]: string } = {}): Promise<Events> {
    return new Promise((resolve, reject) => {
      http.get(url, { headers, agent: false }, (response) => resolve(new Events(response))).on('error', reject);
    });
  }

  /** The next block, without its blank line. */
  async next(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf('\n\n');
      if (end >= 0) {
        const block = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return block;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async event(): Promise<{ event: string; id: string | undefined; data: { [field: string]: unknown } }> {
    const block = await this.next();
    const field = (name: string) =>
      block
        .split('\n')
        .find((line) => line.startsWith(`${name}: `))
        ?.slice(name.length + 2);
    return { event: field('event') ?? '', id: field('id'), data: JSON.parse(field('data') ?? '{}') };
  }
}

describe('an event stream', () => {
  it('begins with retry, then snapshot, caughtUp and what follows, with cursors as ids', async () => {
    const { url, host } = await startEdge();
    host.publish('s1', 'one');
    const events = await Events.open(`${url}/v1/sessions/s1/events`);
    expect(events.response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    expect(await events.next()).toBe('retry: 1000');
    expect(await events.event()).toMatchObject({
      event: 'snapshot',
      id: 'e1:1',
      data: { type: 'snapshot', reason: 'initial' },
    });
    expect(await events.event()).toMatchObject({ event: 'caughtUp', id: 'e1:1' });
    host.publish('s1', 'line\nbreak\r\n');
    host.live('s1', 'x');
    expect(await events.event()).toMatchObject({
      event: 'record',
      id: 'e1:2',
      data: { record: { text: { add: 'line\nbreak\r\n' } } },
    });
    expect(await events.event()).toMatchObject({ event: 'live', id: undefined });
  });

  it('goes on after Last-Event-ID, which wins over ?cursor=', async () => {
    const { url, host } = await startEdge();
    host.publish('s1', 'one', 'two', 'three');
    const first = async (query: string, headers = {}) => {
      const events = await Events.open(`${url}/v1/sessions/s1/events${query}`, headers);
      await events.next();
      return events.event();
    };
    expect(await first('?cursor=e1:1')).toMatchObject({ event: 'record', id: 'e1:2' });
    expect(await first('', { 'last-event-id': 'e1:2' })).toMatchObject({ event: 'record', id: 'e1:3' });
    expect(await first('?cursor=e1:1', { 'last-event-id': 'e1:3' })).toMatchObject({ event: 'caughtUp', id: 'e1:3' });
    expect(await first('?cursor=old')).toMatchObject({ event: 'snapshot', data: { reason: 'reset' } });
    expect(await first('?cursor=')).toMatchObject({ event: 'snapshot', data: { reason: 'initial' } });
  });

  it('sends a comment every 15 s', async () => {
    const clock = new SimClock();
    const { url } = await startEdge({ clock });
    const events = await Events.open(`${url}/v1/sessions/s1/events`);
    for (let i = 0; i < 3; i += 1) await events.next();
    for (let i = 0; i < 2; i += 1) {
      await clock.advance(15_000);
      expect(await events.next()).toBe(': ');
    }
  });

  it('ends with `ended`, and lets go of the session when the client goes', async () => {
    const { url, host, metrics } = await startEdge();
    const one = await Events.open(`${url}/v1/sessions/s1/events`);
    const two = await Events.open(`${url}/v1/sessions/s2/events`);
    for (const events of [one, two]) for (let i = 0; i < 3; i += 1) await events.next();
    expect(metrics.connections.with({ transport: 'sse' }).value).toBe(2);
    host.delete('s1');
    expect(await one.event()).toMatchObject({ event: 'ended', data: { reason: 'deleted' } });
    await one.ended;
    two.response.destroy();
    await vi.waitFor(() => expect(metrics.connections.with({ transport: 'sse' }).value).toBe(0));
    expect(host.sessions.get('s2')?.subscribers.size).toBe(0);
  });

  it('is refused with a status when it never can be, and as an ending stream when it may later', async () => {
    const { url, host, edge } = await startEdge();
    const absent = await fetch(`${url}/v1/sessions/nobody/events`);
    expect([absent.status, JSON.parse(await absent.text()).error.code]).toEqual([404, 'NOT_FOUND']);
    host.refuseSubscribe = { refused: wireError('OVERLOADED', 'full', { retryAfterMs: 5000 }) };
    const overloaded = await fetch(`${url}/v1/sessions/s1/events`);
    expect([overloaded.status, await overloaded.text()]).toEqual([200, 'retry: 5000\n\n']);
    host.refuseSubscribe = undefined;
    host.throwOnSubscribe = true;
    expect(await (await fetch(`${url}/v1/sessions/s1/events`)).text()).toBe('retry: 1000\n\n');
    const head = await fetch(`${url}/v1/sessions/s1/events`, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
    host.throwOnSubscribe = false;
    await Promise.all([
      Events.open(`${url}/v1/sessions/s2/events`).then((events) => events.ended),
      vi.waitFor(() => expect(host.subscribed).toBe(1)).then(() => edge.closeAll()),
    ]);
  });

  it('is bounded: a reader that stops gets the state of now as a snapshot', async () => {
    const { url, host, metrics } = await startEdge({ clock: new SimClock() });
    const events = await Events.open(`${url}/v1/sessions/s1/events`);
    for (let i = 0; i < 3; i += 1) await events.next();
    events.response.pause();
    const pad = 'p'.repeat(100_000);
    for (let i = 0; i < 200; i += 1) {
      host.publish('s1', `${i} ${pad}`);
      await new Promise((resolve) => void setImmediate(resolve));
    }
    expect(metrics.outboxDropped.with({ kind: 'record' }).value).toBeGreaterThan(50);
    events.response.resume();
    for (;;) {
      const { event, id, data } = await events.event();
      if (event !== 'snapshot') continue;
      expect([id, data['reason']]).toEqual(['e1:200', 'resync']);
      break;
    }
    expect((await events.event()).event).toBe('caughtUp');
  });
});
