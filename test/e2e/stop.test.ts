import { expect, test } from 'vitest';
import { isTerminal } from '../../src/protocol/names.ts';
import { cases } from '../support/hostile-cases.ts';
import { follow, folder, scripted, serve } from './support.ts';

test('SIGTERM under load: readyz 503, sockets 1012, exit 0 within 5 s, no terminal records, nothing lost [R12]', async () => {
  const { model, serve: up } = await scripted();
  model.script('reply', cases.stall('So ', 'far'));
  const first = await up();
  const names = Array.from({ length: 12 }, (_, index) => `load-${index}`);
  const wires = await Promise.all(names.map((name) => follow(first, name, { create: true })));
  await Promise.all(wires.map((wire) => wire.say('Hello?')));
  await Promise.all(wires.map((wire) => wire.record((record) => record.type === 'message.text')));
  const since = performance.now();
  first.child.kill('SIGTERM');
  // The bodies hang: the grace time passes, and meanwhile the server says that it is stopping.
  expect(await readyStatuses(first.url)).toContain(503);
  for (const wire of wires) expect(await wire.closed).toMatchObject({ code: 1012 });
  expect(await first.exited).toEqual({ code: 0, signal: null });
  expect(performance.now() - since).toBeLessThan(5_000);
  for (const { seen } of wires)
    expect(seen.records.filter((record) => record.type === 'pane.phase' && isTerminal(record.phase))).toEqual([]);

  const second = await up();
  for (const wire of wires) {
    const after = await follow(second, wire.session, { seen: wire.seen });
    const view = await after.quiet(1);
    expect(view.messages.map(({ text, outcome }) => [text, outcome])).toEqual([
      ['Hello?', null],
      ['So far', 'failed'],
    ]);
    expect(after.seen.violations).toEqual([]);
    expect(after.seen.snapshots).toEqual(['initial']);
  }
});

test('a command that was acked before SIGTERM is there afterwards, one that was not is refused or absent [P4] [R12]', async () => {
  const data = folder();
  const first = await serve({ data });
  const wire = await follow(first, 's', { create: true });
  const answers = Array.from({ length: 200 }, (_, index) =>
    wire
      .command({ type: 'message.add', role: 'user', text: `m${index}`, reply: false, id: `k${index}` })
      .catch(() => undefined),
  );
  await answers[0];
  first.child.kill('SIGTERM');
  const acked = (await Promise.all(answers)).filter((answer) => answer?.type === 'ack').length;
  expect((await first.exited).code).toBe(0);
  expect(acked).toBeGreaterThan(0);
  const after = await follow(await serve({ data }), 's', { seen: wire.seen });
  const stored = after.current.messages.length + after.current.earlier;
  expect(stored).toBeGreaterThanOrEqual(acked);
  expect(after.seen.violations).toEqual([]);
});

test.each(['SIGTERM', 'SIGINT'] as const)('%s when idle: exit 0 well within the grace time', async (signal) => {
  const server = await serve({ data: folder() });
  const since = performance.now();
  expect(await server.end(signal)).toEqual({ code: 0, signal: null });
  expect(performance.now() - since).toBeLessThan(1_500);
});

test('a second signal exits at once [R12]', async () => {
  const { model, serve: up } = await scripted();
  model.script('reply', cases.silence);
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  await wire.say('Hello?');
  await model.next('reply');
  server.child.kill('SIGTERM');
  await readyStatuses(server.url);
  const since = performance.now();
  server.child.kill('SIGTERM');
  expect((await server.exited).code).toBe(1);
  expect(performance.now() - since).toBeLessThan(500);
});

/** Asks `/readyz` again and again until it is 503 or nobody listens; all answers. */
async function readyStatuses(url: string): Promise<number[]> {
  const statuses: number[] = [];
  for (;;) {
    const status = await fetch(`${url}/readyz`).then(
      (response) => response.status,
      () => undefined,
    );
    if (status === undefined) return statuses;
    statuses.push(status);
    if (status === 503) return statuses;
  }
}
