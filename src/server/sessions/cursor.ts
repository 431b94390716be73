/** A client's position in one session's journal: opaque to clients. PROTOCOL section 2. */
export interface Cursor {
  /** Names one life of the session: after a delete and a new open, old cursors are not of this epoch. */
  epoch: string;
  seq: number;
}

export function formatCursor(cursor: Cursor): string {
  return `${cursor.epoch}.${cursor.seq}`;
}

/** undefined when it is not one of ours. */
export function parseCursor(text: string): Cursor | undefined {
  const match = /^([0-9a-f-]{1,64})\.(\d{1,15})$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { epoch: match[1], seq: Number(match[2]) };
}
