// Finding image prompts in a growing text: 100,000 deltas through the scanner of the tags, and through one of own patterns. MB = 10^6 UTF-16
// units. Three texts: prose with a tag in every 50th delta, a text full of openings that are never closed, tags one behind the other.
// Control in the same interleaved loop: `indexOf('<')` over the same deltas, which finds nothing and keeps nothing.
// Passes when
//   tags:    >= 50 MB/s on each text; the cost of a MB at 4 and at 16 times the length <= 1.5 x that at once the length
//   pattern: the slowest push of 4,096 units, of hostile patterns and texts, <= 5 ms of CPU
// A miss counts only when the median and the best round both miss.
//
//   npx tsx bench/scan.bench.ts [rounds = 7]
import { compilePatterns } from '../src/panes/illustrations/patterns.ts';
import { createScanner } from '../src/panes/illustrations/scan.ts';
import { header, interleave, judge, ratios, spread } from './support/stats.ts';

const rounds = Number(process.argv[2] ?? 7);
const deltas = 100_000;
const deltaUnits = 16;

const sentence = 'The keeper looked up and saw the <b>lamp</b> go out, “again”, he said. ';
const texts: { readonly [name: string]: (units: number) => string } = {
  prose: (units) => {
    const page = `${sentence.repeat(11)}<!--img-prompt="a lamp, \\"out\\""-->`;
    return page.repeat(Math.ceil(units / page.length)).slice(0, units);
  },
  'open tags': (units) => '<!--img-prompt="'.repeat(Math.ceil(units / 16)).slice(0, units),
  'tags only': (units) => '<img-prompt="x">'.repeat(Math.ceil(units / 16)).slice(0, units),
};

/** A text in deltas of 11 to 21 units. */
function cut(text: string): string[] {
  const pieces: string[] = [];
  for (let at = 0, i = 0; at < text.length; i += 1) {
    const next = at + deltaUnits - 5 + ((i * 7) % 11);
    pieces.push(text.slice(at, next));
    at = next;
  }
  return pieces;
}

let sink = 0;
/** MB a second of CPU. */
function speed(
  pieces: readonly string[],
  times: number,
  read: (pieces: readonly string[]) => void,
): () => Promise<number> {
  const units = pieces.reduce((sum, piece) => sum + piece.length, 0) * times;
  return async () => {
    const begun = process.cpuUsage();
    for (let i = 0; i < times; i += 1) read(pieces);
    const { user, system } = process.cpuUsage(begun);
    return units / (user + system);
  };
}

const scan = (pieces: readonly string[]): void => {
  const scanner = createScanner();
  for (const piece of pieces) sink += scanner.push(piece).length;
};
const naive = (pieces: readonly string[]): void => {
  for (const piece of pieces) sink += piece.indexOf('<');
};
const own = (pieces: readonly string[]): void => {
  const scanner = compilePatterns([String.raw`<!--img-prompt="([^"\\]*(?:\\.[^"\\]*)*)"\s*-->`]).scanner();
  for (const piece of pieces) sink += scanner.push(piece).length;
};

const modes: { [name: string]: () => Promise<number> } = {};
const whole = deltas * deltaUnits;
for (const [name, text] of Object.entries(texts)) {
  const pieces = cut(text(whole));
  modes[`indexOf, ${name}`] = speed(pieces, 1, naive);
  // The same amount of work in each: 16 texts of a sixteenth, 4 of a quarter, one.
  modes[`tags, ${name}, 1x`] = speed(cut(text(whole / 16)), 16, scan);
  modes[`tags, ${name}, 4x`] = speed(cut(text(whole / 4)), 4, scan);
  modes[`tags, ${name}, 16x`] = speed(pieces, 1, scan);
  modes[`own pattern, ${name}`] = speed(pieces, 1, own);
}

/** The slowest push of 4,096 units, in ms of CPU: the one in the middle of the slowest three, as a collection may fall into any. */
function slowestPush(pattern: string, unit: string): number {
  const scanner = compilePatterns([pattern]).scanner();
  const piece = unit.repeat(Math.ceil(4_096 / unit.length)).slice(0, 4_096);
  const tookMs = Array.from({ length: 40 }, () => {
    const begun = process.cpuUsage();
    sink += scanner.push(piece).length;
    const { user, system } = process.cpuUsage(begun);
    return (user + system) / 1_000;
  });
  return tookMs.toSorted((a, b) => b - a)[1] ?? Number.NaN;
}
const hostile: readonly [pattern: string, unit: string][] = [
  ['(a+)+b', 'a'],
  ['(a|aa)+c', 'a'],
  ['(.*?,){11}P', '1,'],
  [`(${'.?'.repeat(126)}z)`, 'a'],
  [`(${'.*'.repeat(84)}z)`, 'a'],
  [String.raw`\[pic:([^\]]*)\]`, '[pic:'],
  ['a(b)(?:[^]*z)?', 'ab'],
  [String.raw`(?:(a)|(.)|(\w)|([^]))+!`, 'aé'],
  [String.raw`((?:(a)|(.)|(\w)|([^]))+?!)`, 'aaaaaaaaa!'],
  [String.raw`((?:(.)|(\w)|(a)|([^]))+?!)`, `${'a'.repeat(1_900)}!`],
  [`(${'.*'.repeat(20)}!)`, `${'a'.repeat(1_900)}!`],
];

await interleave(2, modes);
for (const [pattern, unit] of hostile) slowestPush(pattern, unit);
const results = await interleave(rounds, modes);
const pushes = Array.from({ length: rounds }, () => Math.max(...hostile.map((one) => slowestPush(...one))));

console.log(header(`${deltas} deltas of about ${deltaUnits} units`, rounds));
console.table([...results].map(([mode, values]) => ({ mode, 'MB/s': spread(values, 0) })));
const same = (value: number): number => value;
judge([
  ...Object.keys(texts).map((name) => ({
    name: `tags, ${name}`,
    values: results.get(`tags, ${name}, 16x`) ?? [],
    atLeast: 50,
    unit: ' MB/s',
    digits: 0,
  })),
  ...Object.keys(texts).flatMap((name) =>
    [4, 16].map((times) => ({
      name: `tags, ${name}, cost a MB at ${times}x`,
      values: ratios(results, `tags, ${name}, 1x`, `tags, ${name}, ${times}x`, same),
      atMost: 1.5,
      unit: 'x',
    })),
  ),
  { name: 'own patterns, slowest push of 4096 units', values: pushes, atMost: 5, unit: ' ms' },
]);
if (sink === 0) throw new Error('nothing was found in any text');
