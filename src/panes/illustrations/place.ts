import type { PromptMessage } from '../../ports/models.ts';
import { ask, cutText, quoteText } from '../prompts.ts';
import { maxPromptUnits } from './scan.ts';

/** A picture that a model proposes. */
interface Proposal {
  /** Words of the text behind which it belongs. */
  snippet: string;
  /** What is to be drawn. */
  prompt: string;
}

/** Longest answer that is read, in UTF-16 units. */
const maxAnswerUnits = 65_536;

/** Longest snippet that is looked for, in UTF-16 units. */
const maxSnippetUnits = 300;

/** Asks a model where a text is illustrated, and with what: at most `count` times. */
export function proposalPrompt(text: string, count: number): PromptMessage[] {
  return ask(
    'You choose which moments of a text are illustrated, and describe them for an illustrator who knows nothing else of it.',
    [
      `The text:\n${quoteText(text)}`,
      `Choose at most ${count} moments that one would like to see, in the order of the text. For each of them write two lines and nothing else:
AFTER: the last 5 to 12 words of the sentence behind which the picture stands, copied exactly
PICTURE: what one sees, in English, 20 to 50 words: place, light, things, people as they look. Only what is visible: no names, no speech, no text in the picture
No numbers, no comment of yours. If nothing is worth a picture, answer NONE.`,
    ],
  );
}

/** The proposals in an answer, in its order, at most `count`. What is not a whole block of AFTER and PICTURE is passed over. */
export function readProposals(answer: string, count: number): Proposal[] {
  const proposals: Proposal[] = [];
  let snippet = '';
  let awaited: 'snippet' | 'prompt' | undefined;
  for (const line of answer.slice(0, maxAnswerUnits).split(/\r\n|[\n\r]/)) {
    const label = labelOf(line);
    const value = unwrap(label?.value ?? line);
    const field = label?.field ?? awaited;
    if (label?.field === 'snippet') snippet = '';
    if (field === undefined) continue;
    // A label alone on its line: what it announces is on the next one that is not blank.
    awaited = value === '' ? field : undefined;
    if (value === '') continue;
    if (field === 'snippet') snippet = value.slice(-maxSnippetUnits);
    else if (snippet !== '') {
      proposals.push({ snippet, prompt: cutText(value, maxPromptUnits) });
      snippet = '';
      if (proposals.length >= count) break;
    }
  }
  return proposals;
}

/**
 * Where a picture belongs: right behind the first place that reads like the snippet, and behind the signs that close its sentence. Case, the
 * number and kind of blanks, and the form of quotes and dashes do not count. null = nowhere. Cost: linear.
 */
export function placeOf(text: string, snippet: string): { offset: number } | null {
  return placesIn(text)(snippet);
}

/** The same for many snippets of one text. */
export function placesIn(text: string): (snippet: string) => { offset: number } | null {
  const folded = fold(text);
  return (snippet) => {
    const bare = snippet.slice(0, maxSnippetUnits).replaceAll(/^[.…\s]+|[.…\s]+$/g, '');
    const end = endOfFirst(folded, fold(bare).units);
    if (end < 0) return null;
    const closing = /^[.!?…,;:]*["'”’»)\]*_]*/.exec(text.slice(end, end + 8))?.[0] ?? '';
    return { offset: end + closing.length };
  };
}

/** A line that begins with one of the labels, after list signs and Markdown. */
function labelOf(line: string): { field: 'snippet' | 'prompt'; value: string } | undefined {
  const found = /^[\s>|*_#`\d.)-]{0,16}(AFTER|PICTURE)[\s*_`]{0,4}[:：]\**([^]*)$/i.exec(line);
  if (found === null) return undefined;
  return { field: found[1]?.toUpperCase() === 'AFTER' ? 'snippet' : 'prompt', value: found[2] ?? '' };
}

/** Without the signs of a quotation around it. A line of signs alone is blank. */
function unwrap(value: string): string {
  const bare = value.replace(/^[\s|]+/, '').trim();
  const inner = /^(["'`“”„«»‘’*_]{1,3})([^]*)$/.exec(bare)?.[2];
  return inner === undefined ? bare : inner.replace(/["'`“”„«»‘’*_]{1,3}$/, '').trim();
}

interface Folded {
  /** The units that count, each in the form in which it is compared. */
  units: Uint16Array;
  /** Where each of them ends in the text. */
  ends: Int32Array;
}

const blank = 0x20;

/** Other forms of blanks, quotes and dashes, by unit. */
const sameAs = new Map(
  [
    {
      plain: ' ',
      others:
        '\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff\u00a0',
    },
    { plain: '"', others: '“”„«»' },
    { plain: "'", others: '‘’‚' },
    { plain: '-', others: '–—‐‑' },
  ].flatMap(({ plain, others }) =>
    others.split('').map((other) => [other.charCodeAt(0), plain.charCodeAt(0)] as const),
  ),
);

function fold(text: string): Folded {
  const units = new Uint16Array(text.length);
  const ends = new Int32Array(text.length);
  let size = 0;
  for (let i = 0; i < text.length; i += 1) {
    const unit = foldUnit(text.charCodeAt(i));
    if (unit === blank && (size === 0 || units[size - 1] === blank)) continue;
    units[size] = unit;
    ends[size] = i + 1;
    size += 1;
  }
  return { units: units.subarray(0, size), ends };
}

function foldUnit(unit: number): number {
  if (unit < 0x80) {
    if (unit >= 0x41 && unit <= 0x5a) return unit + 0x20;
    return unit >= 0x09 && unit <= 0x0d ? blank : unit;
  }
  const plain = sameAs.get(unit);
  if (plain !== undefined) return plain;
  const lower = String.fromCharCode(unit).toLowerCase();
  return lower.length === 1 ? lower.charCodeAt(0) : unit;
}

/** Knuth, Morris and Pratt: no text, however repetitive, makes it slow. Where the first occurrence ends in the unfolded text, or -1. */
function endOfFirst(text: Folded, wanted: Uint16Array): number {
  const { units, ends } = text;
  if (wanted.length === 0) return -1;
  const borders = bordersOf(wanted);
  let matched = 0;
  for (let i = 0; i < units.length; i += 1) {
    while (matched > 0 && units[i] !== wanted[matched]) matched = borders[matched - 1] ?? 0;
    if (units[i] === wanted[matched]) matched += 1;
    if (matched === wanted.length) return ends[i] ?? -1;
  }
  return -1;
}

/** For each prefix, the length of its longest proper prefix that is also its end. */
function bordersOf(wanted: Uint16Array): number[] {
  const borders = [0];
  let matched = 0;
  for (let i = 1; i < wanted.length; i += 1) {
    while (matched > 0 && wanted[i] !== wanted[matched]) matched = borders[matched - 1] ?? 0;
    if (wanted[i] === wanted[matched]) matched += 1;
    borders.push(matched);
  }
  return borders;
}
