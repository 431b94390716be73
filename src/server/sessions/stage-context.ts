import type { StageInput } from '../../machines/pane-setup.ts';
import type { StageContext } from '../../panes/define.ts';
import type { State } from '../../protocol/state.ts';
import type { Message } from '../../protocol/view.ts';

/** What a stage knows of its session as of now; the engines and its own voice come from the attempt. */
export function stageMaterial(
  { view, private: priv }: State,
  input: StageInput,
  cleaned: (text: string) => string,
): Omit<StageContext, 'signal' | 'text' | 'image' | 'write'> {
  const pane = priv.panes[input.pane];
  if (pane === undefined) throw new Error(`no pane ${input.pane} in session ${input.session}`);
  const options = pane.declaration;
  return {
    session: input.session,
    pane: input.pane,
    run: input.run,
    attempt: input.attempt,
    generation: input.generation,
    input: pane.input,
    checkpoint: pane.checkpoint,
    messages: withTexts(messagesFor(view.messages, input.pane).slice(-options.window), cleaned),
    content: view.panes[input.pane]?.content ?? null,
    options,
  };
}

/** Final messages only; the reply answers the newest user message, so nothing that stands after it (an answer to be replaced) is told. */
function messagesFor(messages: readonly Message[], pane: string): Message[] {
  const upTo = pane === 'reply' ? messages.findLastIndex((message) => message.role === 'user') + 1 : messages.length;
  return messages.slice(0, upTo).filter((message) => message.final);
}

type Change = (text: string) => string;

/** Messages do not change: what was made of one is made once. */
const changed = new WeakMap<Change, WeakMap<Message, Message>>();

/** The messages with their texts changed; those that stay as they are stay the same objects. */
export function withTexts(messages: readonly Message[], change: Change): Message[] {
  const known = changed.get(change) ?? new WeakMap<Message, Message>();
  changed.set(change, known);
  return messages.map((message) => {
    const old = known.get(message);
    if (old !== undefined) return old;
    const text = change(message.text);
    const made = text === message.text ? message : { ...message, text };
    known.set(message, made);
    return made;
  });
}
