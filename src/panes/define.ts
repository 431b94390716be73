import type { TextRequest } from '../ports/models.ts';
import type { Json, JsonObject, PaneOptions } from '../protocol/records.ts';
import type { Message } from '../protocol/view.ts';

/** What a stage has to work with. Everything in it belongs to one attempt of one run. */
export interface StageContext {
  readonly session: string;
  readonly pane: string;
  readonly run: string;
  readonly attempt: number;
  readonly generation: number;
  /** Aborts when the run is superseded, stopped, timed out or paused: pass it on, and do not go on after it. */
  readonly signal: AbortSignal;
  /** The `input` of `pane.run`; null when the transcript started the run. */
  readonly input: JsonObject | null;
  /** What the stages before this one handed on with `next`; also after a restart. */
  readonly checkpoint: JsonObject | null;
  /** The final messages when the run's work began, oldest first, at most `options.window`. */
  readonly messages: readonly Message[];
  /** The pane's last good content. */
  readonly content: JsonObject | null;
  readonly options: PaneOptions;
  readonly text: {
    /** The label of the engine that serves this stage. */
    engine(stage: string): string;
    /** Pieces as they come. Waits for a slot, aborts with the run, counts against its timeouts. */
    stream(request: TextRequest): AsyncIterable<string>;
    /** The whole answer. */
    complete(request: TextRequest): Promise<string>;
  };
  readonly image: {
    /** The engine that is asked first. */
    readonly engine: string;
    /** Draws, stores, and resolves with the picture. `fresh`: also when the same was drawn before. */
    generate(request: { prompt: string; seed: string; fresh?: boolean }): Promise<Picture>;
  };
  /** Appends text to the assistant message that this run writes (the reply pane). */
  write(add: string): void;
}

/** A picture that is stored. */
export interface Picture {
  /** Path of the asset. */
  path: string;
  /** Who drew it: with a chain of engines, the one that could. */
  engine: string;
  /** The same engine has drawn the same description before: this is that picture. */
  cached: boolean;
}

/** How a stage ended. `next` goes on with the following stage, `updated` commits, `unchanged` leaves the content as it is. */
export type StageResult<Content extends JsonObject = JsonObject> =
  | { outcome: 'next'; checkpoint?: JsonObject }
  | { outcome: 'unchanged' }
  | { outcome: 'updated'; content: Content };

export interface Stage<Content extends JsonObject = JsonObject> {
  /** Its working phase as everybody sees it: a participle, `[a-z][a-z_]*`. */
  name: string;
  run(context: StageContext): Promise<StageResult<Content>>;
}

/** A pane: its name, its stages in order, and the options in which it differs from the defaults of PROTOCOL section 7. */
export interface PaneDefinition<Name extends string = string, Content extends JsonObject = JsonObject> {
  name: Name;
  stages: readonly [Stage<Content>, ...Stage<Content>[]];
  /** Outdated by what happens to the transcript. Default true. */
  driven?: boolean;
  /** `pane.run` starts with this stage (default: the first), e.g. to skip an evaluation. */
  runFrom?: string;
  /** Stages whose failure ends in `imaging_failed` instead of `error`. */
  imaging?: readonly string[];
  /** Priority at a provider: smaller goes first. reply 0, history 1, scene 2; default 3. */
  priority?: number;
  options?: Partial<PaneOptions>;
}

/** Declares a pane; names and content types are inferred. */
export function definePane<const Name extends string, Content extends JsonObject>(
  definition: PaneDefinition<Name, Content>,
): PaneDefinition<Name, Content> {
  return definition;
}

/** The type of a pane's content, from its definition. */
export type ContentOf<Definition> = Definition extends PaneDefinition<string, infer Content> ? Content : never;

export type { Json, JsonObject, PaneOptions, Message };
