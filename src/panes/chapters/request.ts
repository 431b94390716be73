import { z } from 'zod';
import type { JsonObject } from '../../protocol/records.ts';

/** Most chapters in one request. */
export const maxChapters = 200;
/** Longest brief and longest feedback, in UTF-16 units. */
export const maxBriefChars = 4_000;
export const maxFeedbackChars = 2_000;
/** Most chapters that one chapter can name in `after`. */
const maxAfter = 20;

/** One of the chapters that are asked for. */
export interface ChapterRequest {
  id: string;
  /** Absent: a rewrite keeps the title. */
  title?: string | undefined;
  /** Absent: a rewrite goes by the text that is there, and by the feedback. */
  brief?: string | undefined;
  after: string[];
}

/** What a `pane.run` of the chapters pane can ask for. */
export type ChaptersRequest =
  | {
      kind: 'writing';
      chapters: ChapterRequest[];
      mode: 'write' | 'rewrite';
      feedback: string;
      edit: boolean;
      review: boolean;
      parallel: boolean;
    }
  | { kind: 'revert'; id: string; version: number };

/** The input of a `pane.run`, read strictly; or which field is wrong, what was expected there and what came. */
export function readRequest(input: JsonObject | null): ChaptersRequest | { refused: string } {
  if (input !== null && Object.hasOwn(input, 'revert')) {
    const read = revertSchema.safeParse(input);
    return read.success ? { kind: 'revert', ...read.data.revert } : { refused: explain(read.error, input) };
  }
  if (input === null || !Object.hasOwn(input, 'chapters')) {
    const came = input === null ? 'nothing' : `an object with ${listed(Object.keys(input))}`;
    return {
      refused: `input: expected {"chapters": [{"id", "title", "brief"}]} or {"revert": {"id", "version"}}, got ${came}`,
    };
  }
  const read = (input['mode'] === 'rewrite' ? rewriteSchema : writeSchema).safeParse(input);
  if (!read.success) return { refused: explain(read.error, input) };
  const { chapters, ...wishes } = read.data;
  return { kind: 'writing', chapters: chapters.map((chapter) => ({ ...chapter })), ...wishes };
}

/** A text with one message for all that can be wrong with it. */
function bounded(min: number, max: number) {
  const expected = `expected ${min} to ${max.toLocaleString('en')} characters`;
  return z.string(expected).trim().min(min, expected).max(max, expected);
}

const idForm = 'expected 1 to 64 of A-Z a-z 0-9 _ -';
const id = z
  .string(idForm)
  .regex(/^[A-Za-z0-9_-]{1,64}$/, idForm)
  // Chapters are kept as properties of an object: "__proto__" would be lost there, "constructor" be there before it is written.
  .refine((name) => !(name in Object.prototype), 'expected a name that is not built into every object');
const afterForm = `expected a list of at most ${maxAfter} chapter ids`;
const after = z.array(id, afterForm).max(maxAfter, afterForm).default([]);
const flag = z.boolean('expected true or false').default(false);

function chaptersOf<Chapter extends z.ZodType>(chapter: Chapter) {
  const expected = `expected a list of 1 to ${maxChapters} chapters`;
  return z.array(chapter, expected).min(1, expected).max(maxChapters, expected);
}

const wishes = {
  feedback: bounded(0, maxFeedbackChars).default(''),
  edit: flag,
  review: flag,
  parallel: flag,
};

const objectForm = 'expected an object';

const writeSchema = z.strictObject({
  chapters: chaptersOf(
    z.strictObject({ id, title: bounded(1, 200), brief: bounded(1, maxBriefChars), after }, { error: objectOnly }),
  ),
  mode: z.literal('write', 'expected "write" or "rewrite"').default('write'),
  ...wishes,
});

const rewriteSchema = z.strictObject({
  chapters: chaptersOf(
    z.strictObject(
      { id, title: bounded(1, 200).optional(), brief: bounded(0, maxBriefChars).optional(), after },
      { error: objectOnly },
    ),
  ),
  mode: z.literal('rewrite'),
  ...wishes,
});

const revertSchema = z.strictObject({
  revert: z.strictObject(
    { id, version: z.int('expected a whole number from 1').min(1, 'expected a whole number from 1') },
    { error: objectOnly },
  ),
});

/** Leaves the message about unknown fields to `explain`. */
function objectOnly(issue: { code?: string | undefined }): string | undefined {
  return issue.code === 'invalid_type' ? objectForm : undefined;
}

/** `chapters.1.title: expected 1 to 200 characters, got nothing`. */
function explain(error: z.ZodError, input: JsonObject): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'input: expected a request for chapters';
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') return `unknown field ${listed([[...path, issue.keys[0] ?? '?'].join('.')])}`;
  return `${path.join('.')}: ${issue.message}, got ${came(input, issue.path)}`;
}

function came(input: JsonObject, path: readonly PropertyKey[]): string {
  let value: unknown = input;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return 'nothing';
    value = Object.getOwnPropertyDescriptor(value, key)?.value;
  }
  if (typeof value === 'string') return value.length > 40 ? `${value.length} characters` : JSON.stringify(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/** Names in an error message: few and short ones, for they are somebody else's text. */
function listed(names: readonly string[]): string {
  const shown = names.slice(0, 3).map((name) => JSON.stringify(name.slice(0, 60)));
  return shown.length === 0 ? 'no fields' : shown.join(', ') + (names.length > 3 ? ' …' : '');
}
