/** A place in a text, both counted from 1. */
export interface Place {
  line: number;
  column: number;
}

/** What a walk over a JSON text has found. Offsets are in UTF-16 units. */
export interface JsonScan {
  /** Where the text stops being JSON; undefined when it is JSON. */
  breaksAt: number | undefined;
  /** Where the elements of the array begin that is the whole value, or stands under `key` in the object that is. */
  elements: number[];
}

interface Open {
  close: ']' | '}';
  /** The last property name (objects). */
  key: string | undefined;
}

// oxlint-disable-next-line no-control-regex -- JSON strings must not hold them raw
const text = /"[^"\\\u0000-\u001f]*(?:\\["\\/bfnrtu][^"\\\u0000-\u001f]*)*"/;
const scalar = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/;
const token = new RegExp(`\\s*(?:(${text.source})|(${scalar.source})|([{}[\\],:]))`, 'y');

/**
 * Walks over a JSON text to say where it breaks and where things stand in it: `JSON.parse` does not say where, and its messages quote the
 * text, secrets included. Linear in the text.
 */
export function scanJson(text: string, key?: string): JsonScan {
  const elements: number[] = [];
  const stack: Open[] = [];
  let expects: 'value' | 'value or ]' | 'key' | 'key or }' | 'colon' | 'next' = 'value';
  let offset = 0;
  token.lastIndex = 0;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [whole, string, scalar, mark] = match;
    const word = string ?? scalar ?? mark ?? '';
    const start = offset + whole.length - word.length;
    const top = stack.at(-1);
    const isValue = string !== undefined || scalar !== undefined || mark === '{' || mark === '[';
    if (isValue && (expects === 'value' || expects === 'value or ]')) {
      if (top?.close === ']' && isWanted(stack, key)) elements.push(start);
      if (mark === '{') stack.push({ close: '}', key: undefined });
      if (mark === '[') stack.push({ close: ']', key: undefined });
      expects = mark === '{' ? 'key or }' : mark === '[' ? 'value or ]' : 'next';
    } else if (string !== undefined && top !== undefined && (expects === 'key' || expects === 'key or }')) {
      top.key = string.slice(1, -1);
      expects = 'colon';
    } else if (mark === ':' && expects === 'colon') expects = 'value';
    else if (mark === ',' && expects === 'next' && top !== undefined) expects = top.close === '}' ? 'key' : 'value';
    else if (top !== undefined && mark === top.close && (expects === 'next' || expects.endsWith(mark))) {
      stack.pop();
      expects = 'next';
    } else return { breaksAt: start, elements };
    offset = token.lastIndex;
  }
  const rest = text.slice(offset).search(/\S/);
  if (rest !== -1) return { breaksAt: offset + rest, elements };
  return { breaksAt: expects === 'next' && stack.length === 0 ? undefined : text.length, elements };
}

function isWanted(stack: readonly Open[], key: string | undefined): boolean {
  return key === undefined ? stack.length === 1 : stack.length === 2 && stack[0]?.key === key;
}

/** Line and column of an offset. */
export function placeOf(text: string, offset: number): Place {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: offset - lineStart + 1 };
}
