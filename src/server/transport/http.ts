import type { IncomingMessage, ServerResponse } from 'node:http';
import { wireError, type WireError } from '../../protocol/codes.ts';
import type { Grant } from './access.ts';
import { internalError, type Edge } from './edge.ts';
import { reply, replyError, type Exchange } from './http-reply.ts';
import { match, type Route } from './router.ts';
import { assetRoutes } from './routes/assets.ts';
import { exportRoutes } from './routes/export.ts';
import { operationRoutes } from './routes/operations.ts';
import { servePage } from './routes/pages.ts';
import { sessionRoutes } from './routes/sessions.ts';
import type { EventStreams } from './sse.ts';

/** Answers one HTTP request. Never rejects. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** The HTTP routes of PROTOCOL section 9 as one handler. `more` = routes of other parts (inspector); they come first. */
export function createRequestHandler(edge: Edge, streams: EventStreams, more: readonly Route[] = []): RequestHandler {
  const routes = [
    ...more,
    ...operationRoutes(edge),
    ...sessionRoutes(edge, streams),
    ...assetRoutes(edge),
    ...exportRoutes(edge),
  ];
  return async (request, response) => {
    try {
      const exchange = open(request, response);
      if ('refused' in exchange) replyError({ request, response }, exchange.refused);
      else await dispatch(edge, routes, exchange);
    } catch (error) {
      // A client that went away is no fault of ours, and nobody is left to answer.
      if (response.destroyed || request.socket.destroyed) return;
      edge.logger.error({ method: request.method, error }, 'request failed');
      if (response.headersSent) response.destroy();
      else replyError({ request, response }, internalError());
    }
  };
}

/** Splits and decodes the target. Refuses what is not a path of this server: absolute form, bad %-encoding, encoded slashes, NUL. */
function open(request: IncomingMessage, response: ServerResponse): Exchange | { refused: WireError } {
  const target = request.url ?? '';
  const mark = target.indexOf('?');
  const rawPath = mark < 0 ? target : target.slice(0, mark);
  const rawQuery = mark < 0 ? '' : target.slice(mark + 1);
  const bad = { refused: wireError('BAD_MESSAGE', 'the request target: expected a well-formed path and query') };
  if (!rawPath.startsWith('/') || /%(?:2f|5c|00)|\\/i.test(rawPath)) return bad;
  try {
    decodeURIComponent(rawQuery);
    return { request, response, path: decodeURIComponent(rawPath), query: new URLSearchParams(rawQuery) };
  } catch {
    return bad;
  }
}

async function dispatch(edge: Edge, routes: readonly Route[], exchange: Exchange): Promise<void> {
  const { request, response, path } = exchange;
  const method = request.method ?? 'GET';
  const found = match(routes, method, path);
  if (found.kind === 'none') {
    if (method !== 'GET' && method !== 'HEAD') {
      if (path === '/' || path === '/client.js') return methodRefused(exchange, 'GET, HEAD');
    } else if (await servePage(edge, exchange)) return;
    return replyError(exchange, wireError('NOT_FOUND', 'no such route'));
  }
  const preflight = method === 'OPTIONS';
  if (found.kind === 'method' && !preflight) return methodRefused(exchange, found.allow);
  const open = found.kind === 'route' && found.route.access === 'open';
  if (!open) {
    const refusal = edge.access.refusesPage(request.headers);
    if (refusal !== null) return replyError(exchange, wireError('FORBIDDEN', refusal));
    allowOrigin(edge, request, response);
  }
  if (found.kind === 'method') return reply(exchange, 204, { allow: found.allow }, '');
  if (found.kind !== 'route') return;
  const { route, params } = found;
  const grant = open ? nothing : grantOf(edge, exchange, route, params['session']);
  if (grant === undefined)
    return replyError(exchange, wireError('UNAUTHENTICATED', 'expected a valid token, none or another one came'));
  if (route.access === 'all' && !grant.all)
    return replyError(exchange, wireError('FORBIDDEN', 'expected a token for all sessions'));
  await route.handle({ ...exchange, params, grant });
}

function methodRefused(exchange: Exchange, allow: string): void {
  replyError(exchange, wireError('UNSUPPORTED', `expected the method ${allow}`), { status: 405, headers: { allow } });
}

const nothing: Grant = { all: false, sees: () => false };

function grantOf(edge: Edge, exchange: Exchange, route: Route, session: string | undefined): Grant | undefined {
  const { access } = edge;
  const grant = access.grant(access.bearer(exchange.request.headers));
  if (grant !== undefined) return grant;
  const ticket = exchange.query.get('t');
  if (route.access !== 'ticket' || ticket === null || session === undefined) return undefined;
  return access.ticketGrant(ticket, session);
}

/** Lets a page of an allow-listed origin read the reply. */
function allowOrigin(edge: Edge, request: IncomingMessage, response: ServerResponse): void {
  if (!edge.access.hasOrigins) return;
  response.setHeader('vary', 'origin');
  const { origin } = request.headers;
  if (origin === undefined || !edge.access.allowsOrigin(origin)) return;
  response.setHeader('access-control-allow-origin', origin);
  response.setHeader('access-control-allow-methods', 'GET, HEAD, POST, PATCH');
  response.setHeader('access-control-allow-headers', 'authorization, content-type, idempotency-key, last-event-id');
  response.setHeader('access-control-max-age', '600');
}
