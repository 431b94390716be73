import { wholeCharacters } from '../../protocol/text.ts';
import type { Message } from '../../protocol/view.ts';
import { defineTaskPane } from '../define-tasks.ts';
import type { TaskContext, TaskPaneDefinition, TaskResult, Watch } from '../define-tasks.ts';
import { boundedMessages } from '../prompts.ts';
import type { TranscriptBounds } from '../prompts.ts';
import { compilePatterns } from './patterns.ts';
import { placesIn, proposalPrompt, readProposals } from './place.ts';
import { maxPictures, planPictures } from './plan.ts';
import { createScanner, maxPromptUnits } from './scan.ts';
import type { Scanner } from './scan.ts';
import { failedValue, placeOfInput, proposedTasks, proposeTask, readyValue, retryTask, tagTask } from './tasks.ts';
import type { Place, Source } from './tasks.ts';

export type { IllustrationContent } from './tasks.ts';

/** Most pictures that one call proposes. */
const maxProposals = 30;

/** Messages before it that an engine without a model reads as well: they say where the story is. */
const contextMessages = 5;

/** How much of a message the model reads that proposes pictures for it: nearly all of it, else it could not point at the middle. */
const bounds: TranscriptBounds = { perMessage: 24_000, total: 24_000 };

/**
 * Pictures inside the text: one task for each prompt in an assistant message, found while that is still being written. `patterns` are looked
 * for instead of the built-in tags; one that is broken or could not be matched in one pass throws (see `compilePatterns`).
 */
export function illustrationsPane(
  config: { patterns?: readonly string[] | undefined } = {},
): TaskPaneDefinition<'illustrations'> {
  const scanner = config.patterns === undefined ? createScanner : compilePatterns(config.patterns).scanner;
  return defineTaskPane({
    name: 'illustrations',
    phase: 'imaging',
    stages: [{ name: 'imaging', run: draw }],
    joins: true,
    // Behind the panes beside the chat, before what is written in the background.
    priority: 3,
    maxTasks: maxPictures,
    options: {
      enabled: false,
      policy: 'queue',
      startOn: 'message',
      debounceMs: 0,
      taskTimeoutMs: 300_000,
      retries: 2,
      parallel: 4,
      propose: 0,
      maxChars: 6_000,
    },
    readsMarkup: true,
    failed: failedValue,
    retry: retryTask,
    plan: (input, view) => planPictures(input, view, scanner),
    watch: (message, options) => watchMessage(message, options.propose ?? 0, scanner()),
  });
}

function watchMessage(source: Source, propose: number, scanner: Scanner): Watch {
  let pictures = 0;
  // Beyond the bound a tag stays a tag: nobody looks at more pictures in one message.
  const taken = (add: ReturnType<Scanner['push']>) => {
    const some = add.slice(0, maxPictures - pictures);
    pictures += some.length;
    return some;
  };
  return {
    push: (add) =>
      taken(scanner.push(add)).map((found) => ({
        offset: found.offset,
        length: found.length,
        task: tagTask(source, found),
      })),
    end: () => {
      const tasks = taken(scanner.end()).map((found) => tagTask(source, found));
      return pictures === 0 && propose > 0 ? [proposeTask(source, boundedCount(propose))] : tasks;
    },
  };
}

async function draw(context: TaskContext): Promise<TaskResult> {
  if (context.task.input['kind'] === 'propose') return propose(context);
  const place = placeOfInput(context.task.input);
  if (place === undefined) throw new Error('stage imaging expects a task with a place and a prompt; there is none');
  const { key } = context.task;
  const fresh = context.task.input['again'] !== undefined;
  // Each version of each picture is a picture of its own, and the same one again after a restart.
  const picture = await context.image.generate({
    prompt: wholeCharacters(place.prompt.trim().slice(0, maxPromptUnits)),
    seed: `${context.session}:${key}:${context.parts[key]?.version ?? 0}`,
    ...(fresh ? { fresh } : {}),
  });
  return { outcome: 'done', value: readyValue(place, picture), asset: picture.path };
}

/** One call for a message without prompts. What it proposes becomes tasks of the same run, each with its place already found. */
async function propose(context: TaskContext): Promise<TaskResult> {
  const { message: id, rev, count: wanted } = context.task.input;
  const message = context.messages.find((one) => one.id === id && (one.rev ?? 0) === rev);
  // Removed or edited since: there is nothing to illustrate any more.
  if (message === undefined) return { outcome: 'done' };
  const [shown] = boundedMessages([message], bounds);
  if (shown === undefined) return { outcome: 'done' };
  const before = boundedMessages(
    context.messages.slice(0, context.messages.indexOf(message)).slice(-contextMessages),
    bounds,
  );
  const count = boundedCount(typeof wanted === 'number' ? wanted : 1);
  const answer = await context.text.complete({
    stage: 'propose',
    prompt: proposalPrompt(shown.text, count),
    material: {
      purpose: 'illustrations',
      count,
      messages: [...before, shown],
      current: '',
      maxChars: context.options.maxChars,
    },
  });
  return { outcome: 'done', add: proposedTasks(proposedPlaces(answer, count, message)) };
}

/** A snippet that is not in the text: the picture stands at its end. */
function proposedPlaces(answer: string, count: number, message: Message): Place[] {
  const { id, rev = 0, text } = message;
  const find = placesIn(text);
  return readProposals(answer, count).map(({ snippet, prompt }) => {
    const offset = find(snippet)?.offset ?? text.length;
    return { message: id, rev, offset, length: 0, prompt };
  });
}

function boundedCount(count: number): number {
  return Math.min(maxProposals, Math.max(1, Math.floor(count)));
}
