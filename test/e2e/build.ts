import { execFileSync } from 'node:child_process';
import { root } from './process.ts';

/** Once before all tests: compiles what they run. `MULLION_E2E_BUILT=1` = it has just been built. */
export default function build(): void {
  if (process.env['MULLION_E2E_BUILT'] === '1') return;
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
}
