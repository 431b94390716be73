import * as fc from 'fast-check';
import type { Found, Scanner } from '../../../src/panes/illustrations/scan.ts';

/** All findings of a text in these pieces. */
export function scanAll(scanner: Scanner, pieces: readonly string[]): Found[] {
  return [...pieces.flatMap((piece) => scanner.push(piece)), ...scanner.end()];
}

/** A text with the pieces that it is cut into, at any units: also inside a surrogate pair. */
export function cutAnywhere(texts: fc.Arbitrary<string>): fc.Arbitrary<{ text: string; pieces: string[] }> {
  return texts.chain((text) =>
    fc
      .array(fc.nat({ max: text.length }), { maxLength: 8 })
      .map((cuts) => [0, ...cuts.toSorted((a, b) => a - b), text.length])
      .map((cuts) => ({ text, pieces: cuts.slice(1).map((end, i) => text.slice(cuts[i], end)) })),
  );
}
