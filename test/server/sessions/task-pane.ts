import { defineTaskPane, type TaskContext, type TaskPlan, type TaskResult } from '../../../src/panes/define-tasks.ts';
import { ProviderError } from '../../../src/ports/errors.ts';
import type { Json, JsonObject, PaneOptions } from '../../../src/protocol/records.ts';

/** A task as the tests ask for it. */
export interface Asked {
  id: string;
  key?: string;
  after?: string[];
  review?: boolean;
  /** Goes through both stages. */
  polish?: boolean;
  /** More tasks that it brings when it is done. */
  adds?: string[];
}

/** The `pane.run` input for these tasks. */
export function asking(...tasks: (string | Asked)[]): JsonObject {
  return { tasks: tasks.map((task) => (typeof task === 'string' ? { id: task } : { ...task })) };
}

function planOf({ id, key = id, after, review = false, polish = false, adds = [] }: Asked): TaskPlan {
  return {
    id,
    label: `Task ${id}`,
    key,
    input: { polish, adds },
    ...(after === undefined ? {} : { after }),
    ...(review ? { review: true } : {}),
  };
}

async function write(context: TaskContext, stage: string): Promise<string> {
  let text = '';
  const material = { messages: [], current: '', maxChars: 1_000 };
  for await (const piece of context.text.stream({ stage, prompt: [], material })) {
    text += piece;
    context.show(piece);
  }
  if (text === '') throw new ProviderError('truncated', 'no word');
  return text;
}

async function finish(context: TaskContext, text: string): Promise<TaskResult> {
  const asset = await context.store(text);
  const adds = Array.isArray(context.task.input['adds']) ? context.task.input['adds'].map(String) : [];
  const done = { outcome: 'done', value: { text, partial: false }, asset } as const;
  return adds.length === 0 ? done : { ...done, add: adds.map((id) => planOf({ id })) };
}

async function keep(context: TaskContext, shown: string): Promise<{ asset: string; value?: Json }> {
  const asset = await context.store(shown);
  return context.parts[context.task.key] === undefined ? { asset, value: { text: shown, partial: true } } : { asset };
}

/** A pane that writes what it is asked for: the call of a task is named by its id, that of its second stage `<id>+`. */
export function worksPane(
  extra: { joins?: boolean; maxTasks?: number; failed?: boolean; options?: Partial<PaneOptions> } = {},
) {
  return defineTaskPane({
    name: 'works',
    phase: 'writing',
    joins: extra.joins ?? false,
    maxTasks: extra.maxTasks ?? 20,
    options: { enabled: true, retries: 1, ...extra.options },
    ...(extra.failed === true
      ? { failed: (task, error) => ({ status: 'failed', message: error.message, task: task.id }) }
      : {}),
    retry: (key, value) =>
      typeof value === 'object' && value !== null && !Array.isArray(value) && value['status'] === 'failed'
        ? planOf({ id: key })
        : undefined,
    stages: [
      {
        name: 'drafting',
        run: async (context) => {
          const text = await write(context, context.task.id);
          if (context.task.input['polish'] === true) return { outcome: 'next', checkpoint: { text } };
          return finish(context, text);
        },
        keep,
      },
      {
        name: 'polishing',
        run: async (context) => {
          const draft = JSON.stringify(context.task.checkpoint?.['text']).slice(1, -1);
          return finish(context, `${draft} ${await write(context, `${context.task.id}+`)}`);
        },
        keep,
      },
    ],
    plan: (input) => {
      const asked = input?.['tasks'];
      if (!Array.isArray(asked))
        return { refused: `tasks: expected a list, got ${JSON.stringify(asked) ?? 'nothing'}` };
      // The tests' own input.
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion
      return { tasks: (asked as unknown as Asked[]).map(planOf) };
    },
    watch: ({ id, rev }) => {
      let at = 0;
      return {
        push: (add) => {
          const found = [...add.matchAll(/\*/g)].map(({ index }) => {
            const offset = at + index;
            const name = `${id}.${rev}.${offset}`;
            const task = { id: name, label: name, key: name, input: { message: id, rev, offset } };
            return { offset, length: 1, task };
          });
          at += add.length;
          return found;
        },
        end: () => [],
      };
    },
  });
}
