import { ProviderError } from '../../ports/errors.ts';
import type { TextRequest } from '../../ports/models.ts';
import type { Json } from '../../protocol/records.ts';
import { utf8Bytes, wholeCharacters } from '../../protocol/text.ts';
import { defineTaskPane } from '../define-tasks.ts';
import type { Kept, TaskContext, TaskResult } from '../define-tasks.ts';
import { boundedMessages, cutText, paneText, withoutMarkup } from '../prompts.ts';
import type { TranscriptBounds } from '../prompts.ts';
import { contentOf, heldIn, partOf, readCheckpoint, readInput, readWriting } from './chapter.ts';
import type { ChapterCheckpoint, WritingInput } from './chapter.ts';
import { readCurrent, readEarlier } from './earlier.ts';
import { planChapters } from './plan.ts';
import { maxChapters, maxFeedbackChars } from './request.ts';
import { draftPrompt, editPrompt, outlinePrompt } from './wording.ts';
import type { ChapterNotes } from './wording.ts';

/** Chapters need less of the conversation than its own panes: they have each other. */
const transcriptBounds: TranscriptBounds = { perMessage: 3_000, total: 12_000 };
/** Longest outline, and longest one that stands in the journal itself. */
const maxOutlineChars = 4_000;
const maxInlineBytes = 4_096;

/** The pane that writes chapters in the background. `systemPrompt` replaces the built-in one. */
export function chaptersPane(config: { systemPrompt?: string } = {}) {
  const { systemPrompt } = config;
  return defineTaskPane({
    name: 'chapters',
    phase: 'writing',
    joins: true,
    priority: 4,
    maxTasks: maxChapters,
    options: { enabled: false, policy: 'queue', parallel: 3, taskTimeoutMs: 300_000, maxChars: 24_000, window: 30 },
    stages: [
      { name: 'outlining', run: (context) => outline(context, systemPrompt) },
      { name: 'drafting', run: (context) => draft(context, systemPrompt), keep: keepDraft },
      { name: 'editing', run: (context) => edit(context, systemPrompt), keep: keepUnrevised },
    ],
    plan: planChapters,
  });
}

async function outline(context: TaskContext, systemPrompt?: string): Promise<TaskResult> {
  const input = readInput(context.task.input);
  if (input.mode === 'revert') return putBack(input.value);
  const notes = await notesOf(context, input, await currentOf(context, input));
  const bounds = { ...notes, maxChars: maxOutlineChars };
  const answer = await context.text.complete({
    stage: 'outline',
    prompt: outlinePrompt(bounds, systemPrompt),
    material: materialOf(bounds, 'outline'),
  });
  stopIfAborted(context);
  const text = paneText(answer, maxOutlineChars);
  if (text === '') throw wordless('outline');
  if (utf8Bytes(JSON.stringify(text)) <= maxInlineBytes) return { outcome: 'next', checkpoint: { outline: text } };
  return { outcome: 'next', checkpoint: { outlineAsset: await context.store(text) } };
}

async function draft(context: TaskContext, systemPrompt?: string): Promise<TaskResult> {
  const input = readWriting(context.task.input);
  const checkpoint = readCheckpoint(context.task.checkpoint);
  const notes = await notesOf(context, input, await currentOf(context, input), await outlineIn(context, checkpoint));
  const text = await write(context, {
    stage: 'draft',
    prompt: draftPrompt(notes, systemPrompt),
    material: materialOf(notes, 'draft'),
  });
  const asset = await context.store(text);
  const asOf = lastMessage(context);
  if (input.edit) return { outcome: 'next', checkpoint: { ...context.task.checkpoint, draft: asset, asOf } };
  const engine = context.text.engine('draft');
  return {
    outcome: 'done',
    value: contentOf(text, { title: input.title, asset, engine, asOf, partial: false }),
    asset,
  };
}

async function edit(context: TaskContext, systemPrompt?: string): Promise<TaskResult> {
  const input = readWriting(context.task.input);
  const checkpoint = readCheckpoint(context.task.checkpoint);
  const { text: unrevised } = await draftIn(context, checkpoint);
  const notes = await notesOf(context, input, withoutMarkup(unrevised), await outlineIn(context, checkpoint));
  const text = await write(context, {
    stage: 'edit',
    prompt: editPrompt(notes, systemPrompt),
    material: materialOf(notes, 'edit'),
  });
  const asset = await context.store(text);
  const engine = [...new Set([context.text.engine('draft'), context.text.engine('edit')])].join(' + ');
  const { asOf } = checkpoint;
  return {
    outcome: 'done',
    value: contentOf(text, { title: input.title, asset, engine, asOf, partial: false }),
    asset,
  };
}

/** An earlier version becomes the current one, whatever it is. */
function putBack(value: Json): TaskResult {
  const held = heldIn(value);
  return { outcome: 'done', value, ...(held === null ? {} : { asset: held.asset }) };
}

/** What was drafted until somebody stopped it; nothing as long as there is no word. */
async function keepDraft(context: TaskContext, shown: string): Promise<Kept | undefined> {
  const text = paneText(shown, context.options.maxChars);
  if (text === '') return undefined;
  return kept(context, text, await context.store(text), lastMessage(context));
}

/**
 * A revision that was stopped has changed the beginning and not come to the end: what is kept is the draft, which is whole, though not
 * revised.
 */
async function keepUnrevised(context: TaskContext): Promise<Kept> {
  const checkpoint = readCheckpoint(context.task.checkpoint);
  const { text, asset } = await draftIn(context, checkpoint);
  return kept(context, text, asset, checkpoint.asOf);
}

/** A text that was stopped becomes the chapter only where there is none, or one that was stopped itself; else it is kept beside it. */
function kept(context: TaskContext, text: string, asset: string, asOf: string): Kept {
  const { chapter, title } = readWriting(context.task.input);
  const part = partOf(context.parts, chapter);
  if (part !== undefined && heldIn(part.value)?.partial !== true) return { asset };
  return { asset, value: contentOf(text, { title, asset, engine: context.text.engine('draft'), asOf, partial: true }) };
}

/** The text of an answer, shown as it comes, at most `maxChars` units. An engine that does not come to an end is not listened to any longer. */
async function write(context: TaskContext, request: TextRequest): Promise<string> {
  const { maxChars } = context.options;
  let text = '';
  for await (const piece of context.text.stream(request)) {
    // A port may deliver a piece late; what comes after a stop is nobody's text.
    stopIfAborted(context);
    const add = text === '' ? piece.trimStart() : piece;
    const fits = wholeCharacters(add.slice(0, Math.max(0, maxChars - text.length)));
    if (fits !== '') context.show(fits);
    text += add;
    if (text.length > maxChars) break;
  }
  stopIfAborted(context);
  const written = paneText(text, maxChars);
  if (written === '') throw wordless(request.stage);
  return written;
}

/** All that the stages of a chapter go by, bounded, and without what other panes have put into it. */
async function notesOf(
  context: TaskContext,
  input: WritingInput,
  current: string,
  outlined = '',
): Promise<ChapterNotes> {
  const earlier = await readEarlier(context, input.before);
  const feedback = [input.feedback, guidanceOf(context)].filter((text) => text !== '').join('\n');
  return {
    chapter: {
      title: withoutMarkup(input.title).trim(),
      brief: withoutMarkup(input.brief).trim(),
      feedback: withoutMarkup(feedback).trim(),
      outline: outlined,
      earlier,
    },
    messages: boundedMessages(context.messages, transcriptBounds),
    current,
    maxChars: context.options.maxChars,
  };
}

/** What a person said when resuming after a review: the field `feedback` of that input. */
function guidanceOf(context: TaskContext): string {
  const said = context.task.guidance?.['feedback'];
  return typeof said === 'string' ? cutText(said.trim(), maxFeedbackChars) : '';
}

function materialOf(notes: ChapterNotes, purpose: 'outline' | 'draft' | 'edit'): TextRequest['material'] {
  const { messages, current, maxChars, chapter } = notes;
  return { messages, current, maxChars, purpose, chapter };
}

/** A rewrite looks at what it replaces; to write a chapter that is there already is to begin it anew. */
async function currentOf(context: TaskContext, input: WritingInput): Promise<string> {
  return input.mode === 'rewrite' ? readCurrent(context, input.chapter) : '';
}

async function outlineIn(context: TaskContext, checkpoint: ChapterCheckpoint): Promise<string> {
  const text = checkpoint.outline ?? (checkpoint.outlineAsset && (await context.load(checkpoint.outlineAsset)));
  stopIfAborted(context);
  if (text === undefined || text === '') throw new Error('expected a checkpoint with an outline; there is none');
  return withoutMarkup(text);
}

async function draftIn(context: TaskContext, checkpoint: ChapterCheckpoint): Promise<{ text: string; asset: string }> {
  if (checkpoint.draft === undefined) throw new Error('stage editing expects a checkpoint with a draft; there is none');
  const text = await context.load(checkpoint.draft);
  stopIfAborted(context);
  return { text, asset: checkpoint.draft };
}

function lastMessage(context: TaskContext): string {
  return context.messages.at(-1)?.id ?? '';
}

function wordless(stage: string): ProviderError {
  return new ProviderError('truncated', `the engine ended its answer (${stage}) without a word; expected text`);
}

function stopIfAborted(context: TaskContext): void {
  if (context.signal.aborted) throw context.signal.reason;
}
