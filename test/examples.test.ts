import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, expectTypeOf, onTestFinished, test } from 'vitest';
import { createServer, type People } from '../examples/custom-pane.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The example server with a pane of its own, in this process. */
async function serve() {
  const data = mkdtempSync(join(tmpdir(), 'mullion-example-'));
  const mullion = await createServer(data);
  onTestFinished(async () => {
    await mullion.close(0);
    rmSync(data, { recursive: true, force: true });
  });
  return { mullion, url: await mullion.listen() };
}

/** Runs an example as its list says, to its end, in a folder of its own. */
async function run(file: string, ...args: string[]) {
  const cwd = mkdtempSync(join(tmpdir(), 'mullion-example-'));
  onTestFinished(() => rmSync(cwd, { recursive: true, force: true }));
  const program = ['--import', import.meta.resolve('tsx'), join(root, 'examples', file), ...args];
  const child = spawn(process.execPath, program, { cwd });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise((resolve) => {
    child.once('close', resolve);
  });
  return { code, output };
}

test('custom-pane: one more pane works like the built-in ones, its content type is inferred', async () => {
  expectTypeOf<People>().toEqualTypeOf<{ names: string[]; counts: { [person: string]: number } }>();
  const { mullion } = await serve();
  await mullion.sessions.command({ type: 'session.open', id: 'o', session: 's' });
  const updated = new Promise<unknown>((resolve) => {
    void mullion.sessions.subscribe('s', undefined, {
      push: (batch) => {
        for (const { json } of batch.frames)
          if (json.includes('"pane":"people"') && json.includes('"phase":"updated"')) resolve(JSON.parse(json));
      },
    });
  });
  const text = 'At dusk Mara meets Oswin. The lamp is dark, and Mara waits.';
  await mullion.sessions.command({ type: 'message.add', id: 'm', session: 's', role: 'user', text, reply: false });
  expect(await updated).toMatchObject({
    record: { content: { names: ['Mara', 'Oswin'], counts: { Mara: 2, Oswin: 1 } } },
  });
}, 20_000);

test('node-client: follows a session until story and scene are there', async () => {
  const { url } = await serve();
  const { code, output } = await run('node-client.ts', url);
  expect(output).toMatch(/reply: streaming/);
  expect(output).toMatch(/^story: \S/m);
  expect(output).toMatch(/^picture: \/v1\/assets\/node-\w+\/[0-9a-f]{64}\.svg$/m);
  expect(code).toBe(0);
}, 30_000);

test('rest-and-sse: commands by POST, panes by events', async () => {
  const { url } = await serve();
  const { code, output } = await run('rest-and-sse.ts', url);
  expect(output).toMatch(/^history: updated$/m);
  expect(code).toBe(0);
}, 30_000);

test('chapters: a picture in the text and two chapters, each an asset, then it ends by itself', async () => {
  const { code, output } = await run('chapters.ts');
  expect(output).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#s=book-\w+$/m);
  expect(output).toMatch(/^illustrations [\w-]+\.0\.23: \/v1\/assets\/book-\w+\/[0-9a-f]{64}\.svg$/m);
  const asset = String.raw`/v1/assets/book-\w+/[0-9a-f]{64}\.md`;
  expect(output).toMatch(new RegExp(`^chapters landing: ${asset}\nchapters lamp: ${asset}$`, 'm'));
  expect(code).toBe(0);
}, 30_000);

test('embed: prints where its page is, and Ctrl-C ends it', async () => {
  const cwd = mkdtempSync(join(tmpdir(), 'mullion-example-'));
  onTestFinished(() => rmSync(cwd, { recursive: true, force: true }));
  const file = join(root, 'examples', 'embed.ts');
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), file], { cwd });
  onTestFinished(() => void child.kill('SIGKILL'));
  const closed = new Promise((resolve) => {
    child.once('close', resolve);
  });
  const line = await new Promise<string>((resolve) => {
    child.stdout.setEncoding('utf8').once('data', resolve);
  });
  expect(line).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#s=ferry$/m);
  const page = await fetch(line.trim());
  expect(page.status).toBe(200);
  child.kill('SIGINT');
  expect(await closed).toBe(0);
}, 30_000);

test('every example is short', () => {
  for (const file of readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts')))
    expect([file, readFileSync(join(root, 'examples', file), 'utf8').split('\n').length < 80]).toEqual([file, true]);
});
