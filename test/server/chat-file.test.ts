import { readFileSync } from 'node:fs';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ChatFileError, chatLimits, parseChat, readChat } from '../../src/server/replay/chat-file.ts';

const folder = join(import.meta.dirname, '../fixtures/chats');

function failure(source: string, name: string, user?: string): string {
  try {
    parseChat(source, name, user === undefined ? {} : { user });
  } catch (error) {
    if (error instanceof ChatFileError) return error.message;
    throw error;
  }
  return 'parsed';
}

const tavern = (...rows: object[]): string =>
  [{ user_name: 'U', character_name: 'C' }, ...rows].map((row) => JSON.stringify(row)).join('\n');

describe('the samples', () => {
  test('SillyTavern .jsonl with CRLF: 14 messages, the hidden one left out', async () => {
    const chat = await readChat(join(folder, 'lighthouse.jsonl'));
    expect(chat.title).toBe('Oswin');
    expect(chat.messages).toHaveLength(14);
    expect(chat.messages[1]).toMatchObject({ role: 'assistant', name: 'Oswin', line: 3 });
    expect(chat.messages[1]?.text).toMatch(/^\*The lamp turns.*noon\.\n\nOswin stands/s);
    expect(chat.messages.map((message) => message.role[0]).join('')).toBe('ua'.repeat(7));
    expect(chat.messages.some((message) => message.text.includes('hidden') || message.text.includes('\r'))).toBe(false);
  });

  test('OpenAI messages: texts and parts, without tools and pictures', async () => {
    const chat = await readChat(join(folder, 'night-train.json'));
    expect(chat.title).toBe('The Meridian Express');
    expect(chat.messages).toHaveLength(13);
    expect(chat.messages[0]).toMatchObject({ role: 'system', line: 5 });
    expect(chat.messages[3]).toMatchObject({ role: 'user', text: 'I slide the door of compartment seven open.' });
  });

  test('Markdown: the first name is the user, all others are the assistant', async () => {
    const chat = await readChat(join(folder, 'glass-market.md'));
    expect(chat.title).toBe('The Glass Market');
    expect(chat.messages).toHaveLength(14);
    expect(chat.messages[0]).toMatchObject({ role: 'user', name: 'Tomas', line: 5 });
    expect(chat.messages[3]).toMatchObject({ role: 'assistant', name: 'Wren' });
    expect(chat.messages[1]?.text).toContain('\n\nA girl of perhaps ten');
    const other = await readChat(join(folder, 'glass-market.md'), { user: 'wren' });
    expect(other.messages.filter((message) => message.role === 'user')).toHaveLength(3);
  });

  test('each format is recognised by its text when the ending says nothing, with a BOM too', () => {
    for (const name of ['lighthouse.jsonl', 'night-train.json', 'glass-market.md']) {
      const source = readFileSync(join(folder, name), 'utf8');
      expect(parseChat(`\uFEFF${source}`, 'chat.txt')).toEqual(parseChat(source, name));
    }
    expect(parseChat('[{"role":"user","content":"x"}]', 'chat')).toEqual({
      messages: [{ role: 'user', text: 'x', line: 1 }],
    });
  });
});

describe('SillyTavern', () => {
  test('names from the messages where the header says "unused"', () => {
    const rows = [
      { user_name: 'unused', character_name: 'unused' },
      { name: 'Ann', is_user: false, mes: 'x' },
    ];
    expect(parseChat(rows.map((row) => JSON.stringify(row)).join('\n'), 'a.jsonl').title).toBe('Ann');
  });

  test('without a header, and with empty lines and messages', () => {
    const source = '\n{"is_user":true,"mes":" hi "}\n\n{"name":"C","mes":"  "}\n';
    expect(parseChat(source, 'a.jsonl')).toEqual({ messages: [{ role: 'user', text: 'hi', line: 2 }] });
  });

  test.each([
    ['{"user_name":"U"}\nnot json', 'line 2: expected one JSON object, got "not json"'],
    ['{"user_name":"U"}\n[1]', 'line 2: expected a JSON object, got "[1]"'],
    [tavern({ name: 'x' }), 'parsed'],
    [
      tavern({ mes: 'a' }, { name: 'x', is_user: true }),
      'line 3: expected a message with "mes", got an object with name, is_user',
    ],
    [tavern({ mes: 5 }), 'line 2: expected "mes" to be a text, got number'],
    [tavern({ mes: 'a', is_user: 'yes' }), 'line 2: expected "is_user" to be true or false, got "yes"'],
    [tavern(), 'expected at least one message, got none with text'],
  ])('%j', (source, message) => {
    expect(failure(source, 'a.jsonl')).toBe(
      message === 'parsed' ? 'line 2: expected a message with "mes", got an object with name' : message,
    );
  });
});

describe('OpenAI', () => {
  test.each([
    ['{"messages": 5}', 'line 1: expected a list of {role, content}, or an object with such a list under "messages"'],
    ['"x"', 'line 1: expected a list of {role, content}, or an object with such a list under "messages"'],
    ['[\n {"role":"user",\n  "content" "x"}\n]', 'line 3: expected JSON, got something else at column 13'],
    [
      '{\n"tags":["a","b"],\n"messages":[\n{"role":"user","content":"x"},\n\n{"role":"robot","content":"x"}]}',
      'line 6: message 2 role: expected system, developer, user, assistant, tool or function',
    ],
    ['[{"role":"user","content":5}]', 'line 1: message 1 content: expected a text or a list of parts {type, text}'],
    ['[\n5]', 'line 2: message 1: expected {role, content}'],
    ['[]', 'expected at least one message, got none with text'],
  ])('%j', (source, message) => {
    expect(failure(source, 'a.json')).toBe(message);
  });

  test('a developer message is a system message; names are kept', () => {
    const source =
      '[{"role":"developer","content":"d"},{"role":"user","name":"Ann","content":[{"type":"text","text":"a"},{"type":"input_text","text":"b"}]}]';
    expect(parseChat(source, 'a.json').messages).toEqual([
      { role: 'system', text: 'd', line: 1 },
      { role: 'user', text: 'a\n\nb', name: 'Ann', line: 1 },
    ]);
  });
});

describe('Markdown', () => {
  test('a colon inside or outside the bold, and bold words in a text that are no names', () => {
    const source = '**A:** one\n**B**: two\n**bold** words\nand **C:** not at the beginning\n';
    expect(parseChat(source, 'a.md').messages).toEqual([
      { role: 'user', text: 'one', name: 'A', line: 1 },
      { role: 'assistant', text: 'two\n**bold** words\nand **C:** not at the beginning', name: 'B', line: 2 },
    ]);
  });

  test.each<[string, string | undefined, string]>([
    ['# T\n\nOnce upon a time', undefined, 'line 3: expected a line such as "**Name:** text", got "Once upon a time"'],
    ['# T\n\n---\n', undefined, 'expected at least one message, got none with text'],
    ['**A:** x', 'Z', 'expected one of the names A as the user, got "Z"'],
  ])('%j', (source, user, message) => {
    expect(failure(source, 'a.md', user)).toBe(message);
  });
});

describe('bounds', () => {
  test('a message of 131,072 characters is taken, one of 131,073 refused with its line', () => {
    const chat = (length: number): string => `**A:** hi\n**B:** ${'x'.repeat(length)}`;
    expect(parseChat(chat(131_072), 'a.md').messages).toHaveLength(2);
    expect(failure(chat(131_073), 'a.md')).toBe('line 2: expected a message of at most 131072 characters, got 131073');
  });

  test('a message that is short enough in characters and too long in bytes for a frame is refused', () => {
    expect(parseChat(`**A:** ${'語'.repeat(87_000)}`, 'a.md').messages).toHaveLength(1);
    expect(failure(`**A:** ${'語'.repeat(87_100)}`, 'a.md')).toBe(
      'line 1: expected a message that fits in a frame of 262144 bytes, got 262326',
    );
  });

  test('20,000 messages are taken, 20,001 refused', () => {
    const chat = (count: number): string => '**A:** x\n'.repeat(count);
    expect(parseChat(chat(20_000), 'a.md').messages).toHaveLength(20_000);
    expect(failure(chat(20_001), 'a.md')).toBe('expected at most 20000 messages, got 20001');
  });

  test.each(['', '\uFEFF', '\r\n \r\n'])('an empty file (%j) is said to be empty', (source) => {
    for (const name of ['a.md', 'a.json', 'a.jsonl', 'a'])
      expect(failure(source, name)).toBe('expected a chat, got an empty file');
  });

  test('a line of 20 MB in a field that is not read does no harm', () => {
    const source = tavern({ mes: 'hi', is_user: true, extra: { image: 'A'.repeat(20_000_000) } });
    expect(parseChat(source, 'a.jsonl').messages).toEqual([{ role: 'user', text: 'hi', line: 2 }]);
    const json = JSON.stringify([{ role: 'user', content: 'hi', image: 'A'.repeat(20_000_000) }]);
    expect(parseChat(json, 'a.json').messages).toHaveLength(1);
  });

  test('a file over 64 MiB is refused unread, an absent one by its name', async () => {
    const temporary = await mkdtemp(join(tmpdir(), 'mullion-chat-'));
    try {
      const path = join(temporary, 'big.md');
      await writeFile(path, '**A:** x');
      await truncate(path, chatLimits.fileBytes + 1);
      await expect(readChat(path)).rejects.toThrow('big.md: expected at most 67108864 bytes, got 67108865');
      await expect(readChat(join(temporary, 'no.md'))).rejects.toThrow(
        /^no\.md: expected a file that can be read, got ENOENT/,
      );
    } finally {
      await rm(temporary, { recursive: true });
    }
  });
});
