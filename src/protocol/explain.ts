import type { z } from 'zod';
import { wireError, type WireError } from './codes.ts';

/** Longest value or key that an error message repeats, in characters. */
const maxEcho = 40;

/**
 * The refusal of a message that breaks its schema: names the field, what was expected and what came. A text that is only too long is
 * TOO_LARGE. Values are repeated only when short, and never those of `secret` messages (tokens must not travel in errors).
 */
export function explainIssue(issue: z.core.$ZodIssue, message: unknown, secret: boolean): WireError {
  if (issue.code === 'unrecognized_keys')
    return wireError('BAD_MESSAGE', `unknown field ${echo(dotted([...issue.path, issue.keys[0] ?? '?']))}`);
  const field = dotted(issue.path);
  if (issue.code === 'too_big' && issue.origin === 'string' && field === 'text')
    return wireError(
      'TOO_LARGE',
      `field "text": expected at most ${issue.maximum} UTF-16 units, ${came(message, issue.path, true)}`,
    );
  return wireError(
    'BAD_MESSAGE',
    `field ${echo(field)}: ${expectation(issue)}, ${came(message, issue.path, secret)}`.slice(0, 400),
  );
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${issue.expected}`;
    case 'invalid_value':
      return `expected one of ${issue.values.map((value) => JSON.stringify(value)).join(', ')}`;
    case 'too_big':
      return `expected at most ${issue.maximum}${unit(issue.origin)}`;
    case 'too_small':
      return `expected at least ${issue.minimum}${unit(issue.origin)}`;
    case 'invalid_key':
      return `expected a valid name (${issue.issues[0]?.message ?? 'see the protocol'})`;
    case 'invalid_format':
    case 'invalid_union':
    case 'invalid_element':
    case 'not_multiple_of':
    case 'unrecognized_keys':
    case 'custom':
      return issue.message;
  }
}

function unit(origin: string): string {
  return origin === 'string' ? ' characters' : '';
}

function came(message: unknown, path: readonly PropertyKey[], secret: boolean): string {
  let value = message;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return 'nothing came';
    value = Object.getOwnPropertyDescriptor(value, key)?.value;
  }
  if (value === null) return 'null came';
  if (typeof value === 'string') {
    if (secret || value.length > maxEcho) return `${value.length} characters came`;
    return `${JSON.stringify(value)} came`;
  }
  if (typeof value === 'number' || typeof value === 'boolean')
    return secret ? `a ${typeof value} came` : `${value} came`;
  return Array.isArray(value) ? 'an array came' : 'an object came';
}

function dotted(path: readonly PropertyKey[]): string {
  return path.map(String).join('.');
}

function echo(name: string): string {
  return JSON.stringify(name.length > maxEcho ? `${name.slice(0, maxEcho)}…` : name);
}
