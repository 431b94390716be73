/** What a linear look at a JSON text found, before anything parses it. */
export interface Scan {
  /** The first thing that is not a space is `{`. */
  object: boolean;
  /** The first limit that the text breaks; null = none. */
  fault: string | null;
  /** Raw JSON string of the top-level `id`, so that also a refused frame can be answered by name. */
  id: string | null;
}

/** Bounds of `scanJson`. */
export interface ScanLimits {
  maxDepth: number;
  /** Object keys and array elements together. */
  maxKeys: number;
}

const forbiddenKeys: readonly string[] = ['__proto__', 'constructor', 'prototype'];

const quote = 0x22;
const backslash = 0x5c;

/**
 * Reads a JSON text once, without recursion and without building anything, and tells whether it may be parsed: nesting, number of keys
 * and elements, and keys that reach prototypes. Whether it is JSON at all is left to `JSON.parse`. Parsing accepts
 * 200,000 levels, and what walks the result afterwards overflows the stack.
 */
export function scanJson(text: string, limits: ScanLimits): Scan {
  const result: Scan = { object: text.charCodeAt(skipSpace(text, 0)) === 0x7b, fault: null, id: null };
  // One entry a level up to the limit: true = array. Deeper levels are only counted.
  const arrays: boolean[] = [];
  let depth = 0;
  let keys = 0;
  const refuse = (fault: string): void => {
    result.fault ??= fault;
  };
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit === quote) {
      const end = closingQuote(text, i + 1);
      if (end < 0) return result;
      const after = skipSpace(text, end + 1);
      if (text.charCodeAt(after) === 0x3a) {
        keys += 1;
        const key = plain(text.slice(i, end + 1));
        if (forbiddenKeys.includes(key)) refuse(`the key "${key}" is not allowed anywhere`);
        if (depth === 1 && key === 'id') result.id = stringAt(text, skipSpace(text, after + 1));
        i = after;
      } else i = end;
    } else if (unit === 0x7b || unit === 0x5b) {
      if (depth < limits.maxDepth) arrays[depth] = unit === 0x5b;
      depth += 1;
      if (depth > limits.maxDepth) refuse(`expected at most ${limits.maxDepth} levels of nesting, more came`);
      if (unit === 0x5b && text.charCodeAt(skipSpace(text, i + 1)) !== 0x5d) keys += 1;
    } else if (unit === 0x7d || unit === 0x5d) depth -= 1;
    else if (unit === 0x2c && arrays[depth - 1] === true) keys += 1;
    if (keys > limits.maxKeys) refuse(`expected at most ${limits.maxKeys} keys and array elements, more came`);
  }
  return result;
}

function skipSpace(text: string, from: number): number {
  let i = from;
  for (; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) break;
  }
  return i;
}

/** Index of the quote that ends the string whose content begins at `from`; -1 = none. */
function closingQuote(text: string, from: number): number {
  for (let end = text.indexOf('"', from); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (end - 1 - slashes >= from && text.charCodeAt(end - 1 - slashes) === backslash) slashes += 1;
    if (slashes % 2 === 0) return end;
  }
  return -1;
}

/** The content of a quoted JSON string; keys may be written with escapes (`"__pro\u0074o__"`). */
function plain(quoted: string): string {
  if (!quoted.includes('\\')) return quoted.slice(1, -1);
  try {
    const value: unknown = JSON.parse(quoted);
    return typeof value === 'string' ? value : '';
  } catch {
    // A bad escape: the whole text is not JSON, which the parser will say.
    return '';
  }
}

function stringAt(text: string, start: number): string | null {
  if (text.charCodeAt(start) !== quote) return null;
  const end = closingQuote(text, start + 1);
  return end < 0 ? null : plain(text.slice(start, end + 1));
}
