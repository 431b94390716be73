// Start of the CLI: `node dist/mullion.js serve --port 0` with an empty data folder, from spawn until its line `mullion listening on …`.
//
// Controls in the same loop: `node -e 0` until it exits; a bare node:http server until its line. What `dist` holds is copied first, so that a
// build by others does not come in between; without `dist` the bench fails: `npm run build`.
// Passes when <= 400 ms (median of 9; a miss counts only when the median and the best round both miss).
//
//   npx tsx bench/start.bench.ts [rounds = 9]
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchFolder } from './support/server.ts';
import { header, interleave, judge, spread } from './support/stats.ts';

const rounds = Number(process.argv[2] ?? 9);
const root = fileURLToPath(new URL('..', import.meta.url));
if (!existsSync(join(root, 'dist/mullion.js'))) throw new Error('no dist: run `npm run build` first');
const folder = benchFolder();
cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
copyFileSync(join(root, 'package.json'), join(folder, 'package.json'));
for (const name of ['node_modules', 'web']) symlinkSync(join(root, name), join(folder, name));

/** From spawn until `ready` is on stdout, or the exit; ms. */
async function start(args: string[], ready?: string): Promise<number> {
  const startMs = performance.now();
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  if (ready === undefined) {
    await exit;
    return performance.now() - startMs;
  }
  let out = '';
  const ms = await new Promise<number>((resolve, reject) => {
    child.stdout.on('data', (data: Buffer) => {
      out += data.toString();
      if (out.includes(ready)) resolve(performance.now() - startMs);
    });
    child.once('exit', (code) => reject(new Error(`${args.join(' ')} ended with ${code}`)));
  });
  child.kill('SIGKILL');
  await exit;
  return ms;
}

const bare = `require('node:http').createServer().listen(0, '127.0.0.1', () => console.log('listening'))`;
const main = join(folder, 'dist/mullion.js');
const modes = {
  'node -e 0': () => start(['-e', '0']),
  'bare http server': () => start(['-e', bare], 'listening'),
  mullion: () => {
    const data = mkdtempSync(join(folder, 'data-'));
    const args = [main, 'serve', '--port', '0', '--data', data, '--log-level', 'error'];
    return start(args, 'mullion listening on ');
  },
};
await interleave(1, modes);
const results = await interleave(rounds, modes);
console.log(header('start', rounds));
console.table([...results].map(([name, values]) => ({ what: name, 'ms until ready': spread(values, 0) })));
const control = results.get('node -e 0') ?? [];
const ours = results.get('mullion') ?? [];
console.log(
  `start / node -e 0: ${spread(
    ours.map((ms, round) => ms / (control[round] ?? Number.NaN)),
    1,
  )}x`,
);
judge([{ name: 'start until listening', values: ours, atMost: 400, unit: ' ms', digits: 0 }]);
rmSync(folder, { recursive: true });
