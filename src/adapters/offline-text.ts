import type { Report, TextModel, TextRequest } from '../ports/models.ts';
import { describeScene } from './offline/describe.ts';
import { seeded } from './offline/random.ts';
import { composeReply, isOfflineReply } from './offline/reply.ts';
import { readScene } from './offline/scene.ts';
import { slices } from './offline/slices.ts';
import type { Breathe } from './offline/slices.ts';
import { summarize } from './offline/summary.ts';
import { delay } from './offline/delay.ts';

export interface OfflineTextOptions {
  /** Pause before each word of a reply, in ms. 0 = none. Default 25, about as fast as one reads aloud in one's head. */
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
 * Text without a model, without weights and without a network: extractive summaries, scenes read with a lexicon, and a reply that says what it
 * is. `evaluate` works out what the pane would say now and compares, so `unchanged` is true when it is said.
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
  if (request.stage !== 'reply') {
    if (answer !== '') yield answer;
    return;
  }
  const wait = options.delay ?? delay;
  const pace = options.pace ?? 25;
  for (const word of answer.split(/(?<=\s)(?=\S)/u)) {
    if (pace > 0) await wait(pace, signal);
    signal.throwIfAborted();
    report.heard();
    yield word;
  }
}

async function write(request: TextRequest, breathe: Breathe, options: OfflineTextOptions): Promise<string> {
  const material = {
    ...request.material,
    messages: request.material.messages.filter((message) => !isOfflineReply(message)),
  };
  switch (request.stage) {
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
