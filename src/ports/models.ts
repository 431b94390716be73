import type { Message } from '../protocol/view.ts';

export interface PromptMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** What a text engine is asked. A model reads `prompt`; an engine without a model works on `material`. */
export interface TextRequest {
  /** Which model of the configuration: reply, evaluate, summarize, describe, or a custom one. */
  stage: string;
  prompt: PromptMessage[];
  material: {
    /** The messages that the work is about, oldest first, all final. */
    messages: readonly Message[];
    /** The pane's current text, '' when it has none. */
    current: string;
    /** Longest useful answer, in UTF-16 units. */
    maxChars: number;
    /** What the text is for: an engine without a model works differently for each. A model reads it in the prompt. */
    purpose?: 'summary' | 'scene' | 'illustrations' | 'outline' | 'draft' | 'edit';
    /** Purpose `illustrations`: most pictures to propose for the last message. */
    count?: number;
    /** Purposes `outline`, `draft` and `edit`: what is to be written. */
    chapter?: ChapterMaterial;
  };
  maxTokens?: number;
}

/** A chapter as an engine without a model needs it. For `edit`, `current` is the draft; for a rewrite, the version that it replaces. */
export interface ChapterMaterial {
  title: string;
  brief: string;
  /** What a person wants to be different, '' for nothing. */
  feedback: string;
  /** '' before there is one. */
  outline: string;
  /** The chapters before this one that are there, in order. */
  earlier: readonly { title: string; text: string }[];
}

/** What an engine reports while it works. All calls are synchronous and cheap. */
export interface Report {
  /** Bytes came in: rearms the idle timeout. The first call means that the response has begun. */
  heard(): void;
  /** The backend's own number, never an estimate. */
  progress(value: number, max: number, unit: string): void;
  /** How a picture looks so far, as the backend shows it. */
  preview(image: Image): void;
  /** Tokens as the backend counted them. */
  usage(tokens: { input: number; output: number }): void;
}

/** A text engine. */
export interface TextModel {
  /** What people see as the maker of a text: the model's name, or `offline`. */
  engine(stage: string): string;
  /** Key of the limits (scheme, host and port); null = works in this process, without limits. */
  readonly host: string | null;
  /**
   * Yields pieces of the answer as they come; ends only when the backend said that the answer is complete. Throws ProviderError; after
   * `signal` aborts it closes its socket and throws the signal's reason at once, whatever the backend does.
   */
  stream(request: TextRequest, signal: AbortSignal, report: Report): AsyncIterable<string>;
}

export interface ImageRequest {
  /** What to draw, as a description. */
  prompt: string;
  /** Same seed and prompt, same picture, where the engine can. */
  seed: string;
  /**
   * A UUID that names this piece of work at the backend, the same again after a restart of this process: an engine that can finds a job of
   * this name that is still queued, running or done there, instead of giving the backend a second one.
   */
  job?: string;
}

export interface Image {
  bytes: Uint8Array;
  /** Checked against the bytes' magic number. */
  extension: 'png' | 'jpg' | 'webp' | 'gif' | 'svg';
}

/** An image engine. Errors as in `TextModel.stream`. */
export interface ImageModel {
  /** What people see as the maker of a picture. */
  readonly engine: string;
  /** What besides the prompt decides how the picture looks, such as model and size: part of the key under which a picture is found again. */
  readonly variant?: string;
  readonly host: string | null;
  /**
   * Draws. After `signal` aborts it asks the backend to stop, closes its own sockets, and settles (rejects with the signal's reason) as soon
   * as the backend is known not to work on it any more, at most `settleMs` later: its slot is taken until then, and nobody else waits for it.
   */
  generate(request: ImageRequest, signal: AbortSignal, report: Report): Promise<Image>;
}

/** Longest time that an engine may wait for its backend after an abort, ms. */
export const settleMs = 60_000;

/** What `mullion check` prints of an engine. */
export interface Probe {
  ok: boolean;
  /** One line: what works, or what was expected and what came. */
  message: string;
}
