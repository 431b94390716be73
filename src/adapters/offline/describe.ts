import type { Accent, Mood, Place, Thing, Time, Weather } from './lexicon.ts';
import { interiors } from './lexicon.ts';
import { pick, seeded } from './random.ts';
import type { Scene } from './scene.ts';

const placePhrase: { [place in Place]: readonly [string, ...string[]] } = {
  cave: [
    'The inside of a vast cave, wet rock closing in on all sides',
    'A deep cavern with hanging rock and a narrow way in',
  ],
  tavern: [
    'The taproom of an old tavern with low beams and worn boards',
    'A crowded corner of a timbered inn, beams black with age',
  ],
  library: [
    'A tall library with shelves that climb out of sight',
    'An old library, its shelves reaching up to the ceiling',
  ],
  room: ['A plain room with wooden boards and bare walls', 'The interior of a simple room, its walls worn by years'],
  city: ['A city of stacked roofs and long streets', 'A wide view over city roofs and a street between them'],
  village: ['A small village of steep roofs among low hedges', 'A handful of village roofs along a winding path'],
  forest: [
    'A deep forest of straight trunks, layer behind layer',
    'The edge of an old forest, trunks fading into the distance',
  ],
  desert: ['A desert of long dunes, one behind the other', 'Endless desert, wind-drawn dunes up to the horizon'],
  mountain: ['A mountain range in many layers, paler with distance', 'Steep mountain flanks above a broad hollow'],
  lake: ['A still lake that mirrors its far bank', 'The flat water of a lake between low banks'],
  river: ['A river that winds between low banks', 'A slow river bending away into the distance'],
  sea: ['A rocky coast above a wide sea', 'The open sea beneath steep cliffs'],
  field: ['An open field of tall grass, gently rolling', 'A broad meadow with long grass and distant hedges'],
  space: ['Deep space above the curve of a huge planet', 'A silent orbit high over a ringed planet'],
};

const timePhrase: { [time in Time]: string } = {
  dawn: 'at dawn, the first pale gold low in the east',
  day: 'in full daylight, with long even shade',
  dusk: 'at dusk, the last colour along the horizon',
  night: 'at night, cold moonlight along every edge',
};

const weatherPhrase: { [weather in Weather]: string } = {
  clear: 'under a clear and open sky',
  cloudy: 'under drifting cloud',
  rain: 'in steady rain that makes every surface gleam',
  storm: 'in a violent storm, lightning far off',
  snow: 'in falling snow that muffles everything',
  fog: 'in slow fog that swallows the distance',
};

/** Seen from inside, the weather is what happens behind the glass. */
const outsidePhrase: { [weather in Weather]: string } = {
  clear: 'clear air outside',
  cloudy: 'cloud drifting past outside',
  rain: 'rain running down outside',
  storm: 'a storm beating on the walls outside',
  snow: 'snow falling outside',
  fog: 'fog pressing close outside',
};

const nouns: { [thing in Thing]: string } = {
  lighthouse: 'lighthouse',
  glasshouse: 'glasshouse',
  castle: 'castle',
  ship: 'sailing ship',
  boat: 'rowing boat',
  windmill: 'windmill',
  church: 'church',
  tower: 'tower',
  ruin: 'ruin',
  bridge: 'bridge',
  house: 'house',
  tent: 'tent',
  campfire: 'campfire',
  lantern: 'lantern',
  candle: 'candle',
  book: 'open book',
  table: 'table',
  door: 'door',
  window: 'window',
  tree: 'tree',
  bird: 'bird',
  figure: 'figure',
};

/** What a thing looks like when nobody has said it. */
const usualLook: Partial<{ [thing in Thing]: string }> = {
  lighthouse: 'tall',
  castle: 'distant',
  boat: 'small',
  bridge: 'narrow',
  figure: 'lone',
  tree: 'crooked',
  house: 'small',
  table: 'wooden',
};

const accentPhrase: { [accent in Accent]: string } = {
  green: 'A green light glows among it all.',
  red: 'A red light glows among it all.',
  blue: 'A blue light glows among it all.',
  gold: 'A golden light glows among it all.',
  violet: 'A violet light glows among it all.',
  orange: 'An orange light glows among it all.',
  white: 'A silver light glows among it all.',
};

const moodPhrase: { [mood in Mood]: string } = {
  tense: 'The mood is tense, close to danger.',
  eerie: 'The mood is eerie, still and strange.',
  joyful: 'The mood is joyful, close to a feast.',
  sad: 'The mood is sad, like a farewell.',
  calm: 'The mood is calm, peaceful and unhurried.',
};

/** Words that bring a short description into the 35 to 60 words that picture models like. */
const fillers = [
  'Wide composition with a low horizon, layered depth and fine painted texture.',
  'Muted colours, simple shapes, even contrast between near and far.',
];

/** A scene in 35 to 60 words of English that an image model can use. The same scene always gives the same words. */
export function describeScene(scene: Scene): string {
  const text = compose(scene);
  // Looks make a long list of things too long: what stands furthest back is left out.
  return scene.things.length > 1 && text.split(' ').length > 60
    ? describeScene({ ...scene, things: scene.things.slice(0, -1) })
    : text;
}

function compose(scene: Scene): string {
  const random = seeded(JSON.stringify(scene));
  const inside = interiors.includes(scene.place);
  const weather = (inside ? outsidePhrase : weatherPhrase)[scene.weather];
  const sentences = [`${pick(random, placePhrase[scene.place])} ${timePhrase[scene.time]}, ${weather}.`];
  const named = scene.things.map(({ thing, look }) => {
    const noun = nouns[thing];
    const adjective = look === '' ? (usualLook[thing] ?? '') : look;
    const phrase = adjective === '' ? noun : `${adjective} ${noun}`;
    return `${/^[aeiou]/u.test(phrase) ? 'an' : 'a'} ${phrase}`;
  });
  if (named.length > 0)
    sentences.push(`${pick(random, ['In the foreground', 'Close to the viewer'])} ${list(named.slice(0, 2))}.`);
  if (named.length > 2) sentences.push(`Further back ${list(named.slice(2))}.`);
  if (scene.accent !== null) sentences.push(accentPhrase[scene.accent]);
  sentences.push(moodPhrase[scene.mood]);
  for (const filler of fillers) if (countWords(sentences) < 40) sentences.push(filler);
  return sentences.join(' ');
}

function list(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1) ?? ''}`;
}

function countWords(sentences: readonly string[]): number {
  return sentences.join(' ').split(' ').length;
}
