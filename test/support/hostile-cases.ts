/** Ready-made scripts for the hostile server: what real backends, proxies and broken networks were seen to do. */
import { setImmediate as turn, setTimeout as after } from 'node:timers/promises';
import { deflateSync } from 'node:zlib';
import type { Exchange, Gate, Script } from './hostile-server.ts';

/** Headers of a stream of events. */
export const eventStream = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' };

/** One event: `data:` and a blank line. A string goes out as it is, anything else as JSON. */
export function event(data: unknown): string {
  return `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
}

/** A chat completion chunk with this delta. */
export function chunk(delta: Record<string, unknown>, finish: string | null = null): Record<string, unknown> {
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'test',
    choices: [{ index: 0, delta, finish_reason: finish }],
  };
}

/** The event of one piece of text. */
export function token(content: string): string {
  return event(chunk({ content }));
}

/** The event that ends the answer. */
export function finish(reason = 'stop'): string {
  return event(chunk({}, reason));
}

/** The event with the token counts: its `choices` are empty. */
export function usage(input: number, output: number): string {
  return event({
    ...chunk({}),
    choices: [],
    usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
  });
}

export const doneEvent = event('[DONE]');

/** How a good stream is paced. */
export interface Pace {
  /** Wait before the headers, and between two tokens, in ms. For demos and benches; tests use gates. */
  firstMs?: number;
  everyMs?: number;
  /** Opens the way to the first token; headers are out before. */
  gate?: Gate;
}

/** A good answer: tokens, finish_reason, usage, [DONE]. */
function stream(tokens: readonly string[], pace: Pace = {}): Script {
  return async (exchange) => {
    if (pace.firstMs !== undefined) await Promise.race([after(pace.firstMs), exchange.closed]);
    exchange.head(200, eventStream);
    if (pace.gate !== undefined) await Promise.race([pace.gate.opened, exchange.closed]);
    for (const [index, text] of tokens.entries()) {
      if (exchange.over) return;
      if (index > 0 && pace.everyMs !== undefined) await Promise.race([after(pace.everyMs), exchange.closed]);
      await exchange.write(token(text));
    }
    exchange.end(`${finish()}${usage(7, tokens.length)}${doneEvent}`);
  };
}

/** Exactly these bytes as a stream of events, properly ended; each part is one HTTP chunk. */
function events(...parts: Array<string | Uint8Array>): Script {
  return async (exchange) => {
    exchange.head(200, eventStream);
    for (const part of parts) await exchange.write(part);
    exchange.end();
  };
}

/** Takes the request and never answers. */
const silence: Script = () => undefined;

/** Headers, then nothing. */
const headersThenSilence: Script = (exchange) => exchange.head(200, eventStream);

/** These tokens, then nothing: the socket stays open. */
function stall(...tokens: string[]): Script {
  return async (exchange) => {
    exchange.head(200, eventStream);
    for (const text of tokens) await exchange.write(token(text));
  };
}

/** The whole text of a good answer, `size` bytes at a time: events and UTF-8 sequences are cut anywhere. */
function drip(text: string, size = 1): Script {
  return async (exchange) => {
    exchange.head(200, eventStream);
    const bytes = Buffer.from(`${token(text)}${finish()}${doneEvent}`);
    for (let at = 0; at < bytes.length && !exchange.over; at += size) {
      await exchange.write(bytes.subarray(at, at + size));
      await turn();
    }
    exchange.end();
  };
}

/** The socket is closed after these bytes, in the middle of the answer. */
function cut(...parts: Array<string | Uint8Array>): Script {
  return async (exchange) => {
    exchange.head(200, eventStream);
    for (const part of parts) await exchange.write(part);
    await exchange.cut();
  };
}

/** The socket is closed before any answer. */
const reset: Script = (exchange) => exchange.cut();

/** Any status, headers and body. */
function reply(status: number, body: string | Uint8Array = '', headers: Record<string, string> = {}): Script {
  return (exchange) => {
    exchange.head(status, headers);
    exchange.end(body);
  };
}

/** A JSON answer. */
function json(value: unknown, status = 200): Script {
  return reply(status, JSON.stringify(value), { 'content-type': 'application/json' });
}

/** An error as OpenAI sends it. */
function status(code: number, headers: Record<string, string> = {}, error: Record<string, unknown> = {}): Script {
  const body = { error: { message: `scripted ${code}`, type: 'scripted', ...error } };
  return reply(code, JSON.stringify(body), { 'content-type': 'application/json', ...headers });
}

/** A proxy's page. */
function html(code: number): Script {
  const page = `<!DOCTYPE html><html><head><style>b{}</style></head><body><h1>${code} Bad Gateway</h1>nginx</body></html>`;
  return reply(code, page, { 'content-type': 'text/html' });
}

/** The same bytes again and again until the client leaves. */
function endless(part: string): Script {
  return async (exchange) => {
    exchange.head(200, eventStream);
    const block = part.repeat(Math.ceil(4096 / part.length));
    while (!exchange.over) {
      await exchange.write(block);
      await turn();
    }
  };
}

/** A whole answer although a stream was asked for. */
const jsonForStream: Script = json({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', content: 'whole' }, finish_reason: 'stop' }],
});

/** A valid PNG of one grey pixel. */
export const png: Buffer = makePng();

function makePng(): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(1, 0);
  header.writeUInt32BE(1, 4);
  header[8] = 8;
  const magic = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  return Buffer.concat([
    magic,
    pngPart('IHDR', header),
    pngPart('IDAT', deflateSync(Buffer.from([0, 128]))),
    pngPart('IEND', Buffer.alloc(0)),
  ]);
}

function pngPart(name: string, data: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

function crc32(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** An image answer with these bytes as `b64_json`. */
function imageB64(bytes: Uint8Array = png): Script {
  return json({ created: 1, data: [{ b64_json: Buffer.from(bytes).toString('base64') }] });
}

/** An image answer with a URL, absolute or relative. */
function imageUrl(url: string): Script {
  return json({ created: 1, data: [{ url }] });
}

/** The picture behind such a URL. */
function picture(bytes: Uint8Array = png, type = 'image/png'): Script {
  return reply(200, bytes, { 'content-type': type });
}

/** A different script by path: the longest given prefix of the path wins. */
function byPath(scripts: Record<string, Script>, otherwise: Script = status(404)): Script {
  return (exchange: Exchange) => {
    const prefixes = Object.keys(scripts).filter((prefix) => exchange.path.startsWith(prefix));
    const best = prefixes.sort((a, b) => b.length - a.length)[0];
    return ((best === undefined ? undefined : scripts[best]) ?? otherwise)(exchange);
  };
}

/** All scripts, by name. */
export const cases = {
  stream,
  events,
  silence,
  headersThenSilence,
  stall,
  drip,
  cut,
  reset,
  reply,
  json,
  status,
  html,
  endless,
  jsonForStream,
  imageB64,
  imageUrl,
  picture,
  byPath,
};
