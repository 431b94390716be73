// Journal: records/s and CPU per record with 1, 8 and 64 appends per commit, against a bare loop on the same SQLite driver (append-only
// table, BEGIN, n inserts of 300 B, COMMIT, FULL) in the same interleaved rounds.
//
// Passes when the journal reaches >= 0.5x the records/s of the bare group commit at each size; a miss counts only when the median and the
// best round both miss (the machine is shared). One record an append, 1,000 sessions, no keys, no transcript.
//
//   npx tsx bench/journal.bench.ts [rounds = 5]
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteJournal } from '../src/adapters/journal-sqlite.ts';
import { driverName, openDatabase } from '../src/adapters/sqlite-driver.ts';
import type { Entry, Journal } from '../src/ports/journal.ts';
import type { Rec } from '../src/protocol/records.ts';

const goal = 0.5;
const rounds = Number(process.argv[2] ?? 5);
const roundMs = 400;
const sessions = 1_000;
const folder = mkdtempSync(join(tmpdir(), 'mullion-bench-'));

interface Measured {
  perSecond: number;
  /** Microseconds of CPU per record. */
  cpu: number;
}

async function measure(batch: number, commit: () => Promise<void> | void): Promise<Measured> {
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  let count = 0;
  while (performance.now() - startMs < roundMs) {
    await commit();
    count += batch;
  }
  const used = process.cpuUsage(cpu);
  return {
    perSecond: (count / (performance.now() - startMs)) * 1_000,
    cpu: (used.user + used.system) / count,
  };
}

function record(seq: number): Rec {
  const filler = 'x'.repeat(130);
  return {
    seq,
    at: '2026-11-20T18:00:00.000Z',
    type: 'pane.phase',
    pane: 'history',
    run: '0193a1b2-0000-7000-8000-000000000000',
    generation: 7,
    phase: 'summarizing',
    attempt: 1,
    reason: filler,
  };
}

function bare(batch: number): () => void {
  const database = openDatabase(join(folder, `bare-${batch}.db`));
  database.exec('PRAGMA locking_mode = EXCLUSIVE');
  database.exec('PRAGMA journal_mode = WAL');
  database.exec('PRAGMA synchronous = FULL');
  database.exec('CREATE TABLE log (id INTEGER PRIMARY KEY, session INTEGER NOT NULL, body BLOB NOT NULL)');
  const begin = database.prepare('BEGIN IMMEDIATE');
  const insert = database.prepare('INSERT INTO log (session, body) VALUES (?, ?)');
  const end = database.prepare('COMMIT');
  const body = JSON.stringify([record(1)]);
  let next = 0;
  return () => {
    begin.run();
    for (let i = 0; i < batch; i += 1) insert.run((next += 1) % sessions, Buffer.from(body));
    end.run();
  };
}

function ours(journal: Journal, batch: number): () => Promise<void> {
  const heads: number[] = Array.from({ length: sessions }, () => 0);
  let next = 0;
  return async () => {
    const appends: Promise<number>[] = [];
    for (let i = 0; i < batch; i += 1) {
      next = (next + 1) % sessions;
      const head = heads[next] ?? 0;
      heads[next] = head + 1;
      const entry: Entry = {
        records: [record(head + 1)],
        keys: [],
        unfinished: true,
        summary: { history: 'summarizing' },
        atMs: 1_700_000_000_000,
        ...(head === 0 && { epoch: 'e' }),
      };
      appends.push(journal.append(`b${batch}-${next}`, head, entry));
    }
    await Promise.all(appends);
  };
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

const journal = openSqliteJournal({ path: join(folder, 'journal.db') });
let failed = false;
console.log(
  `driver ${driverName()}, node ${process.versions.node}, load ${loadavg()[0]?.toFixed(2)}, ${rounds} rounds`,
);
console.log('per commit   bare rec/s  cpu us   journal rec/s  cpu us   ratio median [min..max]');
for (const batch of [1, 8, 64]) {
  const control = bare(batch);
  const subject = ours(journal, batch);
  // Creates the sessions and warms both up.
  for (let i = 0; i <= sessions / batch; i += 1) await subject();
  const pairs: { control: Measured; subject: Measured }[] = [];
  for (let round = 0; round < rounds; round += 1) {
    pairs.push({ control: await measure(batch, control), subject: await measure(batch, subject) });
  }
  const ratios = pairs.map((pair) => pair.subject.perSecond / pair.control.perSecond);
  const best = Math.max(...ratios);
  const of = (pick: (pair: (typeof pairs)[number]) => number, digits: number): string =>
    median(pairs.map(pick)).toFixed(digits);
  console.log(
    [
      String(batch).padStart(10),
      of((pair) => pair.control.perSecond, 0).padStart(12),
      of((pair) => pair.control.cpu, 1).padStart(7),
      of((pair) => pair.subject.perSecond, 0).padStart(15),
      of((pair) => pair.subject.cpu, 1).padStart(7),
      `  ${median(ratios).toFixed(2)} [${Math.min(...ratios).toFixed(2)}..${best.toFixed(2)}]`,
    ].join(' '),
  );
  if (median(ratios) < goal && best < goal) failed = true;
}
await journal.close();
rmSync(folder, { recursive: true });
console.log(
  failed ? `FAILED: below ${goal}x of the bare group commit` : `passed: >= ${goal}x of the bare group commit`,
);
process.exitCode = failed ? 1 : 0;
