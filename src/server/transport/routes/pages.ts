import { createHash } from 'node:crypto';
import { readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import type { Edge } from '../edge.ts';
import { reply, type Exchange } from '../http-reply.ts';
import { matches } from './assets.ts';

/** What a page of ours may load and do: its own files, its own images and pictures from memory, its own server. */
export const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "connect-src 'self'",
  "font-src 'none'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

const types: { readonly [extension: string]: string } = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Path segments of a page file: no dot at the start, so neither `..` nor hidden files. */
const filePattern = /^\/(?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*[A-Za-z0-9_-][A-Za-z0-9._-]*\.(?:html|css|js|svg)$/;

/**
 * Sends `/` (the play page), `/client.js`, or a page file of `webRoot`. Resolves false, without a reply, when the path is none of these.
 * The files hold no data and need no token.
 */
export async function servePage(edge: Pick<Edge, 'config'>, exchange: Exchange): Promise<boolean> {
  const { webRoot, clientFile } = edge.config;
  if (exchange.path === '/client.js' && clientFile !== undefined) return send(exchange, clientFile);
  if (webRoot === undefined) return false;
  const name = exchange.path === '/' ? '/index.html' : exchange.path;
  if (!filePattern.test(name)) return false;
  const file = await inside(webRoot, name);
  return file === undefined ? false : send(exchange, file);
}

/** The real path of a file below `root`; undefined when there is none or a link leads out. */
async function inside(root: string, name: string): Promise<string | undefined> {
  try {
    const top = await realpath(root);
    const file = await realpath(path.join(top, name));
    return file.startsWith(top + path.sep) ? file : undefined;
  } catch {
    return undefined;
  }
}

async function send(exchange: Exchange, file: string): Promise<boolean> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch {
    return false;
  }
  const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;
  const headers = {
    etag,
    'content-type': types[path.extname(file)] ?? 'application/octet-stream',
    'cache-control': 'no-cache',
    'content-security-policy': pagePolicy,
    'cross-origin-opener-policy': 'same-origin',
  };
  if (matches(exchange.request.headers['if-none-match'], etag)) reply(exchange, 304, headers, '');
  else reply(exchange, 200, headers, bytes);
  return true;
}
