import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Probe } from '../../src/ports/models.ts';
import { type NamedProbe, runCheck } from '../../src/server/check.ts';
import { resolveConfig, secretsOf } from '../../src/server/config/config.ts';
import { checkFile } from '../../src/server/config/config-schema.ts';
import { imageEngines, probesOf } from '../../src/server/engines.ts';
import { createScrub } from '../../src/server/log.ts';
import { cases } from '../support/hostile-cases.ts';
import { startHostileServer } from '../support/hostile-server.ts';
import { SimClock } from '../support/sim-clock.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mullion-check-'));
});
afterEach(() => rm(folder, { recursive: true }));

const saying = (name: string, ok: boolean, message: string): NamedProbe => ({
  name,
  probe: () => Promise.resolve({ ok, message }),
});

async function check(probes: NamedProbe[], data = join(folder, 'data'), clock = new SimClock()) {
  let out = '';
  const code = await runCheck({
    probes,
    data,
    clock,
    out: { write: (text: string) => (out += text) },
    scrub: createScrub(['sk-secret']),
  });
  return { code, out, timers: clock.pending };
}

test('everything works: exit code 0, one line each in order, the folder made and left empty, no timer left', async () => {
  const { code, out, timers } = await check([saying('text', true, 'm answers'), saying('image', true, 'offline')]);
  expect([code, timers]).toEqual([0, 0]);
  expect(out).toBe(
    `ok      text   m answers\nok      image  offline\nok      data   ${join(folder, 'data')} can be written\n`,
  );
  expect(await readdir(join(folder, 'data'))).toEqual([]);
});

test('one that does not work: exit code 1, the others are still asked', async () => {
  const thrown: NamedProbe = { name: 'image', probe: () => Promise.reject(new Error('connect ECONNREFUSED')) };
  const { code, out } = await check([saying('text', false, 'no such model'), thrown]);
  expect(code).toBe(1);
  expect(out).toMatch(/^failed {2}text {3}no such model\nfailed {2}image {2}connect ECONNREFUSED\nok .*data/);
});

test('a probe that throws at once is no worse than one that rejects', async () => {
  const probe: NamedProbe = {
    name: 'text',
    probe: () => {
      throw new Error('boom');
    },
  };
  expect(await check([probe])).toMatchObject({ code: 1, out: expect.stringContaining('failed  text  boom') });
});

test('a key that the provider quotes is not printed', async () => {
  const { out } = await check([saying('text', false, 'Incorrect API key:\n sk-secret')]);
  expect(out).toContain('failed  text  Incorrect API key: [secret]\n');
});

test('a data folder that cannot be made fails with the reason', async () => {
  await writeFile(join(folder, 'file'), '');
  const { code, out } = await check([], join(folder, 'file'));
  expect(code).toBe(1);
  expect(out).toMatch(/^failed {2}data {2}expected a folder that can be written, got E(?:EXIST|NOTDIR)/);
});

test('a probe that does not answer within 30 s fails, one at 29,999 ms does not', async () => {
  const clock = new SimClock();
  const late: NamedProbe = { name: 'late', probe: () => new Promise<Probe>(() => {}) };
  const slow: NamedProbe = {
    name: 'slow',
    probe: () =>
      new Promise((resolve) => {
        clock.setTimeout(() => resolve({ ok: true, message: 'at last' }), 29_999);
      }),
  };
  const checked = check([late, slow], join(folder, 'data'), clock);
  await clock.advance(30_000);
  const { code, out } = await checked;
  expect(code).toBe(1);
  expect(out).toMatch(/^failed {2}late {2}expected an answer within 30000 ms, got none\nok {6}slow {2}at last\n/);
});

describe('[D4] image engines', () => {
  const configOf = (image: object) => {
    const checked = checkFile({ image }, 'config');
    if ('problems' in checked) throw new Error(checked.problems.join());
    return resolveConfig({ file: checked.file, name: 'config', folder: undefined }, {}, {}, folder);
  };

  test('are made in the order of the configuration, each with its own host', () => {
    const { image } = configOf({
      engines: [
        { engine: 'openai', model: 'painter', size: '512x512', baseUrl: 'http://h:1/v1' },
        { engine: 'a1111', baseUrl: 'http://h:2', model: 'xl' },
        { engine: 'comfyui', baseUrl: 'http://h:3', checkpoint: 'c' },
        { engine: 'offline' },
      ],
    });
    expect(imageEngines(image).map(({ engine, host }) => [engine, host])).toEqual([
      ['painter', 'http://h:1'],
      ['xl', 'http://h:2'],
      ['c', 'http://h:3'],
      ['offline sketch', null],
    ]);
    const variants = imageEngines(image).slice(0, 3);
    expect(new Set(variants.map(({ variant }) => variant)).size).toBe(3);
  });

  test('one is a line, a chain a line each', async () => {
    const lines = async (image: object) => {
      const config = configOf(image);
      const { out } = await check(probesOf(config.text, config.image));
      return out.split('\n').slice(1, -2);
    };
    expect(await lines({})).toEqual(['ok      image  offline sketches, no model']);
    expect(await lines({ engine: 'none' })).toEqual(['ok      image  none: scenes keep no picture']);
  });

  test('each of a chain is asked; one that does not work is named and fails the check, without its password', async () => {
    const server = await startHostileServer();
    const password = 'pass-word-1234';
    const closed = await startHostileServer();
    await closed.close();
    try {
      server.script(
        cases.byPath({
          '/v1/models': cases.json({ data: [{ id: 'painter' }] }),
          '/': cases.status(401, {}, { message: `no, ${password}` }),
        }),
      );
      const config = configOf({
        engines: [
          { engine: 'openai', model: 'painter', baseUrl: server.baseUrl },
          { engine: 'a1111', baseUrl: server.origin, auth: { user: 'me', password } },
          { engine: 'comfyui', baseUrl: closed.origin, checkpoint: 'c' },
          { engine: 'offline' },
        ],
      });
      let out = '';
      const code = await runCheck({
        probes: probesOf(config.text, config.image),
        data: folder,
        clock: new SimClock(),
        out: { write: (text: string) => (out += text) },
        scrub: createScrub(secretsOf(config)),
      });
      expect(code).toBe(1);
      const lines = out.split('\n');
      expect(lines.map((line) => line.slice(0, 15))).toEqual([
        'ok      text   ',
        'ok      image 1',
        'failed  image 2',
        'failed  image 3',
        'ok      image 4',
        'ok      data   ',
        '',
      ]);
      expect(out).not.toContain(password);
    } finally {
      await server.close();
    }
  });
});
