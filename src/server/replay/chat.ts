import type { Role } from '../../protocol/names.ts';

/** One message of a chat file. */
export interface ChatMessage {
  role: Role;
  text: string;
  /** Who speaks, where the file says so. */
  name?: string;
  /** Where it begins in the file, counted from 1. */
  line: number;
}

/** A chat read from a file; never empty. */
export interface Chat {
  title?: string;
  messages: ChatMessage[];
}

/** The file is no chat. The message says where (line), what was expected and what came. */
export class ChatFileError extends Error {
  override readonly name = 'ChatFileError';
  readonly line: number | undefined;

  constructor(line: number | undefined, message: string) {
    super(line === undefined ? message : `line ${line}: ${message}`);
    this.line = line;
  }
}
