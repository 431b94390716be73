import type { CommandKey, Entry } from '../../src/ports/journal.ts';
import type { Fact, Rec } from '../../src/protocol/records.ts';

export const dayMs = 24 * 3_600_000;
export const at0Ms = 1_700_000_000_000;

export const phase: Fact = {
  type: 'pane.phase',
  pane: 'history',
  run: 'r1',
  generation: 1,
  phase: 'summarizing',
  attempt: 1,
};

/** Records `after + 1`, … for the facts. */
export function records(after: number, ...facts: Fact[]): Rec[] {
  return facts.map((fact, index) => ({ seq: after + index + 1, at: '2026-11-20T18:00:00.000Z', ...fact }));
}

export function entry(after: number, facts: Fact[] = [phase], more: Partial<Entry> = {}): Entry {
  const first = after === 0 ? { epoch: 'e1' } : {};
  return {
    records: records(after, ...facts),
    keys: [],
    unfinished: false,
    summary: {},
    atMs: at0Ms,
    ...first,
    ...more,
  };
}

export function key(id: string): CommandKey {
  return { id, digest: `digest of ${id}`, ack: { seq: 1, message: 'm1' } };
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

export function added(id: string, text: string, more: object = {}): Fact {
  const message = { id, role: 'assistant' as const, text, generation: 1, final: true, reply: 'none' as const };
  return { type: 'message.added', message: { ...message, ...more } };
}
