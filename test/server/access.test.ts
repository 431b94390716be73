import { describe, expect, it, test } from 'vitest';
import { Access, ticketMs } from '../../src/server/transport/access.ts';
import { rawHttp, ready, startEdge, TestClient } from '../support/edge.ts';

const now = (): number => 1_000_000;

describe('Origin and Host', () => {
  const port = 8080;
  /** bind, Host, Origin (null = none), accepted. */
  const matrix: [string, string | undefined, string | null, boolean][] = [
    ['127.0.0.1', '127.0.0.1:8080', null, true],
    ['127.0.0.1', 'localhost:8080', null, true],
    ['127.0.0.1', 'LOCALHOST:8080', null, true],
    ['127.0.0.1', '[::1]:8080', null, true],
    ['127.0.0.1', 'localhost', null, true],
    ['localhost', 'localhost:8080', 'http://localhost:8080', true],
    ['::1', '[::1]:8080', 'http://[::1]:8080', true],
    ['127.0.0.2', '127.0.0.2:8080', 'http://127.0.0.2:8080', true],
    ['127.0.0.1', '127.0.0.1:8080', 'http://127.0.0.1:8080', true],
    ['127.0.0.1', 'localhost:8080', 'https://localhost:8080', true],
    ['127.0.0.1', '127.0.0.1:8080', 'https://app.example', true],
    ['0.0.0.0', 'chat.example', 'https://chat.example', true],
    ['0.0.0.0', 'chat.example:443', 'https://chat.example', true],
    ['0.0.0.0', 'chat.example', null, true],
    ['0.0.0.0', 'chat.example', 'https://app.example', true],
    // DNS rebinding: a foreign name that resolves to us, with an origin to match.
    ['127.0.0.1', 'evil.example:8080', 'http://evil.example:8080', false],
    ['127.0.0.1', 'evil.example:8080', null, false],
    ['127.0.0.1', 'localhost.evil.example', null, false],
    ['127.0.0.1', '127.0.0.1.evil.example:8080', null, false],
    ['localhost', 'evil.example', null, false],
    ['::1', 'evil.example', null, false],
    ['127.0.0.1', undefined, null, false],
    ['127.0.0.1', 'localhost@evil.example', null, false],
    ['127.0.0.1', 'localhost:8080/evil', null, false],
    ['127.0.0.1', '', null, false],
    // Foreign pages.
    ['127.0.0.1', '127.0.0.1:8080', 'http://evil.example', false],
    ['127.0.0.1', '127.0.0.1:8080', 'http://127.0.0.1:9999', false],
    ['127.0.0.1', '127.0.0.1:8080', 'http://localhost:8080', false],
    ['127.0.0.1', '127.0.0.1:8080', 'null', false],
    ['127.0.0.1', '127.0.0.1:8080', '', false],
    ['127.0.0.1', '127.0.0.1:8080', 'file://', false],
    ['127.0.0.1', '127.0.0.1:8080', 'http://127.0.0.1:8080/', false],
    ['127.0.0.1', '127.0.0.1:8080', 'http://127.0.0.1:8080@evil.example', false],
    ['0.0.0.0', 'chat.example', 'https://evil.example', false],
    ['0.0.0.0', 'chat.example', 'https://chat.example.evil.example', false],
    ['0.0.0.0', 'chat.example', 'https://chat.example:444', false],
    ['0.0.0.0', 'chat.example', 'https://app.example:8443', false],
    ['0.0.0.0', 'chat.example', 'http://app.example', false],
    ['0.0.0.0', undefined, 'https://chat.example', false],
  ];
  test.each(matrix)(`bound to %s:${port}, Host %s, Origin %s: %s`, (bind, host, origin, accepted) => {
    const access = new Access({ origins: ['https://app.example'], now });
    access.bind(bind);
    const headers = { ...(host === undefined ? {} : { host }), ...(origin === null ? {} : { origin }) };
    expect(access.refusesPage(headers) === null).toBe(accepted);
  });

  it('checks Host on every bind when host names are configured', () => {
    const access = new Access({ hosts: ['Chat.example'], now });
    access.bind('0.0.0.0');
    expect(access.refusesPage({ host: 'chat.example:80' })).toBeNull();
    expect(access.refusesPage({ host: 'localhost' })).toBeNull();
    expect(access.refusesPage({ host: 'other.example' })).not.toBeNull();
  });

  it('holds on the wire: 403, close 4403, and no session is touched', async () => {
    const { port, host, url } = await startEdge();
    const foreign = await fetch(`${url}/v1/sessions`, { headers: { origin: 'http://evil.example' } });
    expect([foreign.status, JSON.parse(await foreign.text()).error.code]).toEqual([403, 'FORBIDDEN']);
    expect(await rawHttp(port, 'GET /v1/sessions HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1.1 403/,
    );
    for (const options of [{ origin: 'http://evil.example' }, { headers: { host: 'evil.example' } }]) {
      const client = new TestClient(port, options);
      expect(await client.next()).toMatchObject({ type: 'error', fatal: true, error: { code: 'FORBIDDEN' } });
      expect((await client.closed).code).toBe(4403);
    }
    expect(host.subscribed).toBe(0);
    await ready(port, undefined, { origin: `http://127.0.0.1:${port}` });
  });

  it('lets pages of the allow-list read replies, and no others', async () => {
    const { url } = await startEdge({ access: { origins: ['https://app.example'] } });
    const options = {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    };
    const preflight = await fetch(`${url}/v1/sessions/s1/commands`, options);
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([
      204,
      'https://app.example',
    ]);
    expect(preflight.headers.get('access-control-allow-headers')).toContain('idempotency-key');
    const same = await fetch(`${url}/v1/sessions`, { headers: { origin: url } });
    expect([same.status, same.headers.get('access-control-allow-origin'), same.headers.get('vary')]).toEqual([
      200,
      null,
      'origin',
    ]);
  });
});

describe('tokens', () => {
  const hash = 'a'.repeat(64);
  const protectedRoutes: [string, string][] = [
    ['GET', '/v1/sessions'],
    ['GET', '/v1/sessions/s1'],
    ['POST', '/v1/sessions/s1/commands'],
    ['GET', '/v1/sessions/s1/events'],
    ['GET', '/v1/sessions/s1/messages'],
    ['POST', '/v1/sessions/s1/ticket'],
    ['GET', `/v1/assets/s1/${hash}.png`],
    ['GET', '/metrics'],
  ];
  const call = async (url: string, [method, path]: [string, string], headers: { [name: string]: string }) => {
    const controller = new AbortController();
    const body = method === 'POST' ? '{"type":"session.close","id":"k"}' : null;
    const response = await fetch(url + path, {
      method,
      body,
      headers: { 'content-type': 'application/json', ...headers },
      signal: controller.signal,
    });
    const { status } = response;
    controller.abort();
    return status;
  };

  it.each(protectedRoutes)('%s %s: 401 without and with a wrong one, 200 with a right one', async (method, path) => {
    const { url, host } = await startEdge({ access: { tokens: ['right', 'right-too'] } });
    host.assets.set(`s1/${hash}.png`, new Uint8Array([1]));
    for (const headers of [
      {},
      { authorization: 'Bearer wrong' },
      { authorization: 'Basic right' },
      { authorization: 'right' },
      { authorization: 'Bearer ' },
    ])
      expect(await call(url, [method, path], headers)).toBe(401);
    expect(await call(url, [method, `${path}?token=right&t=right`], {})).toBe(401);
    expect(host.commands).toHaveLength(0);
    for (const token of ['right', 'right-too'])
      expect(await call(url, [method, path], { authorization: `Bearer ${token}` })).toBe(200);
  });

  it('are not asked for liveness and readiness, nor where none is configured', async () => {
    const closed = await startEdge({ access: { tokens: ['t'] } });
    for (const path of ['/healthz', '/readyz']) expect(await call(closed.url, ['GET', path], {})).toBe(200);
    const open = await startEdge();
    for (const [method, path] of protectedRoutes.slice(0, 3))
      expect(await call(open.url, [method, path], {})).toBe(200);
    await ready(open.port, 'any');
  });

  it.each([
    ['none', undefined],
    ['a wrong one', 'wrong'],
    ['an empty one', ''],
  ])('init with %s closes 4401', async (_, token) => {
    const { port } = await startEdge({ access: { tokens: ['right'] } });
    const client = new TestClient(port);
    await client.opened;
    client.send({ type: 'init', ...(token === undefined ? {} : { token }) });
    const error = await client.next();
    expect(error).toMatchObject({ type: 'error', fatal: true, error: { code: 'UNAUTHENTICATED' } });
    expect((await client.closed).code).toBe(4401);
    await ready(port, 'right');
  });

  it('of some sessions answer for others as if these were absent', async () => {
    const { port, url, host } = await startEdge({ access: { tokens: [{ token: 'one', sessions: ['s1', 'team-*'] }] } });
    const headers = { authorization: 'Bearer one' };
    const get = async (path: string) => {
      const response = await fetch(url + path, { headers });
      return { status: response.status, body: (await response.text()).replaceAll(/s2|nobody|team-x/g, '?') };
    };
    expect((await get('/v1/sessions/s1')).status).toBe(200);
    for (const path of ['', '/messages', '/events']) {
      const forbidden = await get(`/v1/sessions/s2${path}`);
      expect(forbidden).toEqual(await get(`/v1/sessions/team-x${path}`));
      expect(forbidden.status).toBe(404);
    }
    expect(
      JSON.parse((await get('/v1/sessions')).body).sessions.map((line: { session: string }) => line.session),
    ).toEqual(['s1']);
    const name = `${'a'.repeat(64)}.png`;
    for (const session of ['s1', 's2']) host.assets.set(`${session}/${name}`, new Uint8Array([1]));
    expect((await get(`/v1/assets/s1/${name}`)).status).toBe(200);
    expect(await get(`/v1/assets/s2/${name}`)).toEqual(await get(`/v1/assets/team-x/${name}`));
    expect((await get(`/v1/assets/s2/${name}`)).status).toBe(404);
    expect((await get('/metrics')).status).toBe(403);
    expect((await fetch(`${url}/v1/sessions/s2/ticket`, { method: 'POST', headers })).status).toBe(404);
    const client = await ready(port, 'one');
    for (const frame of [{ type: 'subscribe' }, { type: 'session.close' }, { type: 'session.open' }]) {
      client.send({ ...frame, id: 'k', session: 's2' });
      expect(await client.next()).toMatchObject({
        type: 'error',
        id: 'k',
        error: { code: 'NOT_FOUND', message: 'no session s2' },
      });
    }
    expect([host.commands.length, host.subscribed]).toEqual([0, 0]);
  });
});

describe('tickets', () => {
  const access = (at: number, ticketSecret = 'secret') => new Access({ tokens: ['t'], ticketSecret, now: () => at });

  it('open one session for at most 60 s', () => {
    const { ticket, expiresAt } = access(1000).ticket('s1');
    expect(expiresAt).toBe(1000 + ticketMs);
    const grant = access(expiresAt - 1).ticketGrant(ticket, 's1');
    expect([grant?.all, grant?.sees('s1'), grant?.sees('s2')]).toEqual([false, true, false]);
    expect(access(expiresAt).ticketGrant(ticket, 's1')).toBeUndefined();
    expect(access(999).ticketGrant(ticket, 's1')).toBeUndefined();
    expect(access(2000).ticketGrant(ticket, 's2')).toBeUndefined();
    expect(access(2000, 'another').ticketGrant(ticket, 's1')).toBeUndefined();
  });

  it('that are forged, cut or stretched open nothing', () => {
    const { ticket } = access(1000).ticket('s1');
    const [end = '', signature = ''] = ticket.split('.');
    const later = (Number.parseInt(end, 36) + 1).toString(36);
    const flipped = (signature.startsWith('A') ? 'B' : 'A') + signature.slice(1);
    for (const forged of [
      `${later}.${signature}`,
      `${end}.${flipped}`,
      ticket.slice(0, -1),
      `${ticket}A`,
      '',
      '.',
      `${end}.`,
      `${end}.${'A'.repeat(43)}`,
    ])
      expect(access(2000).ticketGrant(forged, 's1')).toBeUndefined();
  });

  it('work for assets and the event stream only', async () => {
    const { url, host } = await startEdge({ access: { tokens: ['t'] } });
    const name = `${'a'.repeat(64)}.png`;
    for (const session of ['s1', 's2']) host.assets.set(`${session}/${name}`, new Uint8Array([1]));
    const given = await fetch(`${url}/v1/sessions/s1/ticket`, {
      method: 'POST',
      headers: { authorization: 'Bearer t' },
    });
    const { ticket } = JSON.parse(await given.text());
    const status = async (path: string) => {
      const controller = new AbortController();
      const response = await fetch(`${url}${path}?t=${ticket}`, { signal: controller.signal });
      controller.abort();
      return response.status;
    };
    expect(await status(`/v1/assets/s1/${name}`)).toBe(200);
    expect(await status('/v1/sessions/s1/events')).toBe(200);
    for (const path of [
      `/v1/assets/s2/${name}`,
      '/v1/sessions/s2/events',
      '/v1/sessions/s1',
      '/v1/sessions/s1/messages',
      '/v1/sessions',
      '/metrics',
    ])
      expect(await status(path)).toBe(401);
    expect(
      (await fetch(`${url}/v1/sessions/nobody/ticket`, { method: 'POST', headers: { authorization: 'Bearer t' } }))
        .status,
    ).toBe(404);
  });
});
