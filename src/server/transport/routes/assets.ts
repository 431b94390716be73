import { wireError } from '../../../protocol/codes.ts';
import { assetPattern, sessionPattern } from '../../../protocol/names.ts';
import type { Edge } from '../edge.ts';
import { reply, replyError } from '../http-reply.ts';
import type { Call, Route } from '../router.ts';

const types: { readonly [extension: string]: string } = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  gif: 'image/gif',
  avif: 'image/avif',
  svg: 'image/svg+xml',
  txt: 'text/plain; charset=utf-8',
  // A browser would render HTML inside Markdown if it could; as plain text it is read.
  md: 'text/plain; charset=utf-8',
  json: 'application/json; charset=utf-8',
};

/** `GET /v1/assets/{session}/{name}`: bytes that never change under their name. PROTOCOL section 9. */
export function assetRoutes(edge: Edge): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/assets/{session}/{name}',
      access: 'ticket',
      handle: (call) => asset(edge, call),
    },
  ];
}

async function asset(edge: Edge, call: Call): Promise<void> {
  const { session = '', name = '' } = call.params;
  const [, hash, extension] = assetPattern.exec(name) ?? [];
  const valid = sessionPattern.test(session) && hash !== undefined && extension !== undefined;
  // Read even when the client has it: an erased session's assets are gone for caches too.
  const bytes = valid && call.grant.sees(session) ? await edge.host.asset(session, name) : undefined;
  if (bytes === undefined || extension === undefined) return replyError(call, wireError('NOT_FOUND', 'no such asset'));
  const etag = `"${hash}"`;
  const headers = {
    etag,
    'content-type': types[extension] ?? 'application/octet-stream',
    'cache-control': 'private, max-age=31536000, immutable',
    // Opened as a page, an SVG could run scripts with this origin's rights.
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    'cross-origin-resource-policy': edge.access.hasOrigins ? 'cross-origin' : 'same-origin',
  };
  if (matches(call.request.headers['if-none-match'], etag)) reply(call, 304, headers, '');
  else reply(call, 200, headers, bytes);
}

/** RFC 9110 section 13.1.2: a list of tags, weak ones count, `*` = any. */
export function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}
