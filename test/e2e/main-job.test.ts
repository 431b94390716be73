import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Rec } from '../../src/protocol/records.ts';
import { cases, token } from '../support/hostile-cases.ts';
import { gate } from '../support/hostile-server.ts';
import { sse } from './events.ts';
import { folder, follow, imageOf, getJson, scripted, serve } from './support.ts';

test('offline engine: a message is answered, story and scene follow, all labelled offline [P6]', async () => {
  const server = await serve({ data: folder() });
  const wire = await follow(server, 'lighthouse', { create: true });
  await wire.say('Mara rows to the lighthouse at dusk. The lamp is dark and the door stands open.');
  const view = await wire.quiet(1);
  const [said, reply] = view.messages;
  expect(said).toMatchObject({ role: 'user', generation: 1, final: true });
  expect(reply).toMatchObject({ role: 'assistant', generation: 1, final: true, outcome: 'complete' });
  expect(reply?.text).not.toBe('');
  expect(view.panes['reply']).toMatchObject({ phase: 'updated', content: { engine: 'offline' } });
  expect(view.panes['history']).toMatchObject({
    phase: 'updated',
    fresh: true,
    content: { engine: 'offline', asOf: reply?.id },
  });
  expect(view.panes['scene']).toMatchObject({ phase: 'updated', fresh: true });
  expect(view.panes['scene']?.content?.['engine']).toContain('offline');
  const image = imageOf(view);
  expect(image).toMatch(/^\/v1\/assets\/lighthouse\/[0-9a-f]{64}\.svg$/);
  const picture = await fetch(server.url + image);
  expect(picture.status).toBe(200);
  expect(picture.headers.get('content-type')).toBe('image/svg+xml');
  expect(picture.headers.get('content-security-policy')).toContain('sandbox');
  expect(await picture.text()).toContain('<svg');
  expect(await getJson(`${server.url}/v1/sessions/lighthouse`)).toEqual({
    session: 'lighthouse',
    view,
    cursor: wire.seen.cursor,
  });
  expect(wire.seen.violations).toEqual([]);
});

test('the phases of a run arrive in the order of PROTOCOL 5, one terminal each [P1] [P3]', async () => {
  const { serve: up } = await scripted();
  const wire = await follow(await up(), 's', { create: true });
  await wire.say('A surveyor reaches a glasshouse.');
  await wire.quiet(1);
  const phases = (pane: string) =>
    wire.seen.records.flatMap((record) => (record.type === 'pane.phase' && record.pane === pane ? [record.phase] : []));
  expect(phases('reply')).toEqual(['streaming', 'updated']);
  expect(phases('history')).toEqual(['waiting', 'debouncing', 'evaluating', 'summarizing', 'updated']);
  expect(phases('scene')).toEqual(['waiting', 'debouncing', 'evaluating', 'describing', 'imaging', 'updated']);
});

test('a scripted model: live text before it is recorded, then story, description and picture', async () => {
  const { model, serve: up } = await scripted();
  const held = gate();
  model.script('reply', async (exchange) => {
    exchange.head(200, { 'content-type': 'text/event-stream' });
    await exchange.write(token('Snow '));
    await held.opened;
    await exchange.write(token('falls.'));
    exchange.end('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
  });
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  await wire.say('What is outside?');
  const live = await wire.frame((frame) => frame.type === 'live' && frame.text?.add.startsWith('Snow') === true);
  expect(live).toMatchObject({ pane: 'reply', text: { at: 0 } });
  held.open();
  const view = await wire.quiet(1);
  expect(view.messages.at(-1)).toMatchObject({ text: 'Snow falls.', outcome: 'complete' });
  expect(view.panes['history']?.content).toMatchObject({
    text: 'Ines reached the glasshouse.',
    engine: 'm-summarize',
  });
  expect(view.panes['scene']?.content).toMatchObject({
    description: 'A glasshouse in the snow at night.',
    engine: 'm-describe + m-image',
  });
  const image = await fetch(server.url + imageOf(view));
  expect(image.headers.get('content-type')).toBe('image/png');
});

test('Stop: the provider socket closes within 50 ms of the record and the text so far stays [P7]', async () => {
  const { model, serve: up } = await scripted();
  model.script('reply', cases.stall('Half ', 'a reply'));
  const wire = await follow(await up(), 's', { create: true });
  const { run } = await wire.say('Go on.');
  if (run === undefined) throw new Error('the ack names no run');
  await wire.frame((frame) => frame.type === 'live' && frame.text?.add.includes('a reply') === true);
  const exchange = await model.next('reply');
  const told = wire.phase('reply', 'cancelled').then(() => performance.now());
  await wire.ack({ type: 'pane.cancel', pane: 'reply', run });
  expect(await exchange.closed).toBe('early');
  expect((exchange.closedAt ?? Infinity) - (await told)).toBeLessThan(50);
  const view = await wire.quiet(1);
  expect(view.messages.at(-1)).toMatchObject({ text: 'Half a reply', outcome: 'stopped', final: true });
  expect(view.panes['reply']).toMatchObject({ phase: 'cancelled', reason: 'user', run });
});

test('a newer message aborts the pane calls of the older one within 50 ms of the record [P2] [P7]', async () => {
  const { model, serve: up } = await scripted();
  const rounds = 5;
  const hang = Array.from({ length: rounds - 1 }, () => cases.headersThenSilence);
  model.script('summarize', cases.headersThenSilence, ...hang, cases.stream(['The last summary.']));
  model.script('image', cases.silence, ...hang, cases.imageB64());
  const wire = await follow(await up(), 's', { create: true });
  await wire.say('One.');
  const delays: number[] = [];
  for (let generation = 1; generation <= rounds; generation += 1) {
    const calls = await Promise.all([model.next('summarize'), model.next('image')]);
    const told = wire.record((record) => isOutdated(record, generation)).then(() => performance.now());
    await wire.say('And then?');
    await Promise.all(calls.map(({ closed }) => closed));
    delays.push(Math.max(...calls.map(({ closedAt }) => closedAt ?? Infinity)) - (await told));
  }
  // The middle one: a machine that is busy elsewhere for a moment is not what is tested.
  expect(delays.sort((a, b) => a - b)[rounds >> 1]).toBeLessThan(50);
  const view = await wire.quiet(rounds + 1);
  expect(view.panes['history']).toMatchObject({ phase: 'updated', content: { text: 'The last summary.' } });
  const outdated = wire.seen.records.filter((record) => record.type === 'pane.phase' && record.phase === 'cancelled');
  expect(outdated).toHaveLength(2 * rounds);
  for (const record of outdated) expect(record).toMatchObject({ reason: 'superseded' });
});

test.each([
  ['reply', 'reply', cases.status(500), 'error'],
  ['summarize', 'history', cases.html(502), 'error'],
  ['describe', 'scene', cases.reset, 'error'],
  ['image', 'scene', cases.status(400), 'imaging_failed'],
  ['image', 'scene', cases.imageB64(Buffer.from('<html>no picture</html>')), 'imaging_failed'],
] as const)(
  'a fault of the provider in %s: %s ends as it says, the session goes on [P8]',
  async (need, pane, fault, phase) => {
    const { model, serve: up } = await scripted({
      panes: { history: { debounceMs: 5, retries: 0 }, scene: { debounceMs: 5, retries: 0 }, reply: { retries: 0 } },
    });
    model.script(need, fault);
    const wire = await follow(await up(), 's', { create: true });
    await wire.say('One.');
    const record = await wire.phase(pane, phase);
    expect(record.error).toMatchObject({ code: expect.any(String), message: expect.any(String) });
  },
);

test('the ack of a message names the run that answers it, also where one stands there already and moves [P4]', async () => {
  const { serve: up } = await scripted();
  const wire = await follow(await up(), 's', { create: true });
  await wire.ack({ type: 'pane.pause', pane: 'reply' });
  const first = await wire.say('One.');
  const second = await wire.say('Two.');
  expect(second.run).toBe(first.run);
  await wire.ack({ type: 'pane.resume', pane: 'reply' });
  const view = await wire.quiet(2);
  expect(view.panes['reply']).toMatchObject({ run: second.run, phase: 'updated' });
  expect(await wire.command({ type: 'pane.cancel', pane: 'reply', run: second.run ?? '' })).toMatchObject({
    type: 'ack',
  });
});

test('SSE: Last-Event-ID goes on without gap or duplicate [P5]', async () => {
  const { serve: up } = await scripted();
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  await wire.say('One.');
  await wire.quiet(1);
  const events = `${server.url}/v1/sessions/s/events`;
  const first = await sse(events, {}, (all) => all.some(({ event }) => event === 'caughtUp'));
  expect(first.map(({ event }) => event)).toEqual(['snapshot', 'caughtUp']);
  const last = first.at(-1)?.id ?? '';
  await wire.say('Two.');
  const head = (await wire.quiet(2)).seq;
  const missed = await sse(events, { 'last-event-id': last }, (all) => all.some(({ event }) => event === 'caughtUp'));
  const seqs = missed.flatMap(({ event, data }) => (event === 'record' ? [seqOf(data)] : []));
  const base = seqOfSnapshot(first[0]?.data ?? '');
  expect(seqs).toEqual(Array.from({ length: head - base }, (_, index) => base + 1 + index));
});

test('REST: the same Idempotency-Key is applied once, another body is a conflict', async () => {
  const server = await serve({ data: folder() });
  const url = `${server.url}/v1/sessions/rest/commands`;
  const post = async (key: string, command: object) => {
    const headers = { 'content-type': 'application/json', 'idempotency-key': key };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(command) });
    return { status: response.status, body: await response.json() };
  };
  expect(await post('o1', { type: 'session.open' })).toMatchObject({ status: 200, body: { duplicate: false } });
  const say = { type: 'message.add', role: 'user', text: 'Hello', reply: false };
  const first = await post('k1', say);
  expect(first).toMatchObject({ status: 200, body: { type: 'ack', generation: 1, duplicate: false } });
  expect(await post('k1', say)).toEqual({ status: 200, body: { ...first.body, duplicate: true } });
  expect(await post('k1', { ...say, text: 'Other' })).toMatchObject({
    status: 409,
    body: { error: { code: 'CONFLICT' } },
  });
  expect(await getJson(`${server.url}/v1/sessions/rest`)).toMatchObject({
    view: { generation: 1, messages: [{ text: 'Hello' }] },
  });
  expect(await getJson(`${server.url}/v1/sessions/rest/messages`)).toMatchObject({ messages: [{ text: 'Hello' }] });
});

test('the server serves its page, its client and its metrics', async () => {
  const server = await serve({ data: folder() });
  const page = await fetch(server.url);
  expect(page.status).toBe(200);
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  const client = await fetch(`${server.url}/client.js`);
  expect(client.headers.get('content-type')).toContain('javascript');
  expect(await client.text()).toContain('connect');
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
  expect(await (await fetch(`${server.url}/metrics`)).text()).toContain('# TYPE mullion_');
  expect(server.stdout()).toBe(`mullion listening on ${server.url}\n`);
});

function isOutdated(record: Rec, generation: number): boolean {
  return record.type === 'pane.phase' && record.phase === 'cancelled' && record.generation === generation;
}

function seqOf(data: string): number {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- frames of the server under test
  return (JSON.parse(data) as { record: { seq: number } }).record.seq;
}

function seqOfSnapshot(data: string): number {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- frames of the server under test
  return (JSON.parse(data) as { view: { seq: number } }).view.seq;
}

test('replay without --url: a real chat goes through the panes and ends with summary, scene and picture', async () => {
  const { cli, root } = await import('./support.ts');
  const data = folder();
  const { code, stdout, stderr } = await cli(
    ['replay', `${root}test/fixtures/chats/lighthouse.jsonl`, '--data', data],
    { cwd: data },
  );
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const [path] = /\S+assets\/\S+\.svg/.exec(stdout) ?? [];
  expect(readFileSync(path ?? 'no picture in the output', 'utf8')).toContain('<svg');
});

test('replay --url: the same into a running server', async () => {
  const { cli, root } = await import('./support.ts');
  const server = await serve({ data: folder() });
  const { code, stdout } = await cli(
    ['replay', `${root}test/fixtures/chats/lighthouse.jsonl`, '--url', server.url, '--session', 'told'],
    { cwd: folder() },
  );
  expect(code).toBe(0);
  expect(stdout).toContain('/v1/assets/told/');
  const view = await getJson(`${server.url}/v1/sessions/told`);
  expect(view).toMatchObject({ view: { panes: { history: { fresh: true }, scene: { fresh: true } } } });
});
