import type { z } from 'zod';
import { closeCodes, wireError, type CloseName, type WireError } from './codes.ts';
import { commandSchema, type Command } from './commands.ts';
import { controlSchema, type Control } from './control.ts';
import { explainIssue } from './explain.ts';
import { limits } from './names.ts';
import { scanJson } from './scan.ts';
import { utf8Bytes } from './text.ts';

/** Why a client frame was not taken. `close`: the connection ends with that code. `error`: one error frame, the connection stays. */
export type Fault =
  | { kind: 'close'; close: CloseName; error: WireError }
  | { kind: 'error'; id?: string; error: WireError };

/** A client frame after all checks, or why not. PROTOCOL section 3. */
export type Decoded = { kind: 'control'; frame: Control } | { kind: 'command'; command: Command } | Fault;

/** An HTTP command body after all checks, or why not. PROTOCOL section 9. */
export type DecodedBody = { kind: 'command'; command: Command } | { kind: 'error'; id?: string; error: WireError };

/** Every platform has it; `lib` without DOM does not. */
declare const TextDecoder: new (label: string, options: { fatal: boolean }) => { decode(bytes: Uint8Array): string };

const commandTypes: ReadonlySet<string> = new Set(commandSchema.options.map((option) => option.shape.type.value));
const controlTypes: ReadonlySet<string> = new Set(controlSchema.options.map((option) => option.shape.type.value));

type JsonMap = { [key: string]: unknown };

/**
 * Checks and types one client frame: size, nesting, number of keys and forbidden keys before anything is parsed, then the schema. Never
 * throws. A frame that breaks the nesting or key limit is refused without being parsed.
 */
export function decodeClientFrame(data: string | Uint8Array, maxFrameBytes: number = limits.maxFrameBytes): Decoded {
  const opened = open(data, maxFrameBytes);
  if (opened.kind !== 'map') return opened;
  const { map } = opened;
  const type = map['type'];
  if (typeof type === 'string' && controlTypes.has(type)) {
    const parsed = controlSchema.safeParse(map);
    // `init` carries a token: nothing of it may come back in a message.
    return parsed.success ? { kind: 'control', frame: parsed.data } : refusal(map, parsed.error, type === 'init');
  }
  return typeCommand(map);
}

/** What the HTTP request says of a command outside its body. */
export interface BodyContext {
  /** The session of the path. */
  session: string;
  /** The `Idempotency-Key` header, undefined when there is none. */
  key: string | undefined;
  /** Largest body, in bytes. */
  maxBytes?: number;
}

/**
 * Checks and types the body of `POST …/commands`. `session` may be left out of the body, `id` too when the header names it; a value that
 * differs from the path or the header is BAD_MESSAGE. Never throws.
 */
export function decodeCommandBody(data: string | Uint8Array, context: BodyContext): DecodedBody {
  const opened = open(data, context.maxBytes ?? limits.maxFrameBytes);
  if (opened.kind === 'close') return { kind: 'error', error: opened.error };
  if (opened.kind === 'error') return opened;
  const { map } = opened;
  for (const [field, source, value] of [
    ['session', 'the path', context.session],
    ['id', 'the Idempotency-Key header', context.key],
  ] as const) {
    if (value === undefined) continue;
    if (map[field] !== undefined && map[field] !== value)
      return bad(map, `field "${field}": expected the same as in ${source}, another value came`);
    map[field] = value;
  }
  return typeCommand(map);
}

function typeCommand(map: JsonMap): DecodedBody {
  const type = map['type'];
  if (type === undefined) return bad(map, 'field "type": expected the name of a message, nothing came');
  if (typeof type !== 'string') return bad(map, 'field "type": expected a string, something else came');
  if (!commandTypes.has(type))
    return bad(map, `field "type": expected a message of the protocol, ${JSON.stringify(type.slice(0, 40))} came`);
  const parsed = commandSchema.safeParse(map);
  return parsed.success ? { kind: 'command', command: parsed.data } : refusal(map, parsed.error, false);
}

function open(data: string | Uint8Array, maxBytes: number): { kind: 'map'; map: JsonMap } | Fault {
  const bytes = typeof data === 'string' ? textBytes(data, maxBytes) : data.byteLength;
  if (bytes > maxBytes)
    return {
      kind: 'close',
      close: 'tooBig',
      error: wireError('TOO_LARGE', `expected at most ${maxBytes} bytes, ${bytes} came`),
    };
  let text: string;
  try {
    text = typeof data === 'string' ? data : new TextDecoder('utf-8', { fatal: true }).decode(data);
  } catch {
    return notAnObject('bytes that are not UTF-8');
  }
  const scan = scanJson(text, limits);
  if (!scan.object) return notAnObject('something else');
  if (scan.fault !== null) {
    const error = wireError('BAD_MESSAGE', scan.fault);
    return isId(scan.id) ? { kind: 'error', id: scan.id, error } : { kind: 'error', error };
  }
  try {
    const value: unknown = JSON.parse(text);
    return isMap(value) ? { kind: 'map', map: value } : notAnObject('something else');
  } catch {
    return notAnObject('text that is not JSON');
  }
}

function isMap(value: unknown): value is JsonMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** UTF-8 length, counted only when it can matter: a unit is at most 3 bytes. */
function textBytes(text: string, maxBytes: number): number {
  return text.length * 3 <= maxBytes ? text.length : utf8Bytes(text);
}

function notAnObject(what: string): Fault {
  return {
    kind: 'close',
    close: 'badFrame',
    error: wireError('BAD_MESSAGE', `expected one JSON object, ${what} came (close ${closeCodes.badFrame.code})`),
  };
}

function refusal(map: JsonMap, error: z.ZodError, secret: boolean): { kind: 'error'; id?: string; error: WireError } {
  const [issue] = error.issues;
  return withId(map, issue === undefined ? wireError('BAD_MESSAGE', error.message) : explainIssue(issue, map, secret));
}

function bad(map: JsonMap, message: string): { kind: 'error'; id?: string; error: WireError } {
  return withId(map, wireError('BAD_MESSAGE', message));
}

function withId(map: JsonMap, error: WireError): { kind: 'error'; id?: string; error: WireError } {
  const id = map['id'];
  return isId(id) ? { kind: 'error', id, error } : { kind: 'error', error };
}

function isId(id: unknown): id is string {
  return typeof id === 'string' && id.length > 0 && id.length <= limits.maxIdChars;
}
