import type { ChapterMaterial, TextRequest } from '../../ports/models.ts';
import { asStatement, isEnglish } from './english.ts';
import type { Breathe } from './slices.ts';
import { isDense, namesOf, sentencesOf, termsOf, wordsOf } from './words.ts';

/** Most messages that are read, newest first. */
const maxMessages = 60;
/** Longest share of one of them, as of any other text, in UTF-16 units. */
export const maxTextUnits = 4_000;
/** Most sentences of the transcript that a chapter is made of. */
const maxSentences = 200;

const nothing: ChapterMaterial = { title: '', brief: '', feedback: '', outline: '', earlier: [] };

/** What a chapter can be made of, all in one language. */
export interface Sources {
  english: boolean;
  /** Between two sentences of a paragraph. */
  glue: string;
  /** What is to happen: the brief's sentences, without one it is those of the version that is there. */
  plan: string[];
  /** What has happened: the transcript's statements, oldest first. */
  story: string[];
  /** The words of each of them, and those that carry meaning: to cut a text into words is what costs time here. */
  words: ReadonlyMap<string, readonly string[]>;
  terms: ReadonlyMap<string, ReadonlySet<string>>;
  /** The last sentence of the chapter before this one, '' for none. */
  last: string;
}

/** The material of a chapter, in one language: that of the brief, else of the text that is there, else of the transcript. */
export async function gather(material: TextRequest['material'], breathe: Breathe): Promise<Sources> {
  const { title, brief, earlier } = chapterOf(material);
  const recent = material.messages.slice(-maxMessages);
  const said = recent.map((message) => message.text.slice(0, maxTextUnits)).join('\n');
  const basis = brief.trim() || material.current.trim() || said || title;
  const english = isEnglish(basis);
  const dense = isDense(basis);
  const same = (text: string) => (english ? isEnglish(text) : isDense(text) === dense && !isEnglish(text));
  const plan = sentencesIn(brief.slice(0, maxTextUnits)).map((sentence) =>
    english ? asStatement(sentence) : sentence,
  );
  const words = new Map<string, string[]>();
  const terms = new Map<string, Set<string>>();
  let story: string[] = [];
  // The narrator says what is so; without one, what people say has to do.
  const told = recent.filter((message) => message.role === 'assistant');
  for (const message of (told.length > 0 ? told : recent).toReversed()) {
    if (story.length >= maxSentences) break;
    const own: string[] = [];
    for (const sentence of same(message.text) ? sentencesOf(message.text.slice(0, maxTextUnits)) : []) {
      const parts = wordsOf(sentence);
      if (!isStatement(sentence, parts)) continue;
      own.push(sentence);
      words.set(sentence, parts);
      terms.set(sentence, new Set(termsOf(parts)));
      const pause = breathe();
      if (pause !== undefined) await pause;
    }
    story = [...own, ...story];
  }
  const before = earlier.at(-1)?.text ?? '';
  const written = brief.trim() === '' ? statementsIn(material.current.slice(0, maxTextUnits)) : [];
  return {
    english,
    glue: dense ? '' : ' ',
    plan: unique(plan.length > 0 ? plan : written),
    story: unique(story).slice(-maxSentences),
    words,
    terms,
    last: same(before) ? (statementsIn(before.slice(-2_000)).at(-1) ?? '') : '',
  };
}

/** The chapter that is asked for; an empty one for somebody's own pane that says nothing of one. */
export function chapterOf(material: TextRequest['material']): ChapterMaterial {
  return material.chapter ?? nothing;
}

/** The sentences of a text, without blank ones. */
export function sentencesIn(text: string): string[] {
  return [...sentencesOf(text)].filter((sentence) => wordsOf(sentence).length > 0);
}

function statementsIn(text: string): string[] {
  return sentencesIn(text).filter((sentence) => isStatement(sentence, wordsOf(sentence)));
}

/** Says something, to nobody in particular: no question, no speech, no small talk, not pages long. */
function isStatement(sentence: string, words: readonly string[]): boolean {
  return sentence.length <= 600 && !/^["“«「『—]|[?？:：]["'”’」』]?$/u.test(sentence) && termsOf(words).length >= 3;
}

/** The sentences of the story that share terms with what is wanted, most alike first. */
export function byLikeness(sources: Sources, sentences: readonly string[], wanted: readonly string[]): string[] {
  return sentences
    .map((sentence) => {
      const own = sources.terms.get(sentence);
      const shared = new Set(wanted.filter((term) => own?.has(term) === true)).size;
      return { sentence, score: shared / Math.sqrt((own?.size ?? 0) + 1) };
    })
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .map(({ sentence }) => sentence);
}

/** The words of a sentence, cut only once if it is one of the story. */
export function wordsIn(sources: Sources, sentence: string): readonly string[] {
  return sources.words.get(sentence) ?? wordsOf(sentence);
}

/** The names of people in all that is to happen and has happened, most frequent first. */
export function namesIn(sources: Sources): string[] {
  return namesOf([...sources.plan, ...sources.story].map((sentence) => wordsIn(sources, sentence)))
    .filter(({ place }) => !place)
    .map(({ name }) => name);
}

/** Each sentence once, without blank ones. */
export function unique(sentences: readonly string[]): string[] {
  return [...new Set(sentences)].filter((sentence) => sentence !== '');
}
