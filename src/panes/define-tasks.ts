import type { Json, JsonObject, PaneOptions, RunError, Task } from '../protocol/records.ts';
import type { Message, Part } from '../protocol/view.ts';
import type { StageContext } from './define.ts';

/** A task before it is on record. */
export interface TaskPlan {
  /** Unique in its run, 1 to 128 characters. */
  id: string;
  /** For people. */
  label: string;
  /** The part of the content that it writes; '' = none. Two tasks with the same key never work at the same time. */
  key: string;
  /**
   * What it is to do: all that its stages are told. At most `limits.maxTaskBytes`. `input.message` names the message that it is about, if
   * any: when that is edited or removed, the task is cancelled.
   */
  input: JsonObject;
  /** Tasks of the same run that have to end, well or not, before it begins. */
  after?: string[];
  /** The run pauses when it has ended, for somebody to look at it. */
  review?: true;
}

/** What a pane knows when it plans: the state of now. */
export interface PlanView {
  readonly messages: readonly Message[];
  readonly parts: { readonly [key: string]: Part };
  /** Tasks of the open run and of the runs in line that have not ended. */
  readonly tasks: readonly { readonly id: string; readonly key: string }[];
  readonly options: PaneOptions;
}

/** Tasks for a run; or why there are none, naming what was expected and what came. */
export type Plan = { tasks: TaskPlan[] } | { refused: string };

/** What a stage of a task has to work with. Everything in it belongs to one attempt. */
export interface TaskContext {
  readonly session: string;
  readonly pane: string;
  readonly run: string;
  readonly generation: number;
  /** The task's attempt, from 1. */
  readonly attempt: number;
  /** Aborts when the task is cancelled, superseded or timed out: pass it on, and do not go on after it. */
  readonly signal: AbortSignal;
  readonly task: {
    readonly id: string;
    readonly key: string;
    readonly label: string;
    readonly input: JsonObject;
    /** What the stages before this one handed on with `next`; also after a pause or a restart. */
    readonly checkpoint: JsonObject | null;
    /** The `input` of the `pane.resume` that followed a review of this run, if any: what a person wants from here on. */
    readonly guidance: JsonObject | null;
  };
  /** The final messages, oldest first, at most `options.window`. */
  readonly messages: readonly Message[];
  /** The pane's parts as of the start of this stage. */
  readonly parts: { readonly [key: string]: Part };
  readonly options: PaneOptions;
  readonly text: StageContext['text'];
  readonly image: StageContext['image'];
  /** Shows a piece of the text of this stage to whoever is watching. Not kept, unless `partial` keeps it. */
  show(add: string): void;
  /** Stores a text; resolves with the path of the asset. */
  store(text: string): Promise<string>;
  /** The text behind the path of an asset of this session; rejects when it is not there. */
  load(path: string): Promise<string>;
}

/** How a stage of a task ended. `next` goes on with the following stage. */
export type TaskResult =
  | { outcome: 'next'; checkpoint?: JsonObject }
  | {
      outcome: 'done';
      /** Committed at once as the part `key`, at most `limits.maxPartBytes`. Absent = nothing to commit. */
      value?: Json;
      /** Path of what it has made, for the task's line. */
      asset?: string;
      /** More tasks for the same run. */
      add?: TaskPlan[];
    };

/** What is kept of the text of a stage that was stopped by a person. */
export interface Kept {
  /** Path of the text so far. */
  asset: string;
  /** Committed as the part `key` (absent: the part stays as it is). */
  value?: Json;
}

export interface TaskStage {
  /** `[a-z][a-z_]*`, a participle such as "drafting". */
  name: string;
  run(context: TaskContext): Promise<TaskResult>;
  /**
   * Keeps what is worth it, when a person cancels in this stage; `shown` = the text shown so far, undefined = nothing was worth it. The
   * context's signal is a new one, of a few seconds.
   */
  keep?(context: TaskContext, shown: string): Promise<Kept | undefined>;
}

/** Something in a message that asks for work, and where it stands, in UTF-16 units. */
export interface Finding {
  offset: number;
  length: number;
  task: TaskPlan;
}

/** Reads one message as it is written. */
export interface Watch {
  /** The next piece of the text; what it completes. Cost: linear in the piece. */
  push(add: string): Finding[];
  /** The text is whole; what else is to be done for it. */
  end(): TaskPlan[];
}

/** A pane whose runs are made of tasks. */
export interface TaskPaneDefinition<Name extends string = string> {
  name: Name;
  /** Its working phase as everybody sees it: a participle. */
  phase: string;
  /** What each task goes through, in order. A stage may end the task before the last one. */
  stages: readonly [TaskStage, ...TaskStage[]];
  /** A `pane.run` whose keys nobody is working on joins the run at work, instead of waiting behind it. */
  joins?: boolean;
  /** Priority at a provider: smaller goes first. Default 4, behind the panes beside the chat. */
  priority?: number;
  /** Most tasks in a run, at most `limits.maxTasks`, the default. */
  maxTasks?: number;
  options?: Partial<PaneOptions>;
  /** The tasks that a `pane.run` asks for. Pure. */
  plan(input: JsonObject | null, view: PlanView): Plan;
  /** What a failed task leaves in its part, so that it is seen there and can be tried again; undefined = nothing. */
  failed?(task: Pick<Task, 'id' | 'key' | 'label' | 'input'>, error: RunError): Json | undefined;
  /** The task that tries once more what this part says has failed; undefined = it says nothing of the kind. */
  retry?(key: string, value: Json): TaskPlan | undefined;
  /** Its stages see messages as they were written, with the prompts for pictures in them. Default: without. */
  readsMarkup?: true;
  /** Reads each assistant message from its beginning; undefined = not this one. */
  watch?(message: { id: string; rev: number }, options: PaneOptions): Watch | undefined;
}

/** Declares a pane whose runs are made of tasks. */
export function defineTaskPane<const Name extends string>(
  definition: TaskPaneDefinition<Name>,
): TaskPaneDefinition<Name> {
  return definition;
}
