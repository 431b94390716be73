import { open } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { limits } from '../../protocol/names.ts';
import { type Chat, ChatFileError, type ChatMessage } from './chat.ts';
import { parseMarkdown } from './chat-markdown.ts';
import { parseOpenAi } from './chat-openai.ts';
import { parseSillyTavern } from './chat-sillytavern.ts';

export { type Chat, ChatFileError, type ChatMessage };

/** What a file may hold. */
export const chatLimits = { fileBytes: 67_108_864, messages: 20_000 } as const;

/** Room in a client frame for what stands around the text of a message. */
const frameRoomBytes = 1024;

/** How a file is to be read. */
export interface ChatOptions {
  /** In Markdown: whose lines are the user's. Default: the name that speaks first. */
  user?: string;
}

/** Reads and parses a chat. Rejects with ChatFileError; its message begins with the file's name. */
export async function readChat(path: string, options: ChatOptions = {}): Promise<Chat> {
  try {
    return parseChat(await readBounded(path), basename(path), options);
  } catch (error) {
    if (error instanceof ChatFileError) throw new ChatFileError(undefined, `${basename(path)}: ${error.message}`);
    const reason = error instanceof Error ? error.message : 'an error';
    throw new ChatFileError(undefined, `${basename(path)}: expected a file that can be read, got ${reason}`);
  }
}

async function readBounded(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > chatLimits.fileBytes)
      throw new ChatFileError(undefined, `expected at most ${chatLimits.fileBytes} bytes, got ${size}`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/**
 * The messages of a chat: SillyTavern `.jsonl`, OpenAI messages `.json`, Markdown with `**Name:** text` lines. The name's ending decides
 * which; with another ending, what the text looks like. Pure. Throws ChatFileError.
 */
export function parseChat(source: string, name: string, options: ChatOptions = {}): Chat {
  const text = source.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
  if (text.trim() === '') throw new ChatFileError(undefined, 'expected a chat, got an empty file');
  const chat = parse(text, formatOf(text, name), options);
  check(chat);
  return chat;
}

type Format = 'sillytavern' | 'openai' | 'markdown';

function formatOf(text: string, name: string): Format {
  switch (extname(name).toLowerCase()) {
    case '.jsonl':
      return 'sillytavern';
    case '.json':
      return 'openai';
    case '.md':
    case '.markdown':
      return 'markdown';
    default: {
      const [first = ''] = text.trimStart().split('\n', 1);
      if (first.startsWith('[')) return 'openai';
      if (!first.startsWith('{')) return 'markdown';
      return /"(?:mes|user_name|character_name)"/.test(first) ? 'sillytavern' : 'openai';
    }
  }
}

function parse(text: string, format: Format, options: ChatOptions): Chat {
  switch (format) {
    case 'sillytavern':
      return parseSillyTavern(text);
    case 'openai':
      return parseOpenAi(text);
    case 'markdown':
      return parseMarkdown(text, options.user);
  }
}

/** A message that the server would refuse is refused here, before the first one is sent. */
function check({ messages }: Chat): void {
  if (messages.length === 0) throw new ChatFileError(undefined, 'expected at least one message, got none with text');
  if (messages.length > chatLimits.messages)
    throw new ChatFileError(undefined, `expected at most ${chatLimits.messages} messages, got ${messages.length}`);
  for (const { text, line } of messages) {
    if (text.length > limits.maxTextUnits)
      throw new ChatFileError(
        line,
        `expected a message of at most ${limits.maxTextUnits} characters, got ${text.length}`,
      );
    const bytes = Buffer.byteLength(JSON.stringify(text)) + frameRoomBytes;
    if (bytes > limits.maxFrameBytes)
      throw new ChatFileError(
        line,
        `expected a message that fits in a frame of ${limits.maxFrameBytes} bytes, got ${bytes}`,
      );
  }
}
