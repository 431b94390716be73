import type { TextRequest } from '../../ports/models.ts';
import { wholeCharacters } from '../../protocol/text.ts';
import type { Breathe } from './slices.ts';
import { isDense, namesOf, sentencesOf, termsOf, wordsOf } from './words.ts';

/** Most sentences that are ranked; the newest win. Ranking is quadratic: 300 cost about 40 ms in all. */
const maxSentences = 300;
/** Longest share of one message, beginning and end, in UTF-16 units. */
const maxMessageUnits = 6_000;
/** About 150 words; a summary longer than that is not read beside a chat. */
const latinTarget = 950;
const denseTarget = 380;
/** Share of the summary that is kept for what has left the window. */
const memoryShare = 0.35;

interface Sentence {
  text: string;
  words: string[];
  /** Weight of each term; length 1 as a vector. */
  vector: Map<string, number>;
  /** Of its kind: who says it, how it is built. */
  weight: number;
}

/**
 * The story so far: whole sentences of the transcript, chosen by LexRank (how much the other sentences are about the same things), in their
 * order. The same messages and the same current summary always give the same text, and that text is a fixed point: given as `current`, it comes
 * out again. So "has something changed?" is a comparison.
 */
export async function summarize(material: TextRequest['material'], breathe: Breathe): Promise<string> {
  const sentences = await collect(material.messages, breathe);
  const dense = isDense(sentences.map((sentence) => sentence.text).join(''));
  const room = Math.min(material.maxChars, dense ? denseTarget : latinTarget);
  const glue = dense ? '' : ' ';
  const memory = remembered(material, sentences, Math.floor(room * memoryShare), glue);
  const used = memory.reduce((sum, text) => sum + text.length + glue.length, 0);
  const chosen = await choose(sentences, room - used, glue.length, breathe);
  const text = [...memory, ...chosen].join(glue);
  if (text !== '' || sentences.length === 0) return text;
  // Not one sentence fits: the beginning of the first one is better than nothing.
  return wholeCharacters((sentences[0]?.text ?? '').slice(0, material.maxChars));
}

/** The sentences that state something, oldest first. Small talk ("ok", "go on") is not among them, so it cannot change a summary. */
async function collect(messages: TextRequest['material']['messages'], breathe: Breathe): Promise<Sentence[]> {
  const newestFirst: Sentence[][] = [];
  let count = 0;
  const seen = new Set<string>();
  for (const message of messages.toReversed()) {
    if (count >= maxSentences) break;
    const own: Sentence[] = [];
    for (const text of sentencesOf(bounded(message.text))) {
      const sentence = seen.has(text) ? null : assess(text, message.role);
      seen.add(text);
      if (sentence !== null) own.push(sentence);
      const pause = breathe();
      if (pause !== undefined) await pause;
      if (own.length >= maxSentences) break;
    }
    const kept = own.slice(-(maxSentences - count));
    newestFirst.push(kept);
    count += kept.length;
  }
  const sentences = newestFirst.toReversed().flat();
  weighTerms(sentences);
  return sentences;
}

function bounded(text: string): string {
  if (text.length <= maxMessageUnits) return text;
  const half = maxMessageUnits / 2;
  return `${wholeCharacters(text.slice(0, half))}\n${text.slice(-half)}`;
}

/** Null for a sentence that cannot stand in a summary. */
function assess(text: string, role: string): Sentence | null {
  const words = wordsOf(text);
  const terms = termsOf(words);
  const dense = isDense(text);
  if (terms.length < 3 || words.length > 70 || (dense && text.length < 7)) return null;
  // The narrator says what is so; a player says what he tries.
  let weight = role === 'user' ? 0.5 : 1;
  if (/[?？]["'”’」』]?$/u.test(text)) weight *= 0.4;
  if (/^["“”«「『]/u.test(text)) weight *= 0.6;
  // Out of context, nobody knows who "she" is.
  if (/^(?:he|she|it|they|this|that|these|those|you|i|we|his|her|their)\b/iu.test(text)) weight *= 0.7;
  if (!dense && words.length < 6) weight *= 0.7;
  const vector = new Map<string, number>();
  for (const term of terms) vector.set(term, (vector.get(term) ?? 0) + 1);
  return { text, words, vector, weight };
}

/** Turns counts into TF-IDF vectors of length 1, and favours sentences that name somebody or something. */
function weighTerms(sentences: readonly Sentence[]): void {
  const spread = new Map<string, number>();
  for (const { vector } of sentences) for (const term of vector.keys()) spread.set(term, (spread.get(term) ?? 0) + 1);
  const names = new Set(namesOf(sentences.map((sentence) => sentence.words)).map(({ name }) => name));
  for (const sentence of sentences) {
    let square = 0;
    for (const [term, count] of sentence.vector) {
      const value = count * Math.log(1 + sentences.length / (spread.get(term) ?? 1));
      sentence.vector.set(term, value);
      square += value * value;
    }
    for (const [term, value] of sentence.vector) sentence.vector.set(term, value / Math.sqrt(square));
    const named = new Set(sentence.words.map((word) => word.replace(/[’']s$/u, '')).filter((word) => names.has(word)));
    sentence.weight *= 1 + 0.15 * Math.min(3, named.size);
  }
}

function cosine(a: Sentence, b: Sentence): number {
  const [small, large] = a.vector.size < b.vector.size ? [a.vector, b.vector] : [b.vector, a.vector];
  let sum = 0;
  for (const [term, value] of small) sum += value * (large.get(term) ?? 0);
  return sum;
}

/** The best sentences that fit, in the order of the transcript, no two of them saying the same. */
async function choose(sentences: readonly Sentence[], room: number, glue: number, breathe: Breathe): Promise<string[]> {
  const scores = await rank(sentences, breathe);
  const order = sentences.map((_, index) => index).sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
  // Of a short story about half: a summary that repeats everything is none.
  const most = Math.min(9, Math.max(3, Math.ceil(sentences.length * 0.45)));
  const taken: number[] = [];
  let left = room;
  for (const index of order) {
    const sentence = sentences[index];
    if (sentence === undefined || taken.length >= most) break;
    if (sentence.text.length > left) continue;
    const said = taken.some((other) => cosine(sentence, sentences[other] ?? sentence) > 0.5);
    if (said) continue;
    taken.push(index);
    left -= sentence.text.length + glue;
  }
  return taken.sort((a, b) => a - b).map((index) => sentences[index]?.text ?? '');
}

/** LexRank with damping 0.85, times the sentence's own weight, times its recency (1 at the beginning, 1.6 at the end). */
async function rank(sentences: readonly Sentence[], breathe: Breathe): Promise<number[]> {
  const count = sentences.length;
  const likeness: Float64Array[] = [];
  for (const a of sentences) {
    const row = new Float64Array(count);
    let total = 0;
    for (const [column, b] of sentences.entries()) {
      const value = a === b ? 0 : cosine(a, b);
      row[column] = value;
      total += value;
    }
    if (total > 0) for (const [column, value] of row.entries()) row[column] = value / total;
    likeness.push(row);
    const pause = breathe();
    if (pause !== undefined) await pause;
  }
  let scores = Array.from({ length: count }, () => 1 / Math.max(1, count));
  for (let round = 0; round < 20; round += 1) {
    const next = Array.from({ length: count }, () => 0.15 / count);
    for (const [index, row] of likeness.entries()) {
      const share = 0.85 * (scores[index] ?? 0);
      for (const [column, value] of row.entries()) next[column] = (next[column] ?? 0) + share * value;
    }
    scores = next;
    const pause = breathe();
    if (pause !== undefined) await pause;
  }
  return scores.map(
    (score, index) => score * (sentences[index]?.weight ?? 0) * (1 + (0.6 * index) / Math.max(1, count - 1)),
  );
}

/**
 * Sentences of the current summary that no message of the window contains: what happened before. None while the window still begins with the
 * first exchange, for then they come from messages that were edited or removed. Their choice looks at nothing else, so it settles at once.
 */
function remembered(
  material: TextRequest['material'],
  sentences: readonly Sentence[],
  room: number,
  glue: string,
): string[] {
  if ((material.messages[0]?.generation ?? 0) <= 1) return [];
  let rest = material.current;
  for (const { text } of sentences.toSorted((a, b) => b.text.length - a.text.length)) rest = rest.replace(text, '\n');
  const kept: string[] = [];
  let left = room;
  // The newest of the old ones first: they lead to what follows.
  for (const text of [...sentencesOf(rest)].toReversed()) {
    if (text.length > left || termsOf(wordsOf(text)).length < 3) continue;
    kept.push(text);
    left -= text.length + glue.length;
  }
  return kept.toReversed();
}
