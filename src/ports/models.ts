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
    purpose?: 'summary' | 'scene';
  };
  maxTokens?: number;
}

/** What an engine reports while it works. All calls are synchronous and cheap. */
export interface Report {
  /** Bytes came in: rearms the idle timeout. The first call means that the response has begun. */
  heard(): void;
  /** The backend's own number, never an estimate. */
  progress(value: number, max: number, unit: string): void;
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
}

export interface Image {
  bytes: Uint8Array;
  /** Checked against the bytes' magic number. */
  extension: 'png' | 'jpg' | 'webp' | 'gif' | 'svg';
}

/** An image engine. Rules of `TextModel.stream` hold for errors and aborts. */
export interface ImageModel {
  readonly engine: string;
  readonly host: string | null;
  generate(request: ImageRequest, signal: AbortSignal, report: Report): Promise<Image>;
}

/** What `mullion check` prints of an engine. */
export interface Probe {
  ok: boolean;
  /** One line: what works, or what was expected and what came. */
  message: string;
}
