import { definePane } from './define.ts';
import type { JsonObject, StageContext, StageResult } from './define.ts';
import { ask, boundedMessages, isYes, paneText, quoteText, quoteTranscript, readingBounds } from './prompts.ts';

/** Where the conversation is, in words and as a picture. */
export type SceneContent = {
  description: string;
  /** Path of the picture. */
  image: string;
  /** Who made it: one name, or `text engine + image engine`. */
  engine: string;
  /** Id of the last message that it covers, '' for none. */
  asOf: string;
  /** The same description was drawn before: this is that picture. */
  cached?: true;
};

/** Messages that the question "has the scene changed?" is asked about. */
const evaluatedMessages = 8;

/** The picture beside the chat: asked once whether it is due, then described, then drawn from the description alone. */
export const scenePane = definePane({
  name: 'scene',
  priority: 2,
  runFrom: 'describing',
  imaging: ['imaging'],
  options: { window: 20, maxChars: 600, timeoutMs: 120_000 },
  stages: [
    { name: 'evaluating', run: evaluate },
    { name: 'describing', run: describe },
    { name: 'imaging', run: draw },
  ],
});

async function evaluate(context: StageContext): Promise<StageResult<SceneContent>> {
  const current = textOf(context.content, 'description');
  const recent = boundedMessages(context.messages.slice(-evaluatedMessages), readingBounds);
  const answer = await context.text.complete({
    stage: 'evaluate',
    prompt: ask(
      'You decide whether the illustration of a conversation is out of date. Answer with one word: YES or NO.',
      [
        `What the illustration shows now:\n${quoteText(current)}`,
        `The last messages:\n${quoteTranscript(recent)}`,
        'Has the visible scene changed: another place, another time of day, other weather, something new that one would see? Answer YES or NO.',
      ],
    ),
    material: material(context, current),
  });
  return isYes(answer) ? { outcome: 'next' } : { outcome: 'unchanged' };
}

async function describe(context: StageContext): Promise<StageResult<SceneContent>> {
  const current = textOf(context.content, 'description');
  const { maxChars } = context.options;
  const answer = await context.text.complete({
    stage: 'describe',
    prompt: ask('You describe the current scene of a conversation for an illustrator who knows nothing else of it.', [
      `What the illustration shows now:\n${quoteText(current)}`,
      `Transcript, oldest first:\n${quoteTranscript(boundedMessages(context.messages, readingBounds))}`,
      `Describe in English what one would see at the end of the transcript: 35 to 60 words, at most ${maxChars} characters. Place, light, weather, one or two things in the foreground, mood. Only what is visible: no names, no speech, no text in the picture, no comment of yours.`,
    ]),
    material: material(context, current),
  });
  const description = paneText(answer, maxChars);
  if (description === '') return { outcome: 'unchanged' };
  const asOf = context.messages.at(-1)?.id ?? '';
  return { outcome: 'next', checkpoint: { description, asOf, engine: context.text.engine('describe') } };
}

/** Works from the checkpoint alone: after a restart the picture is of the description that was recorded, whatever has been said since. */
async function draw(context: StageContext): Promise<StageResult<SceneContent>> {
  const description = textOf(context.checkpoint, 'description');
  if (description === '') throw new Error('stage imaging expects a checkpoint with a description; there is none');
  const { path, engine, cached } = await context.image.generate({
    prompt: description,
    seed: `${context.session}:${context.generation}`,
  });
  const content: SceneContent = {
    description,
    image: path,
    engine: engineLabel(textOf(context.checkpoint, 'engine'), engine),
    asOf: textOf(context.checkpoint, 'asOf'),
    ...(cached ? { cached } : {}),
  };
  return { outcome: 'updated', content };
}

function engineLabel(text: string, image: string): string {
  return text === image || text === '' ? image : `${text} + ${image}`;
}

/** The whole window, for the reason given in the history pane. */
function material(context: StageContext, current: string) {
  const messages = boundedMessages(context.messages, readingBounds);
  return { messages, current, maxChars: context.options.maxChars, purpose: 'scene' as const };
}

function textOf(object: JsonObject | null, key: string): string {
  const value = object?.[key];
  return typeof value === 'string' ? value : '';
}
