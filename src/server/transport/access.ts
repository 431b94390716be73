import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** A token, and the sessions that it opens: exact names, or `prefix*`; absent = all. */
export interface TokenRule {
  token: string;
  sessions?: readonly string[] | undefined;
}

/** Options of `Access`. */
export interface AccessOptions {
  /** Empty or absent: everybody may do everything (meant for a loopback bind). */
  tokens?: readonly (string | TokenRule)[] | undefined;
  /** Origins besides the server's own whose pages may connect, as `https://app.example`. */
  origins?: readonly string[] | undefined;
  /** Host names (without port) accepted besides localhost, 127.0.0.1, [::1] and the bound one. Set: checked on every bind; else only on loopback ones. */
  hosts?: readonly string[] | undefined;
  /** Key of the tickets; absent = a random one, so tickets end with the process. */
  ticketSecret?: string | Uint8Array | undefined;
  /** ms since 1970, for the age of tickets. */
  now: () => number;
}

/** What a caller may see. */
export interface Grant {
  /** All sessions and the metrics. */
  readonly all: boolean;
  sees(session: string): boolean;
}

/** Life of a ticket, ms. PROTOCOL section 9. */
export const ticketMs = 60_000;

const everything: Grant = { all: true, sees: () => true };
const loopbackHosts: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Who may do what: Origin and Host of the request, bearer tokens, and tickets for what a browser cannot send a header with. */
export class Access {
  readonly #tokens: readonly { digest: Buffer; grant: Grant }[];
  readonly #origins: ReadonlySet<string>;
  readonly #hosts: ReadonlySet<string>;
  readonly #secret: string | Uint8Array;
  readonly #now: () => number;
  #bound: string | undefined;

  constructor(options: AccessOptions) {
    this.#tokens = (options.tokens ?? []).map((rule) => {
      const { token, sessions } = typeof rule === 'string' ? { token: rule, sessions: undefined } : rule;
      return { digest: sha256(token), grant: sessions === undefined ? everything : grantOf(sessions) };
    });
    this.#origins = new Set((options.origins ?? []).map((origin) => new URL(origin).origin));
    this.#hosts = new Set((options.hosts ?? []).map((name) => name.toLowerCase()));
    this.#secret = options.ticketSecret ?? randomBytes(32);
    this.#now = options.now;
  }

  /** Names the address that the server listens on: on a loopback one the Host header is checked (DNS rebinding). */
  bind(hostName: string): void {
    const name = hostName.toLowerCase();
    this.#bound = name.includes(':') ? `[${name}]` : name;
  }

  /** True when the caller must show a token. */
  get tokensRequired(): boolean {
    return this.#tokens.length > 0;
  }

  /** Whether other origins' pages may use this server at all. */
  get hasOrigins(): boolean {
    return this.#origins.size > 0;
  }

  /** Null = the page that sends this request may; else why not. A request without Origin does not come from another page's script. */
  refusesPage(headers: IncomingHttpHeaders): string | null {
    const host = parseHost(headers.host);
    if (this.#checksHost() && (host === undefined || !this.#knowsHost(host.name)))
      return 'the Host header does not name this server';
    const { origin } = headers;
    if (origin === undefined || this.allowsOrigin(origin)) return null;
    return sameOrigin(origin, headers.host) ? null : 'pages of this origin may not connect';
  }

  /** True for an origin of the allow-list. */
  allowsOrigin(origin: string): boolean {
    return this.#origins.has(origin);
  }

  /** What the bearer of `token` may see; undefined = not authenticated. Compared in constant time, against all tokens. */
  grant(token: string | undefined): Grant | undefined {
    if (!this.tokensRequired) return everything;
    if (token === undefined) return undefined;
    const digest = sha256(token);
    let found: Grant | undefined;
    for (const known of this.#tokens) if (timingSafeEqual(known.digest, digest)) found = known.grant;
    return found;
  }

  /** The token of an `Authorization: Bearer …` header. */
  bearer(headers: IncomingHttpHeaders): string | undefined {
    return /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  }

  /** A ticket for the assets and the event stream of one session, and when it ends (ms since 1970). */
  ticket(session: string): { ticket: string; expiresAt: number } {
    const expiresAt = this.#now() + ticketMs;
    return { ticket: `${expiresAt.toString(36)}.${this.#sign(session, expiresAt).toString('base64url')}`, expiresAt };
  }

  /** What a ticket opens: its one session; undefined = forged, over, or for another one. */
  ticketGrant(ticket: string, session: string): Grant | undefined {
    const [, end, signature] = /^([0-9a-z]{1,11})\.([A-Za-z0-9_-]{43})$/.exec(ticket) ?? [];
    if (end === undefined || signature === undefined) return undefined;
    const expiresAt = Number.parseInt(end, 36);
    if (!timingSafeEqual(this.#sign(session, expiresAt), Buffer.from(signature, 'base64url'))) return undefined;
    const left = expiresAt - this.#now();
    // More than a life ahead: the clock was set back; such a ticket would live too long.
    return left > 0 && left <= ticketMs ? grantOf([session]) : undefined;
  }

  #sign(session: string, expiresAt: number): Buffer {
    return createHmac('sha256', this.#secret).update(`${session}\n${expiresAt}`).digest();
  }

  #checksHost(): boolean {
    if (this.#hosts.size > 0) return true;
    return this.#bound !== undefined && (loopbackHosts.has(this.#bound) || this.#bound.startsWith('127.'));
  }

  #knowsHost(name: string): boolean {
    return loopbackHosts.has(name) || name === this.#bound || this.#hosts.has(name);
  }
}

function grantOf(rules: readonly string[]): Grant {
  return {
    all: false,
    sees: (session) =>
      rules.some((rule) => (rule.endsWith('*') ? session.startsWith(rule.slice(0, -1)) : session === rule)),
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Name and port of a Host header; undefined when it is not one (user info, path, spaces, no name). */
function parseHost(header: string | undefined): { name: string } | undefined {
  const [, name] = /^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?$/.exec(header ?? '') ?? [];
  return name === undefined ? undefined : { name: name.toLowerCase() };
}

/**
 * Whether the page comes from the very host and port that it asks. The scheme is not compared: TLS usually ends at a proxy, and default
 * ports are read by the origin's scheme.
 */
function sameOrigin(origin: string, hostHeader: string | undefined): boolean {
  if (parseHost(hostHeader) === undefined) return false;
  try {
    const page = new URL(origin);
    if (page.origin !== origin || (page.protocol !== 'http:' && page.protocol !== 'https:')) return false;
    return new URL(`${page.protocol}//${hostHeader}`).host === page.host;
  } catch {
    return false;
  }
}
