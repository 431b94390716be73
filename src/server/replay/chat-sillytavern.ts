import { type Chat, ChatFileError, type ChatMessage } from './chat.ts';

/**
 * A SillyTavern chat: one JSON object a line, first a header (`user_name`, `character_name`), then `{name, is_user, mes, …}`. Hidden
 * messages (`is_system`) and empty ones are left out, as they are for the model there. Throws ChatFileError.
 */
export function parseSillyTavern(text: string): Chat {
  const messages: ChatMessage[] = [];
  let title: string | undefined;
  let line = 0;
  for (const row of text.split('\n')) {
    line += 1;
    if (row.trim() === '') continue;
    const entry = parseRow(row, line);
    if ('mes' in entry) {
      const message = messageOf(entry, line);
      if (message !== undefined) messages.push(message);
    } else if (messages.length === 0 && isHeader(entry)) title = nameIn(entry['character_name']);
    else throw new ChatFileError(line, `expected a message with "mes", got an object with ${keysOf(entry)}`);
  }
  // Newer versions write "unused" into the header: the names stand in the messages only.
  title ??= messages.find((message) => message.role === 'assistant')?.name;
  return title === undefined ? { messages } : { title, messages };
}

interface Row {
  readonly [key: string]: unknown;
}

function parseRow(row: string, line: number): Row {
  let entry: unknown;
  try {
    entry = JSON.parse(row);
  } catch {
    throw new ChatFileError(line, `expected one JSON object, got ${shown(row)}`);
  }
  if (isRow(entry)) return entry;
  throw new ChatFileError(line, `expected a JSON object, got ${shown(row)}`);
}

const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value);

const isHeader = (entry: Row): boolean => 'user_name' in entry || 'character_name' in entry || 'chat_metadata' in entry;

function messageOf(entry: Row, line: number): ChatMessage | undefined {
  const { mes, is_user: isUser, is_system: isHidden, name } = entry;
  if (typeof mes !== 'string') throw new ChatFileError(line, `expected "mes" to be a text, got ${typeof mes}`);
  if (isUser !== undefined && typeof isUser !== 'boolean')
    throw new ChatFileError(
      line,
      `expected "is_user" to be true or false, got ${JSON.stringify(isUser) ?? typeof isUser}`,
    );
  const text = mes.trim();
  if (isHidden === true || text === '') return undefined;
  const speaker = nameIn(name);
  const message: ChatMessage = { role: isUser === true ? 'user' : 'assistant', text, line };
  return speaker === undefined ? message : { ...message, name: speaker };
}

const nameIn = (value: unknown): string | undefined =>
  typeof value === 'string' && value.trim() !== '' && value !== 'unused' ? value.trim() : undefined;

const keysOf = (entry: Row): string => Object.keys(entry).slice(0, 5).join(', ') || 'no keys';

const shown = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
