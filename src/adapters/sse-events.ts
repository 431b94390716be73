/** One event of a stream of server-sent events. */
export interface ServerEvent {
  /** '' when the server named none. */
  event: string;
  data: string;
}

/**
 * The events of a body, as the HTML standard cuts them: an event that the body ends in the middle of is none. Costs time linear in the bytes
 * (an event with a picture is megabytes in thousands of chunks). Who calls bounds the body.
 */
export async function* serverEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent, void, undefined> {
  let event = '';
  let data: string[] = [];
  for await (const line of lines(body)) {
    if (line === '') {
      if (data.length > 0) yield { event, data: data.join('\n') };
      event = '';
      data = [];
      continue;
    }
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'event') event = value;
    if (name === 'data') data.push(value);
  }
}

async function* lines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let begun: string[] = [];
  let endsInCr = false;
  for await (const chunk of body) {
    const decoded = decoder.decode(chunk, { stream: true });
    if (decoded === '') continue;
    // The two halves of one line end may come in two chunks.
    const text = endsInCr && decoded.startsWith('\n') ? decoded.slice(1) : decoded;
    endsInCr = decoded.endsWith('\r');
    const [first = '', ...rest] = text.split(/\r\n|\r|\n/);
    begun.push(first);
    for (const next of rest) {
      yield begun.join('');
      begun = [next];
    }
  }
}
