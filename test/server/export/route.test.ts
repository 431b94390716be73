import { describe, expect, it } from 'vitest';
import { maxExportsAtOnce } from '../../../src/server/transport/routes/export.ts';
import type { Transcript } from '../../../src/server/export/transcript.ts';
import type { Refused } from '../../../src/server/session-api.ts';
import { startEdge } from '../../support/edge.ts';
import { FakeSessions } from '../../support/fake-sessions.ts';
import { hashOfRest } from './hash.ts';
import { message, transcript } from './source.ts';

describe('GET …/export.md', () => {
  it('[X1] gives the session as a file, with an ETag of its content', async () => {
    const { url, host } = await startEdge();
    host.publish('s1', 'Hello.');
    const response = await fetch(`${url}/v1/sessions/s1/export.md`);
    const text = await response.text();
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/markdown; charset=utf-8',
      'content-disposition': 'attachment; filename="s1.md"',
      'x-content-type-options': 'nosniff',
      'cache-control': 'private, no-cache',
      'content-length': String(Buffer.byteLength(text)),
    });
    expect(text).toContain('\n> Hello.\n');
    const etag = response.headers.get('etag') ?? '';
    expect(etag).toBe(`"${hashOfRest(text)}"`);
    const again = await fetch(`${url}/v1/sessions/s1/export.md`, { headers: { 'if-none-match': etag } });
    expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag]);
    host.publish('s1', 'Changed.');
    const changed = await fetch(`${url}/v1/sessions/s1/export.md`, { headers: { 'if-none-match': etag } });
    expect([changed.status, (await changed.text()).includes('> Changed.')]).toEqual([200, true]);
    const head = await fetch(`${url}/v1/sessions/s1/export.md`, { method: 'HEAD' });
    expect([head.status, await head.text(), head.headers.get('etag')]).toEqual([200, '', changed.headers.get('etag')]);
    expect((await fetch(`${url}/v1/sessions/s1/export.md`, { method: 'POST' })).status).toBe(405);
  });

  it('[X1] an absent session, and one that the caller may not see, answer alike; no token: 401', async () => {
    const { url } = await startEdge({ access: { tokens: [{ token: 'only-s1', sessions: ['s1', 'gone'] }] } });
    const get = async (session: string, token?: string) => {
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const response = await fetch(`${url}/v1/sessions/${session}/export.md`, { headers });
      return { status: response.status, body: (await response.text()).replace(session, '…') };
    };
    expect((await get('s1', 'only-s1')).status).toBe(200);
    expect((await get('s1')).status).toBe(401);
    const hidden = await get('s2', 'only-s1');
    expect(hidden.status).toBe(404);
    expect(hidden).toEqual(await get('gone', 'only-s1'));
    expect((await get('a.b', 'only-s1')).status).toBe(400);
  });

  it('[X1] a ticket for assets does not open it', async () => {
    const { url } = await startEdge({ access: { tokens: ['secret'] } });
    const headers = { authorization: 'Bearer secret' };
    const given: { ticket: string } = JSON.parse(
      await (await fetch(`${url}/v1/sessions/s1/ticket`, { method: 'POST', headers })).text(),
    );
    expect((await fetch(`${url}/v1/sessions/s1/export.md?t=${given.ticket}`)).status).toBe(401);
  });

  it('[X4] at most four are made at the same time; the next one is told to come again', async () => {
    const host = new SlowSessions('s1');
    const { url } = await startEdge({ host });
    const get = () => fetch(`${url}/v1/sessions/s1/export.md`);
    const first = Array.from({ length: maxExportsAtOnce }, get);
    await host.asked4;
    const refused = await get();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    host.go();
    expect((await Promise.all(first)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect((await get()).status).toBe(200);
  });

  it('[X4] a session of 10,000 messages is one file', async () => {
    const host = new SlowSessions('s1');
    host.go();
    host.content = transcript(
      Array.from({ length: 10_000 }, (_, i) => message(`m${i}`, `Message number ${i}.`)),
      {},
      's1',
    );
    const { url } = await startEdge({ host });
    const text = await (await fetch(`${url}/v1/sessions/s1/export.md`)).text();
    expect(text.match(/^### /gm)).toHaveLength(10_000);
    expect(text).toContain('> Message number 9999.');
  });
});

/** Sessions whose transcripts wait for `go`. */
class SlowSessions extends FakeSessions {
  content = transcript([], {}, 's1');
  go: () => void = () => undefined;
  /** Resolves when as many wait as may be made at once. */
  readonly asked4: Promise<void>;
  readonly #gone: Promise<void>;
  #waiting = 0;
  #asked: () => void = () => undefined;

  constructor(...names: string[]) {
    super(...names);
    this.#gone = new Promise((resolve) => (this.go = resolve));
    this.asked4 = new Promise((resolve) => (this.#asked = resolve));
  }

  override async transcript(): Promise<Transcript | Refused> {
    this.#waiting += 1;
    if (this.#waiting === maxExportsAtOnce) this.#asked();
    await this.#gone;
    return this.content;
  }
}
