import { wireError } from '../../../protocol/codes.ts';
import { sessionPattern } from '../../../protocol/names.ts';
import { buildExport } from '../../export/build.ts';
import { absentSession, type Edge } from '../edge.ts';
import { reply, replyError } from '../http-reply.ts';
import type { Call, Route } from '../router.ts';
import { matches } from './assets.ts';

/** Exports made at the same time: each holds a whole session in memory. */
export const maxExportsAtOnce = 4;

/** `GET /v1/sessions/{session}/export.md`: the session as Markdown. PROTOCOL section 9. */
export function exportRoutes(edge: Edge): Route[] {
  let atWork = 0;
  return [
    {
      method: 'GET',
      pattern: '/v1/sessions/{session}/export.md',
      access: 'token',
      async handle(call) {
        if (atWork >= maxExportsAtOnce) {
          const busy = `${maxExportsAtOnce} exports are being made already`;
          return replyError(call, wireError('OVERLOADED', busy, { retryAfterMs: 1_000 }));
        }
        atWork += 1;
        try {
          await exported(edge, call);
        } finally {
          atWork -= 1;
        }
      },
    },
  ];
}

async function exported(edge: Edge, call: Call): Promise<void> {
  const session = call.params['session'] ?? '';
  if (!sessionPattern.test(session))
    return replyError(call, wireError('BAD_MESSAGE', 'the session in the path: expected 1 to 64 of A-Z a-z 0-9 _ -'));
  if (!call.grant.sees(session)) return replyError(call, absentSession(session));
  const result = await buildExport(edge.host, session, (fn) => edge.clock.defer(fn));
  if ('refused' in result) return replyError(call, result.refused);
  const etag = `"${result.hash}"`;
  const headers = {
    etag,
    'content-type': 'text/markdown; charset=utf-8',
    'content-disposition': `attachment; filename="${session}.md"`,
    // Kept by the caller alone, and asked for again each time.
    'cache-control': 'private, no-cache',
  };
  if (matches(call.request.headers['if-none-match'], etag)) reply(call, 304, headers, '');
  else reply(call, 200, headers, result.bytes);
}
