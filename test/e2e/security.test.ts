import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { cases } from '../support/hostile-cases.ts';
import { configFor } from './model-server.ts';
import { cli, folder, follow, imageOf, models, serve, Wire, writeConfig } from './support.ts';

const token = 'canary-token-7f3a9c1e5b';
const key = 'sk-canary-key-2d8e6f4a0c';

test('a host that others can reach and no token: refuses to start and says why', async () => {
  const cwd = folder();
  for (const args of [
    ['--host', '0.0.0.0'],
    ['--host', '::'],
    ['--host', '192.0.2.1'],
  ]) {
    const { code, stdout, stderr } = await cli(['serve', '--port', '0', ...args], { cwd });
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('MULLION_TOKEN');
  }
  const open = await serve({ data: folder(), args: ['--host', '0.0.0.0'], env: { MULLION_TOKEN: token } });
  expect(open.url).toMatch(/^http:\/\/0\.0\.0\.0:/);
});

test('with a token every route and socket needs it, also absent sessions; the page and its client do not', async () => {
  const server = await serve({ data: folder(), env: { MULLION_TOKEN: token } });
  const wire = await follow(server, 's', { create: true, token });
  await wire.say('Mara rows to the lighthouse at dusk. The lamp is dark and the door stands open.');
  const view = await wire.quiet(1);
  const image = imageOf(view);
  const routes = [
    '/v1/sessions',
    '/v1/sessions/s',
    '/v1/sessions/absent',
    '/v1/sessions/s/messages',
    '/v1/sessions/s/events',
    image,
    '/metrics',
  ];
  for (const route of routes) {
    for (const headers of [{}, { authorization: 'Bearer wrong-token' }, { authorization: token }]) {
      const response = await fetch(server.url + route, { headers });
      expect([route, response.status]).toEqual([route, 401]);
      await response.body?.cancel();
    }
    if (route.endsWith('events')) continue;
    const allowed = await fetch(server.url + route, { headers: { authorization: `Bearer ${token}` } });
    expect([route, allowed.status]).toEqual([route, route.endsWith('absent') ? 404 : 200]);
  }
  const post = await fetch(`${server.url}/v1/sessions/s/commands`, {
    method: 'POST',
    body: '{"type":"session.delete","id":"x"}',
  });
  expect(post.status).toBe(401);
  for (const route of ['/', '/client.js', '/healthz']) expect((await fetch(server.url + route)).status).toBe(200);

  for (const init of [{}, { token: 'wrong-token' }]) expect(await closeOf(server.ws, init)).toBe(4401);
});

test('a page of another origin and a foreign Host are refused', async () => {
  const server = await serve({ data: folder() });
  const evil = await fetch(`${server.url}/v1/sessions`, { headers: { origin: 'https://evil.example' } });
  expect(evil.status).toBe(403);
  const code = await new Promise((resolve) => {
    const socket = new WebSocket(server.ws, 'mullion.v1', { origin: 'https://evil.example' });
    socket.once('error', () => resolve('refused'));
    socket.once('close', (closed) => resolve(closed));
  });
  expect(['refused', 4403]).toContain(code);
});

test('neither the API key nor the token is in any log, record, snapshot, metric, error or file [S2]', async () => {
  const model = await models();
  const cwd = folder();
  const data = folder();
  const text = { ...configFor(model).text, apiKey: key };
  const image = { ...configFor(model).image, apiKey: key };
  const config = writeConfig(cwd, configFor(model, { text, image, log: { level: 'debug' } }));
  const echo = { message: `Incorrect API key provided: ${key}.`, code: 'invalid_api_key' };
  const server = await serve({ data, args: ['--config', config], env: { MULLION_TOKEN: token }, cwd });
  const seen: string[] = [];

  for (const [session, fault] of [
    ['refused', cases.status(401, {}, echo)],
    ['broken', cases.events(`data: ${JSON.stringify({ error: echo })}\n\n`)],
    ['page', cases.reply(500, `<html>${key}</html>`, { 'content-type': 'text/html' })],
    ['good', cases.stream(['Fine.'])],
  ] as const) {
    for (const need of ['reply', 'evaluate-history', 'describe'] as const) model.script(need, fault);
    model.script('image', session === 'good' ? cases.imageB64() : cases.status(401, {}, echo));
    const wire = await follow(server, session, { create: true, token });
    await wire.ack({ type: 'pane.pause', pane: 'scene' });
    await wire.say('Hello');
    await wire.view(
      ({ panes }) =>
        ['error', 'updated'].includes(panes['reply']?.phase ?? '') &&
        ['error', 'updated', 'unchanged'].includes(panes['history']?.phase ?? ''),
    );
    await wire.ack({ type: 'pane.resume', pane: 'scene' });
    await wire.view(({ panes }) =>
      ['error', 'updated', 'unchanged', 'imaging_failed'].includes(panes['scene']?.phase ?? ''),
    );
    seen.push(JSON.stringify(wire.frames));
  }
  const bearer = { authorization: `Bearer ${token}` };
  for (const route of [
    '/v1/sessions',
    '/v1/sessions/refused',
    '/v1/sessions/page/messages',
    '/metrics',
    `/v1/sessions/x?token=${token}`,
  ])
    seen.push(await (await fetch(server.url + route, { headers: bearer })).text());
  seen.push(
    await (await fetch(`${server.url}/v1/sessions/refused`, { headers: { authorization: `Bearer ${token}x` } })).text(),
  );
  const checked = await cli(['check', '--config', config, '--data', folder()], { cwd, env: { MULLION_TOKEN: token } });
  seen.push(checked.stdout, checked.stderr);
  await server.end('SIGTERM');
  seen.push(server.stdout(), server.stderr());
  for (const file of readdirSync(data, { recursive: true, withFileTypes: true }))
    if (file.isFile()) seen.push(readFileSync(join(file.parentPath, file.name), 'latin1'));

  expect(model.asked('reply').every(({ headers }) => headers.authorization === `Bearer ${key}`)).toBe(true);
  for (const secret of [key, token]) {
    const at: string[] = seen
      .map((text) => text.indexOf(secret))
      .map((index, n) => (index < 0 ? '' : `${n}: ${excerpt(seen[n], index)}`));
    expect(at.filter((found) => found !== '').join('\n----\n')).toBe('');
  }
});

const excerpt = (text = '', index = 0): string => text.slice(Math.max(0, index - 120), index + 40);

/** The close code after this `init`. */
async function closeOf(url: string, init: object): Promise<number> {
  const socket = new WebSocket(url, 'mullion.v1');
  socket.once('open', () => socket.send(JSON.stringify({ type: 'init', ...init })));
  return new Promise((resolve) => socket.once('close', resolve));
}

test('a good token opens the socket', async () => {
  const server = await serve({ data: folder(), env: { MULLION_TOKEN: token } });
  const wire = await Wire.open(server.ws, 's', { token });
  await wire.ack({ type: 'session.open' });
  wire.close();
});
