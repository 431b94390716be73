import type { ProviderError } from '../../../src/ports/errors.ts';
import type { TextRequest } from '../../../src/ports/models.ts';
import type { Kept, TaskContext, TaskPlan, TaskResult } from '../../../src/panes/define-tasks.ts';
import { chaptersPane } from '../../../src/panes/chapters/chapters.ts';
import type { ChapterContent } from '../../../src/panes/chapters/chapter.ts';
import type { Json, JsonObject, PaneOptions } from '../../../src/protocol/records.ts';
import type { Message, Part } from '../../../src/protocol/view.ts';

/** The pane's options as the server completes them. */
export const options: PaneOptions = {
  enabled: true,
  policy: 'queue',
  startOn: 'reply',
  replyWaitMs: 0,
  debounceMs: 0,
  debounceMaxMs: 0,
  timeoutMs: 0,
  idleTimeoutMs: 60_000,
  retries: 2,
  maxChars: 24_000,
  window: 30,
};

export function transcript(...lines: [role: Message['role'], text: string][]): Message[] {
  return lines.map(([role, text], index) => ({
    id: `m${index + 1}`,
    role,
    text,
    generation: index + 1,
    at: '2026-11-20T18:00:00.000Z',
    final: true,
    outcome: 'complete',
  }));
}

/** A part with these values, oldest first. */
export function partOf(...values: Json[]): Part {
  const versions = values.map((value, index) => ({ value, version: index + 1, run: `r${index + 1}` })).toReversed();
  const [current, ...earlier] = versions;
  if (current === undefined) throw new Error('a part has at least one version');
  return { ...current, seq: values.length, earlier };
}

export function chapterValue(title: string, asset: string, partial = false): ChapterContent {
  return { title, asset, chars: 10, excerpt: 'It began.', engine: 'model-draft', asOf: 'm1', partial };
}

type Script = string | readonly string[] | ProviderError;

export interface FakeTask extends TaskContext {
  readonly requests: TextRequest[];
  readonly shown: string[];
  /** The texts behind the paths; `store` adds to it. */
  readonly assets: Map<string, string>;
  readonly controller: AbortController;
}

/** A context whose text engine answers with `answers` in turn (an error is thrown). */
export function fakeTask(given: {
  plan: TaskPlan;
  answers?: Script[];
  checkpoint?: JsonObject | null;
  guidance?: JsonObject | null;
  messages?: Message[];
  parts?: { [key: string]: Part };
  assets?: { [path: string]: string };
  maxChars?: number;
  onPiece?: (index: number, controller: AbortController) => void;
}): FakeTask {
  const answers = [...(given.answers ?? [])];
  const requests: TextRequest[] = [];
  const shown: string[] = [];
  const assets = new Map(Object.entries(given.assets ?? {}));
  const controller = new AbortController();
  const next = (request: TextRequest): readonly string[] => {
    requests.push(request);
    const answer = answers.shift();
    if (answer === undefined) throw new Error(`unexpected call, stage ${request.stage}`);
    if (answer instanceof Error) throw answer;
    return typeof answer === 'string' ? [answer] : answer;
  };
  const { id, key, label, input } = given.plan;
  return {
    requests,
    shown,
    assets,
    controller,
    session: 'chat-7',
    pane: 'chapters',
    run: 'r9',
    generation: 2,
    attempt: 1,
    signal: controller.signal,
    task: { id, key, label, input, checkpoint: given.checkpoint ?? null, guidance: given.guidance ?? null },
    messages: given.messages ?? transcript(['user', 'Hello.'], ['assistant', 'The lamp is lit.']),
    parts: given.parts ?? {},
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
      engine: 'painter',
      generate: () => Promise.reject(new Error('chapters have no pictures')),
    },
    show: (add) => void shown.push(add),
    store: async (text) => {
      const path = `/v1/assets/chat-7/text${assets.size + 1}.txt`;
      assets.set(path, text);
      return path;
    },
    load: async (path) => {
      const text = assets.get(path);
      if (text === undefined) throw new Error(`no asset ${path}`);
      return text;
    },
  };
}

const pane = chaptersPane();

/** The tasks of a request; throws when it is refused. */
export function planned(input: JsonObject, parts: { [key: string]: Part } = {}): TaskPlan[] {
  const plan = pane.plan(input, { messages: [], parts, tasks: [], options });
  if ('refused' in plan) throw new Error(plan.refused);
  return plan.tasks;
}

/** Why a request is refused; '' if it is not. */
export function refusal(input: JsonObject | null, parts: { [key: string]: Part } = {}): string {
  const plan = pane.plan(input, { messages: [], parts, tasks: [], options });
  return 'refused' in plan ? plan.refused : '';
}

/** The first task of a request. */
export function onePlan(input: JsonObject, parts: { [key: string]: Part } = {}): TaskPlan {
  const [plan] = planned(input, parts);
  if (plan === undefined) throw new Error('no task');
  return plan;
}

export function stage(name: string, context: TaskContext): Promise<TaskResult> {
  return stageOf(name).run(context);
}

export function keep(name: string, context: TaskContext, shown: string): Promise<Kept | undefined> {
  const found = stageOf(name);
  if (found.keep === undefined) throw new Error(`stage ${name} keeps nothing`);
  return found.keep(context, shown);
}

function stageOf(name: string) {
  const found = pane.stages.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no stage ${name}`);
  return found;
}
