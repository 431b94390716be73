import { mkdtempSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { wireError } from '../../src/protocol/codes.ts';
import { rawHttp, ready, startEdge, TestClient } from '../support/edge.ts';

const json = { 'content-type': 'application/json' };

async function post(url: string, body: unknown, headers: { [name: string]: string } = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(`${url}/v1/sessions/s1/commands`, {
    method: 'POST',
    body: text,
    headers: { ...json, ...headers },
  });
  return { status: response.status, headers: response.headers, body: JSON.parse(await response.text()) };
}

describe('POST …/commands', () => {
  it('answers an ack; id from the body or the Idempotency-Key', async () => {
    const { url, host } = await startEdge();
    expect(await post(url, { type: 'session.close', id: 'k1' })).toMatchObject({
      status: 200,
      body: { type: 'ack', id: 'k1', session: 's1' },
    });
    expect(await post(url, { type: 'session.close' }, { 'idempotency-key': 'k2' })).toMatchObject({
      status: 200,
      body: { id: 'k2' },
    });
    expect(await post(url, { type: 'session.close', id: 'k3' }, { 'idempotency-key': 'k3' })).toMatchObject({
      status: 200,
    });
    expect(await post(url, { type: 'session.close', id: 'k4' }, { 'idempotency-key': 'k5' })).toMatchObject({
      status: 400,
      body: { error: { code: 'BAD_MESSAGE' } },
    });
    expect(host.commands.map(({ id }) => id)).toEqual(['k1', 'k2', 'k3']);
  });

  it.each([
    ['CONFLICT', 409],
    ['STALE_GENERATION', 412],
    ['NOT_FOUND', 404],
    ['RATE_LIMITED', 429],
    ['OVERLOADED', 503],
    ['FORBIDDEN', 403],
  ] as const)('gives %s as %i', async (code, status) => {
    const { url, host } = await startEdge();
    host.answer = async () => ({ refused: wireError(code, 'because', { retryAfterMs: 1500 }) });
    const result = await post(url, { type: 'session.close', id: 'k1' });
    expect(result).toMatchObject({
      status,
      body: { type: 'error', id: 'k1', error: { code, message: 'because', retryAfterMs: 1500 } },
    });
    expect(result.headers.get('retry-after')).toBe('2');
  });

  it('refuses a body over the limit with 413, on both sides of it, also without a length', async () => {
    const { url, host } = await startEdge({ config: { maxFrameBytes: 1000 } });
    const command = '{"type":"session.close","id":"k1"}';
    expect((await post(url, command.padEnd(1000))).status).toBe(200);
    expect(await post(url, command.padEnd(1001))).toMatchObject({
      status: 413,
      body: { error: { code: 'TOO_LARGE' } },
    });
    const chunks = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 20; i += 1) controller.enqueue(new TextEncoder().encode(' '.repeat(100)));
        controller.close();
      },
    });
    const streamed: RequestInit & { duplex: 'half' } = { method: 'POST', body: chunks, headers: json, duplex: 'half' };
    expect((await fetch(`${url}/v1/sessions/s1/commands`, streamed)).status).toBe(413);
    expect(host.commands).toHaveLength(1);
  });

  it('does not wait for the end of a body that is over the limit', async () => {
    const { port } = await startEdge({ config: { maxFrameBytes: 1000 } });
    const socket = net.connect(port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    const answer = new Promise<string>((resolve) => void socket.once('data', (chunk) => resolve(chunk.toString())));
    socket.write(
      'POST /v1/sessions/s1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
        `Transfer-Encoding: chunked\r\n\r\n3e9\r\n${' '.repeat(1001)}\r\n`,
    );
    expect(await answer).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('takes only JSON', async () => {
    const { url } = await startEdge();
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp'])
      expect(await post(url, { type: 'session.close', id: 'k' }, { 'content-type': type })).toMatchObject({
        status: 400,
        body: { error: { code: 'UNSUPPORTED' } },
      });
    expect(await post(url, '{', json)).toMatchObject({ status: 400, body: { error: { code: 'BAD_MESSAGE' } } });
    expect(
      (await post(url, { type: 'session.close', id: 'k' }, { 'content-type': 'Application/JSON; charset=utf-8' }))
        .status,
    ).toBe(200);
    expect((await post(url, { type: 'session.close', id: 'k' }, { 'content-encoding': 'gzip' })).status).toBe(400);
  });

  it('gives INTERNAL without the cause when the host throws', async () => {
    const { url, host, errors } = await startEdge();
    host.answer = () => Promise.reject(new Error('secret detail'));
    const result = await post(url, { type: 'session.close', id: 'k1' });
    expect([result.status, JSON.stringify(result.body).includes('secret')]).toEqual([500, false]);
    expect(errors).toHaveLength(1);
  });
});

describe('reading', () => {
  it('gives view, list and messages', async () => {
    const { url, host } = await startEdge();
    host.publish('s1', 'hello');
    const get = async (target: string) => {
      const response = await fetch(url + target);
      return { status: response.status, body: JSON.parse(await response.text()) };
    };
    expect(await get('/v1/sessions/s1')).toMatchObject({
      status: 200,
      body: { cursor: 'e1:1', view: { session: 's1', seq: 1 } },
    });
    expect(await get('/v1/sessions/nobody')).toMatchObject({ status: 404, body: { error: { code: 'NOT_FOUND' } } });
    expect(await get('/v1/sessions?limit=1')).toMatchObject({ body: { sessions: [{ session: 's1' }] } });
    for (const query of ['', '?limit=0', '?limit=200', '?limit=201&before=m-1', '?limit=-5'])
      expect((await get(`/v1/sessions/s1/messages${query}`)).status).toBe(200);
    expect(host.asked).toEqual([
      { before: null, limit: 50 },
      { before: null, limit: 1 },
      { before: null, limit: 200 },
      { before: 'm-1', limit: 200 },
      { before: null, limit: 1 },
    ]);
    for (const query of ['?limit=x', '?limit=1.5', '?limit=', '?before=', '?before=a/b', '?before=%2e%2e%2f'])
      expect(await get(`/v1/sessions/s1/messages${query}`)).toMatchObject({
        status: 400,
        body: { error: { code: 'BAD_MESSAGE' } },
      });
  });

  it('answers HEAD like GET without a body', async () => {
    const { port } = await startEdge();
    const text = await rawHttp(port, 'HEAD /v1/sessions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    expect(text).toMatch(/^HTTP\/1\.1 200 .*content-length: [1-9]\d+\r\n/s);
    expect(text.endsWith('\r\n\r\n')).toBe(true);
  });
});

describe('targets', () => {
  it.each([
    ['GET', '/nothing', 404],
    ['GET', '/v1', 404],
    ['GET', '/v1/sessions/', 404],
    ['GET', '/v1/sessions/s1/', 404],
    ['POST', '/v1/nothing', 404],
    ['DELETE', '/v1/sessions/s1', 405],
    ['GET', '/v1/sessions/s1/commands', 405],
    ['POST', '/healthz', 405],
    ['PUT', '/', 405],
    ['GET', '/v1/sessions/%', 400],
    ['GET', '/v1/sessions/%ff', 400],
    ['GET', '/v1/sessions/s1%2fcommands', 400],
    ['GET', '/v1/sessions/%00', 400],
    ['GET', '/v1/sessions?limit=%zz', 400],
    ['GET', '/v1/sessions/a%20b', 400],
    ['GET', '/v1/sessions/__proto__.', 400],
    ['GET', `/v1/sessions/${'a'.repeat(65)}`, 400],
    ['GET', '/v1/sessions/..', 400],
    ['GET', 'http://localhost/v1/sessions', 400],
    ['OPTIONS', '*', 400],
  ])('%s %s is %i with an error object', async (method, target, status) => {
    const { port } = await startEdge();
    const text = await rawHttp(port, `${method} ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    const body = JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4));
    expect(body).toMatchObject({
      type: 'error',
      error: { code: expect.any(String), message: expect.any(String), retryable: false },
    });
    if (status === 405) expect(text).toMatch(/\r\nallow: (GET, HEAD|POST)/);
  });
});

describe('assets', () => {
  const hash = 'b'.repeat(64);
  it('are immutable, typed by extension, cannot run, and are answered 304 to who has them', async () => {
    const { url, host } = await startEdge();
    host.assets.set(`s1/${hash}.svg`, Buffer.from('<svg/>'));
    host.assets.set(`s1/${hash}.bin`, Buffer.from('x'));
    const svg = await fetch(`${url}/v1/assets/s1/${hash}.svg`);
    expect(Object.fromEntries(svg.headers)).toMatchObject({
      'content-type': 'image/svg+xml',
      'cache-control': 'private, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringMatching(/default-src 'none'.*sandbox$/),
      etag: `"${hash}"`,
    });
    expect(await svg.text()).toBe('<svg/>');
    expect((await fetch(`${url}/v1/assets/s1/${hash}.bin`)).headers.get('content-type')).toBe(
      'application/octet-stream',
    );
    for (const tag of [`"${hash}"`, `W/"x", W/"${hash}"`, '*']) {
      const cached = await fetch(`${url}/v1/assets/s1/${hash}.svg`, { headers: { 'if-none-match': tag } });
      expect([cached.status, await cached.text()]).toEqual([304, '']);
    }
    expect((await fetch(`${url}/v1/assets/s1/${hash}.svg`, { headers: { 'if-none-match': '"x"' } })).status).toBe(200);
    expect((await fetch(`${url}/v1/assets/s1/${hash}.svg`, { method: 'POST' })).status).toBe(405);
  });

  it.each([
    `s2/${hash}.svg`,
    `s1/${hash}`,
    `s1/${hash}.svgx.png`,
    `s1/${'B'.repeat(64)}.svg`,
    `s1/..`,
    `s%201/${hash}.svg`,
  ])('%s is not found', async (name) => {
    const { url, host } = await startEdge();
    host.assets.set(`s1/${hash}.svg`, Buffer.from('<svg/>'));
    expect([404, 400]).toContain((await fetch(`${url}/v1/assets/${name}`)).status);
  });
});

describe('pages', () => {
  const folder = (): string => {
    const top = mkdtempSync(path.join(tmpdir(), 'mullion-web-'));
    onTestFinished(() => rmSync(top, { recursive: true }));
    mkdirSync(path.join(top, 'web', 'img'), { recursive: true });
    writeFileSync(path.join(top, 'secret.js'), 'secret');
    writeFileSync(path.join(top, 'client.js'), 'export {}');
    for (const name of ['index.html', 'play.js', 'mullion.css', 'img/sprite.svg', 'notes.txt', '.hidden.js'])
      writeFileSync(path.join(top, 'web', name), name);
    symlinkSync(path.join(top, 'secret.js'), path.join(top, 'web', 'link.js'));
    return top;
  };

  it('are served with a policy that allows only their own files', async () => {
    const top = folder();
    const { url } = await startEdge({
      config: { webRoot: path.join(top, 'web'), clientFile: path.join(top, 'client.js') },
      access: { tokens: ['t'] },
    });
    for (const [target, type, text] of [
      ['/', 'text/html', 'index.html'],
      ['/play.js', 'text/javascript', 'play.js'],
      ['/mullion.css', 'text/css', 'mullion.css'],
      ['/img/sprite.svg', 'image/svg+xml', 'img/sprite.svg'],
      ['/client.js', 'text/javascript', 'export {}'],
    ]) {
      const response = await fetch(`${url}${target}`);
      expect([response.status, await response.text()]).toEqual([200, text]);
      expect(response.headers.get('content-type')).toContain(type);
      expect(response.headers.get('content-security-policy')).toBe(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; font-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
      );
      const etag = response.headers.get('etag') ?? '';
      expect((await fetch(`${url}${target}`, { headers: { 'if-none-match': etag } })).status).toBe(304);
    }
  });

  it.each([
    '/../secret.js',
    '/%2e%2e/secret.js',
    '/..%2fsecret.js',
    '/img/../../secret.js',
    '/link.js',
    '/.hidden.js',
    '/notes.txt',
    '/missing.js',
    '/img',
    '//secret.js',
    '/img\\..\\..\\secret.js',
  ])('%s is not a page file', async (target) => {
    const { port } = await startEdge({ config: { webRoot: path.join(folder(), 'web') } });
    const text = await rawHttp(port, `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 40[04] /);
    expect(text).not.toContain('secret\r');
  });
});

describe('operations', () => {
  it('has liveness, readiness and metrics', async () => {
    const { url, edge } = await startEdge();
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    const metrics = await fetch(`${url}/metrics`);
    expect(metrics.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await metrics.text()).toContain('# TYPE mullion_runs_total counter');
    edge.draining();
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
  });

  it('while draining refuses new WebSockets with 503 and keeps the open ones', async () => {
    const { port, edge } = await startEdge();
    const client = await ready(port);
    edge.draining();
    await expect(new TestClient(port).opened).rejects.toThrow(/503/);
    client.send({ type: 'ping' });
    expect(await client.next()).toEqual({ type: 'pong' });
  });

  it('answers 503 over the connection limit and serves again below it', async () => {
    const { port, url } = await startEdge({ config: { maxConnections: 2 } });
    const clients = [await ready(port), await ready(port)];
    const refused = await fetch(`${url}/healthz`);
    expect([refused.status, JSON.parse(await refused.text()).error.code, refused.headers.get('retry-after')]).toEqual([
      503,
      'OVERLOADED',
      '1',
    ]);
    await expect(new TestClient(port).opened).rejects.toThrow(/503/);
    clients[0]?.ws.close();
    await clients[0]?.closed;
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  it('ends a request whose headers, or whose body, do not come in time, with 408', async () => {
    const headers = await startEdge({ config: { headersTimeoutMs: 200 } });
    expect(await rawHttp(headers.port, 'GET /healthz HTTP/1.1\r\nHost: ')).toMatch(/^HTTP\/1\.1 408 /);
    const body = await startEdge({ config: { headersTimeoutMs: 200, requestTimeoutMs: 300 } });
    const slow = 'POST /v1/sessions/s1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
    expect(await rawHttp(body.port, `${slow}Content-Length: 10\r\n\r\n{`)).toMatch(/^HTTP\/1\.1 408 /);
    expect(body.errors).toEqual([]);
  });

  it('answers 400 to what is not HTTP, 404 to another upgrade path', async () => {
    const { port } = await startEdge();
    expect(await rawHttp(port, 'NONSENSE\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    const upgrade = 'GET /other HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    expect(await rawHttp(port, upgrade)).toMatch(/^HTTP\/1\.1 404 /);
  });

  it('stops within its bound although a client does not answer', async () => {
    const { port, edge } = await startEdge();
    const client = await ready(port);
    client.ws.pause();
    const idle = net.connect(port, '127.0.0.1');
    await new Promise((resolve) => void idle.on('connect', resolve));
    await edge.closeAll(50);
    expect(edge.server.listening).toBe(false);
    idle.destroy();
  });
});
