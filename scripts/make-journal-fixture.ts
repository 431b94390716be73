// Writes test/fixtures/journal-v<format>: a small journal and what it must be read as. Run with `npx tsx scripts/make-journal-fixture.ts`,
// once per format; the files of older formats stay as they are, they are the proof that old data folders open.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { entryFormat } from '../src/adapters/entry-codec.ts';
import { openSqliteJournal } from '../src/adapters/journal-sqlite.ts';
import { added, all, at0Ms, entry, key, phase } from '../test/adapters/journal.contract-data.ts';

const folder = new URL(`../test/fixtures/journal-v${entryFormat}/`, import.meta.url);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const journal = openSqliteJournal({ path: new URL('journal.db', folder).pathname });
await journal.append('chat-1', 0, entry(0, [added('m1', 'Grüße \u{1f600}'), phase], { keys: [key('k1')] }));
const open = [
  added('m2', '', { final: false, replaces: 'm1' }),
  { type: 'message.text', text: { message: 'm2', at: 0, add: 'half a' } } as const,
];
await journal.append('chat-1', 2, entry(2, open, { unfinished: true, summary: { reply: 'streaming' } }));
await journal.saveState('chat-1', 2, { format: 1, view: {} });
await journal.append('gone', 0, entry(0));
await journal.erase('gone', key('k2'), at0Ms);
const expected = {
  head: await journal.head('chat-1'),
  records: await all(journal.read('chat-1', 0)),
  messages: await journal.messages('chat-1', null, 10),
  state: await journal.loadState('chat-1'),
  sessions: await journal.sessions(10),
  unfinished: await all(journal.unfinished()),
  keys: [await journal.command('chat-1', 'k1', at0Ms), await journal.command('gone', 'k2', at0Ms)],
};
await journal.close();
writeFileSync(new URL('expected.json', folder), `${JSON.stringify(expected, null, 2)}\n`);
