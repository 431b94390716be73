import type { PromptMessage } from '../ports/models.ts';
import { ProviderError } from '../ports/errors.ts';
import { definePane } from './define.ts';
import type { StageContext, StageResult } from './define.ts';
import { boundedMessages } from './prompts.ts';
import type { TranscriptBounds } from './prompts.ts';

/** What the reply pane says of its last reply; the text itself is a message. */
export type ReplyContent = { engine: string };

const defaultSystemPrompt =
  'You are the storyteller and conversation partner of this chat. Answer the last message. Stay consistent with what has happened so far, be concrete, and leave the next step to the user.';

/** The reply needs more of the conversation, and long messages nearly whole: they are what it answers. */
const bounds: TranscriptBounds = { perMessage: 16_000, total: 64_000 };

/** The pane that writes the assistant's message. `systemPrompt` replaces the built-in one. */
export function replyPane(config: { systemPrompt?: string } = {}) {
  const systemPrompt = config.systemPrompt ?? defaultSystemPrompt;
  return definePane({
    name: 'reply',
    driven: false,
    priority: 0,
    options: { policy: 'supersede', startOn: 'message', debounceMs: 0, timeoutMs: 300_000 },
    stages: [{ name: 'streaming', run: (context) => stream(context, systemPrompt) }],
  });
}

async function stream(context: StageContext, systemPrompt: string): Promise<StageResult<ReplyContent>> {
  const messages = boundedMessages(context.messages, bounds);
  const prompt: PromptMessage[] = [
    { role: 'system', content: systemPrompt },
    ...messages.map((message) => ({ role: message.role, content: message.text })),
  ];
  // No current text: a regenerated reply must not look at the one it replaces.
  const material = { messages, current: '', maxChars: bounds.perMessage };
  let begun = false;
  for await (const piece of context.text.stream({ stage: 'reply', prompt, material })) {
    // What comes after a stop is nobody's text. A port may deliver a piece late; the run's end is recorded elsewhere.
    if (context.signal.aborted) throw context.signal.reason;
    // Blanks before the first word are held back: while nothing is recorded, an empty answer can still be tried again.
    const add = begun ? piece : piece.trimStart();
    if (add === '') continue;
    begun = true;
    context.write(add);
  }
  if (context.signal.aborted) throw context.signal.reason;
  if (!begun) throw new ProviderError('truncated', 'the engine ended its reply without a word; expected text');
  return { outcome: 'updated', content: { engine: context.text.engine('reply') } };
}
