import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { WebSocketServer, type WebSocket } from 'ws';
import type { LiveWait } from '../../src/protocol/frames.ts';
import type { Fact } from '../../src/protocol/records.ts';
import type { PaneView } from '../../src/protocol/view.ts';
import { FakeJournal, opened, type Frame } from './fake-socket.ts';

const csp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const types: { [ext: string]: string } = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** A server that plays what the test tells it: the page's other side without a real one. */
export interface PageServer {
  url: string;
  /** Commands as they came, in order. */
  commands: Frame[];
  journal(session: string): FakeJournal;
  /** Records a fact and tells all who follow the session. */
  tell(session: string, fact: Fact, at?: string): void;
  live(session: string, frame: Omit<Frame, 'type'>): void;
  /** Resolves once the nth (from 1) command of that type has come. */
  command(type: string, nth?: number): Promise<Frame>;
  /** Drops every connection; while true, new ones are refused. */
  away(on: boolean): void;
  token: string | null;
  /** What the list of sessions says that panes wait for, by session. */
  waits: { [session: string]: { [pane: string]: LiveWait } };
  close(): Promise<void>;
}

/** Starts on a free port. */
export async function startPageServer(web: string, clientFile: string): Promise<PageServer> {
  const journals = new Map<string, FakeJournal>();
  const sockets = new Map<WebSocket, string | null>();
  const waiting: { type: string; nth: number; resolve: (frame: Frame) => void }[] = [];
  let refusing = false;
  let handle: PageServer | undefined;

  const http = createServer((request, response) => {
    void answer(request.url ?? '/', request.headers.authorization).then(([status, type, body]) => {
      response.writeHead(status, { 'content-type': type, 'content-security-policy': csp, 'cache-control': 'no-store' });
      response.end(body);
    });
  });

  async function answer(url: string, authorization: string | undefined): Promise<[number, string, string | Buffer]> {
    const path = new URL(url, 'http://x').pathname;
    if (path.startsWith('/v1/')) {
      const { token } = handle ?? { token: null };
      if (token !== null && authorization !== `Bearer ${token}`) return [401, 'application/json', '{}'];
    }
    if (path === '/v1/sessions') return [200, 'application/json', JSON.stringify({ sessions: list() })];
    if (path.startsWith('/v1/assets/')) return [200, 'image/svg+xml', picture(path)];
    const file = path === '/client.js' ? clientFile : join(web, path === '/' ? 'index.html' : path);
    const body = await readFile(file).catch(() => null);
    return body === null ? [404, 'text/plain', 'absent'] : [200, types[extname(file)] ?? 'text/plain', body];
  }

  const list = () =>
    [...journals].map(([session, { view, records }]) => ({
      session,
      seq: view.seq,
      at: records.at(-1)?.at,
      unfinished: false,
      live: true,
      summary: { generation: view.generation, panes: Object.fromEntries(Object.entries(view.panes).map(summarized)) },
      ...(handle?.waits[session] === undefined ? {} : { waits: handle.waits[session] }),
    }));

  const wss = new WebSocketServer({ server: http, path: '/v1/ws' });
  wss.on('connection', (socket) => {
    if (refusing) return socket.close(1013);
    sockets.set(socket, null);
    socket.on('close', () => sockets.delete(socket));
    socket.on('message', (raw) => {
      const bytes = Array.isArray(raw) ? Buffer.concat(raw) : raw instanceof ArrayBuffer ? Buffer.from(raw) : raw;
      const text = bytes.toString();
      const frame: Frame = JSON.parse(text);
      hear(socket, frame);
    });
  });
  const say = (socket: WebSocket, frame: Frame) => socket.send(JSON.stringify(frame));
  const all = (session: string, frame: Frame) => {
    for (const [socket, followed] of sockets) if (followed === session) say(socket, frame);
  };

  function hear(socket: WebSocket, frame: Frame): void {
    const session = String(frame['session']);
    if (frame.type === 'ping') return say(socket, { type: 'pong' });
    if (frame.type === 'init') {
      const token = handle?.token ?? null;
      if (token !== null && frame['token'] !== token) return socket.close(4401, 'a token is required');
      const sizes = { heartbeatMs: 20_000, maxFrameBytes: 262_144 };
      return say(socket, { type: 'ready', protocol: 1, connection: 'c1', ...sizes, now: '', server: 'fake' });
    }
    if (frame.type === 'subscribe') return subscribe(socket, frame, session);
    handle?.commands.push(frame);
    if (frame.type === 'session.open' && !journals.has(session)) journal(session).add(opened, now());
    say(socket, { type: 'ack', id: frame['id'], session, seq: journals.get(session)?.view.seq ?? 0 });
    for (const one of waiting) {
      const found = handle?.commands.filter((command) => command.type === one.type)[one.nth - 1];
      if (found !== undefined) one.resolve(found);
    }
  }

  function subscribe(socket: WebSocket, frame: Frame, session: string): void {
    const found = journals.get(session);
    if (found === undefined) {
      const error = { code: 'NOT_FOUND', message: `no session "${session}"`, retryable: false };
      return say(socket, { type: 'error', id: frame['id'], error, fatal: false });
    }
    sockets.set(socket, session);
    const cursor = frame['cursor'];
    const missed = typeof cursor === 'string' ? found.since(Number(cursor.split('.')[1])) : [found.snapshot()];
    for (const one of missed) say(socket, one);
    say(socket, found.caughtUp());
  }

  function journal(session: string): FakeJournal {
    const found = journals.get(session) ?? new FakeJournal(session);
    journals.set(session, found);
    return found;
  }

  await new Promise<void>((resolve) => {
    http.listen(0, '127.0.0.1', resolve);
  });
  const address = http.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  handle = {
    url: `http://127.0.0.1:${port}`,
    commands: [],
    token: null,
    waits: {},
    journal,
    tell: (session, fact, at = now()) => all(session, journal(session).tell(fact, at)),
    live: (session, frame) => all(session, { type: 'live', session, ...frame }),
    command(type, nth = 1) {
      const found = handle?.commands.filter((command) => command.type === type)[nth - 1];
      if (found !== undefined) return Promise.resolve(found);
      return new Promise((resolve) => {
        waiting.push({ type, nth, resolve });
      });
    },
    away(on) {
      refusing = on;
      if (on) for (const socket of sockets.keys()) socket.terminate();
    },
    async close() {
      for (const socket of wss.clients) socket.terminate();
      wss.close();
      http.closeAllConnections();
      await new Promise((resolve) => {
        http.close(resolve);
      });
    },
  };
  return handle;
}

/** A pane as the real server's list has it. */
const summarized = ([name, { phase, queued, counts }]: [string, PaneView]) =>
  [
    name,
    { phase, queued: queued.length, ...(counts === null ? {} : { done: counts.done, total: counts.total }) },
  ] as const;

const now = () => new Date().toISOString();

/** A picture to look at: a lit glasshouse by night, or one lit pane. */
function picture(path: string): string {
  const near = path.includes('near');
  const house =
    '<path d="M120 250V150a120 100 0 0 1 240 0v100z" fill="#f0b14b" stroke="#16303f" stroke-width="4"/><path d="M160 70v180M200 55v195M240 50v200M280 55v195M320 70v180M120 150h240M120 200h240" stroke="#16303f" stroke-width="3"/>';
  const pane =
    '<path d="M150 12h180v276H150z" fill="#a9c0ca"/><circle cx="240" cy="152" r="74" fill="#f0b14b" stroke="#eef5f6" stroke-width="7"/>';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 300"><path fill="#1d3a50" d="M0 0h480v300H0z"/><path fill="#33566c" d="m0 170 110-100 70 70 90-90 90 100 50-40 70 60v130H0z"/><path fill="#c9d6dc" d="M0 250c120-20 360-20 480 0v50H0z"/>${near ? pane : house}</svg>`;
}
