import { z } from 'zod';
import { wholeCharacters } from '../../protocol/text.ts';
import type { JsonObject } from '../../protocol/records.ts';
import type { Part } from '../../protocol/view.ts';
import { cutText } from '../prompts.ts';

/** A chapter as the pane commits it: the part of its id. */
export type ChapterContent = {
  title: string;
  /** Path of the text. */
  asset: string;
  /** Length of the text, in UTF-16 units. */
  chars: number;
  /** Its beginning, at most 280 units. */
  excerpt: string;
  /** Who wrote it: one name, or `drafting engine + editing engine`. */
  engine: string;
  /** Id of the last message that it knows, '' for none. */
  asOf: string;
  /** True when a person stopped it: the text ends where it was stopped, or is not revised yet. */
  partial: boolean;
};

/** Longest beginning that stands in the part itself, and longest name of an engine there, in UTF-16 units. */
const maxExcerptChars = 280;
const maxEngineChars = 200;

/** The content that stands for a text; at most 4,096 bytes whatever the text is. */
export function contentOf(
  text: string,
  about: Pick<ChapterContent, 'title' | 'asset' | 'engine' | 'asOf' | 'partial'>,
): ChapterContent {
  return {
    title: about.title,
    asset: about.asset,
    chars: text.length,
    excerpt: cutText(text.slice(0, maxExcerptChars * 4).replace(/\s+/gu, ' '), maxExcerptChars),
    engine: wholeCharacters(about.engine.slice(0, maxEngineChars)),
    asOf: about.asOf,
    partial: about.partial,
  };
}

/** The part of a chapter; not what every object has, such as "constructor". */
export function partOf(parts: { readonly [key: string]: Part }, id: string): Part | undefined {
  return Object.hasOwn(parts, id) ? parts[id] : undefined;
}

const heldSchema = z.object({ title: z.string(), asset: z.string(), partial: z.boolean().catch(false) });

/** What the pane needs to know of a committed value; null for one that is no chapter. */
export function heldIn(value: unknown): z.infer<typeof heldSchema> | null {
  return heldSchema.safeParse(value).data ?? null;
}

const writingSchema = z.object({
  mode: z.enum(['write', 'rewrite']),
  chapter: z.string(),
  title: z.string(),
  brief: z.string(),
  feedback: z.string(),
  edit: z.boolean(),
  before: z.array(z.string()),
});

const inputSchema = z.discriminatedUnion('mode', [
  writingSchema,
  z.object({ mode: z.literal('revert'), chapter: z.string(), version: z.number(), value: z.json() }),
]);

/** What a task of the pane is to do, as it stands in the journal. */
export type ChapterInput = z.infer<typeof inputSchema>;
/** The input of a task that writes. */
export type WritingInput = z.infer<typeof writingSchema>;

/** The input of a task, read back from the journal. Throws when it is not one of this pane. */
export function readInput(input: JsonObject): ChapterInput {
  return inputSchema.parse(input);
}

/** The input of a task in a stage that only writing reaches. */
export function readWriting(input: JsonObject): WritingInput {
  return writingSchema.parse(input);
}

const checkpointSchema = z.object({
  /** The outline itself, or the path of a long one. */
  outline: z.string().optional(),
  outlineAsset: z.string().optional(),
  /** Path of the draft, with what the editing stage says of it. */
  draft: z.string().optional(),
  asOf: z.string().default(''),
});

/** What the stages of one task hand on. */
export type ChapterCheckpoint = z.infer<typeof checkpointSchema>;

/** The checkpoint of a task, read back from the journal. */
export function readCheckpoint(checkpoint: JsonObject | null): ChapterCheckpoint {
  return checkpointSchema.parse(checkpoint ?? {});
}
