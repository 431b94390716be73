// A child process of journal-sqlite.test.ts: appends for ever and prints the head after each ack, until it is killed.
import { openSqliteJournal } from '../../src/adapters/journal-sqlite.ts';
import { added, entry, key } from './journal.contract-data.ts';

const [path = '', session = 's'] = process.argv.slice(2);
const journal = openSqliteJournal({ path });
let seq = (await journal.head(session))?.seq ?? 0;
process.stdout.write(`ready ${seq}\n`);
for (;;) {
  const id = `m${seq + 1}`;
  seq = await journal.append(session, seq, entry(seq, [added(id, `text of ${id}`)], { keys: [key(id)] }));
  process.stdout.write(`${seq}\n`);
}
