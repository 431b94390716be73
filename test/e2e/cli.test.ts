import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { cases } from '../support/hostile-cases.ts';
import { configFor } from './model-server.ts';
import { cli, folder, models, root, serve, writeConfig } from './support.ts';

const { version } = versionOf(JSON.parse(readFileSync(`${root}package.json`, 'utf8')));

test('--version and --help answer on stdout with exit 0', async () => {
  expect(await cli(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' });
  for (const args of [['--help'], [], ['help']]) {
    const { code, stdout } = await cli(args);
    expect(code).toBe(0);
    for (const command of ['mullion serve', 'mullion check', 'mullion replay FILE']) expect(stdout).toContain(command);
  }
});

test.each([
  [['sevre'], 'sevre'],
  [['serve', '--prot', '1'], '--prot'],
  [['serve', '--port'], '--port'],
  [['serve', '--port', '99999'], '--port'],
  [['replay'], 'FILE'],
])('%j: refused on stderr with the word that is wrong', async (args, word) => {
  const { code, stdout, stderr } = await cli(args, { cwd: folder() });
  expect(code === 1 || code === 2).toBe(true);
  expect(stdout).toBe('');
  expect(stderr).toContain(word);
  expect(stderr).not.toMatch(/\n\s+at /);
});

test.each([
  ['an unknown key', { txt: {} }, /txt.*unknown key/],
  ['a wrong type', { server: { port: 'many' } }, /server\.port: expected .* got/],
  ['a wrong engine', { text: { engine: 'gpt' } }, /text\.engine: expected one of offline, openai/],
  ['a wrong pane option', { panes: { history: { debounceMs: -1 } } }, /panes\.history\.debounceMs/],
  ['JSON with a hole', '{ "text": ', /mullion\.config\.json/],
])('broken configuration: %s exits 1 and names it', async (_, config, expected) => {
  const cwd = folder();
  writeConfig(cwd, config);
  const { code, stdout, stderr } = await cli(['serve', '--port', '0'], { cwd });
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(expected);
  expect(stderr).not.toMatch(/\n\s+at /);
});

test('check: offline works with exit 0, a provider that refuses the key is named with exit 1', async () => {
  const cwd = folder();
  const offline = await cli(['check', '--data', cwd], { cwd });
  expect(offline).toMatchObject({ code: 0, stderr: '' });
  expect(offline.stdout.match(/^ok /gm)?.length).toBeGreaterThanOrEqual(2);

  const model = await models();
  const config = writeConfig(cwd, configFor(model));
  model.script('models', cases.status(401));
  const refused = await cli(['check', '--data', cwd, '--config', config], { cwd });
  expect(refused.code).toBe(1);
  expect(refused.stdout).toMatch(/^failed/m);
});

test('check: a scripted provider that answers is ok, exit 0', async () => {
  const cwd = folder();
  const model = await models();
  const config = writeConfig(cwd, configFor(model));
  const { code, stdout } = await cli(['check', '--data', cwd, '--config', config], { cwd });
  expect(stdout).toMatch(/^ok +text .*\nok +image .*\nok +data /);
  expect(code).toBe(0);
});

test('replay of a file that is not there or not a chat: exit 1, names the file', async () => {
  const cwd = folder();
  for (const file of ['absent.jsonl', writeConfig(cwd, '{"a":1}')]) {
    const { code, stderr } = await cli(['replay', file, '--data', cwd, '--config', writeConfig(folder(), {})], { cwd });
    expect(code).toBe(1);
    expect(stderr).toContain(basename(file));
    expect(stderr).not.toMatch(/\n\s+at /);
  }
});

test('the time from start to the listening line is measured (a report, no limit)', async () => {
  const times: number[] = [];
  for (let n = 0; n < 5; n += 1) {
    const server = await serve({ data: folder() });
    times.push(Math.round(server.startMs));
    await server.end('SIGTERM');
  }
  console.error(`start to listening line, ms: ${times.join(' ')}`);
});

function versionOf(value: unknown): { version: string } {
  if (typeof value !== 'object' || value === null || !('version' in value)) throw new Error('no version');
  return { version: String(value.version) };
}
