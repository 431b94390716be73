import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorCodes, type WireError } from '../../protocol/codes.ts';

/** Headers of a reply. */
export type ReplyHeaders = { [name: string]: string | number };

/** One HTTP request on its way through the routes. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Decoded path, without query. */
  readonly path: string;
  readonly query: URLSearchParams;
}

/** Sends a whole reply; the body is left out for HEAD. Does nothing when one has begun. */
export function reply(
  exchange: Pick<Exchange, 'request' | 'response'>,
  status: number,
  headers: ReplyHeaders,
  body: string | Uint8Array,
): void {
  const { request, response } = exchange;
  if (response.headersSent || response.destroyed) return;
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength;
  response.writeHead(status, {
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
    ...(status === 204 || status === 304 ? {} : { 'content-length': length }),
    ...headers,
  });
  if (request.method === 'HEAD' || status === 204 || status === 304) response.end();
  else response.end(body);
}

/** Sends a JSON reply. */
export function replyJson(exchange: Exchange, status: number, value: unknown, headers: ReplyHeaders = {}): void {
  reply(exchange, status, { 'content-type': 'application/json; charset=utf-8', ...headers }, JSON.stringify(value));
}

/** Sends an error with the status of the one table, as the same frame that a WebSocket client gets. PROTOCOL section 9. */
export function replyError(
  exchange: Pick<Exchange, 'request' | 'response'>,
  error: WireError,
  extra: { status?: number; headers?: ReplyHeaders; id?: string | undefined } = {},
): void {
  const retry =
    error.retryAfterMs === undefined ? {} : { 'retry-after': Math.max(1, Math.ceil(error.retryAfterMs / 1000)) };
  const challenge = error.code === 'UNAUTHENTICATED' ? { 'www-authenticate': 'Bearer' } : {};
  const frame = { type: 'error', ...(extra.id === undefined ? {} : { id: extra.id }), error, fatal: false };
  reply(
    exchange,
    extra.status ?? errorCodes[error.code].status,
    { 'content-type': 'application/json; charset=utf-8', ...retry, ...challenge, ...extra.headers },
    JSON.stringify(frame),
  );
}
