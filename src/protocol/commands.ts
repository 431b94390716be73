import { z } from 'zod';
import { limits, messagePattern, outcomes, panePattern, policies, roles, sessionPattern } from './names.ts';

const id = z.string().min(1).max(limits.maxIdChars);
const session = z.string().regex(sessionPattern, 'expected 1 to 64 of A-Z a-z 0-9 _ -');
const message = z.string().regex(messagePattern, 'expected 1 to 64 of A-Z a-z 0-9 _ -');
const pane = z.string().regex(panePattern, 'expected a lower-case name such as "history"');
const run = z.string().min(1).max(64);
const task = z.string().min(1).max(128);
const text = z.string().max(limits.maxTextUnits);
const units = z.number().int().nonnegative();
const ms = z.number().int().min(0).max(86_400_000);

/** Options of a pane as commands and configuration give them: every field optional, no unknown ones. PROTOCOL section 7. */
export const paneOptionsSchema = z.strictObject({
  enabled: z.boolean().optional(),
  policy: z.enum(policies).optional(),
  startOn: z.enum(['message', 'reply']).optional(),
  replyWaitMs: ms.optional(),
  debounceMs: ms.optional(),
  debounceMaxMs: ms.optional(),
  timeoutMs: ms.min(1).optional(),
  idleTimeoutMs: ms.min(1).optional(),
  retries: z.number().int().min(0).max(10).optional(),
  maxChars: z.number().int().min(1).max(60_000).optional(),
  window: z.number().int().min(1).max(200).optional(),
  taskTimeoutMs: ms.min(1).optional(),
  parallel: z.number().int().min(1).max(64).optional(),
  propose: z.number().int().min(0).max(8).optional(),
});

const input = z.record(z.string(), z.json()).optional();
const common = { id, session, ifGeneration: units.optional() };

const command = <T extends string, S extends z.core.$ZodLooseShape>(type: T, shape: S) =>
  z.strictObject({ type: z.literal(type), ...common, ...shape });

/** Every command of PROTOCOL section 4. Unknown fields are refused. */
export const commandSchema = z.discriminatedUnion('type', [
  command('session.open', { panes: z.record(pane, paneOptionsSchema).optional() }),
  command('session.close', {}),
  command('session.delete', {}),
  command('message.add', {
    role: z.enum(roles),
    text,
    message: message.optional(),
    final: z.boolean().optional(),
    reply: z.boolean().optional(),
  }),
  z.strictObject({
    type: z.literal('message.delta'),
    ...common,
    // Only correlates the answer: the place in the text makes a delta idempotent.
    id: id.optional(),
    message,
    at: units,
    text,
    end: z.boolean().optional(),
    outcome: z.enum(outcomes).optional(),
  }),
  command('message.edit', { message, text }),
  command('message.remove', { message }),
  command('pane.run', { pane, input }),
  command('pane.cancel', { pane: pane.optional(), run: run.optional() }),
  command('pane.pause', { pane }),
  command('pane.resume', { pane, input }),
  command('task.cancel', { pane, task }),
  command('task.retry', { pane, task }),
  command('task.prioritize', { pane, task }),
]);

export type Command = z.infer<typeof commandSchema>;
export type CommandType = Command['type'];
export type CommandOf<T extends CommandType> = Extract<Command, { type: T }>;
