/**
 * A model backend on 127.0.0.1 that does exactly what the test tells it to, well-behaved or not. It keeps no timers of its own: a test waits
 * for `awaitRequest()` and `exchange.closed`, and opens gates by hand.
 *
 *   const server = await startHostileServer();
 *   server.script(cases.stream(['Hel', 'lo']), cases.status(429));   // first request, then every further one
 *   const exchange = await server.awaitRequest();
 *   await exchange.closed;                                           // 'finished' or 'early'
 *   await server.close();
 *
 * Ready-made scripts are in hostile-cases.ts.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How an exchange ended: the answer was sent to its end, or the client's socket (or ours, by `cut`) closed before. */
export type Ending = 'finished' | 'early';

/** One request and the means to answer it. Writes after the client has gone are dropped silently. */
export interface Exchange {
  readonly index: number;
  readonly method: string;
  /** The client's port: the same for all requests of one connection. */
  readonly clientPort: number | undefined;
  /** Path with query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The body as JSON; undefined when it is not. */
  readonly json: unknown;
  readonly closed: Promise<Ending>;
  /** `performance.now()` of the close; undefined before. */
  readonly closedAt: number | undefined;
  /** True once the exchange is over, either way. */
  readonly over: boolean;
  /** Sends status and headers at once, before any body. */
  head(status: number, headers?: Record<string, string>): void;
  /** Sends bytes; each call is one HTTP chunk, so the client sees the cuts. Resolves when more may be sent (backpressure). */
  write(bytes: string | Uint8Array): Promise<void>;
  /** Ends the answer properly. */
  end(bytes?: string | Uint8Array): void;
  /** Closes the socket in the middle of the answer, after what was written has left. */
  cut(): Promise<void>;
}

/** What the server does with one request. An error that it throws makes `close()` reject. */
export type Script = (exchange: Exchange) => void | Promise<void>;

export interface HostileServer {
  /** Scheme, host and port. */
  readonly origin: string;
  /** `origin` with `/v1`, for an adapter's configuration. */
  readonly baseUrl: string;
  /** Every request so far, in order. */
  readonly requests: readonly Exchange[];
  /** The n-th request from now on runs the n-th script; the last one serves all further requests. */
  script(first: Script, ...more: Script[]): void;
  /** The next request that no earlier call has returned; waits for it. */
  awaitRequest(): Promise<Exchange>;
  /** Closes all sockets; rejects when a script failed. */
  close(): Promise<void>;
}

/** A door that a test opens by hand. */
export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

/** A closed gate. */
export function gate(): Gate {
  const { promise, resolve } = deferred<void>();
  return { opened: promise, open: () => resolve() };
}

/** Starts a server on a free port. Until it is given a script it answers nothing. */
export async function startHostileServer(): Promise<HostileServer> {
  const requests: Exchange[] = [];
  const waiters: Array<(exchange: Exchange) => void> = [];
  const failures: unknown[] = [];
  let taken = 0;
  let scripts: Script[] = [() => undefined];

  const accept = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const script = scripts.length > 1 ? scripts.shift() : scripts[0];
    // Before the first await: a client that leaves while it uploads must be noticed, too.
    const ending = watchEnd(response);
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(Buffer.from(chunk));
    } catch {
      return;
    }
    const exchange = newExchange(requests.length, request, response, Buffer.concat(chunks).toString('utf8'), ending);
    requests.push(exchange);
    const waiter = waiters.shift();
    if (waiter !== undefined) {
      taken += 1;
      waiter(exchange);
    }
    await script?.(exchange);
  };
  const http = createServer({ keepAlive: true, noDelay: true }, (request, response) => {
    accept(request, response).catch((error: unknown) => failures.push(error));
  });
  http.requestTimeout = 0;
  await new Promise<void>((resolve) => {
    http.listen(0, '127.0.0.1', resolve);
  });
  const origin = `http://127.0.0.1:${portOf(http.address())}`;

  return {
    origin,
    baseUrl: `${origin}/v1`,
    requests,
    script: (first, ...more) => {
      scripts = [first, ...more];
    },
    awaitRequest: () => {
      const ready = requests[taken];
      if (ready !== undefined) {
        taken += 1;
        return Promise.resolve(ready);
      }
      const { promise, resolve } = deferred<Exchange>();
      waiters.push(resolve);
      return promise;
    },
    close: async () => {
      const closed = new Promise((resolve) => {
        http.close(resolve);
      });
      http.closeAllConnections();
      await closed;
      if (failures.length > 0) throw new AggregateError(failures, 'a script of the hostile server failed');
    },
  };
}

interface End {
  readonly closed: Promise<Ending>;
  at: number | undefined;
}

function watchEnd(response: ServerResponse): End {
  const { promise, resolve } = deferred<Ending>();
  const end: End = { closed: promise, at: undefined };
  response.once('close', () => {
    end.at = performance.now();
    resolve(response.writableFinished ? 'finished' : 'early');
  });
  // A reset socket is a result here, not a fault.
  response.on('error', () => undefined);
  return end;
}

function newExchange(
  index: number,
  request: IncomingMessage,
  response: ServerResponse,
  body: string,
  end: End,
): Exchange {
  return {
    index,
    method: request.method ?? '',
    clientPort: request.socket.remotePort,
    path: request.url ?? '',
    headers: request.headers,
    body,
    json: parse(body),
    closed: end.closed,
    get closedAt() {
      return end.at;
    },
    get over() {
      return end.at !== undefined;
    },
    head(status, headers = {}) {
      if (end.at !== undefined) return;
      response.writeHead(status, headers);
      response.flushHeaders();
    },
    async write(bytes) {
      if (end.at !== undefined) return;
      if (response.write(bytes)) return;
      const { promise, resolve } = deferred<void>();
      response.once('drain', resolve);
      await Promise.race([promise, end.closed]);
      response.off('drain', resolve);
    },
    end(bytes) {
      if (end.at === undefined) response.end(bytes);
    },
    async cut() {
      if (response.headersSent) {
        const { promise, resolve } = deferred<void>();
        response.write('', () => resolve());
        await Promise.race([promise, end.closed]);
      }
      response.destroy();
    },
  };
}

function parse(body: string): unknown {
  try {
    const value: unknown = JSON.parse(body);
    return value;
  } catch {
    return undefined;
  }
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return address.port;
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
