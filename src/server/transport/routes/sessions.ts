import { decodeCommandBody } from '../../../protocol/codec.ts';
import { wireError, type WireError } from '../../../protocol/codes.ts';
import { messagePattern, sessionPattern } from '../../../protocol/names.ts';
import { readJsonBody } from '../body.ts';
import { absentSession, type Edge } from '../edge.ts';
import { replyError, replyJson } from '../http-reply.ts';
import type { Call, Route } from '../router.ts';
import type { EventStreams } from '../sse.ts';

const maxPage = 200;
const defaultPage = 50;
const maxListed = 1000;
const defaultListed = 200;

/** The routes of sessions: commands, view, list, events, messages, ticket. PROTOCOL section 9. */
export function sessionRoutes(edge: Edge, streams: EventStreams): Route[] {
  const at = (path: string): string => `/v1/sessions/{session}${path}`;
  return [
    { method: 'GET', pattern: '/v1/sessions', access: 'token', handle: (call) => list(edge, call) },
    { method: 'GET', pattern: at(''), access: 'token', handle: (call) => view(edge, call) },
    { method: 'POST', pattern: at('/commands'), access: 'token', handle: (call) => command(edge, call) },
    { method: 'GET', pattern: at('/messages'), access: 'token', handle: (call) => messages(edge, call) },
    { method: 'POST', pattern: at('/ticket'), access: 'token', handle: (call) => ticket(edge, call) },
    {
      method: 'GET',
      pattern: at('/events'),
      access: 'ticket',
      handle: (call) => {
        const session = sessionOf(call);
        return session === undefined ? undefined : streams.serve(call, session);
      },
    },
  ];
}

/** The session of the path, when its name is valid and the caller may see it; else the reply is given. */
function sessionOf(call: Call): string | undefined {
  const session = call.params['session'] ?? '';
  if (!sessionPattern.test(session))
    replyError(call, wireError('BAD_MESSAGE', 'the session in the path: expected 1 to 64 of A-Z a-z 0-9 _ -'));
  else if (!call.grant.sees(session)) replyError(call, absentSession(session));
  else return session;
  return undefined;
}

async function command(edge: Edge, call: Call): Promise<void> {
  const session = sessionOf(call);
  if (session === undefined) return;
  const { config, host } = edge;
  const body = await readJsonBody(call.request, config.maxFrameBytes);
  if ('refused' in body) return replyError(call, body.refused);
  const header = call.request.headers['idempotency-key'];
  const key = Array.isArray(header) ? header[0] : header;
  const decoded = decodeCommandBody(body.bytes, { session, key, maxBytes: config.maxFrameBytes });
  if (decoded.kind === 'error') return replyError(call, decoded.error, { id: decoded.id });
  const result = await host.command(decoded.command);
  if ('refused' in result) return replyError(call, result.refused, { id: decoded.command.id });
  replyJson(call, 200, result);
}

async function view(edge: Edge, call: Call): Promise<void> {
  const session = sessionOf(call);
  if (session === undefined) return;
  const result = await edge.host.view(session);
  if ('refused' in result) return replyError(call, result.refused);
  replyJson(call, 200, { session, cursor: result.cursor, view: result.view });
}

async function list(edge: Edge, call: Call): Promise<void> {
  const limit = limitOf(call, defaultListed, maxListed);
  if (typeof limit !== 'number') return replyError(call, limit);
  // A caller with few sessions must not get an empty page because others were busier.
  const sessions = await edge.host.list(call.grant.all ? limit : maxListed);
  const visible = sessions.filter((line) => call.grant.sees(line.session));
  replyJson(call, 200, { sessions: visible.slice(0, limit) });
}

async function messages(edge: Edge, call: Call): Promise<void> {
  const session = sessionOf(call);
  if (session === undefined) return;
  const limit = limitOf(call, defaultPage, maxPage);
  if (typeof limit !== 'number') return replyError(call, limit);
  const before = call.query.get('before');
  if (before !== null && !messagePattern.test(before))
    return replyError(call, wireError('BAD_MESSAGE', 'query "before": expected the id of a message'));
  const result = await edge.host.messages(session, before, limit);
  if ('refused' in result) return replyError(call, result.refused);
  replyJson(call, 200, { session, messages: result.messages });
}

async function ticket(edge: Edge, call: Call): Promise<void> {
  const session = sessionOf(call);
  if (session === undefined) return;
  // An absent session gets no ticket: it must answer like a forbidden one.
  const result = await edge.host.view(session);
  if ('refused' in result) return replyError(call, result.refused);
  const { ticket, expiresAt } = edge.access.ticket(session);
  replyJson(call, 200, { ticket, expiresAt: new Date(expiresAt).toISOString() });
}

function limitOf(call: Call, absent: number, max: number): number | WireError {
  const given = call.query.get('limit');
  if (given === null) return absent;
  if (!/^-?\d{1,9}$/.test(given)) return wireError('BAD_MESSAGE', 'query "limit": expected a whole number');
  return Math.min(max, Math.max(1, Number(given)));
}
