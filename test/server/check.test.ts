import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Probe } from '../../src/ports/models.ts';
import { type NamedProbe, runCheck } from '../../src/server/check.ts';
import { createScrub } from '../../src/server/log.ts';
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
