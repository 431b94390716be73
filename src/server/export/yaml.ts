/** What front matter can hold. Lists hold scalars only. */
export type YamlValue =
  | string
  | number
  | boolean
  | null
  | readonly YamlScalar[]
  | { readonly [key: string]: YamlValue };
type YamlScalar = string | number | boolean | null;

/** Keys are written bare: words that every YAML reader takes for a text. */
const keyPattern = /^[A-Za-z][A-Za-z0-9]*$/;
const reservedKeys = new Set(['y', 'n', 'yes', 'no', 'on', 'off', 'true', 'false', 'null']);

/** What JSON leaves as it is and YAML does not print, reads as a line end, or cannot hold. */
const unprintable = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;
const loneSurrogate = /\p{Surrogate}/gu;

/**
 * A block mapping, one line a key, each text in double quotes whatever it holds, so that no text is taken for a number, a date, a key or the
 * end of the document. Throws TypeError for a key that would need quotes, RangeError for a number that is not a safe integer.
 */
export function yamlMapping(mapping: { readonly [key: string]: YamlValue }, indent = ''): string {
  return Object.entries(mapping)
    .map(([key, value]) => yamlEntry(key, value, indent))
    .join('');
}

function yamlEntry(key: string, value: YamlValue, indent: string): string {
  if (!keyPattern.test(key) || reservedKeys.has(key.toLowerCase()))
    throw new TypeError(`expected a key that is a plain word, got ${JSON.stringify(key)}`);
  if (!isMapping(value)) return `${indent}${key}: ${isList(value) ? yamlList(value) : yamlScalar(value)}\n`;
  if (Object.keys(value).length === 0) return `${indent}${key}: {}\n`;
  return `${indent}${key}:\n${yamlMapping(value, `${indent}  `)}`;
}

function isList(value: YamlValue): value is readonly YamlScalar[] {
  return Array.isArray(value);
}

function isMapping(value: YamlValue): value is { readonly [key: string]: YamlValue } {
  return typeof value === 'object' && value !== null && !isList(value);
}

function yamlList(values: readonly YamlScalar[]): string {
  return `[${values.map(yamlScalar).join(', ')}]`;
}

function yamlScalar(value: YamlScalar): string {
  if (typeof value === 'string') return yamlText(value);
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw new RangeError(`expected a safe integer, got ${value}`);
  return String(value);
}

/** A JSON string is a double-quoted YAML text, but for the characters that JSON need not escape. */
function yamlText(text: string): string {
  return JSON.stringify(text.replace(loneSurrogate, '\ufffd')).replace(
    unprintable,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
