import type { Json, JsonObject, RunError } from '../../protocol/records.ts';
import { limits } from '../../protocol/names.ts';
import { utf8Bytes, wholeCharacters } from '../../protocol/text.ts';
import type { TaskContext, TaskPlan } from '../define-tasks.ts';
import type { Found } from './scan.ts';

/** A picture in the text, as everybody sees it. */
export type IllustrationContent = {
  /** The message it belongs to, and how often that had been edited: at another `rev` the place is another one. */
  message: string;
  rev: number;
  /** Its tag in the message, in UTF-16 units; it stands behind it. Length 0: a place without a tag. */
  offset: number;
  length: number;
  /** What it shows; the end of a very long one is missing. */
  prompt: string;
} & (
  | { status: 'ready'; asset: string; engine: string; cached: boolean }
  /** `error`: the code. */
  | { status: 'failed'; error: string }
);

/** The message that a task is about. */
export interface Source {
  id: string;
  rev: number;
}

/** Where a picture stands and what it shows. */
export interface Place {
  message: string;
  rev: number;
  offset: number;
  length: number;
  prompt: string;
}

/** Longest label, in UTF-16 units. */
const maxLabelUnits = 80;

/** Longest name of an engine in a value, in UTF-16 units. */
const maxEngineUnits = 120;

/** Room for a prompt in the input of a task, and in a committed value, in bytes of JSON. What else is in there has less than 1,000. */
const promptBytes = { input: limits.maxTaskBytes - 1_024, value: limits.maxPartBytes - 1_024 };

/** One picture for a prompt in the text. The same tag at the same place is the same task, in each process and at any time. */
export function tagTask({ id, rev }: Source, { offset, length, prompt }: Found): TaskPlan {
  return pictureTask(`${id}.${rev}.${offset}`, { message: id, rev, offset, length, prompt });
}

/** One call that proposes pictures for a message without prompts; they become tasks of the same run. */
export function proposeTask({ id, rev }: Source, count: number): TaskPlan {
  const input = { kind: 'propose', message: id, rev, count };
  return { id: `${id}.${rev}.propose`, key: '', label: 'Choosing what to illustrate', input };
}

/** The pictures of proposals. Two at the same place have keys of their own. */
export function proposedTasks(places: readonly Place[]): TaskPlan[] {
  const used = new Map<string, number>();
  return places.map((place) => {
    const key = `${place.message}.${place.rev}.${place.offset}`;
    const number = (used.get(key) ?? 0) + 1;
    used.set(key, number);
    return pictureTask(number === 1 ? key : `${key}.${number}`, place);
  });
}

/** A picture once more. The task's id also says which version it follows, so that it is another one than the task that made that. */
export function redrawTask(key: string, version: number, place: Place, mode: 'replace' | 'append'): TaskPlan {
  const task = pictureTask(key, place);
  return { ...task, id: `${key}.after.${version}`, input: { ...task.input, again: mode } };
}

/** What a drawn picture is committed as: at most `limits.maxPartBytes`. */
export function readyValue(place: Place, picture: { path: string; engine: string; cached: boolean }): Json {
  const engine = wholeCharacters(picture.engine.slice(0, maxEngineUnits));
  return { ...placeValue(place), asset: picture.path, engine, cached: picture.cached, status: 'ready' };
}

/**
 * What is committed when a task has failed for good: the place, so that it can be tried again there. undefined = nothing: it was no picture,
 * or it was to take the place of one, which stays.
 */
export function failedValue(task: Pick<TaskContext['task'], 'input'>, error: Pick<RunError, 'code'>): Json | undefined {
  const place = placeOfInput(task.input);
  if (place === undefined || task.input['again'] === 'replace') return undefined;
  return { ...placeValue(place), status: 'failed', error: error.code };
}

/** The task that tries a picture once more that has failed; undefined = this part says nothing of the kind. */
export function retryTask(key: string, value: Json): TaskPlan | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value['status'] !== 'failed')
    return undefined;
  const place = placeOfInput(value);
  return place === undefined ? undefined : pictureTask(key, place);
}

/** The place and the prompt that a task was given; undefined for one that proposes. */
export function placeOfInput(input: JsonObject): Place | undefined {
  const { message, rev, offset, length, prompt } = input;
  if (typeof message !== 'string' || typeof prompt !== 'string') return undefined;
  if (typeof rev !== 'number' || typeof offset !== 'number' || typeof length !== 'number') return undefined;
  return { message, rev, offset, length, prompt };
}

function pictureTask(key: string, place: Place): TaskPlan {
  const prompt = fitJson(place.prompt, promptBytes.input);
  return { id: key, key, label: labelOf(prompt), input: { ...place, prompt } };
}

function placeValue(place: Place) {
  return { ...place, prompt: fitJson(place.prompt, promptBytes.value) };
}

function labelOf(prompt: string): string {
  const line = prompt.replaceAll(/\s+/g, ' ');
  return wholeCharacters(line.slice(0, maxLabelUnits)).trimEnd();
}

/** The longest beginning that takes at most `maxBytes` as JSON, not cut inside a character. */
function fitJson(text: string, maxBytes: number): string {
  // Most units take six bytes, written as an escape.
  if (text.length * 6 <= maxBytes) return text;
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += utf8Bytes(JSON.stringify(character)) - 2;
    if (bytes > maxBytes) break;
    end += character.length;
  }
  return text.slice(0, end);
}
