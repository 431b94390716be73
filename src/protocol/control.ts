import { z } from 'zod';
import { limits, sessionPattern } from './names.ts';

const id = z.string().min(1).max(limits.maxIdChars);
const session = z.string().regex(sessionPattern, 'expected 1 to 64 of A-Z a-z 0-9 _ -');

/** Longest token, cursor or client name in a frame, in characters: far above what is ever given out, far below a frame. */
const maxOpaqueChars = 4096;

/** Client frames that are not commands. PROTOCOL section 3. Unknown fields are refused. */
export const controlSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('init'),
    token: z.string().max(maxOpaqueChars).optional(),
    client: z.string().max(256).optional(),
  }),
  z.strictObject({
    type: z.literal('subscribe'),
    id,
    session,
    cursor: z.string().max(maxOpaqueChars).optional(),
  }),
  z.strictObject({ type: z.literal('unsubscribe'), id, session }),
  z.strictObject({ type: z.literal('ping'), t: z.number().optional() }),
]);

/** A decoded client frame that is not a command. */
export type Control = z.infer<typeof controlSchema>;
