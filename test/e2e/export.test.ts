import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { watch } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { cases, doneEvent, eventStream, finish, token } from '../support/hostile-cases.ts';
import { gate } from '../support/hostile-server.ts';
import { folder, follow, scripted, serve, writeConfig, type ServerProcess } from './support.ts';

test('export.md during work is whole each time, and says what is not finished [X1]', async () => {
  const { model, serve: up } = await scripted({ panes: { illustrations: { enabled: true } } });
  const door = gate();
  const more = gate();
  model.script('reply', async (exchange) => {
    exchange.head(200, eventStream);
    await exchange.write(token('The lamp <img-prompt="a lamp"> word 1 '));
    await more.opened;
    for (let n = 2; n < 40; n += 1) await exchange.write(token(`word ${n} `));
    exchange.end(`${finish()}${doneEvent}`);
  });
  model.script('draft', cases.stream(['The door stood open.'], { gate: door }));
  const server = await up();
  const wire = await follow(server, 's', { create: true });
  await wire.ack({
    type: 'pane.run',
    pane: 'chapters',
    input: { chapters: [{ id: 'one', title: 'The door', brief: 'It opens.' }] },
  });
  await wire.say('What do you see?');
  await wire.record((record) => record.type === 'message.text');
  const first = await exported(server);
  expect(first).toContain('· being written');
  expect(first).toContain('word 1');
  more.open();
  const seqs: number[] = [];
  while (wire.current.messages.at(-1)?.final !== true) {
    const text = await exported(server);
    seqs.push(Number(/^seq: (\d+)$/m.exec(text)?.[1]));
    expect(text).not.toContain('## Chapters');
  }
  expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
  door.open();
  await wire.view((view) => view.panes['chapters']?.phase === 'updated');
  const view = await wire.quiet(1);
  const text = await exported(server);
  expect(text).toMatch(new RegExp(`^seq: ${view.seq}$`, 'm'));
  expect(text).toContain('Ines reached the glasshouse.');
  expect(text).toContain('A glasshouse in the snow at night.');
  expect(text).toContain('word 39');
  expect(text).toMatch(/!\[a lamp\]\(\/v1\/assets\/s\/[0-9a-f]{64}\.png\)/);
  expect(text).toMatch(/### 1\. The door\n\n> The door stood open\./);
  expect(text).not.toContain('being written');
  expect(await exported(server)).toBe(text);
  expect((await fetch(`${server.url}/v1/sessions/nobody/export.md`)).status).toBe(404);
});

test('--export: an edited and a torn file are kept aside and reported, also over kill -9; nothing half is ever there [X3]', async () => {
  const data = folder();
  const dir = join(folder(), 'out');
  // Panes have nothing to say here.
  const off = { reply: { enabled: false }, history: { enabled: false }, scene: { enabled: false } };
  const args = ['--config', writeConfig(data, { panes: off }), '--export', dir];
  const first = await serve({ data, args });
  const before = await follow(first, 's', { create: true });
  await before.say('The lamp is dark.');
  // A stop writes what waits.
  await first.end('SIGTERM');
  const file = join(dir, 's.md');
  const written = readFileSync(file, 'utf8');
  expectWholeFile(written);
  expect(written).toContain('The lamp is dark.');
  const edited = written.replace('The lamp is dark.', 'The lamp is bright, I say.');
  writeFileSync(file, edited);

  const second = await serve({ data, args });
  const after = await follow(second, 's', { seen: before.seen });
  const aside = inFolder(dir, () => readFileSync(file, 'utf8').includes('And the door?'));
  await after.say('And the door?');
  await aside;
  expect(readFileSync(join(dir, 's.edited-1.md'), 'utf8')).toBe(edited);
  await after.say('A third one, of which the file does not know yet.');
  await second.end('SIGKILL');
  writeFileSync(file, readFileSync(file, 'utf8').slice(0, 200));

  // Nothing changes any more: it is found at the start that the file is behind, and torn.
  const torn = inFolder(dir, () => readdirSync(dir).includes('s.edited-2.md'));
  const third = await serve({ data, args });
  const last = await follow(third, 's', { seen: after.seen });
  await last.quiet(3);
  await torn;
  await third.end('SIGTERM');
  expect(third.stderr()).toContain('s.edited-2.md');
  expect(readFileSync(join(dir, 's.edited-2.md'), 'utf8')).toHaveLength(200);
  const now = readFileSync(file, 'utf8');
  expectWholeFile(now);
  expect(now).toContain('A third one');
  expect(readFileSync(join(dir, 's.edited-1.md'), 'utf8')).toBe(edited);
  expect(readdirSync(dir).filter((name) => name.endsWith('.tmp'))).toEqual([]);
}, 30_000);

async function exported(server: ServerProcess): Promise<string> {
  const response = await fetch(`${server.url}/v1/sessions/s/export.md`);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toContain('text/markdown');
  const text = await response.text();
  expectWholeFile(text);
  return text;
}

/** What it says of itself is true of all of it: nothing is missing, nothing is mixed. */
function expectWholeFile(text: string): void {
  const [head, hash] = /^---\nmullion: "sha256-([0-9a-f]{64})"\n/.exec(text) ?? [];
  expect(head).toBeDefined();
  expect(createHash('sha256').update(text.slice(head?.length)).digest('hex')).toBe(hash);
}

/** Resolves when what is in the folder fits. */
async function inFolder(dir: string, fits: () => boolean): Promise<void> {
  const changes = watch(dir);
  if (fits()) return;
  for await (const _ of changes) if (fits()) return;
}
