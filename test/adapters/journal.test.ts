import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MemoryJournal } from '../../src/adapters/journal-memory.ts';
import { openSqliteJournal } from '../../src/adapters/journal-sqlite.ts';
import { all, entry } from './journal.contract-data.ts';
import { journalContract, type SeenCommit } from './journal.contract.ts';

journalContract('SQLite journal', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mullion-journal-'));
  const commits: SeenCommit[] = [];
  const open = () =>
    openSqliteJournal({
      path: join(folder, 'journal.db'),
      observe: ({ records, bytes }) => commits.push({ records, bytes }),
    });
  let journal = open();
  return {
    journal,
    commits,
    reopen: async () => {
      await journal.close();
      return (journal = open());
    },
    dispose: async () => {
      await journal.close();
      rmSync(folder, { recursive: true });
    },
  };
});

journalContract('memory journal', async () => {
  const commits: SeenCommit[] = [];
  let journal = new MemoryJournal({ observe: ({ records, bytes }) => commits.push({ records, bytes }) });
  return {
    journal,
    commits,
    reopen: async () => (journal = journal.crash()),
    dispose: () => journal.close(),
  };
});

describe('memory journal, faults and crashes', () => {
  test('[P4] [P5] a crash keeps what was committed and drops what was queued', async () => {
    const journal = new MemoryJournal();
    await journal.append('s', 0, entry(0));
    void journal.append('s', 1, entry(1));
    const next = journal.crash();
    await expect(journal.head('s')).rejects.toMatchObject({ code: 'closed' });
    await next.append('other', 0, entry(0));
    expect(await next.head('s')).toEqual({ epoch: 'e1', seq: 1 });
  });

  test('commits when the scheduler says so', async () => {
    const deferred: (() => void)[] = [];
    const journal = new MemoryJournal({ defer: (fn) => deferred.push(fn) });
    const both = Promise.all([journal.append('a', 0, entry(0)), journal.append('b', 0, entry(0))]);
    expect(deferred).toHaveLength(1);
    expect(await journal.head('a')).toBeUndefined();
    deferred[0]?.();
    expect(await both).toEqual([1, 1]);
  });

  test('failNext fails the whole next commit once and stores nothing', async () => {
    const journal = new MemoryJournal();
    journal.failNext('full');
    const results = await Promise.allSettled([journal.append('a', 0, entry(0)), journal.probe()]);
    expect(results).toMatchObject([{ reason: { code: 'full' } }, { reason: { code: 'full' } }]);
    expect(await journal.head('a')).toBeUndefined();
    expect(await journal.append('a', 0, entry(0))).toBe(1);
  });

  test('an unknown outcome is stored or not, as told', async () => {
    const journal = new MemoryJournal();
    journal.failNext('unknown_outcome', { stored: true });
    await expect(journal.append('a', 0, entry(0))).rejects.toMatchObject({ code: 'unknown_outcome' });
    expect(await all(journal.read('a', 0))).toHaveLength(1);
    journal.failNext('unknown_outcome');
    await expect(journal.append('a', 1, entry(1))).rejects.toMatchObject({ code: 'unknown_outcome' });
    expect(await all(journal.read('a', 0))).toHaveLength(1);
  });
});
