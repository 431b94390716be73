import { spawn, type ChildProcess } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { entryFormat, seal, unseal } from '../../src/adapters/entry-codec.ts';
import { databaseFormat } from '../../src/adapters/journal-schema.ts';
import { openSqliteJournal } from '../../src/adapters/journal-sqlite.ts';
import {
  driverName,
  openDatabase,
  SqliteFault,
  type OpenDatabase,
  type SqlDatabase,
} from '../../src/adapters/sqlite-driver.ts';
import { JournalError } from '../../src/ports/errors.ts';
import type { Entry, Journal } from '../../src/ports/journal.ts';
import { added, all, at0Ms, entry, key, phase } from './journal.contract-data.ts';

let folder: string;
let path: string;
const opened: Journal[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mullion-sqlite-'));
  path = join(folder, 'data', 'journal.db');
});
afterEach(async () => {
  for (const journal of opened.splice(0)) await journal.close();
  rmSync(folder, { recursive: true });
});

function open(options: { open?: OpenDatabase } = {}): Journal {
  const journal = openSqliteJournal({ path, ...options });
  opened.push(journal);
  return journal;
}

/** The error of a failed opening. */
function failure(at: string): JournalError {
  try {
    openSqliteJournal({ path: at });
  } catch (error) {
    if (error instanceof JournalError) return error;
    throw error;
  }
  throw new Error(`${at} was opened`);
}

/** Runs SQL on the file of a closed journal. */
function onFile(...statements: string[]): void {
  const database = openDatabase(path);
  for (const statement of statements) database.exec(statement);
  database.close();
}

const marked = (mark: string): Entry => entry(0, [{ type: 'session.closed', reason: mark }]);

/** Overwrites one byte of the only place where `mark` stands in the file. */
function damage(mark: string, byte: number): void {
  const bytes = readFileSync(path);
  const at = bytes.indexOf(mark);
  expect(at).toBeGreaterThan(0);
  expect(bytes.indexOf(mark, at + 1)).toBe(-1);
  bytes[at + 3] = byte;
  writeFileSync(path, bytes);
}

interface Writer {
  child: ChildProcess;
  next(): Promise<string>;
  /** Kills it with -9 and resolves with the lines it had still written. */
  kill(): Promise<string[]>;
}

/** A process that appends for ever and prints each acked head. */
function spawnWriter(): Writer {
  const script = new URL('journal-writer.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, ['--import', 'tsx', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = new Promise((resolve) => {
    child.once('exit', resolve);
  });
  const next = async (): Promise<string> => {
    const line = await lines.next();
    if (line.done === true) throw new Error('the writer has ended');
    return line.value;
  };
  return {
    child,
    next,
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
      return all({ [Symbol.asyncIterator]: () => lines });
    },
  };
}

test.skipIf(driverName() === 'libsql')(
  `node:sqlite is the driver — SKIPPED on Node ${process.versions.node}: it has none, ONLY libsql was tested here`,
  () => expect(driverName()).toBe('node:sqlite'),
);

describe('[P4] kill -9', () => {
  test('loses no acked append, none is there twice, in 5 kills of a writing process', { timeout: 60_000 }, async () => {
    let acked = 0;
    for (const kills of [1, 3, 20, 57, 111]) {
      const writer = spawnWriter();
      expect(Number((await writer.next()).split(' ')[1])).toBeGreaterThanOrEqual(acked);
      for (let line = 0; line < kills; line += 1) acked = Number(await writer.next());
      acked = Math.max(acked, ...(await writer.kill()).filter((line) => /^\d+$/.test(line)).map(Number));
      const journal = open();
      const head = (await journal.head('s'))?.seq ?? 0;
      // One more than acked can be there: stored, and killed before it was said.
      expect(head).toBeGreaterThanOrEqual(acked);
      expect((await all(journal.read('s', 0))).map(({ seq }) => seq)).toEqual(
        Array.from({ length: head }, (_, index) => index + 1),
      );
      expect(await journal.messages('s', null, 10_000)).toHaveLength(head);
      expect(await journal.command('s', `m${acked}`, at0Ms)).toMatchObject({ id: `m${acked}` });
      await journal.close();
    }
  });

  test(
    'a second process is refused with locked; kill -9 of the first releases the lock',
    { timeout: 60_000 },
    async () => {
      const writer = spawnWriter();
      await writer.next();
      const error = failure(path);
      expect(error.code).toBe('locked');
      expect(error.message).toContain(path);
      await writer.kill();
      await open().probe();
    },
  );

  test('close releases the lock in the same process, though libsql cannot finalize statements', async () => {
    for (let turn = 0; turn < 3; turn += 1) {
      const journal = open();
      await journal.append('s', turn, entry(turn));
      expect(failure(path).code).toBe('locked');
      await journal.close();
    }
  });
});

describe('opening', () => {
  test('[P4] commits are synced: WAL, synchronous FULL (NORMAL loses acks at a power loss)', () => {
    const spy = spied();
    open({ open: spy.open });
    expect(spy.current().prepare('PRAGMA synchronous').get()).toMatchObject({ synchronous: 2 });
    expect(spy.current().prepare('PRAGMA journal_mode').get()).toMatchObject({ journal_mode: 'wal' });
  });

  test('a folder that cannot be made: io, naming the path and what to do', () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    for (const at of [join(file, 'data', 'journal.db'), join(file, 'journal.db')]) {
      const error = failure(at);
      expect(error.code).toBe('io');
      expect(error.message).toContain(at);
      expect(error.message).toContain('choose another data folder');
    }
  });

  test('a file that is no database, or that of another program: format, unchanged', async () => {
    path = join(folder, 'other.db');
    writeFileSync(path, 'not a database, but a long enough text. '.repeat(100));
    expect(failure(path).code).toBe('format');
    rmSync(path);
    onFile('CREATE TABLE theirs (id INTEGER)');
    const before = readFileSync(path);
    expect(failure(path)).toMatchObject({ code: 'format' });
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test('a newer database format: format, naming both numbers', async () => {
    await open().close();
    onFile(`PRAGMA user_version = ${databaseFormat + 1}`);
    const error = failure(path);
    expect(error.code).toBe('format');
    expect(error.message).toContain(`format ${databaseFormat + 1}`);
    expect(error.message).toContain(`format ${databaseFormat}:`);
  });

  test('a newer entry format: format, naming both numbers', () => {
    const newer = seal('context', '[]', entryFormat + 1);
    expect(() => unseal('context', newer, 'entry')).toThrow(
      expect.objectContaining({ code: 'format', message: expect.stringContaining(`format ${entryFormat + 1}`) }),
    );
    expect(unseal('context', seal('context', '[]'), 'entry')).toBe('[]');
  });

  test('the fixture of format 1 is read as it was written', async () => {
    const fixture = new URL('../fixtures/journal-v1/', import.meta.url);
    path = join(folder, 'journal.db');
    copyFileSync(new URL('journal.db', fixture), path);
    const journal = open();
    expect({
      head: await journal.head('chat-1'),
      records: await all(journal.read('chat-1', 0)),
      messages: await journal.messages('chat-1', null, 10),
      state: await journal.loadState('chat-1'),
      sessions: await journal.sessions(10),
      unfinished: await all(journal.unfinished()),
      keys: [await journal.command('chat-1', 'k1', at0Ms), await journal.command('gone', 'k2', at0Ms)],
    }).toEqual(JSON.parse(readFileSync(new URL('expected.json', fixture), 'utf8')));
    expect(await journal.append('chat-1', 4, entry(4))).toBe(5);
  });
});

describe('damage', () => {
  test.each([0x58, 0xff, 0x00])('one byte of an entry changed to %i: corrupt, for that session only', async (byte) => {
    let journal = open();
    await Promise.all(['a', 'b', 'c'].map((session) => journal.append(session, 0, marked(`mark-of-${session}`))));
    await journal.append('b', 1, entry(1));
    await journal.close();
    damage('mark-of-b', byte);
    journal = open();
    await expect(all(journal.read('b', 0))).rejects.toMatchObject({ code: 'corrupt' });
    expect(await all(journal.read('b', 1))).toHaveLength(1);
    expect(await all(journal.read('a', 0))).toHaveLength(1);
    expect(await all(journal.read('c', 0))).toHaveLength(1);
  });

  test('a body in the wrong row: corrupt', async () => {
    let journal = open();
    await journal.append('a', 0, marked('one'));
    await journal.append('a', 1, entry(1));
    await journal.close();
    onFile('UPDATE entries SET body = (SELECT body FROM entries WHERE id = 2) WHERE id = 1');
    journal = open();
    await expect(all(journal.read('a', 0))).rejects.toMatchObject({ code: 'corrupt' });
  });

  test('a missing entry: corrupt; the session can still be erased without a trace', async () => {
    let journal = open();
    for (let seq = 0; seq < 4; seq += 1) await journal.append('a', seq, entry(seq));
    await journal.close();
    onFile('DELETE FROM entries WHERE id = 3');
    journal = open();
    await expect(all(journal.read('a', 0))).rejects.toMatchObject({ code: 'corrupt' });
    await journal.erase('a', key('d'), at0Ms);
    await journal.close();
    const database = openDatabase(path);
    expect(database.prepare('SELECT count(*) AS n FROM entries').get()).toMatchObject({ n: 0 });
  });

  test('a damaged message fails the append that needs it, not the others of its commit', async () => {
    let journal = open();
    await journal.append('a', 0, entry(0, [added('m1', 'x', { final: false })]));
    await journal.close();
    onFile("UPDATE messages SET body = CAST('1 0123456789abcdef {}' AS BLOB)");
    journal = open();
    const end = entry(1, [phase, { type: 'message.ended', message: 'm1', outcome: 'complete' }]);
    const results = await Promise.allSettled([
      journal.append('b', 0, entry(0)),
      journal.append('a', 1, end),
      journal.append('c', 0, entry(0)),
    ]);
    expect(results).toMatchObject([{ value: 1 }, { reason: { code: 'corrupt' } }, { value: 1 }]);
    expect((await journal.head('a'))?.seq).toBe(1);
  });

  test('a truncated file: corrupt, at the opening or at the first reading, never other records', async () => {
    const journal = open();
    const long = entry(0, [{ type: 'session.closed', reason: 'x'.repeat(100_000) }]);
    await journal.append('a', 0, long);
    await journal.append('b', 0, long);
    await journal.close();
    truncateSync(path, 90_000);
    const read = async (): Promise<unknown> => all(open().read('b', 0));
    await expect(read()).rejects.toMatchObject({ code: 'corrupt' });
  });
});

/** Opens for real and keeps the connection for the test; `commit` takes the place of COMMIT while it is set. */
function spied(): { open: OpenDatabase; current: () => SqlDatabase; commit: ((real: () => void) => void) | undefined } {
  let current: SqlDatabase | undefined;
  const spy: ReturnType<typeof spied> = {
    commit: undefined,
    current: () => {
      if (current === undefined) throw new Error('not open');
      return current;
    },
    open: (at) => {
      const real = openDatabase(at);
      current = real;
      return {
        exec: (sql) => real.exec(sql),
        close: () => real.close(),
        prepare: (sql) => {
          const statement = real.prepare(sql);
          if (sql !== 'COMMIT') return statement;
          const run = (): ReturnType<typeof statement.run> => {
            const fault = spy.commit;
            if (fault === undefined) return statement.run();
            fault(() => void statement.run());
            return { changes: 0, rowid: 0 };
          };
          return { run, get: (...values) => statement.get(...values), all: (...values) => statement.all(...values) };
        },
      };
    },
  };
  return spy;
}

describe('a full disk', () => {
  test('[P4] full: nothing of the commit is acked or stored; reading goes on; it works again with space', async () => {
    const spy = spied();
    const journal = open({ open: spy.open });
    await journal.append('a', 0, marked('before'));
    const limit = spy.current().prepare('PRAGMA page_count').get()?.['page_count'];
    spy
      .current()
      .prepare(`PRAGMA max_page_count = ${Number(limit)}`)
      .get();
    const big = entry(0, [{ type: 'session.closed', reason: 'x'.repeat(50_000) }]);
    const results = await Promise.allSettled([journal.append('b', 0, entry(0)), journal.append('c', 0, big)]);
    expect(results).toMatchObject([{ reason: { code: 'full' } }, { reason: { code: 'full' } }]);
    await expect(journal.probe()).rejects.toMatchObject({ code: 'full' });
    expect(await journal.head('b')).toBeUndefined();
    expect(await all(journal.read('a', 0))).toHaveLength(1);
    spy.current().prepare('PRAGMA max_page_count = 1000000').get();
    await journal.probe();
    expect(await Promise.all([journal.append('b', 0, entry(0)), journal.append('c', 0, big)])).toEqual([1, 1]);
    expect(await journal.append('a', 1, entry(1))).toBe(2);
  });

  test('full in COMMIT: nothing is stored, the same connection goes on', async () => {
    const spy = spied();
    const journal = open({ open: spy.open });
    spy.commit = () => {
      throw new SqliteFault(13, 'injected');
    };
    await expect(journal.append('a', 0, entry(0))).rejects.toMatchObject({ code: 'full' });
    spy.commit = undefined;
    expect(await journal.head('a')).toBeUndefined();
    expect(await journal.append('a', 0, entry(0))).toBe(1);
  });
});

describe('[P4] an I/O error', () => {
  const fsyncFailed = 1034;

  test('in COMMIT, not stored: io, the store is opened anew, the fsync never tried again', async () => {
    const spy = spied();
    const journal = open({ open: spy.open });
    await journal.append('a', 0, entry(0));
    const first = spy.current();
    let commits = 0;
    spy.commit = () => {
      commits += 1;
      throw new SqliteFault(fsyncFailed, 'injected');
    };
    const failed = Promise.allSettled([journal.append('a', 1, entry(1)), journal.append('b', 0, entry(0))]);
    expect(await failed).toMatchObject([{ reason: { code: 'io' } }, { reason: { code: 'io' } }]);
    spy.commit = undefined;
    expect(commits).toBe(1);
    expect(spy.current()).not.toBe(first);
    expect((await journal.head('a'))?.seq).toBe(1);
    expect(await journal.append('a', 1, entry(1))).toBe(2);
  });

  test('before COMMIT: io, nothing stored; close commits what was queued while the store was being reopened', async () => {
    const spy = spied();
    let broken = false;
    const journal = open({
      open: (at) => {
        const real = spy.open(at);
        const prepare = (sql: string): ReturnType<typeof real.prepare> => {
          if (broken && sql.startsWith('INSERT INTO entries')) throw new SqliteFault(778, 'injected');
          return real.prepare(sql);
        };
        return { exec: (sql) => real.exec(sql), close: () => real.close(), prepare };
      },
    });
    broken = true;
    await expect(journal.append('a', 0, entry(0))).rejects.toMatchObject({ code: 'io' });
    broken = false;
    const queued = journal.append('a', 0, entry(0));
    await journal.close();
    expect(await queued).toBe(1);
    expect(await open().head('a')).toEqual({ epoch: 'e1', seq: 1 });
  });

  test('in COMMIT, stored all the same: unknown_outcome, and the tail can be read', async () => {
    const spy = spied();
    const journal = open({ open: spy.open });
    spy.commit = (real) => {
      real();
      throw new SqliteFault(fsyncFailed, 'injected');
    };
    const keyed = entry(0, [phase], { keys: [key('k')] });
    await expect(journal.append('a', 0, keyed)).rejects.toMatchObject({ code: 'unknown_outcome' });
    spy.commit = undefined;
    expect((await journal.head('a'))?.seq).toBe(1);
    expect(await journal.command('a', 'k', at0Ms)).toEqual(key('k'));
  });

  test('a store that cannot be opened again: unknown_outcome, then io, until it can', async () => {
    const spy = spied();
    let broken = false;
    const journal = open({
      open: (at) => {
        if (broken) throw new SqliteFault(10, 'injected');
        return spy.open(at);
      },
    });
    await journal.append('a', 0, entry(0));
    spy.commit = () => {
      broken = true;
      throw new SqliteFault(fsyncFailed, 'injected');
    };
    await expect(journal.append('a', 1, entry(1))).rejects.toMatchObject({ code: 'unknown_outcome' });
    spy.commit = undefined;
    await expect(journal.head('a')).rejects.toMatchObject({ code: 'io' });
    await expect(journal.probe()).rejects.toMatchObject({ code: 'io' });
    broken = false;
    await journal.probe();
    expect((await journal.head('a'))?.seq).toBe(1);
  });
});

test('reading 5,000 entries lets other work of the process go on in between', async () => {
  const journal = open();
  await Promise.all(Array.from({ length: 5_000 }, (_, seq) => journal.append('s', seq, entry(seq))));
  let turns = 0;
  let reading = true;
  const count = (): void => {
    turns += 1;
    if (reading) setImmediate(count);
  };
  setImmediate(count);
  expect(await all(journal.read('s', 0))).toHaveLength(5_000);
  reading = false;
  expect(turns).toBeGreaterThan(10);
});
