import { z } from 'zod';
import { type Chat, ChatFileError, type ChatMessage } from './chat.ts';
import { placeOf, scanJson } from './json-position.ts';

const part = z.looseObject({ type: z.string(), text: z.string().optional() });
const messageSchema = z.looseObject({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
  content: z.union([z.string(), z.array(part), z.null()]).optional(),
  name: z.string().optional(),
});
type OpenAiMessage = z.infer<typeof messageSchema>;

/**
 * OpenAI messages: `[{role, content}]` or `{messages: […], title?}`, content a text or parts. Tool traffic, pictures and messages without
 * text are left out. Throws ChatFileError.
 */
export function parseOpenAi(text: string): Chat {
  const content = parseJson(text);
  const isList = Array.isArray(content);
  const list = isList ? content : fieldOf(content, 'messages');
  if (!Array.isArray(list))
    throw new ChatFileError(1, 'expected a list of {role, content}, or an object with such a list under "messages"');
  const starts = linesOf(text, scanJson(text, isList ? undefined : 'messages').elements);
  const messages: ChatMessage[] = [];
  for (const [index, value] of list.entries()) {
    const message = messageOf(value, starts[index] ?? 1, index);
    if (message !== undefined) messages.push(message);
  }
  const title = isList ? undefined : fieldOf(content, 'title');
  return typeof title === 'string' && title.trim() !== '' ? { title: title.trim(), messages } : { messages };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const { line, column } = placeOf(text, scanJson(text).breaksAt ?? text.length);
    throw new ChatFileError(line, `expected JSON, got something else at column ${column}`);
  }
}

const fieldOf = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;

/** Lines of ascending offsets, in one walk. */
function linesOf(text: string, offsets: readonly number[]): number[] {
  let line = 1;
  let from = 0;
  return offsets.map((offset) => {
    for (let at = text.indexOf('\n', from); at !== -1 && at < offset; at = text.indexOf('\n', from)) {
      line += 1;
      from = at + 1;
    }
    return line;
  });
}

function messageOf(value: unknown, line: number, index: number): ChatMessage | undefined {
  const result = messageSchema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    const where = ['message', index + 1, ...(issue?.path ?? [])].join(' ');
    throw new ChatFileError(
      line,
      `${where}: ${expectations[String(issue?.path[0] ?? '')] ?? 'expected {role, content}'}`,
    );
  }
  const { role, name } = result.data;
  const text = textOf(result.data).trim();
  if (role === 'tool' || role === 'function' || text === '') return undefined;
  const message: ChatMessage = { role: role === 'developer' ? 'system' : role, text, line };
  return name === undefined || name.trim() === '' ? message : { ...message, name: name.trim() };
}

const expectations: { [field: string]: string } = {
  role: 'expected system, developer, user, assistant, tool or function',
  content: 'expected a text or a list of parts {type, text}',
  name: 'expected a text',
};

function textOf({ content }: OpenAiMessage): string {
  if (typeof content === 'string') return content;
  return (content ?? [])
    .flatMap((piece) => (piece.type.endsWith('text') && piece.text !== undefined ? [piece.text] : []))
    .join('\n\n');
}
