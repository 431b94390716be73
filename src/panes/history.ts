import { definePane } from './define.ts';
import type { StageContext, StageResult } from './define.ts';
import { ask, boundedMessages, isYes, paneText, quoteText, quoteTranscript, readingBounds } from './prompts.ts';

/** The story so far. */
export type HistoryContent = {
  text: string;
  engine: string;
  /** Id of the last message that it covers, '' for none. */
  asOf: string;
};

/** Messages that the question "has something changed?" is asked about. */
const evaluatedMessages = 6;

/** The summary beside the chat: asked once whether it is due, then written anew from the window and the current summary. */
export const historyPane = definePane({
  name: 'history',
  priority: 1,
  runFrom: 'summarizing',
  options: { window: 30, maxChars: 1_500, timeoutMs: 60_000 },
  stages: [
    { name: 'evaluating', run: evaluate },
    { name: 'summarizing', run: summarize },
  ],
});

async function evaluate(context: StageContext): Promise<StageResult<HistoryContent>> {
  const current = currentText(context);
  const recent = boundedMessages(context.messages.slice(-evaluatedMessages), readingBounds);
  const answer = await context.text.complete({
    stage: 'evaluate',
    prompt: ask('You decide whether the summary of a conversation is out of date. Answer with one word: YES or NO.', [
      `Current summary:\n${quoteText(current)}`,
      `The last messages:\n${quoteTranscript(recent)}`,
      'Do the last messages contain an event, decision, fact or person that belongs in the summary and is missing there, or contradict it? Answer YES or NO.',
    ]),
    material: material(context, current),
  });
  return isYes(answer) ? { outcome: 'next' } : { outcome: 'unchanged' };
}

async function summarize(context: StageContext): Promise<StageResult<HistoryContent>> {
  const current = currentText(context);
  const { maxChars } = context.options;
  const answer = await context.text.complete({
    stage: 'summarize',
    prompt: ask('You keep the running summary of a conversation for somebody who comes back to it later.', [
      `Current summary:\n${quoteText(current)}`,
      `Transcript, oldest first:\n${quoteTranscript(boundedMessages(context.messages, readingBounds))}`,
      `Write the summary anew, 120 to 180 words, at most ${maxChars} characters, in the language of the transcript. Keep what still matters of the current summary, correct what the transcript contradicts, add what is new. Third person, past tense, names instead of pronouns where unclear, in order of time. Plain prose: no heading, no list, no comment of yours.`,
    ]),
    material: material(context, current),
  });
  const text = paneText(answer, maxChars);
  // Nothing said is no reason to forget what is known.
  if (text === '') return { outcome: 'unchanged' };
  const asOf = context.messages.at(-1)?.id ?? '';
  return { outcome: 'updated', content: { text, engine: context.text.engine('summarize'), asOf } };
}

/**
 * Both stages hand over the same window: an engine without a model answers "has something changed?" by working out what it would write,
 * for which it needs what the writing stage will get. A model reads the prompt, with the last messages only.
 */
function material(context: StageContext, current: string) {
  const messages = boundedMessages(context.messages, readingBounds);
  return { messages, current, maxChars: context.options.maxChars, purpose: 'summary' as const };
}

function currentText(context: StageContext): string {
  const text = context.content?.['text'];
  return typeof text === 'string' ? text : '';
}
