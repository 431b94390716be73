import { expect } from 'vitest';

/** One event of a stream of events. */
export interface SentEvent {
  event: string;
  id: string | undefined;
  data: string;
}

/** Reads a stream of events until `enough`. */
export async function sse(
  url: string,
  headers: Record<string, string>,
  enough: (all: SentEvent[]) => boolean,
): Promise<SentEvent[]> {
  const abort = new AbortController();
  const response = await fetch(url, { headers, signal: abort.signal });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const all: SentEvent[] = [];
  let rest = '';
  for await (const chunk of response.body ?? []) {
    rest += Buffer.from(chunk).toString('utf8');
    const blocks = rest.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: ?(.*)$`, 'm').exec(block)?.[1];
      const [event, data] = [field('event'), field('data')];
      if (event !== undefined && data !== undefined) all.push({ event, data, id: field('id') });
    }
    if (enough(all)) break;
  }
  abort.abort();
  return all;
}
