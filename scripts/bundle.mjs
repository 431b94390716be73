// Makes the two files that are used as one: the browser client (/client.js) and the program (bin). Packages stay packages; only our own
// modules are joined, since finding and reading each of them is a third of the program's start.
//
//   node scripts/bundle.mjs [folder = dist]
import { build } from 'esbuild';

const folder = process.argv[2] ?? 'dist';

await build({
  entryPoints: ['src/client/index.ts'],
  outfile: `${folder}/client.js`,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  platform: 'neutral',
});

await build({
  entryPoints: ['src/server/main.ts'],
  outfile: `${folder}/mullion.js`,
  bundle: true,
  packages: 'external',
  format: 'esm',
  target: 'node20',
  platform: 'node',
});
