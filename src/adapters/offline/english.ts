import type { Mood, Time, Weather } from './lexicon.ts';
import type { Scene } from './scene.ts';
import { wordsOf } from './words.ts';

/** Small words of English that the languages beside it do not share. */
const marks = new Set(
  'the and with from into that this his her she they their you your it its to of by at for on'.split(' '),
);
/** Those of them that no English text of some length does without. */
const sureMarks = new Set('the and with from into that his her she they you your'.split(' '));

/** True if the text is English beyond doubt: sentences of ours may stand between its own. */
export function isEnglish(text: string): boolean {
  const words = wordsOf(text.slice(0, 4_000)).map((word) => word.toLowerCase());
  const small = words.filter((word) => marks.has(word)).length;
  return words.some((word) => sureMarks.has(word)) && small >= words.length * 0.1;
}

/** What people write around what is to happen: "Write a chapter in which …". */
const leadIn =
  /^(?:please\s+)?(?:(?:write|tell|show|describe|narrate)\s+(?:(?:me|us)\s+)?(?:(?:a|the|this|one)\s+(?:short\s+)?(?:chapter|scene|story|part)\s*)?|(?:in\s+)?this\s+chapter,?\s*)(?:(?:in\s+which|where|how|that|about)\s+)?/iu;
/** About the writing, not about the story. */
const aboutWriting =
  /^(?:please|keep|use|make|avoid|don[’']t|do not|write|no)\b|\b(?:chapter|style|tone|words long|point of view|reader)\b/iu;

/** A sentence of a brief as one of the story; '' for one that only says how to write. */
export function asStatement(sentence: string): string {
  const text = sentence.replace(leadIn, '').trim();
  if (text === '' || aboutWriting.test(text)) return '';
  return text.slice(0, 1).toUpperCase() + text.slice(1) + (/[.!?…"”’]$/u.test(text) ? '' : '.');
}

const timeLine: { [time in Time]: string } = {
  dawn: 'Day is only just breaking',
  day: 'It is broad day',
  dusk: 'The last of the light is going',
  night: 'It is night',
};

const weatherLine: { [weather in Weather]: string } = {
  clear: 'and the sky is clear.',
  cloudy: 'and clouds are driving over.',
  rain: 'and rain is falling.',
  storm: 'and there is a storm about.',
  snow: 'and snow is falling.',
  fog: 'and fog lies over everything.',
};

const moodLine: { [mood in Mood]: string } = {
  tense: 'Something is about to go wrong; one can tell.',
  eerie: 'It is quieter than it should be.',
  joyful: 'It is hard not to be glad of it.',
  sad: 'Nobody has much to say.',
  calm: 'Nothing hurries.',
};

/** Where a chapter begins, in two or three sentences. */
export function openingLines(scene: Scene): string[] {
  const seen = scene.things
    .filter(({ thing }) => thing !== 'figure')
    .slice(0, 2)
    .map(({ thing, look }) => `the ${look === '' ? '' : `${look} `}${thing}`);
  return [
    `${timeLine[scene.time]}, ${weatherLine[scene.weather]}`,
    ...(seen.length > 0 ? [`There is ${seen.join(', and ')}.`] : []),
    moodLine[scene.mood],
  ];
}

/** How the chapter before this one is taken up again. */
export function pickUpLine(last: string): string {
  return `It goes on where it stopped: “${last.replace(/[“”"]/gu, '')}”`;
}

/** Sentences that lead from one paragraph to the next, with `%` for somebody's name. */
export const bridges = [
  'Then it comes to this.',
  'One thing leads to the next.',
  'There is no time to think it over.',
  'So it goes on.',
  'Nobody could say afterwards how long it took.',
  'What had been far off is near now.',
] as const;

export const namedBridges = [
  '% does not look back.',
  'For % there is only one way from here.',
  'It all comes back to %.',
  '% has seen this coming.',
] as const;

/** Last sentences. */
export const closings = [
  'And there, for now, it rests.',
  'What comes of it is another story.',
  'More than that nobody knows yet.',
  'After that it is quiet for a while.',
] as const;
