import { parseArgs } from 'node:util';
import { explain, opsOf, shrink, simulate } from '../test/sim/run.ts';

/**
 * `npm run sim -- --seeds 10000 --ops 200 [--from 1] [--keep-going]`: runs simulations of a whole server and prints each failing seed with
 * the least operations that still fail. Exit code 1 when one has failed.
 */
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    ops: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    'keep-going': { type: 'boolean', default: false },
    'no-shrink': { type: 'boolean', default: false },
  },
});

const first = Number(values.from);
const startMs = performance.now();
const sum = { seeds: 0, failed: 0, ops: 0, records: 0, calls: 0, virtualMs: 0 };
for (let seed = first; seed < first + Number(values.seeds); seed += 1) {
  const ops = opsOf(seed, Number(values.ops));
  const outcome = await simulate(seed, ops);
  sum.seeds += 1;
  sum.ops += ops.length;
  sum.records += outcome.records;
  sum.calls += outcome.calls;
  sum.virtualMs += outcome.virtualMs;
  if (outcome.violations.length === 0) continue;
  sum.failed += 1;
  const left = values['no-shrink'] ? ops : await shrink(seed, ops);
  console.log(explain(values['no-shrink'] ? { ...outcome, ops: [] } : await simulate(seed, left)));
  if (!values['keep-going']) break;
}
const seconds = (performance.now() - startMs) / 1_000;
console.log(
  `${sum.seeds} seeds, ${sum.ops} operations, ${sum.records} records, ${sum.calls} provider calls, ` +
    `${(sum.virtualMs / 3_600_000).toFixed(1)} virtual hours in ${seconds.toFixed(1)} s; ${sum.failed} failed`,
);
process.exitCode = sum.failed > 0 ? 1 : 0;
