import type { TextRequest } from '../../ports/models.ts';
import { describeScene } from './describe.ts';
import { accents, places, things, times, weathers } from './lexicon.ts';
import { readScene } from './scene.ts';
import type { Breathe } from './slices.ts';
import { fold, isDense, sentencesOf, wordsOf } from './words.ts';

/** Longest share of the message that is read, in UTF-16 units. */
const maxUnits = 16_000;
/** Messages, with the last one, that say where the story is. */
const maxBefore = 6;
/** Fewest things that one can see in a sentence that is worth a picture. */
const leastSeen = 2;

/** Words by which a place in the message is named, and units of a text without blanks. */
const snippetWords = 12;
const leastWords = 4;
const snippetUnits = 24;

/**
 * Up to `count` pictures for the last message: its sentences with most that one can see, in their order, no two of them about the same things.
 * What a sentence leaves open (where, when, in what weather) is taken from what stands before it. The form is the one that models are asked
 * for: `AFTER: ` and the end of the sentence, `PICTURE: ` and what is to be drawn; or `NONE`.
 */
export async function proposePictures(material: TextRequest['material'], breathe: Breathe): Promise<string> {
  const text = material.messages.at(-1)?.text.slice(0, maxUnits) ?? '';
  const even = text.replace(/\s+/gu, ' ');
  const sentences: string[] = [];
  const seen: Set<string>[] = [];
  for (const sentence of sentencesOf(text)) {
    sentences.push(sentence);
    seen.push(endIn(even, sentence) === '' ? new Set<string>() : visibleIn(sentence));
    const pause = breathe();
    if (pause !== undefined) await pause;
  }
  const before = material.messages.slice(-maxBefore, -1).map((message) => message.text);
  const blocks: string[] = [];
  const drawn = new Set<string>();
  for (const index of richest(seen, material.count ?? 1)) {
    const sentence = sentences[index] ?? '';
    const scene = await readScene([...before, sentences.slice(0, index).join(' '), sentence], breathe);
    const picture = scene === null ? '' : describeScene(scene);
    // The same picture twice is no news either.
    if (picture === '' || drawn.has(picture)) continue;
    drawn.add(picture);
    blocks.push(`AFTER: ${endIn(even, sentence)}\nPICTURE: ${picture}`);
  }
  return blocks.length > 0 ? blocks.join('\n\n') : 'NONE';
}

/** Positions of the sentences that are worth a picture, by what one can see in each. */
function richest(seen: readonly ReadonlySet<string>[], count: number): number[] {
  const order = [...seen.keys()].filter((index) => (seen[index]?.size ?? 0) >= leastSeen);
  order.sort((a, b) => (seen[b]?.size ?? 0) - (seen[a]?.size ?? 0) || a - b);
  const taken: number[] = [];
  for (const index of order) {
    if (taken.length >= count) break;
    // What another picture shows already is no news.
    const shown = taken.some((other) => [...(seen[index] ?? [])].every((key) => seen[other]?.has(key) === true));
    if (!shown) taken.push(index);
  }
  return taken.sort((a, b) => a - b);
}

/** The last words of a sentence, as many as stand in the text just so: markup may stand between them there. '' when they are too few. */
function endIn(text: string, sentence: string): string {
  if (isDense(sentence)) {
    const end = sentence.slice(-snippetUnits).replace(/^[\udc00-\udfff]/u, '');
    return text.includes(end) ? end : '';
  }
  const words = sentence.split(' ');
  for (let count = snippetWords; count >= leastWords; count -= 1) {
    const end = words.slice(-count).join(' ');
    if (text.includes(end)) return end;
  }
  return '';
}

const { latin, dense } = visibleWords();

/** What one can see in a sentence: places, hours, weathers, things, colours. */
function visibleIn(sentence: string): Set<string> {
  const found = new Set<string>();
  for (const word of wordsOf(sentence)) {
    const key = latin.get(fold(word));
    if (key !== undefined) found.add(key);
  }
  for (const [word, key] of dense) if (sentence.includes(word)) found.add(key);
  return found;
}

function visibleWords(): { latin: Map<string, string>; dense: Map<string, string> } {
  const found = { latin: new Map<string, string>(), dense: new Map<string, string>() };
  for (const kind of [places, times, weathers, things, accents]) {
    for (const [key, entry] of Object.entries(kind)) {
      for (const word of (typeof entry === 'string' ? entry : entry.words).split(' ')) {
        if (/[\u3040-\u9fff]/u.test(word)) found.dense.set(word, key);
        else found.latin.set(fold(word), key);
      }
    }
  }
  return found;
}
