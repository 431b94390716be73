import type { TextRequest } from '../../ports/models.ts';
import { fit, lengthOf } from './chapter.ts';
import { chapterOf } from './chapter-sources.ts';
import type { Breathe } from './slices.ts';
import { isDense, sentencesOf, termsOf, wordsOf } from './words.ts';

/** Longest draft that is revised, in UTF-16 units. */
const maxDraftUnits = 60_000;
/** Shorter sentences may come again: "Never!" */
const leastWords = 4;

/**
 * A light revision of a draft: sentences that come twice stand once, blanks are put right, and of what a person wants two things are understood,
 * in English: "shorter", and "without …" or "remove …". The rest stays as it is; nothing is written anew.
 */
export async function editChapter(material: TextRequest['material'], breathe: Breathe): Promise<string> {
  const { feedback } = chapterOf(material);
  const glue = isDense(material.current) ? '' : ' ';
  const unwanted = new Set(unwantedTerms(feedback));
  const seen = new Set<string>();
  const paragraphs: string[][] = [];
  for (const paragraph of material.current.slice(0, maxDraftUnits).split(/\n\s*\n/u)) {
    const kept: string[] = [];
    for (const sentence of sentencesOf(paragraph)) {
      const words = wordsOf(sentence);
      const key = words.join(' ').toLowerCase();
      const again = words.length >= leastWords && seen.has(key);
      seen.add(key);
      if (!again && !termsOf(words).some((term) => unwanted.has(term))) kept.push(tidy(sentence));
      const pause = breathe();
      if (pause !== undefined) await pause;
    }
    if (kept.length > 0) paragraphs.push(kept);
  }
  const told = lengthOf(feedback) < 1 ? shortened(paragraphs) : paragraphs;
  const text = fit(
    told.map((sentences) => sentences.join(glue)),
    '\n\n',
    material.maxChars,
  );
  // Not one sentence that may stay: then the wish was not understood.
  return text === '' ? fit([material.current.trim()], '', material.maxChars) : text;
}

/** Of each paragraph the first sentence, and of the others the half with most to say. */
function shortened(paragraphs: readonly string[][]): string[][] {
  return paragraphs.map((sentences) => {
    const [first, ...others] = sentences;
    const weight = (sentence: string) => new Set(termsOf(wordsOf(sentence))).size;
    const best = others.toSorted((a, b) => weight(b) - weight(a)).slice(0, Math.floor(others.length / 2));
    return [...(first === undefined ? [] : [first]), ...others.filter((sentence) => best.includes(sentence))];
  });
}

/** What "without the lamp and the storm" wants to be gone. */
function unwantedTerms(feedback: string): string[] {
  const phrases = feedback.matchAll(/\b(?:without|remove|leave out|drop)\s+([^.,;!?\n]{1,80})/giu);
  return [...phrases].flatMap((match) => termsOf(wordsOf(match[1] ?? '')));
}

function tidy(sentence: string): string {
  return sentence.replace(/\s+/gu, ' ').replace(/ (?=[,.](?:\s|$))/gu, '');
}
