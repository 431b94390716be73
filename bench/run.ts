// Runs every bench, one after the other, each in a process of its own, and prints one table: name, figure, goal, pass or fail.
// Exits non-zero when one falls short or does not end well.
//
//   npm run bench [-- name …]        e.g. npm run bench -- ack phase
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';

interface Row {
  bench: string;
  name: string;
  figure: string;
  goal: string;
  result: string;
}

const folder = fileURLToPath(new URL('.', import.meta.url));
const asked = process.argv.slice(2);
const benches = readdirSync(folder)
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => file.slice(0, -'.bench.ts'.length))
  .filter((name) => asked.length === 0 || asked.includes(name));

const rows: Row[] = [];
let failed = false;
for (const bench of benches) {
  console.log(`\n== ${bench}`);
  const { code, output } = await run(bench);
  const found = output.split('\n').flatMap((line) => judged(bench, line) ?? []);
  rows.push(...found);
  if (code === 0) continue;
  failed = true;
  if (found.every((row) => row.result !== 'FAIL'))
    rows.push({ bench, name: bench, figure: `exit code ${code}`, goal: '', result: 'FAIL' });
}
console.log(`\nnode ${process.versions.node}, load ${loadavg()[0]?.toFixed(2)}`);
console.table(rows);
process.exitCode = failed ? 1 : 0;

async function run(bench: string): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', `${folder}${bench}.bench.ts`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => {
    process.stdout.write(data);
    output += data.toString();
  });
  // Not `exit`: what was printed last would be lost.
  const [code] = await once(child, 'close');
  return { code: typeof code === 'number' ? code : 1, output };
}

/** The lines in which benches judge themselves: `NAME: FIGURE, goal|least BOUND: RESULT`, `NAME: FIGURE (allowed BOUND): RESULT`, a row. */
function judged(bench: string, line: string): Row | undefined {
  const said = /^(.+?): (.+?)(, goal |, least | \(allowed )([^:)]+)\)?: (pass.*|FAIL|ok|MISSED)$/.exec(line);
  if (said !== null) {
    const [, name = '', figure = '', word = '', bound = '', result = ''] = said;
    const goal = word === ', goal ' ? bound : word === ', least ' ? `>= ${bound}` : `<= ${bound}`;
    return { bench, name, figure, goal, result: result === 'ok' ? 'pass' : result === 'MISSED' ? 'FAIL' : result };
  }
  // The journal's bench prints a row a batch size, and one verdict on all of them.
  const row = /^\s*(\d+) .* (([\d.]+) \[[\d.]+\.\.([\d.]+)\])$/.exec(line);
  if (bench !== 'journal' || row === null) return undefined;
  const [, batch = '', figure = '', middle = '', best = ''] = row;
  const result = Number(middle) >= 0.5 ? 'pass' : Number(best) >= 0.5 ? 'pass (best round only)' : 'FAIL';
  return { bench, name: `journal / bare loop, ${batch} a commit`, figure, goal: '>= 0.5', result };
}
