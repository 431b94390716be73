import { describe, expect, test } from 'vitest';
import { createLimits } from '../../src/server/limits/limits.ts';
import { silentLogger } from '../../src/server/logger.ts';
import { limitRoutes } from '../../src/server/transport/routes/limits.ts';
import { startEdge } from '../support/edge.ts';
import { SimClock } from '../support/sim-clock.ts';

const host = 'http://127.0.0.1:7860';
const other = 'https://api.example';

async function setUp(access: Parameters<typeof startEdge>[0] = {}) {
  const limits = createLimits({ hosts: { [host]: { concurrency: 1, minIntervalMs: 0 } } }, new SimClock());
  const routes = limitRoutes({ limits, maxBytes: 2000, logger: silentLogger });
  const { url } = await startEdge({ ...access, routes });
  const send = async (method: string, body?: string, headers: { [name: string]: string } = {}) => {
    const response = await fetch(`${url}/v1/limits`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    const answer: unknown = text === '' ? undefined : JSON.parse(text);
    return { status: response.status, body: answer, allow: response.headers.get('allow') };
  };
  const patch = (hosts: unknown) => send('PATCH', JSON.stringify({ hosts }));
  return { limits, send, patch };
}

describe('[Q3] GET and PATCH /v1/limits', () => {
  test('GET shows per host what it may do and does', async () => {
    const { limits, send } = await setUp();
    const { signal } = new AbortController();
    const ask = () => limits.acquire({ host, priority: 1, session: 's', pane: 'p' }, signal);
    const slot = await ask();
    void ask();
    slot.drain();
    expect(await send('GET')).toMatchObject({
      status: 200,
      body: {
        hosts: {
          [host]: {
            limits: { concurrency: 1, minIntervalMs: 0, requestsPerMinute: null, tokensPerMinute: null },
            running: 0,
            draining: 1,
            waiting: 1,
            started: 1,
            refused: 0,
          },
        },
      },
    });
  });

  test('PATCH changes what it names, from the next start on, and answers as GET does', async () => {
    const { limits, patch } = await setUp();
    const { signal } = new AbortController();
    const ask = () => limits.acquire({ host, priority: 1, session: 's', pane: 'p' }, signal);
    await ask();
    void ask();
    const values = { concurrency: 2, minIntervalMs: 0, requestsPerMinute: 30, tokensPerMinute: null };
    const answer = await patch({ [host]: values, [`${other.toUpperCase()}:443/`]: { tokensPerMinute: 9 } });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        hosts: {
          [host]: { limits: values, running: 2, waiting: 0 },
          [other]: { limits: { concurrency: 4, minIntervalMs: 0, requestsPerMinute: null, tokensPerMinute: 9 } },
        },
      },
    });
    await patch({ [host]: { requestsPerMinute: null } });
    expect(limits.snapshot()[host]?.limits).toEqual({ ...values, requestsPerMinute: null });
  });

  const good = { concurrency: 3 };
  test.each([
    [
      'a value out of range',
      { [host]: good, [other]: { concurrency: 0 } },
      `hosts.${other}.concurrency: expected a whole number from 1 to 10000, got 0`,
    ],
    [
      'a text',
      { [host]: { minIntervalMs: '5' } },
      `hosts.${host}.minIntervalMs: expected a whole number from 0 to 3600000, got "5"`,
    ],
    [
      'null where there is no none',
      { [host]: { concurrency: null } },
      `hosts.${host}.concurrency: expected a whole number from 1 to 10000, got null`,
    ],
    [
      'a fraction',
      { [host]: { requestsPerMinute: 0.5 } },
      `hosts.${host}.requestsPerMinute: expected a whole number from 1 to 1000000, or null, got 0.5`,
    ],
    [
      'an unknown key',
      { [host]: { ...good, speed: 1 } },
      `hosts.${host}.speed: expected one of concurrency, minIntervalMs, requestsPerMinute, tokensPerMinute, got "speed"`,
    ],
    ['no object', { [host]: [good] }, `hosts.${host}: expected an object, got a list`],
    [
      'no origin',
      { 'http://h/v1': good },
      'hosts.http://h/v1: expected an origin such as http://127.0.0.1:7860, without a path, got "http://h/v1"',
    ],
    ['hosts that are none', 7, 'hosts: expected an object, got 7'],
    ['no hosts', undefined, 'hosts: expected an object, got nothing'],
    ['the same host twice', { [host]: good, [`${host}/`]: good }, 'hosts: expected each host once, one came twice'],
  ])('%s is refused by name, and nothing changes', async (_, hosts, message) => {
    const { limits, patch } = await setUp();
    const before = limits.snapshot();
    expect(await patch(hosts)).toMatchObject({ status: 400, body: { error: { code: 'BAD_MESSAGE', message } } });
    expect(limits.snapshot()).toEqual(before);
  });

  test('256 hosts in all, not one more', async () => {
    const { limits, patch } = await setUp();
    const some = (from: number, count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`http://h${from + i}`, {}]));
    for (let i = 0; i < 250; i += 50) expect(await patch(some(i, 50))).toMatchObject({ status: 200 });
    expect(await patch(some(250, 6))).toMatchObject({
      status: 400,
      body: { error: { message: 'hosts: expected at most 256 hosts in all, got 257' } },
    });
    expect(Object.keys(limits.snapshot())).toHaveLength(251);
    expect(await patch(some(250, 5))).toMatchObject({ status: 200 });
  });

  test('a body that is no JSON, another key, one that is too large, or another type is refused', async () => {
    const { send } = await setUp();
    expect(await send('PATCH', '{')).toMatchObject({
      status: 400,
      body: { error: { message: 'expected one JSON object, something else came' } },
    });
    expect(await send('PATCH', '{"hosts":{},"host":1}')).toMatchObject({
      status: 400,
      body: { error: { message: 'host: expected only hosts, got "host"' } },
    });
    expect((await send('PATCH', '{"hosts":{}}'.padEnd(2000))).status).toBe(200);
    expect((await send('PATCH', '{"hosts":{}}'.padEnd(2001))).status).toBe(413);
    expect(await send('PATCH', '{}', { 'content-type': 'text/plain' })).toMatchObject({
      body: { error: { code: 'UNSUPPORTED' } },
    });
    expect(await send('POST', '{}')).toMatchObject({ status: 405, allow: 'GET, HEAD, PATCH, OPTIONS' });
  });

  test('only a token for all sessions reads or changes them', async () => {
    const { limits, send } = await setUp({
      access: { tokens: ['full-token', { token: 'part-token', sessions: ['s1'] }] },
    });
    const before = limits.snapshot();
    const body = JSON.stringify({ hosts: { [host]: good } });
    const as = (token: string) => ({ authorization: `Bearer ${token}` });
    expect([(await send('GET')).status, (await send('PATCH', body)).status]).toEqual([401, 401]);
    expect((await send('GET', undefined, as('part-token'))).status).toBe(403);
    expect((await send('PATCH', body, as('part-token'))).status).toBe(403);
    expect(limits.snapshot()).toEqual(before);
    expect((await send('GET', undefined, as('full-token'))).status).toBe(200);
    expect((await send('PATCH', body, as('full-token'))).status).toBe(200);
  });
});
