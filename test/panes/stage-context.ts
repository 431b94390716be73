import { defaultPaneOptions } from '../../src/server/sessions/pane-registry.ts';
import type { JsonObject, PaneOptions, Picture, StageContext, StageResult } from '../../src/panes/define.ts';
import type { Message } from '../../src/panes/define.ts';
import type { TextRequest } from '../../src/ports/models.ts';

/** A message of a transcript, numbered m1, m2 … by its position. */
export function transcript(...lines: [role: 'user' | 'assistant' | 'system', text: string][]): Message[] {
  return lines.map(([role, text], index) => ({
    id: `m${index + 1}`,
    role,
    text,
    generation: Math.floor(index / 2) + 1,
    at: '2026-11-20T18:00:00.000Z',
    final: true,
    outcome: 'complete',
  }));
}

const options: PaneOptions = { ...defaultPaneOptions };

type Script = string | readonly string[] | Error;

export interface FakeContext extends StageContext {
  readonly requests: TextRequest[];
  readonly drawn: { prompt: string; seed: string; fresh?: boolean }[];
  readonly written: string[];
  readonly controller: AbortController;
}

/** A context whose text engine answers with `answers` in turn (an Error is thrown), and whose image engine always draws. */
export function fakeContext(given: {
  answers?: Script[];
  messages?: Message[];
  content?: JsonObject | null;
  checkpoint?: JsonObject | null;
  maxChars?: number;
  imageEngine?: string;
  /** What differs in the picture that comes back, e.g. another engine than the one asked first. */
  picture?: Partial<Picture>;
  imageError?: Error;
  onPiece?: (index: number, controller: AbortController) => void;
}): FakeContext {
  const answers = [...(given.answers ?? [])];
  const requests: TextRequest[] = [];
  const drawn: FakeContext['drawn'] = [];
  const written: string[] = [];
  const controller = new AbortController();
  const next = (request: TextRequest): readonly string[] => {
    requests.push(request);
    const answer = answers.shift();
    if (answer === undefined) throw new Error(`unexpected call, stage ${request.stage}`);
    if (answer instanceof Error) throw answer;
    return typeof answer === 'string' ? [answer] : answer;
  };
  return {
    requests,
    drawn,
    written,
    controller,
    session: 'chat-7',
    pane: 'test',
    run: 'r1',
    attempt: 1,
    generation: 9,
    signal: controller.signal,
    input: null,
    checkpoint: given.checkpoint ?? null,
    messages: given.messages ?? transcript(['user', 'Hello.'], ['assistant', 'The lamp is lit.']),
    content: given.content ?? null,
    options: { ...options, maxChars: given.maxChars ?? options.maxChars },
    text: {
      engine: (stage) => `model-${stage}`,
      async *stream(request) {
        for (const [index, piece] of next(request).entries()) {
          yield piece;
          given.onPiece?.(index, controller);
        }
      },
      complete: async (request) => next(request).join(''),
    },
    image: {
      engine: given.imageEngine ?? 'painter',
      generate: async (request) => {
        drawn.push(request);
        if (given.imageError !== undefined) throw given.imageError;
        const engine = given.imageEngine ?? 'painter';
        return { path: '/v1/assets/chat-7/abc.svg', engine, cached: false, ...given.picture };
      },
    },
    write: (add) => void written.push(add),
  };
}

/** Runs one stage of a pane by its name. */
export function runStage(
  pane: { stages: readonly { name: string; run(context: StageContext): Promise<StageResult> }[] },
  name: string,
  context: StageContext,
): Promise<StageResult> {
  const stage = pane.stages.find((one) => one.name === name);
  if (stage === undefined) throw new Error(`no stage ${name}`);
  return stage.run(context);
}
