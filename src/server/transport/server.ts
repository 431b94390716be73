import { createServer, STATUS_CODES, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { wireError } from '../../protocol/codes.ts';
import type { Clock } from '../../ports/clock.ts';
import { Access, type AccessOptions } from './access.ts';
import { edgeDefaults, type Edge, type EdgeConfig } from './edge.ts';
import { Flusher } from './flusher.ts';
import { createRequestHandler, type RequestHandler } from './http.ts';
import { silentLogger, type Logger } from '../logger.ts';
import { replyError } from './http-reply.ts';
import type { Route } from './router.ts';
import type { SessionHost } from '../session-api.ts';
import { EventStreams } from './sse.ts';
import type { Metrics } from '../telemetry.ts';
import { Upgrades, webSocketPath } from './upgrades.ts';

/** What `createHttpEdge` needs. */
export interface HttpEdgeOptions {
  host: SessionHost;
  metrics: Metrics;
  /** Default: silent. */
  logger?: Logger;
  /** Default: the system's. */
  clock?: Clock;
  /** Each absent option has its default of `edgeDefaults`. */
  config?: Partial<EdgeConfig>;
  access?: Omit<AccessOptions, 'now'>;
  /** A server of the application; then only `webSocketPath` upgrades are taken from it, and requests come through `handler`. */
  server?: Server;
  /** More routes (inspector); they come first. */
  routes?: readonly Route[];
  /** Why there should be no traffic (sealed store), undefined = there may. */
  notReady?: () => string | undefined;
}

/** The transports of one server: HTTP, event streams, WebSocket. */
export interface HttpEdge {
  readonly server: Server;
  readonly access: Access;
  readonly handler: RequestHandler;
  /** Starts listening and resolves with the address. Port 0 = any free one. Rejects with the system's error. */
  listen(port: number, hostName: string): Promise<AddressInfo>;
  /** From now on `/readyz` says 503 and new WebSockets are refused with 503; what is open goes on. */
  draining(): void;
  /** Stops accepting, closes WebSockets with 1012, ends event streams; cuts what is still open after `boundMs` (default 2000). */
  closeAll(boundMs?: number): Promise<void>;
}

const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (fn, delayMs) => setTimeout(fn, delayMs),
  clearTimeout(timer) {
    if (isTimer(timer)) clearTimeout(timer);
  },
  defer: (fn) => void setImmediate(fn),
};

/** Wires the transports around a session host. Nothing listens until `listen`. */
export function createHttpEdge(options: HttpEdgeOptions): HttpEdge {
  const config: EdgeConfig = { ...edgeDefaults, ...options.config };
  const clock = options.clock ?? systemClock;
  const access = new Access({ ...options.access, now: () => clock.now() });
  let drains = false;
  const edge: Edge = {
    host: options.host,
    config,
    access,
    clock,
    flusher: new Flusher(),
    metrics: options.metrics,
    logger: options.logger ?? silentLogger,
    notReady: () => (drains ? 'draining' : options.notReady?.()),
  };
  const streams = new EventStreams(edge);
  const upgrades = new Upgrades(edge);
  const handler = createRequestHandler(edge, streams, options.routes);
  const owned = options.server === undefined;
  const sockets = { open: 0 };
  const full = (): boolean => sockets.open > config.maxConnections;
  const server = options.server ?? ownServer(edge, handler, { drains: () => drains, full });
  countSockets(server, sockets);

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (pathOf(request) !== webSocketPath) {
      // Another part of the application may want it; a server of our own has nobody else.
      if (owned) refuseUpgrade(socket, 404);
    } else if (drains || full()) refuseUpgrade(socket, 503);
    else upgrades.accept(request, socket, head);
  });

  return {
    server,
    access,
    handler,
    listen: (port, hostName) => listen(server, access, port, hostName),
    draining() {
      drains = true;
    },
    async closeAll(boundMs = 2000) {
      drains = true;
      const closed = owned ? new Promise<void>((resolve) => void server.close(() => resolve())) : upgrades.emptied();
      upgrades.endAll('restart');
      streams.endAll();
      // Real time, whatever clock runs the rest: a stop must end.
      const timer = setTimeout(() => {
        upgrades.cutAll();
        if (owned) server.closeAllConnections();
      }, boundMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

/** Sockets above `maxConnections` that are still accepted, to be told 503 instead of being dropped. */
const spareSockets = 64;

function ownServer(edge: Edge, handler: RequestHandler, state: { drains: () => boolean; full: () => boolean }): Server {
  const { config } = edge;
  const server = createServer({
    requestTimeout: config.requestTimeoutMs,
    headersTimeout: config.headersTimeoutMs,
    keepAliveTimeout: config.keepAliveMs,
    connectionsCheckingInterval: Math.max(100, Math.min(5000, config.headersTimeoutMs / 2)),
    maxHeaderSize: 16_384,
  });
  server.maxConnections = config.maxConnections + spareSockets;
  server.on('request', (request, response) => {
    if (state.drains()) response.setHeader('connection', 'close');
    if (state.full()) {
      const error = wireError('OVERLOADED', 'too many connections', { retryAfterMs: 1000 });
      return replyError({ request, response }, error, { headers: { connection: 'close' } });
    }
    void handler(request, response);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
    if (socket.writable) refuseUpgrade(socket, status);
    else socket.destroy();
  });
  return server;
}

function listen(server: Server, access: Access, port: number, hostName: string): Promise<AddressInfo> {
  access.bind(hostName);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: hostName, backlog: 4096 }, () => {
      server.off('error', reject);
      const address = server.address();
      if (typeof address === 'object' && address !== null) resolve(address);
      else reject(new Error('expected to listen on a TCP port'));
    });
  });
}

function countSockets(server: Server, sockets: { open: number }): void {
  server.on('connection', (socket) => {
    sockets.open += 1;
    socket.once('close', () => {
      sockets.open -= 1;
    });
  });
}

/** Answers a request for which there is no response object, and closes. */
function refuseUpgrade(socket: Duplex, status: number): void {
  socket.on('error', () => socket.destroy());
  const retry = status === 503 ? 'Retry-After: 1\r\n' : '';
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\nContent-Length: 0\r\n${retry}\r\n`,
  );
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0] ?? '';
}

function isTimer(timer: unknown): timer is NodeJS.Timeout {
  return typeof timer === 'object' && timer !== null && Symbol.toPrimitive in timer;
}
