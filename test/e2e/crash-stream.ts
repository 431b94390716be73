import type { Sent } from './crash-check.ts';
import type { Wire } from './wire.ts';

/** A message that an app writes in small pieces, over as many connections as it takes. */
export interface AppStream {
  readonly message: string;
  readonly text: string;
  /** The command that opens it. */
  readonly opening: Sent;
}

/** A text with prompts in it; the last one may be its end. Cut into pieces anywhere, also inside the lamp. */
export function tale(name: string, random: () => number): string {
  const prompt = (): string => `<!--img-prompt="a lamp 🪔 of ${name} ${Math.floor(random() * 3)}"-->`;
  const between = (): string => (random() < 0.7 ? ' The lamp 🪔 turns. ' : '');
  const count = 1 + Math.floor(random() * 3);
  return Array.from({ length: count }, () => between() + prompt()).join('') + between();
}

/**
 * Sends what is missing of it, from where the record of it ends, in pieces of 1 to 12 units and up to `pieces` of them; true when nothing is
 * left to do. Rejects when the connection ends.
 */
export async function advance(
  wire: Wire,
  { message, text, opening }: AppStream,
  random: () => number,
  pieces: number,
): Promise<boolean> {
  // The ack may be here before the record.
  await wire.view(({ seq }) => seq >= (opening.ack?.seq ?? 0));
  const known = wire.current.messages.find(({ id }) => id === message);
  // Not there: removed, or so long ago that the view has let go of it.
  if (known === undefined || known.final) return true;
  let at = known.text.length;
  if (!text.startsWith(known.text)) throw new Error(`${message}: the record of it is not what was sent`);
  for (let n = 1; n < pieces; n += 1) {
    const piece = text.slice(at, at + 1 + Math.floor(random() * 12));
    if (at + piece.length >= text.length) break;
    wire.send({ type: 'message.delta', session: wire.session, message, at, text: piece });
    at += piece.length;
  }
  const isLast = at + 12 >= text.length;
  const rest = isLast ? text.slice(at) : text.slice(at, at + 1);
  const answer = await wire.command({
    type: 'message.delta',
    message,
    at,
    text: rest,
    ...(isLast ? { end: true } : {}),
  });
  // Refused: it has ended meanwhile, or the server knows less of it than it did; the next time begins at what is on record.
  return answer.type === 'ack' && isLast;
}

/** Sends all the rest of it. Rejects when the connection ends. */
export async function finish(wire: Wire, stream: AppStream, random: () => number): Promise<void> {
  for (let isOver = false; !isOver;) isOver = await advance(wire, stream, random, 20);
}
