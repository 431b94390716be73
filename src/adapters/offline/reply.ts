import type { Message } from '../../protocol/view.ts';
import { describeScene } from './describe.ts';
import { pick } from './random.ts';
import type { Scene } from './scene.ts';
import { namesOf, sentencesOf, termsOf, wordsOf } from './words.ts';

/** Longest quotation of the person's own words, in UTF-16 units. */
const maxQuote = 160;
/** Longest share of a message that is read for names, in UTF-16 units. */
const maxUnits = 2_000;

const openings = [
  'I am the offline engine: no language model is configured, so I cannot carry this on the way a model would. I can keep track of it.',
  'No language model is configured here; this is the built-in offline engine. It does not make things up, it takes notes.',
  'This answer comes from the offline engine, without a language model. It will not invent the next scene, but it has read along.',
  'Nobody is writing back yet: without a language model you are talking to the offline engine, which only follows what is said.',
] as const;

const hereLines = [
  'What I have of the scene: ',
  'The scene as I understand it: ',
  'Where we are, as far as I can tell: ',
] as const;
const newLines = [
  'New in your last message: ',
  'What you have just added: ',
  'Taken down from your last message: ',
] as const;
const paneLines = [
  'The panes beside this chat do their own work on it, also without a model.',
  'Write on: the story so far and the picture beside this chat follow along.',
  'The summary and the sketch beside the chat are made from the same notes.',
] as const;

/** An honest reply without a model: says what it is, what it has understood, and how to connect one. */
export function composeReply(
  messages: readonly Message[],
  scene: Scene | null,
  connect: string,
  random: () => number,
): string {
  const lines: string[] = [pick(random, openings)];
  const recent = messages.slice(-20).map((message) => message.text.slice(-maxUnits));
  const names = namesOf(recent.flatMap((text) => [...sentencesOf(text)].map(wordsOf)));
  const people = names.filter((name) => !name.place).slice(0, 4);
  const spots = names.filter((name) => name.place).slice(0, 2);
  const notes: string[] = [];
  if (people.length > 0) notes.push(`people: ${people.map(({ name }) => name).join(', ')}`);
  if (spots.length > 0) notes.push(`places: ${spots.map(({ name }) => name).join(', ')}`);
  if (notes.length > 0) lines.push(`Names I have heard, ${notes.join('; ')}.`);
  // The first sentence says where, when and in what weather; the rest is for painters.
  if (scene !== null) lines.push(`${pick(random, hereLines)}${describeScene(scene).split(/(?<=\.) /u)[0] ?? ''}`);
  const added = latestPoint(messages);
  if (added !== '') lines.push(`${pick(random, newLines)}“${added}”`);
  lines.push(pick(random, paneLines));
  lines.push(connect);
  return lines.join('\n\n');
}

/** True for what `composeReply` wrote (also cut short): notes about the chat are no part of its story. */
export function isOfflineReply(message: Message): boolean {
  const { role, text } = message;
  return (
    role === 'assistant' &&
    openings.some((opening) => text.startsWith(opening) || (text !== '' && opening.startsWith(text)))
  );
}

/** The sentence of the last user message that says most. */
function latestPoint(messages: readonly Message[]): string {
  const last = messages.findLast((message) => message.role === 'user')?.text.slice(0, maxUnits) ?? '';
  let best = '';
  let most = 0;
  for (const sentence of sentencesOf(last)) {
    const terms = termsOf(wordsOf(sentence)).length;
    if (terms <= most) continue;
    most = terms;
    best = sentence;
  }
  if (best.length <= maxQuote) return best;
  const cut = best.slice(0, maxQuote);
  return `${cut
    .slice(0, Math.max(cut.lastIndexOf(' '), maxQuote / 2))
    .trimEnd()
    .replace(/[\ud800-\udbff]$/u, '')} …`;
}
