import { type Chat, ChatFileError, type ChatMessage } from './chat.ts';

/** `**Name:** text` or `**Name**: text`, at the beginning of a line. */
const speech = /^\*\*([^*:\n]{1,64}?)\s*(?::\*\*|\*\*:)[ \t]*(.*)$/;
/** What may stand before the first speech: headings, rules, quotes, comments. */
const ornament = /^(?:#|-{3,}\s*$|\*{3,}\s*$|_{3,}\s*$|>|<!--)/;

/**
 * A chat in Markdown: each speech begins with `**Name:**` and goes on to the next one. The first name that speaks (or `user`) is the
 * user, all others are the assistant. A first heading is the title. Throws ChatFileError.
 */
export function parseMarkdown(text: string, user?: string): Chat {
  const speeches: { name: string; rows: string[]; line: number }[] = [];
  let title: string | undefined;
  let line = 0;
  for (const row of text.split('\n')) {
    line += 1;
    const [, name, first = ''] = speech.exec(row) ?? [];
    const current = speeches.at(-1);
    if (name !== undefined) speeches.push({ name: name.trim(), rows: [first], line });
    else if (current !== undefined) current.rows.push(row);
    else if (/^#+\s/.test(row)) title ??= row.replace(/^#+\s*/, '').trim();
    else if (row.trim() !== '' && !ornament.test(row))
      throw new ChatFileError(line, `expected a line such as "**Name:** text", got ${shown(row)}`);
  }
  const own = userOf([...new Set(speeches.map((one) => one.name))], user);
  const messages = speeches.flatMap(({ name, rows, line }): ChatMessage[] => {
    const said = rows.join('\n').trim();
    return said === '' ? [] : [{ role: name === own ? 'user' : 'assistant', text: said, name, line }];
  });
  return title === undefined || title === '' ? { messages } : { title, messages };
}

function userOf(names: readonly string[], user: string | undefined): string | undefined {
  if (user === undefined) return names[0];
  const found = names.find((name) => name.toLowerCase() === user.trim().toLowerCase());
  if (found === undefined && names.length > 0)
    throw new ChatFileError(
      undefined,
      `expected one of the names ${names.slice(0, 10).join(', ')} as the user, got "${user}"`,
    );
  return found;
}

const shown = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
