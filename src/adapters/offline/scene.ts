import type { Breathe } from './slices.ts';
import { accents, interiors, lightWords, looks, moods, places, things, times, weathers } from './lexicon.ts';
import type { Accent, Mood, Place, Thing, Time, Weather } from './lexicon.ts';
import { fold, wordsOf } from './words.ts';

/** A scene as the offline engines see it: enough to describe it, and to draw it. */
export interface Scene {
  place: Place;
  time: Time;
  weather: Weather;
  /** Most important first, at most four. */
  things: { thing: Thing; look: string }[];
  accent: Accent | null;
  mood: Mood;
}

/** Longest text that is read of one message, its end: what counts is where the story stands now. */
const maxUnits = 4_000;

/** Each message back counts this much less: the scene is where the story is now. */
const decay = 0.6;

/** Words of one kind: the folded Latin ones, and the Chinese and Japanese ones, which are found inside other text. */
interface Index<Key extends string> {
  latin: Map<string, Key>;
  dense: { word: string; key: Key }[];
  keys: readonly Key[];
}

const placeIndex = index(places);
const timeIndex = index(times);
const weatherIndex = index(weathers);
const accentIndex = index(accents);
const moodIndex = index(moods);
const thingIndex = index(things);
const lightIndex = index({ light: lightWords });

/**
 * The scene at the end of some texts, oldest first; null if not one word of them can be seen. What is not said is filled in from what is: a
 * lighthouse stands at the sea.
 */
export async function readScene(texts: readonly string[], breathe: Breathe): Promise<Scene | null> {
  const scores = {
    place: new Scores(placeIndex),
    time: new Scores(timeIndex),
    weather: new Scores(weatherIndex),
    thing: new Scores(thingIndex),
    accent: new Scores(accentIndex),
    mood: new Scores(moodIndex),
  };
  const found = new Map<Thing, string>();
  for (const [age, text] of texts.toReversed().entries()) {
    const weight = decay ** age;
    const end = text.slice(-maxUnits);
    const words = wordsOf(end).map(fold);
    for (const kind of [scores.place, scores.time, scores.weather, scores.thing, scores.mood])
      kind.read(end, words, weight);
    // Whoever is spoken of can be seen, though less surely than somebody who is described.
    if (words.some((word) => word === 'she' || word === 'he')) scores.thing.add('figure', weight * 0.25);
    readAccents(scores.accent, words, end, weight);
    readLooks(found, words);
    const pause = breathe();
    if (pause !== undefined) await pause;
  }
  const visible = scores.thing.best(8, 0.12);
  const place = scores.place.best(1, 0)[0] ?? (visible[0] === undefined ? undefined : things[visible[0]].place);
  const time = scores.time.best(1, 0)[0];
  const weather = scores.weather.best(1, 0)[0];
  if (place === undefined && time === undefined && weather === undefined) return null;
  const at = place ?? 'field';
  const side = interiors.includes(at) ? 'in' : 'out';
  return {
    place: at,
    time: time ?? 'day',
    weather: weather ?? 'clear',
    // No doors in meadows, no lighthouses in kitchens: they were spoken of, but they are not here.
    things: visible
      .filter((thing) => things[thing].where === side || things[thing].where === 'both')
      .slice(0, 4)
      .map((thing) => ({ thing, look: found.get(thing) ?? '' })),
    accent: scores.accent.best(1, 0)[0] ?? null,
    mood: scores.mood.best(1, 0)[0] ?? 'calm',
  };
}

class Scores<Key extends string> {
  readonly #index: Index<Key>;
  readonly #scores = new Map<Key, number>();

  constructor(source: Index<Key>) {
    this.#index = source;
  }

  add(key: Key, score: number): void {
    this.#scores.set(key, (this.#scores.get(key) ?? 0) + score);
  }

  /** A word said often in one text counts a little more than once, never much more. */
  read(text: string, words: readonly string[], weight: number): void {
    for (const [key, count] of occurrences(this.#index, text, words))
      this.add(key, weight * (1 + Math.log2(count) * 0.5));
  }

  /** The keys with the highest scores, none below `share` of the highest. Ties go to the one that stands first in the lexicon. */
  best(count: number, share: number): Key[] {
    const top = Math.max(0, ...this.#scores.values());
    return this.#index.keys
      .filter((key) => (this.#scores.get(key) ?? 0) > top * share)
      .sort((a, b) => (this.#scores.get(b) ?? 0) - (this.#scores.get(a) ?? 0))
      .slice(0, count);
  }
}

function occurrences<Key extends string>(source: Index<Key>, text: string, words: readonly string[]): Map<Key, number> {
  const counts = new Map<Key, number>();
  for (const word of words) {
    const key = source.latin.get(word);
    if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  for (const { word, key } of source.dense) {
    const times = text.split(word).length - 1;
    if (times > 0) counts.set(key, (counts.get(key) ?? 0) + times);
  }
  return counts;
}

/** Only the colour of a light changes a whole scene; the colour of a scarf does not. */
function readAccents(scores: Scores<Accent>, words: readonly string[], text: string, weight: number): void {
  for (const [position, word] of words.entries()) {
    const accent = accentIndex.latin.get(word);
    if (accent === undefined) continue;
    const near = words.slice(Math.max(0, position - 3), position + 4).some((other) => lightIndex.latin.has(other));
    if (near) scores.add(accent, weight);
  }
  for (const { word, key } of accentIndex.dense) {
    for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
      const around = text.slice(Math.max(0, at - 3), at + word.length + 4);
      // The characters of these words are common in other words: alone they say nothing.
      if (lightIndex.dense.some((light) => around.includes(light.word))) scores.add(key, weight);
    }
  }
}

/** The newest text comes first and keeps its word. */
function readLooks(found: Map<Thing, string>, words: readonly string[]): void {
  for (const [position, word] of words.entries()) {
    const thing = thingIndex.latin.get(word);
    const before = words[position - 1] ?? '';
    if (thing !== undefined && looks.has(before) && !found.has(thing)) found.set(thing, before);
  }
}

function index<Key extends string>(source: { readonly [key in Key]: string | { readonly words: string } }): Index<Key> {
  const latin = new Map<string, Key>();
  const dense: { word: string; key: Key }[] = [];
  const keys: Key[] = [];
  for (const key in source) {
    keys.push(key);
    const entry = source[key];
    for (const word of (typeof entry === 'string' ? entry : entry.words).split(' ')) {
      if (/[\u3040-\u9fff]/u.test(word)) dense.push({ word, key });
      else latin.set(fold(word), key);
    }
  }
  return { latin, dense, keys };
}
