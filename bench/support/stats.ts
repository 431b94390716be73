import { loadavg } from 'node:os';

/** Nearest-rank quantile; NaN of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** `median [min..max]`. */
export function spread(values: readonly number[], digits = 2): string {
  const [min, max] = [Math.min(...values), Math.max(...values)];
  return `${median(values).toFixed(digits)} [${min.toFixed(digits)}..${max.toFixed(digits)}]`;
}

/** What this run stood on: printed above each table. */
export function header(name: string, rounds: number): string {
  const load = loadavg().map((value) => value.toFixed(2));
  return `${name}: ${rounds} rounds, node ${process.versions.node}, load ${load.join(' ')}`;
}

/** A goal: one value a round, and the bound that it must reach. */
export interface Goal {
  name: string;
  values: readonly number[];
  atLeast?: number;
  atMost?: number;
  unit?: string;
  digits?: number;
}

/**
 * Prints one line a goal, `NAME: FIGURE, goal BOUND: pass|FAIL` (or `pass (best round only)`), which run.ts reads. A miss counts only when the median and the best round
 * both miss: the machine is shared. Sets the exit code.
 */
export function judge(goals: readonly Goal[]): void {
  for (const { name, values, atLeast, atMost, unit = '', digits = 2 } of goals) {
    const missed = (value: number): boolean =>
      !Number.isFinite(value) || value < (atLeast ?? -Infinity) || value > (atMost ?? Infinity);
    const best = atLeast === undefined ? Math.min(...values) : Math.max(...values);
    const middle = missed(median(values));
    const fails = middle && missed(best);
    const bound = atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`;
    console.log(
      `${name}: ${spread(values, digits)}${unit}, goal ${bound}${unit}: ${fails ? 'FAIL' : middle ? 'pass (best round only)' : 'pass'}`,
    );
    if (fails) process.exitCode = 1;
  }
}

/** Runs every mode once a round, the first one turning, so that a disturbance does not always hit the same one. */
export async function interleave<T>(
  rounds: number,
  modes: { readonly [name: string]: () => Promise<T> },
): Promise<Map<string, T[]>> {
  const names = Object.keys(modes);
  const results = new Map<string, T[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (let i = 0; i < names.length; i += 1) {
      const name = names[(i + round) % names.length] ?? '';
      const value = await modes[name]?.();
      if (value !== undefined) results.get(name)?.push(value);
    }
  }
  return results;
}

/** Round by round: a value of one mode over that of another. */
export function ratios<T>(results: Map<string, T[]>, of: string, over: string, pick: (value: T) => number): number[] {
  const controls = results.get(over) ?? [];
  return (results.get(of) ?? []).map((value, round) => {
    const control = controls[round];
    return control === undefined ? Number.NaN : pick(value) / pick(control);
  });
}
