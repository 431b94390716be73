// Child of supersede.bench.ts: the provider and the client in one process, so that "sent", "acked" and "closed" are read from one clock.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { WebSocket } from 'ws';

/** What the parent asks for; each is answered by one `Answer`. Times of `process.hrtime` in ms: the same clock in both processes. */
export type Ask =
  | { do: 'connect'; port: number }
  /** Sends one message while a summary is being written. */
  | { do: 'supersede' }
  /** Waits for the close of the next `/bare` request. */
  | { do: 'bare' };

export interface Answer {
  /** Port of the provider, first of all. */
  port?: number;
  sentMs?: number;
  ackedMs?: number;
  closedMs?: number;
}

const now = (): number => Number(process.hrtime.bigint()) / 1e6;
const sse = (content: string | null): string =>
  `data: ${JSON.stringify({
    id: 'c',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'm',
    choices: [
      { index: 0, delta: content === null ? {} : { content }, finish_reason: content === null ? 'stop' : null },
    ],
  })}\n\n`;

/** Resolves with the time at which the open answer was closed by the other side. */
let closed: Promise<number> = Promise.resolve(0);
let begun: () => void = () => undefined;
let beginning = new Promise<void>((resolve) => (begun = resolve));
function nextAnswer(): void {
  beginning = new Promise<void>((resolve) => (begun = resolve));
}

const provider = createServer((request, response) => {
  let body = '';
  request.on('data', (data: Buffer) => (body += data.toString()));
  request.on('end', () => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (body.includes('"model":"evaluate"')) {
      response.end(`${sse('YES')}${sse(null)}data: [DONE]\n\n`);
      return;
    }
    // A summary, or the bare control: one piece, then silence until the other side goes.
    response.write(sse('So far '));
    closed = new Promise((resolve) => void response.on('close', () => resolve(now())));
    begun();
  });
});
provider.keepAliveTimeout = 60_000;
provider.listen(0, '127.0.0.1', () => {
  const address = provider.address();
  if (typeof address === 'object' && address !== null) tell({ port: address.port });
});

let socket: WebSocket | undefined;
let heard: (text: string) => void = () => undefined;
let sent = 0;

async function say(frame: object, until: string): Promise<number> {
  const answered = new Promise<number>((resolve, reject) => {
    heard = (text) => {
      if (text.startsWith(`{"type":"${until}"`)) resolve(now());
      else if (text.startsWith('{"type":"error"')) reject(new Error(text));
    };
  });
  socket?.send(JSON.stringify(frame));
  return answered;
}

function message(): object {
  sent += 1;
  return { type: 'message.add', id: `k${sent}`, session: 's', role: 'user', reply: false, text: 'The rain stops.' };
}

async function connect(port: number): Promise<Answer> {
  socket = new WebSocket(`ws://127.0.0.1:${port}/v1/ws`, ['mullion.v1'], { perMessageDeflate: false });
  // oxlint-disable-next-line typescript/no-base-to-string -- ws gives a Buffer
  socket.on('message', (data) => heard(data.toString()));
  await once(socket, 'open');
  await say({ type: 'init' }, 'ready');
  await say({ type: 'session.open', id: 'open', session: 's' }, 'ack');
  await say(message(), 'ack');
  await summarising();
  return {};
}

/** The summary has begun and its first piece has had time to arrive. */
async function summarising(): Promise<void> {
  await beginning;
  await new Promise((resolve) => void setTimeout(resolve, 4));
}

async function supersede(): Promise<Answer> {
  const gone = closed;
  nextAnswer();
  const sentMs = now();
  const acked = say(message(), 'ack');
  const [ackedMs, closedMs] = await Promise.all([acked, gone]);
  await summarising();
  return { sentMs, ackedMs, closedMs };
}

async function bare(): Promise<Answer> {
  const mine = closed;
  nextAnswer();
  await beginning;
  const closedMs = await closed;
  // The summary that is being written meanwhile is the one to be superseded next.
  closed = mine;
  return { closedMs };
}

function tell(answer: Answer): void {
  process.send?.(answer);
}

process.on('message', (ask: Ask) => {
  const answer = ask.do === 'connect' ? connect(ask.port) : ask.do === 'supersede' ? supersede() : bare();
  answer.then(tell, (error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.on('disconnect', () => process.exit(0));
