import type { Accent, Place, Time, Weather } from './lexicon.ts';
import type { Scene } from './scene.ts';
import { mix } from './svg-paint.ts';

/** The colours of one sketch: few, and all mixed from each other, so that everything is in the same light. */
export interface Palette {
  /** Sky from the zenith to the horizon. */
  top: string;
  mid: string;
  low: string;
  /** Sun or moon, and what it shines on. */
  light: string;
  /** Foreground. */
  near: string;
  /** Water in the middle distance. */
  water: string;
  /** Lamps and lit windows. */
  warm: string;
  accent: string | null;
  /** A colour at a distance: 0 = dissolved in the air at the horizon, 1 = right here. */
  at(distance: number): string;
}

const skies: { [time in Time]: { top: string; mid: string; low: string; light: string; near: string } } = {
  dawn: { top: '#44619c', mid: '#c795a6', low: '#ffd7a6', light: '#fff0cf', near: '#252a45' },
  day: { top: '#2f78b7', mid: '#86bfe0', low: '#eaf3ea', light: '#fffbe6', near: '#1d3a47' },
  dusk: { top: '#2a2558', mid: '#a84a78', low: '#ffae66', light: '#ffe0a3', near: '#1a1430' },
  night: { top: '#060b20', mid: '#152c55', low: '#47719c', light: '#e8f1ff', near: '#060c1b' },
};

/** What the weather puts before the light, and how much of it. */
const veils: { [weather in Weather]: { day: string; night: string; share: number } } = {
  clear: { day: '#ffffff', night: '#000000', share: 0 },
  cloudy: { day: '#b8c4cc', night: '#1d2a3d', share: 0.28 },
  rain: { day: '#7f8f9a', night: '#2b3d52', share: 0.5 },
  storm: { day: '#48535f', night: '#3a5068', share: 0.55 },
  snow: { day: '#d5dfe8', night: '#4a6384', share: 0.42 },
  fog: { day: '#cfd6d6', night: '#4b5d6e', share: 0.5 },
};

const soils: { [place in Place]: string } = {
  cave: '#1a1620',
  tavern: '#2b1810',
  library: '#2a1a12',
  room: '#2c1d16',
  city: '#1b1c33',
  village: '#1f2c25',
  forest: '#0d2320',
  desert: '#5a2e1e',
  mountain: '#1b2838',
  lake: '#10292b',
  river: '#17301f',
  sea: '#122430',
  field: '#26361a',
  space: '#0a0c1c',
};

/** What the ground looks like in full light, in the middle distance. */
const bodies: { [place in Place]: string } = {
  cave: '#5a5060',
  tavern: '#6b4428',
  library: '#6b4428',
  room: '#6b4428',
  city: '#7d8fae',
  village: '#8fb05a',
  forest: '#3f8f68',
  desert: '#e2a050',
  mountain: '#5f86ac',
  lake: '#4f9580',
  river: '#84b25a',
  sea: '#5f94a0',
  field: '#9dbb55',
  space: '#3a3f6a',
};

/** How much of that colour the light of an hour shows. */
const daylight: { [time in Time]: number } = { dawn: 0.3, day: 0.8, dusk: 0.22, night: 0.06 };

const accentColors: { [accent in Accent]: string } = {
  green: '#3dffa2',
  red: '#ff4d4d',
  blue: '#4fb4ff',
  gold: '#ffc94d',
  violet: '#b37aff',
  orange: '#ff9440',
  white: '#f1f6ff',
};

/** The palette of a scene. */
export function paletteOf(scene: Scene): Palette {
  const sky = skies[scene.time];
  const veil = veils[scene.weather];
  const veilColor = scene.time === 'night' ? veil.night : scene.time === 'day' ? veil.day : mix(veil.day, sky.mid, 0.5);
  const top = mix(sky.top, mix(veilColor, '#000000', 0.15), veil.share);
  const mid = mix(sky.mid, veilColor, veil.share);
  const low = mix(sky.low, veilColor, veil.share * 0.7);
  // By day the ground shows its own colour; at night nearly none of it.
  const near = mix(sky.near, soils[scene.place], scene.time === 'night' ? 0.4 : 0.6);
  const snow = scene.weather === 'snow';
  return {
    top,
    mid,
    low,
    near,
    light: sky.light,
    water: mix(mix(mid, '#0e4257', 0.45), near, 0.25),
    warm: '#ffc873',
    accent: scene.accent === null ? null : accentColors[scene.accent],
    at: (distance) => {
      const closeness = 0.12 + 0.88 * distance ** 0.85;
      const body = daylight[scene.time] * (1 - veil.share) * 4 * closeness * (1 - closeness);
      const ground = mix(mix(low, near, closeness), bodies[scene.place], body);
      return snow ? mix(ground, mix(low, '#ffffff', 0.5), 0.2) : ground;
    },
  };
}
