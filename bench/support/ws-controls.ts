import { createServer } from 'node:http';
import { join } from 'node:path';
import { WebSocketServer, type WebSocket } from 'ws';
import { openDatabase } from '../../src/adapters/sqlite-driver.ts';

/** A bare ws server. */
export interface WsControl {
  readonly port: number;
  readonly sockets: ReadonlySet<WebSocket>;
  close(): void;
}

/** A bare `ws` server that hands each frame, parsed, to `answer`. */
export async function wsControl(answer?: (socket: WebSocket, text: string, id: string) => void): Promise<WsControl> {
  const http = createServer();
  const wss = new WebSocketServer({ server: http, perMessageDeflate: false });
  wss.on('connection', (socket) =>
    socket.on('message', (data) => {
      // oxlint-disable-next-line typescript/no-base-to-string -- ws gives a Buffer
      const text = data.toString();
      const frame: { id: string } = JSON.parse(text);
      answer?.(socket, text, frame.id);
    }),
  );
  await new Promise<void>((resolve) => void http.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, resolve));
  const address = http.address();
  if (typeof address !== 'object' || address === null) throw new Error('expected a port');
  return {
    port: address.port,
    sockets: wss.clients,
    close: () => {
      for (const socket of wss.clients) socket.terminate();
      http.close();
    },
  };
}

const ack = (id: string): string => JSON.stringify({ type: 'ack', id });

/** Frame in, ack out, nothing stored. */
export const echoControl = (): Promise<WsControl> => wsControl((socket, _, id) => socket.send(ack(id)));

/** One table, append-only, opened as the journal opens its own (WAL, synchronous=FULL, EXCLUSIVE), with the same driver. */
function bareLog(folder: string, name: string) {
  const database = openDatabase(join(folder, `${name}.db`));
  for (const pragma of ['locking_mode = EXCLUSIVE', 'journal_mode = WAL', 'synchronous = FULL'])
    database.exec(`PRAGMA ${pragma}`);
  database.exec('CREATE TABLE log (id INTEGER PRIMARY KEY, body BLOB NOT NULL)');
  const insert = database.prepare('INSERT INTO log (body) VALUES (?)');
  return {
    insert: (text: string) => insert.run(Buffer.from(text)),
    begin: database.prepare('BEGIN IMMEDIATE'),
    commit: database.prepare('COMMIT'),
  };
}

/** Frame in, one commit with its own fsync, ack out. */
export function fullControl(folder: string): Promise<WsControl> {
  const log = bareLog(folder, 'full');
  return wsControl((socket, text, id) => {
    log.insert(text);
    socket.send(ack(id));
  });
}

/** Frame in, one commit an event-loop tick for all, acks out: the least that a durable ack can cost with this store. */
export function groupControl(folder: string): Promise<WsControl> {
  const log = bareLog(folder, 'group');
  let waiting: { socket: WebSocket; text: string; id: string }[] = [];
  const flush = (): void => {
    const writes = waiting;
    waiting = [];
    log.begin.run();
    for (const { text } of writes) log.insert(text);
    log.commit.run();
    for (const { socket, id } of writes) socket.send(ack(id));
  };
  return wsControl((socket, text, id) => {
    if (waiting.push({ socket, text, id }) === 1) setImmediate(flush);
  });
}
