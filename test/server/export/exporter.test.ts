import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { wireError } from '../../../src/protocol/codes.ts';
import { Exporter, type exporterDefaults } from '../../../src/server/export/exporter.ts';
import { ExportFolder } from '../../../src/server/export/export-folder.ts';
import { createMetrics } from '../../../src/server/telemetry.ts';
import { SimClock } from '../../support/sim-clock.ts';
import { hashOfRest } from './hash.ts';
import { TestSource } from './source.ts';

/** An exporter over a real folder, a clock that stands still, and sessions in the test's hand. */
function world(
  options: Partial<typeof exporterDefaults> = {},
  folder = join(mkdtempSync(join(tmpdir(), 'export-')), 'out'),
) {
  const clock = new SimClock();
  const source = new TestSource();
  const metrics = createMetrics({ eventLoop: false });
  const log: string[] = [];
  const note = (fields: object, text: string): void => void log.push(`${text} ${JSON.stringify(fields)}`);
  const logger = { debug() {}, info() {}, warn: note, error: note };
  const exporter = new Exporter({ folder, sessions: source, clock, logger, metrics }, options);
  onTestFinished(() => rmSync(join(folder, '..'), { recursive: true, force: true }));
  const path = (name: string): string => join(folder, name);
  return {
    clock,
    source,
    log,
    folder,
    exporter,
    path,
    read: (name: string) => readFileSync(path(name), 'utf8'),
    names: () => readdirSync(folder).toSorted(),
    count: (result: string) => metrics.exports.with({ result }).value,
    change: (session: string, text: string): void => {
      source.say(session, text);
      exporter.changed(session);
    },
    /** Time passes, and the disk has done its work. */
    pass: async (ms: number): Promise<void> => {
      await clock.advance(ms);
      await vi.waitFor(
        async () => {
          await clock.settle();
          if (exporter.working) throw new Error('expected the exporter to be at rest');
        },
        { interval: 1 },
      );
    },
  };
}

describe('the export folder', () => {
  it('[X3] writes a session after a quiet second, and at the latest after ten', async () => {
    const { change, pass, names, read, source } = world();
    change('c1', 'one');
    await pass(999);
    expect(source.read).toEqual([]);
    await pass(1);
    expect(names()).toEqual(['c1.md']);
    expect(read('c1.md')).toContain('> one');
    for (let i = 0; i < 24; i += 1) {
      change('c1', `word ${i}`);
      await pass(500);
    }
    // Twelve seconds of changes: one write after ten of them, the next one waits for quiet.
    expect(source.read).toEqual(['c1', 'c1']);
    await pass(2_000);
    expect(source.read).toHaveLength(3);
    expect(read('c1.md')).toContain('> word 23');
    await pass(60_000);
    expect(source.read).toHaveLength(3);
  });

  it('[X3] a file is whole: its hash is that of its rest, and nothing half written stays', async () => {
    const { change, pass, names, read, count } = world();
    change('c1', 'one');
    change('c2', 'two');
    await pass(1_000);
    expect(names()).toEqual(['c1.md', 'c2.md']);
    expect(read('c1.md')).toContain(`mullion: "sha256-${hashOfRest(read('c1.md'))}"`);
    expect(count('written')).toBe(2);
  });

  it('[X3] a new export takes the place of the old one at once: whoever reads the old one goes on reading it', async () => {
    const { change, pass, path, read } = world();
    change('c1', 'one');
    await pass(1_000);
    const old = read('c1.md');
    linkSync(path('c1.md'), path('open'));
    change('c1', 'two');
    await pass(1_000);
    expect(read('open')).toBe(old);
    expect(read('c1.md')).not.toBe(old);
  });

  it('[X3] looking for half written files spares the one that is being written', async () => {
    const { folder, read } = world();
    const exports = new ExportFolder(folder);
    const write = { over: false };
    const written = exports
      .write('c1', { bytes: Buffer.alloc(8_388_608, 'x'), hash: 'h' })
      .finally(() => (write.over = true));
    while (!write.over) await exports.open();
    expect(await written).toEqual({ outcome: 'written' });
    expect(read('c1.md')).toHaveLength(8_388_608);
  });

  it('[X3] an edited file is kept under another name before the fresh one is written, never over another', async () => {
    const { change, pass, names, read, path, log, count } = world();
    change('c1', 'one');
    await pass(1_000);
    writeFileSync(path('c1.edited-1.md'), 'an older one');
    const mine = read('c1.md').replace('> one', '> one, and a note of mine');
    writeFileSync(path('c1.md'), mine);
    change('c1', 'two');
    await pass(1_000);
    expect(names()).toEqual(['c1.edited-1.md', 'c1.edited-2.md', 'c1.md']);
    expect(read('c1.edited-1.md')).toBe('an older one');
    expect(read('c1.edited-2.md')).toBe(mine);
    expect(read('c1.md')).toContain('> two');
    expect(log).toEqual([expect.stringContaining('c1.edited-2.md')]);
    expect(count('aside')).toBe(1);
    // And not again.
    change('c1', 'three');
    await pass(1_000);
    expect(names()).toHaveLength(3);
  });

  it.each([
    ['nothing', ''],
    ['no front matter', 'my notes'],
    ['broken front matter', '---\nmullion: "sha256-12"\nsession: "c1"\n---\nmine'],
    ['another export', undefined],
    ['other bytes', Buffer.from([0xff, 0xfe, 0])],
  ])('[X3] a file with %s in the place of an export is kept too, after a restart as well', async (_, content) => {
    const { change, pass, path, folder } = world();
    change('c1', 'one');
    change('c2', 'two');
    await pass(1_000);
    const strange = content ?? readFileSync(path('c2.md'));
    writeFileSync(path('c1.md'), strange);
    const next = world({}, folder);
    next.change('c1', 'one');
    next.change('c1', 'again');
    await next.pass(2_000);
    expect(readFileSync(path('c1.edited-1.md'))).toEqual(Buffer.from(strange));
    expect(next.read('c1.md')).toContain('> again');
    expect(next.count('aside')).toBe(1);
  });

  it('[X3] a link is kept as it is, and what it leads to is not written', async () => {
    const { change, pass, path, read } = world();
    change('c2', 'two');
    await pass(1_000);
    writeFileSync(path('elsewhere'), 'mine');
    symlinkSync(path('elsewhere'), path('c1.md'));
    change('c1', 'one');
    await pass(1_000);
    expect(read('elsewhere')).toBe('mine');
    expect(read('c1.edited-1.md')).toBe('mine');
    expect(read('c1.md')).toContain('> one');
  });

  it('[X3] an export that is up to date is not written again', async () => {
    const { change, pass, exporter, count, path, folder } = world();
    change('c1', 'one');
    await pass(1_000);
    // A second name shows whether the file is still the same one.
    linkSync(path('c1.md'), path('before'));
    exporter.changed('c1');
    await pass(1_000);
    expect([count('written'), count('same')]).toEqual([1, 1]);
    const folderAgain = new ExportFolder(folder);
    expect(await folderAgain.standing(10)).toEqual(new Map([['c1', 1]]));
    expect(await folderAgain.standing(0)).toEqual(new Map());
  });

  it('[X3] a session whose name differs in case only is refused, loudly, where the disk does not tell them apart', async () => {
    const { change, pass, path, read, log, count } = world();
    change('Chat', 'one');
    await pass(1_000);
    // What such a disk would show.
    linkSync(path('Chat.md'), path('chat.md'));
    change('chat', 'two');
    await pass(1_000);
    expect(read('chat.md')).toContain('> one');
    expect(count('taken')).toBe(1);
    expect(log).toEqual([expect.stringContaining('another case')]);
  });

  it('[X3] the file of a deleted session goes; an edited one is kept aside, a foreign one stays', async () => {
    const { change, pass, names, path, source, exporter, count } = world();
    for (const session of ['c1', 'c2', 'README']) change(session, 'one');
    await pass(1_000);
    writeFileSync(path('c2.md'), `${readFileSync(path('c2.md'), 'utf8')}mine`);
    writeFileSync(path('README.md'), 'of this folder');
    for (const session of ['c1', 'c2', 'README']) {
      source.sessions.delete(session);
      exporter.erased(session);
    }
    await pass(0);
    expect(names()).toEqual(['README.md', 'c2.edited-1.md']);
    expect([count('removed'), count('absent'), count('aside')]).toEqual([2, 1, 1]);
  });

  it('[X3] a start finds what was left undone: half written files, exports that are behind, sessions that are gone', async () => {
    const { change, pass, folder, path } = world();
    for (const session of ['kept', 'behind', 'gone']) change(session, 'one');
    await pass(1_000);
    const half = path('.mullion-00000000-0000-7000-8000-000000000000.tmp');
    writeFileSync(half, 'half');
    writeFileSync(path('README.md'), 'of this folder');
    const next = world({}, folder);
    next.source.say('kept', 'one');
    next.source.say('behind', 'one');
    next.source.say('behind', 'two');
    next.source.say('new', 'one');
    await next.exporter.start();
    await next.pass(1_000);
    expect(existsSync(half)).toBe(false);
    expect(next.names()).toEqual(['README.md', 'behind.md', 'kept.md', 'new.md']);
    expect(next.read('behind.md')).toContain('> two');
    expect(next.source.read.toSorted()).toEqual(['behind', 'gone', 'new']);
  });

  it('[X3] a folder that cannot be used is logged, counted and tried again; then all is written', async () => {
    const { change, pass, folder, names, log, count, exporter } = world();
    writeFileSync(folder, 'a file stands in its way');
    await exporter.start();
    change('c1', 'one');
    await pass(1_000);
    expect(count('failed')).toBe(2);
    expect(log).toHaveLength(2);
    for (const ms of [1_000, 2_000]) await pass(ms);
    await pass(3_999);
    expect(count('failed')).toBe(4);
    await pass(1);
    expect(count('failed')).toBe(5);
    expect(log).toHaveLength(2);
    rmSync(folder);
    await pass(8_000);
    expect(names()).toEqual(['c1.md']);
  });

  it.runIf(process.getuid?.() !== 0)('[X3] a folder without permission is tried again', async () => {
    const { change, pass, folder, names, count } = world();
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o500);
    change('c1', 'one');
    await pass(1_000);
    expect(count('failed')).toBe(1);
    chmodSync(folder, 0o700);
    await pass(1_000);
    expect(names()).toEqual(['c1.md']);
  });

  it('[X3] one that fails does not keep the others from being written', async () => {
    const { change, pass, path, names, count } = world();
    mkdirSync(path('c1.md'), { recursive: true });
    change('c1', 'one');
    change('c2', 'two');
    await pass(1_000);
    expect(names()).toEqual(['c1.md', 'c2.md']);
    expect([count('failed'), count('written')]).toEqual([1, 1]);
  });

  it('[X3] a session that cannot be read now is read later; a damaged one is not tried again', async () => {
    const { source, change, pass, names, count } = world();
    source.refusals.push({ refused: wireError('OVERLOADED', 'busy') });
    change('c1', 'one');
    await pass(1_000);
    expect(count('failed')).toBe(1);
    await pass(1_000);
    expect(names()).toEqual(['c1.md']);
    source.refusals.push({ refused: { ...wireError('INTERNAL', 'damaged'), retryable: false } });
    change('c1', 'two');
    await pass(600_000);
    expect(source.read).toHaveLength(3);
    expect(count('failed')).toBe(2);
  });

  it('[X4] a session waits at most once, and a change during its export is not lost', async () => {
    const { source, exporter, clock, change, pass, read } = world();
    let go: () => void = () => undefined;
    source.hold = new Promise((resolve) => (go = resolve));
    for (let i = 0; i < 100; i += 1) change('c1', `word ${i}`);
    expect(exporter.size).toBe(1);
    await clock.advance(2_000);
    expect([exporter.size, source.read]).toEqual([0, ['c1']]);
    change('c1', 'the last word');
    expect(exporter.size).toBe(1);
    go();
    await pass(1_000);
    expect(read('c1.md')).toContain('the last word');
  });

  it('[X4] as many sessions wait as may; the others are found when those are written', async () => {
    const { change, exporter, pass, names, log, count } = world({ maxWaiting: 3 });
    for (let i = 1; i <= 3; i += 1) change(`c${i}`, 'one');
    expect([exporter.size, count('missed')]).toEqual([3, 0]);
    change('c4', 'one');
    expect([exporter.size, count('missed')]).toEqual([3, 1]);
    await pass(1_000);
    expect(names()).toEqual(['c1.md', 'c2.md', 'c3.md']);
    expect(log).toHaveLength(1);
  });

  it('[X4] missed sessions are found among the listed ones', async () => {
    const { change, pass, names, source } = world({ maxWaiting: 3 });
    for (const session of ['c1', 'c2', 'c3']) change(session, 'one');
    // Listed first: the newest activity.
    source.sessions.delete('c3');
    change('c4', 'one');
    await pass(1_000);
    await pass(1_000);
    expect(names()).toContain('c4.md');
  });

  it('[X4] a stop writes what waits', async () => {
    const { change, exporter, clock, names, count } = world();
    change('c1', 'one');
    change('c2', 'two');
    let stopped = false;
    const stop = exporter.close(1_000).then(() => (stopped = true));
    await vi.waitFor(
      async () => {
        await clock.settle();
        expect(stopped).toBe(true);
      },
      { interval: 1 },
    );
    await stop;
    expect(names()).toEqual(['c1.md', 'c2.md']);
    expect(clock.pending).toBe(0);
    change('c3', 'too late');
    await clock.advance(60_000);
    expect(count('written')).toBe(2);
  });

  it('[X4] a stop does not wait longer than its bound', async () => {
    const { change, exporter, source, clock, log } = world();
    source.hold = new Promise(() => undefined);
    change('c1', 'one');
    change('c2', 'two');
    const stop = exporter.close(500);
    await clock.advance(499);
    expect(log).toEqual([]);
    await clock.advance(1);
    await stop;
    expect(log).toEqual([expect.stringContaining('"sessions":1')]);
  });
});
