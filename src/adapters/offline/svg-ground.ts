import type { Place } from './lexicon.ts';
import { n, width } from './svg-paint.ts';

/** Where the things of a scene can stand, in units of the sheet. */
export interface Ground {
  /** The place of the main thing, its size, and how far away it is (0 horizon, 1 here). */
  main: { x: number; y: number; scale: number; distance: number };
  /** Where people and what they carry are. */
  front: { x: number; y: number; scale: number };
  /** Where boats are; null without water. */
  water: { x: number; y: number } | null;
}

/** Height of the horizon of each open place. */
export const horizons: { [place in Place]: number } = {
  sea: 560,
  lake: 540,
  river: 520,
  mountain: 600,
  forest: 660,
  field: 590,
  desert: 560,
  city: 640,
  village: 580,
  space: 900,
  cave: 560,
  tavern: 560,
  library: 560,
  room: 560,
};

/** A line of heights as an open path. */
export function crest(heights: readonly number[]): string {
  const step = width / (heights.length - 1);
  return heights.map((y, index) => `${index === 0 ? 'M' : 'L'}${n(index * step)} ${n(y)}`).join('');
}

/** Silhouettes of firs between two x, as one path. */
export function firs(random: () => number, count: number, y: number, high: number, from: number, to: number): string {
  let d = '';
  for (let tree = 0; tree < count; tree += 1) {
    const x = from + ((tree + random() * 0.9) / count) * (to - from);
    const tall = high * (0.6 + random() * 0.6);
    const wide = tall * 0.22;
    const tier = tall / 5;
    d += `M${n(x)} ${n(y - tall)}`;
    for (let step = 1; step <= 4; step += 1)
      d += `L${n(x + (wide * step) / 4)} ${n(y - tall + tier * (step + 0.35))}l${n(-wide * 0.14)} ${n(-tier * 0.2)}`;
    d += `V${n(y + 14)}H${n(x - wide * 0.1)}`;
    for (let step = 4; step >= 1; step -= 1)
      d += `L${n(x - wide * 0.1 - (wide * (step - 0.5)) / 4)} ${n(y - tall + tier * (step + 0.15))}L${n(x - (wide * step) / 4)} ${n(y - tall + tier * (step + 0.4))}`;
    d += 'Z';
  }
  return d;
}

/** Blades of grass between two x, each bent a little. */
export function reeds(random: () => number, from: number, to: number, y: number, high: number, count: number): string {
  let d = '';
  for (let blade = 0; blade < count; blade += 1) {
    const x = from + random() * (to - from);
    const tall = high * (0.4 + random() * 0.8);
    d += `M${n(x)} ${n(y + 80)}Q${n(x)} ${n(y)} ${n(x + (random() - 0.4) * 40)} ${n(y + 20 - tall)}`;
  }
  return d;
}
