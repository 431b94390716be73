/**
 * `npm run crash -- --kills 50 [--seed N] [--sessions N] [--clients N]`: kills a real server at random instants and checks that nothing acked
 * was lost or applied twice, nothing was missed or seen twice, and every run has one end. Expects an up-to-date `npm run build`.
 */
import { parseArgs } from 'node:util';
import { crashLoop } from '../test/e2e/crash-loop.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    sessions: { type: 'string', default: '3' },
    clients: { type: 'string', default: '2' },
  },
});

const seed = whole('seed', values.seed);
const say = (line: string): void => void process.stdout.write(`${line}\n`);
say(`crash loop: ${values.kills} kills, seed ${seed}`);
const since = performance.now();
const report = await crashLoop({
  kills: whole('kills', values.kills),
  seed,
  sessions: whole('sessions', values.sessions),
  clients: whole('clients', values.clients),
  say,
});
const starts = report.starts.toSorted((a, b) => a - b);
say(`${report.kills} kills and ${report.early} during start-up in ${Math.round((performance.now() - since) / 1000)} s`);
say(`${report.sent} commands sent, ${report.repeated} repeated, ${report.acked} acked`);
say(`${report.records} records, ${report.runs} runs`);
say(`${report.streams} messages streamed by apps, ${report.tasks} tasks, ${report.parts} parts of panes made`);
say(`restart to listening: median ${starts[starts.length >> 1] ?? 0} ms, slowest ${starts.at(-1) ?? 0} ms`);
if (report.logged.length > 0)
  say(
    `${report.logged.length} lines of errors in the servers' logs, the first:\n${report.logged.slice(0, 5).join('\n')}`,
  );
for (const violation of report.violations.slice(0, 50)) say(`VIOLATION ${violation}`);
say(
  report.violations.length === 0 ? 'no violation' : `${report.violations.length} violations; again with --seed ${seed}`,
);
process.exitCode = report.violations.length === 0 ? 0 : 1;

function whole(name: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0) throw new Error(`--${name}: expected a whole number, got "${text}"`);
  return number;
}
