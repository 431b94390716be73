import type { ChapterMaterial, TextRequest } from '../../ports/models.ts';
import { wholeCharacters } from '../../protocol/text.ts';
import {
  byLikeness,
  chapterOf,
  gather,
  maxTextUnits,
  namesIn,
  sentencesIn,
  unique,
  wordsIn,
} from './chapter-sources.ts';
import type { Sources } from './chapter-sources.ts';
import { bridges, closings, namedBridges, openingLines, pickUpLine } from './english.ts';
import { pick, seeded } from './random.ts';
import { readScene } from './scene.ts';
import type { Breathe } from './slices.ts';
import { summarize } from './summary.ts';
import { sentencesOf, termsOf, wordsOf } from './words.ts';

type Material = TextRequest['material'];

/** A chapter takes up sentences until it is about this long, in words, or in units of Chinese or Japanese. */
const targetWords = 340;
const targetUnits = 800;
/** Most beats of an outline that somebody else has written. */
const maxBeats = 40;
/** Beats of an outline of our own. */
const fewest = 3;
const most = 5;

/** Lines of an outline that say something about the chapter instead of what happens in it. */
const label = /^\s*(?:- )?(?:Setting|With|About): /u;

/**
 * Three to five beats for a chapter, a line each, where there is enough to make them of: how the chapter before ended, what the brief says, and
 * what of the transcript is closest to it. Whole sentences of people's own; only English gets a line of ours when there are too few.
 */
export async function outlineChapter(material: Material, breathe: Breathe): Promise<string> {
  const { title } = chapterOf(material);
  const sources = await gather(material, breathe);
  const plan = richest(sources.plan, fewest);
  const key = await keySentences(material, sources, breathe);
  const wanted = termsOf(wordsOf(`${title} ${plan.join(' ')}`));
  const room = most - plan.length - (sources.last === '' ? 0 : 1);
  const chosen = new Set(byLikeness(sources, key, wanted).slice(0, Math.max(0, room)));
  const beats = unique([sources.last, ...plan, ...key.filter((sentence) => chosen.has(sentence))]);
  for (const line of await fillers(material, sources, breathe)) if (beats.length < fewest) beats.push(line);
  return fit(
    beats.map((beat) => `- ${beat}`),
    '\n',
    material.maxChars,
  );
}

/**
 * A chapter of up to a few hundred words. This is a composer of sentences, not a model: it takes the beats of the outline and the sentences of
 * the brief and the transcript as they are, puts those together that are about the same, and, in English, leads from one paragraph to the next
 * in words of its own. What nobody has said does not happen in it. The same material always gives the same text.
 */
export async function draftChapter(material: Material, breathe: Breathe): Promise<string> {
  const chapter = chapterOf(material);
  const sources = await gather(material, breathe);
  const lines = chapter.outline
    .slice(0, maxTextUnits)
    .split('\n')
    .filter((line) => !label.test(line));
  const repeated = new Set([sources.last, chapter.title]);
  const planned = sentencesIn(lines.join('\n')).filter((sentence) => !repeated.has(sentence));
  const beats = unique([...planned, ...sources.plan]).slice(0, maxBeats);
  const groups = await group(beats, sources, chapter, breathe);
  const told = sources.english ? await tell(groups, sources, material, breathe) : groups;
  const paragraphs = told.filter((sentences) => sentences.length > 0).map((sentences) => sentences.join(sources.glue));
  const text = fit(paragraphs, '\n\n', material.maxChars);
  return text === '' ? fit([chapter.brief || chapter.title], '', material.maxChars) : text;
}

/** The sentences that a summary would be made of, as far as they may stand in a chapter. */
async function keySentences(material: Material, sources: Sources, breathe: Breathe): Promise<string[]> {
  const { messages } = material;
  const summary = await summarize({ messages, current: '', maxChars: 2_000 }, breathe);
  const own = new Set(sources.story);
  return sentencesIn(summary).filter((sentence) => own.has(sentence));
}

/** Lines for an outline that is too short. */
async function fillers(material: Material, sources: Sources, breathe: Breathe): Promise<string[]> {
  const { title } = chapterOf(material);
  if (!sources.english) return title === '' ? [] : [title];
  const names = namesIn(sources).slice(0, most);
  const scene = await readScene([...sources.story.slice(-20), ...sources.plan], breathe);
  return [
    ...(scene === null ? [] : [`Setting: ${openingLines(scene).slice(0, 2).join(' ')}`]),
    ...(names.length > 0 ? [`With: ${names.join(', ')}.`] : []),
    `About: ${title}.`,
  ];
}

/** Each beat with the sentences of the transcript that are closest to it, in their order; then what is left, until the chapter is long enough. */
async function group(
  beats: readonly string[],
  sources: Sources,
  chapter: ChapterMaterial,
  breathe: Breathe,
): Promise<string[][]> {
  const wishes = termsOf(wordsOf(chapter.feedback));
  const share = lengthOf(chapter.feedback);
  const used = new Set(beats);
  const size = (sentence: string) => (sources.glue === '' ? sentence.length : wordsIn(sources, sentence).length);
  const there = unique([...beats, ...sources.story]).reduce((sum, sentence) => sum + size(sentence), 0);
  const target = sources.glue === '' ? targetUnits : targetWords;
  // Shorter is less than there is to say, however little that is.
  let room = Math.min(target, there) * share;
  for (const beat of beats) room -= size(beat);
  const take = (candidates: readonly string[], count: number) => {
    const taken: string[] = [];
    for (const sentence of candidates) {
      if (taken.length >= count || room <= 0) break;
      if (used.has(sentence)) continue;
      used.add(sentence);
      taken.push(sentence);
      room -= size(sentence);
    }
    return taken;
  };
  const order = (sentences: readonly string[]) => sources.story.filter((sentence) => sentences.includes(sentence));
  const groups: string[][] = [];
  for (const beat of beats) {
    const wanted = [...termsOf(wordsOf(beat)), ...wishes];
    groups.push([beat, ...order(take(byLikeness(sources, sources.story, wanted), 2))]);
    const pause = breathe();
    if (pause !== undefined) await pause;
  }
  const rest = order(
    take([...byLikeness(sources, sources.story, wishes), ...sources.story.toReversed()], sources.story.length),
  );
  for (let at = 0; at < rest.length; at += 4) groups.push(rest.slice(at, at + 4));
  return groups;
}

/** The groups as an English chapter: where it is, how it goes on from the chapter before, what leads from one to the next, and an end. */
async function tell(
  groups: readonly string[][],
  sources: Sources,
  material: Material,
  breathe: Breathe,
): Promise<string[][]> {
  const { title, brief, feedback } = chapterOf(material);
  const random = seeded(`chapter\n${title}\n${brief}\n${feedback}\n${material.current.length}`);
  const scene = await readScene([...sources.story.slice(-20), ...sources.plan], breathe);
  const names = namesIn(sources);
  const lines = shuffled(random, [...bridges, ...(names.length > 0 ? namedBridges : [])]);
  const bridge = () => (lines.pop() ?? '').replace('%', names[Math.floor(random() * Math.min(3, names.length))] ?? '');
  const opening = [
    ...(scene === null ? [] : openingLines(scene)),
    ...(sources.last === '' ? [] : [pickUpLine(sources.last)]),
  ];
  const told = groups.map((sentences, index) =>
    [index === 0 ? '' : bridge(), ...sentences].filter((one) => one !== ''),
  );
  return [opening, ...told, [pick(random, closings)]];
}

/** How much of its usual length a chapter gets, from what is to be different. Only English wishes are understood. */
export function lengthOf(feedback: string): number {
  if (/\b(?:shorter|shorten|briefer|tighter|too long)\b/iu.test(feedback)) return 0.5;
  return /\b(?:longer|lengthen|more detail|expand|too short)\b/iu.test(feedback) ? 2 : 1;
}

/** Paragraphs or lines, as many as fit; if not even the first one does, its whole sentences; if not even one of those, its beginning. */
export function fit(paragraphs: readonly string[], between: string, maxChars: number): string {
  let text = '';
  for (const paragraph of paragraphs) {
    const add = text === '' ? paragraph : between + paragraph;
    if (text.length + add.length <= maxChars) {
      text += add;
      continue;
    }
    if (text !== '') return text;
    for (const sentence of sentencesOf(paragraph)) {
      if (text.length + sentence.length + 1 > maxChars) break;
      text += text === '' ? sentence : ` ${sentence}`;
    }
    return text === '' ? wholeCharacters(paragraph.slice(0, maxChars)).trimEnd() : text;
  }
  return text;
}

/** At most `count` of the sentences, those with most to say, in their order. */
function richest(sentences: readonly string[], count: number): string[] {
  const weight = new Map(sentences.map((sentence) => [sentence, new Set(termsOf(wordsOf(sentence))).size]));
  const best = sentences.toSorted((a, b) => (weight.get(b) ?? 0) - (weight.get(a) ?? 0)).slice(0, count);
  return sentences.filter((sentence) => best.includes(sentence));
}

function shuffled(random: () => number, lines: readonly string[]): string[] {
  const rest = [...lines];
  for (let at = rest.length - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [rest[at], rest[other]] = [rest[other] ?? '', rest[at] ?? ''];
  }
  return rest;
}
