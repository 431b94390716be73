import type { CommandOf } from '../protocol/commands.ts';
import { limits } from '../protocol/names.ts';
import type { ReplyBy } from '../protocol/records.ts';
import type { State } from '../protocol/state.ts';
import { refuse, type Decision, type Knowledge } from './decision.ts';
import { answeredMessage, isOpen } from './derive.ts';
import type { SessionEvent } from './session.ts';

/** Most messages that apps stream into one session at a time. */
export const maxOpenMessages = 8;

export function decideAdd(state: State, command: CommandOf<'message.add'>, known: Knowledge): Decision {
  const { role, text } = command;
  const final = command.final ?? true;
  const id = command.message ?? known.ids.message;
  if (command.message !== undefined && known.find(id) !== undefined)
    return refuse('CONFLICT', `message ${id} exists: ids are never used again`);
  if (!final && Object.keys(state.private.open).length >= maxOpenMessages) {
    return refuse('OVERLOADED', `${maxOpenMessages} messages are being streamed already`, { retryAfterMs: 1_000 });
  }
  const reply = whoReplies(state, command);
  if (reply === undefined)
    return refuse('CONFLICT', 'reply: true was asked, but the reply pane is off: turn it on with session.open');
  const answer = final && reply === 'pane' ? known.ids.run : null;
  const add: SessionEvent = { type: 'add', message: { id, role, text, final, reply }, answer, at: known.nowMs };
  return { kind: 'do', events: [add], message: id, ...(answer === null ? {} : { run: answer, spawn: ['reply'] }) };
}

function whoReplies(state: State, command: CommandOf<'message.add'>): ReplyBy | undefined {
  if (command.role !== 'user' || command.reply === false) return 'none';
  const on = state.private.panes['reply']?.declaration.enabled === true;
  if (on) return 'pane';
  return command.reply === true ? undefined : 'app';
}

export function decideDelta(state: State, command: CommandOf<'message.delta'>, known: Knowledge): Decision {
  const { message, at, text } = command;
  const found = known.find(message);
  const draft = known.draft(message);
  if (found === undefined || found.removed) return refuse('NOT_FOUND', `no message ${message}`);
  if (draft !== undefined && draft.run !== null)
    return refuse('CONFLICT', `message ${message} is written by the reply pane`);
  const known_ = draft?.text ?? found.text;
  const place = { session: state.view.session, message, at: state.private.open[message]?.length ?? found.text.length };
  if (at > known_.length)
    return refuse('CONFLICT', `text up to ${at} is missing: resend from ${place.at}`, { data: place });
  const overlap = known_.slice(at, at + text.length);
  if (!text.startsWith(overlap))
    return refuse('CONFLICT', `the text at ${at} differs from what is there`, { data: place });
  const add = text.slice(overlap.length);
  const end = command.end === true ? (command.outcome ?? 'complete') : null;
  if (draft === undefined) {
    return add === ''
      ? { kind: 'do', events: [], message }
      : refuse('CONFLICT', `message ${message} is final`, { data: place });
  }
  if (known_.length + add.length > limits.maxTextUnits)
    return refuse('TOO_LARGE', `a message has at most ${limits.maxTextUnits} characters`);
  return { kind: 'write', message, add, end };
}

export function decideEdit(state: State, command: CommandOf<'message.edit'>, known: Knowledge): Decision {
  const { message, text } = command;
  const found = known.find(message);
  if (found === undefined || found.removed) return refuse('NOT_FOUND', `no message ${message}`);
  const answers = replyAnswers(state, message);
  const edit: SessionEvent = { type: 'edit', message, text, answer: answers ? known.ids.run : null, at: known.nowMs };
  return {
    kind: 'do',
    ...endWriting(state, message),
    message,
    ...(answers ? { run: known.ids.run } : {}),
    ...(answers || writerOf(state, message) !== null ? { spawn: ['reply'] } : {}),
    events: [...outdateWriter(state, message), edit],
  };
}

export function decideRemove(state: State, command: CommandOf<'message.remove'>, known: Knowledge): Decision {
  const { message } = command;
  const found = known.find(message);
  if (found === undefined || found.removed) return refuse('NOT_FOUND', `no message ${message}`);
  const outdatesReply = replyAnswers(state, message);
  const remove: SessionEvent = { type: 'remove', message, outdatesReply };
  return {
    kind: 'do',
    ...endWriting(state, message),
    message,
    ...(outdatesReply || writerOf(state, message) !== null ? { spawn: ['reply'] } : {}),
    events: [...outdateWriter(state, message), remove],
  };
}

/** The reply pane is at work on an answer to this message. */
function replyAnswers(state: State, message: string): boolean {
  const reply = state.view.panes['reply'];
  return reply !== undefined && isOpen(reply) && answeredMessage(state.view)?.id === message;
}

/** A message that the reply pane is writing: a change to it ends the run first. */
function outdateWriter(state: State, message: string): SessionEvent[] {
  return writerOf(state, message) === null ? [] : [{ type: 'tell', pane: 'reply', event: { type: 'outdate' } }];
}

/** The run of the reply pane that writes this message. */
function writerOf(state: State, message: string): string | null {
  return state.private.open[message]?.run ?? null;
}

/** A message that an app is writing ends as `stopped` before it is changed. */
function endWriting(state: State, message: string): Pick<Extract<Decision, { kind: 'do' }>, 'facts'> {
  const open = state.private.open[message];
  return open === undefined || open.run !== null
    ? {}
    : { facts: [{ type: 'message.ended', message, outcome: 'stopped' }] };
}
