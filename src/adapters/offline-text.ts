import type { Report, TextModel, TextRequest } from '../ports/models.ts';
import { draftChapter, outlineChapter } from './offline/chapter.ts';
import { describeScene } from './offline/describe.ts';
import { proposePictures } from './offline/propose.ts';
import { seeded } from './offline/random.ts';
import { composeReply, isOfflineReply } from './offline/reply.ts';
import { editChapter } from './offline/revise.ts';
import { readScene } from './offline/scene.ts';
import { slices } from './offline/slices.ts';
import type { Breathe } from './offline/slices.ts';
import { summarize } from './offline/summary.ts';
import { delay } from './offline/delay.ts';

export interface OfflineTextOptions {
  /** Pause before each word of a reply, and before every few words of a chapter, in ms. 0 = none. Default 25, about as fast as one reads aloud in one's head. */
  pace?: number;
  /** How to wait; rejects with the signal's reason. Default: real time. */
  delay?: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Chooses among the wordings of a reply, in [0, 1). Default: from the messages alone, so that the same chat gets the same reply. */
  random?: () => number;
  /** The last line of a reply: how to connect a model. */
  connect?: string;
}

const defaultConnect =
  'To connect a model, set MULLION_TEXT_MODEL and OPENAI_BASE_URL (and OPENAI_API_KEY where one is needed) and start again; `mullion check` says whether it answers.';

/**
 * Text without a model, without weights and without a network: extractive summaries, scenes read with a lexicon, chapters put together from
 * sentences that are there, and a reply that says what it is. `evaluate` works out what the pane would say now and compares, so `unchanged` is true when it is said.
 */
export function offlineText(options: OfflineTextOptions = {}): TextModel {
  return {
    host: null,
    engine: () => 'offline',
    stream: (request, signal, report) => stream(request, signal, report, options),
  };
}

async function* stream(
  request: TextRequest,
  signal: AbortSignal,
  report: Report,
  options: OfflineTextOptions,
): AsyncGenerator<string> {
  signal.throwIfAborted();
  const answer = await write(request, slices(signal), options);
  signal.throwIfAborted();
  report.heard();
  const pieces = piecesOf(answer, request);
  // What comes in one piece is not waited for.
  const pace = pieces.length > 1 ? (options.pace ?? 25) : 0;
  const wait = options.delay ?? delay;
  for (const piece of pieces) {
    if (pace > 0) await wait(pace, signal);
    signal.throwIfAborted();
    report.heard();
    yield piece;
  }
}

/** A reply comes word by word, a chapter a few words at a time, for nobody reads along with every one; the rest is one piece. */
function piecesOf(answer: string, { stage, material }: TextRequest): string[] {
  if (answer === '') return [];
  if (stage === 'reply') return answer.split(/(?<=\s)(?=\S)/u);
  if (material.purpose !== 'draft' && material.purpose !== 'edit') return [answer];
  return answer.match(chapterPiece) ?? [answer];
}

/** Four words, or as much of a text without blanks; always to the end of a word or of a whole character. */
const chapterPiece = /(?:\s*\S{1,24}){1,4}\s*/gu;

async function write(request: TextRequest, breathe: Breathe, options: OfflineTextOptions): Promise<string> {
  const material = {
    ...request.material,
    messages: request.material.messages.filter((message) => !isOfflineReply(message)),
  };
  switch (material.purpose) {
    case 'outline':
      return outlineChapter(material, breathe);
    case 'draft':
      return draftChapter(material, breathe);
    case 'edit':
      return editChapter(material, breathe);
    case 'illustrations':
      // The notes of this engine are no story, but the last of them says where the story is: a picture may stand beside it.
      return proposePictures(request.material, breathe);
    default:
      return writeFor(request.stage, material, breathe, options);
  }
}

async function writeFor(
  stage: string,
  material: TextRequest['material'],
  breathe: Breathe,
  options: OfflineTextOptions,
): Promise<string> {
  switch (stage) {
    case 'evaluate': {
      const now = material.purpose === 'scene' ? await describe(material, breathe) : await summarize(material, breathe);
      return now === '' || now === material.current.trim() ? 'NO' : 'YES';
    }
    case 'describe':
      return describe(material, breathe);
    case 'reply': {
      const scene = await readScene(
        material.messages.map((message) => message.text),
        breathe,
      );
      const key = material.messages.map((message) => message.id).join(' ');
      const connect = options.connect ?? defaultConnect;
      return composeReply(material.messages, scene, connect, options.random ?? seeded(`reply ${key}`));
    }
    // A stage of somebody's own pane: a summary is the most useful thing that can be done with a transcript.
    default:
      return summarize(material, breathe);
  }
}

/** A scene that is told in full or not at all: half a sentence is no prompt. */
async function describe(material: TextRequest['material'], breathe: Breathe): Promise<string> {
  const scene = await readScene(
    material.messages.map((message) => message.text),
    breathe,
  );
  if (scene === null) return '';
  const sentences = describeScene(scene).split(/(?<=\.) /u);
  while (sentences.length > 1 && sentences.join(' ').length > material.maxChars) sentences.pop();
  return sentences.join(' ').slice(0, material.maxChars).trimEnd();
}
