import * as fc from 'fast-check';

/**
 * The seed of everything random in the fast tests: the same in each run, so that a red test speaks of the change. `SEED=123 npm test` takes
 * another one, `SEED=random` a new one each time, and prints it. Whoever looks for what nobody has found yet: `npm run sim`.
 */
export const seed = fromEnvironment(process.env['SEED']);

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed });

function fromEnvironment(given: string | undefined): number {
  if (given === undefined) return 20_261_121;
  const chosen = given === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  if (!Number.isSafeInteger(chosen))
    throw new Error(`SEED: expected a whole number or "random", got ${JSON.stringify(given)}`);
  process.stdout.write(`SEED=${chosen}\n`);
  return chosen;
}
