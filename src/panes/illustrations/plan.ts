import type { JsonObject } from '../../protocol/records.ts';
import type { Message, Part } from '../../protocol/view.ts';
import type { Plan, PlanView, TaskPlan } from '../define-tasks.ts';
import { proposeTask, redrawTask, tagTask } from './tasks.ts';
import { maxPromptUnits } from './scan.ts';
import type { Scanner } from './scan.ts';

/** Pictures that are proposed for a message without prompts when nobody has said how many. */
const defaultProposals = 2;

/** Most pictures of one run. */
export const maxPictures = 64;

/**
 * What a `pane.run` asks for: nothing given = the newest assistant message, `{message}` = that one, `{picture, mode?, prompt?}` = one picture
 * again, in its place or as another one next to it.
 */
export function planPictures(input: JsonObject | null, view: PlanView, scanner: () => Scanner): Plan {
  if (input === null) return planNewest(view, scanner);
  const unknown = Object.keys(input).find((key) => !['message', 'picture', 'mode', 'prompt'].includes(key));
  if (unknown !== undefined) return refused(`input.${unknown}`, 'message, or picture with mode and prompt', unknown);
  const { message: id } = input;
  if ('picture' in input && id === undefined) return planPicture(input, view);
  if (typeof id !== 'string' || Object.keys(input).length !== 1)
    return refused('input', '{message}, {picture, mode?, prompt?} or nothing', input);
  const message = view.messages.find((one) => one.id === id);
  if (message === undefined || !message.final) return refused('input.message', 'a final message of this session', id);
  return planMessage(message, view, scanner);
}

function planNewest(view: PlanView, scanner: () => Scanner): Plan {
  const message = view.messages.findLast(({ role, final }) => role === 'assistant' && final);
  if (message === undefined) return { refused: 'expected a final assistant message to illustrate, there is none' };
  return planMessage(message, view, scanner);
}

function planMessage(message: Message, view: PlanView, scanner: () => Scanner): Plan {
  const { id, rev = 0, text, cut } = message;
  if (cut === true) return refused('message', 'one that is wholly there', `${id}, of which only the beginning is`);
  const reader = scanner();
  const found = [...reader.push(text), ...reader.end()].slice(0, maxPictures);
  const count = view.options.propose ?? 0;
  const tasks: TaskPlan[] =
    found.length > 0
      ? found.map((one) => tagTask({ id, rev }, one))
      : [proposeTask({ id, rev }, count > 0 ? count : defaultProposals)];
  return { tasks };
}

function planPicture(input: JsonObject, view: PlanView): Plan {
  const { picture: key, mode = 'replace', prompt } = input;
  const part = typeof key === 'string' && Object.hasOwn(view.parts, key) ? view.parts[key] : undefined;
  if (typeof key !== 'string' || part === undefined) return refused('input.picture', 'the key of a picture', key);
  if (mode !== 'replace' && mode !== 'append') return refused('input.mode', '"replace" or "append"', mode);
  if (prompt !== undefined && !isPrompt(prompt))
    return refused('input.prompt', `1 to ${maxPromptUnits} UTF-16 units that are not blank`, sizeOf(prompt));
  const made = pictureOf(part);
  if (made === undefined) return refused('input.picture', 'the key of a picture', key);
  const message = view.messages.find(({ id }) => id === made.message);
  if (message === undefined || message.cut === true || (message.rev ?? 0) !== made.rev)
    return refused('input.picture', 'a picture of a message that is still as it was', key);
  const target = mode === 'replace' ? key : freeKey(key, view);
  const again = { ...made, prompt: (prompt ?? made.prompt).trim() };
  return { tasks: [redrawTask(target, part.version, again, mode)] };
}

/** What a part says of the place and the prompt of its picture. */
function pictureOf(part: Part) {
  const { value } = part;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { message, rev, offset, length, prompt } = value;
  if (typeof message !== 'string' || typeof prompt !== 'string') return undefined;
  if (typeof rev !== 'number' || typeof offset !== 'number' || typeof length !== 'number') return undefined;
  return { message, rev, offset, length, prompt };
}

/** A key next to that of a picture that nobody has yet. */
function freeKey(key: string, view: PlanView): string {
  const base = key.replace(/\+\d+$/, '');
  let number = 1;
  const taken = new Set(view.tasks.map((task) => task.key));
  while (Object.hasOwn(view.parts, `${base}+${number}`) || taken.has(`${base}+${number}`)) number += 1;
  return `${base}+${number}`;
}

function isPrompt(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '' && value.trim().length <= maxPromptUnits;
}

function sizeOf(value: unknown): unknown {
  return typeof value === 'string' ? value.trim().length : value;
}

function refused(what: string, expected: string, got: unknown): Plan {
  const shown = JSON.stringify(got) ?? 'nothing';
  return { refused: `${what}: expected ${expected}, got ${shown.length > 120 ? `${shown.slice(0, 120)}…` : shown}` };
}
