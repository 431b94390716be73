import type { Grant } from './access.ts';
import type { Exchange } from './http-reply.ts';

/** What a protected route gets besides the exchange. */
export interface Call extends Exchange {
  /** What stands in the place of `{name}` in the pattern. */
  readonly params: { readonly [name: string]: string };
  readonly grant: Grant;
}

/** One route. Handlers may throw; the caller then gets INTERNAL. */
export interface Route {
  /** GET routes answer HEAD too. */
  readonly method: 'GET' | 'POST' | 'PATCH';
  /** As `/v1/sessions/{session}`; a parameter is one whole segment. */
  readonly pattern: string;
  /**
   * Who may call: `open` = everybody (holds no data), `token` = bearers, `ticket` = also who shows `?t=` for the `{session}` of the path,
   * `all` = only bearers who may see every session.
   */
  readonly access: 'open' | 'token' | 'ticket' | 'all';
  handle(call: Call): Promise<void> | void;
}

/** What the routes have for a path and method. */
export type Match =
  | { kind: 'route'; route: Route; params: { [name: string]: string } }
  | { kind: 'method'; allow: string }
  | { kind: 'none' };

/** Finds the route of a request. HEAD counts as GET. */
export function match(routes: readonly Route[], method: string, path: string): Match {
  const wanted = method === 'HEAD' ? 'GET' : method;
  const allowed = new Set<string>();
  for (const route of routes) {
    const params = fit(route.pattern, path);
    if (params === undefined) continue;
    if (route.method === wanted) return { kind: 'route', route, params };
    allowed.add(route.method);
    if (route.method === 'GET') allowed.add('HEAD');
  }
  return allowed.size === 0 ? { kind: 'none' } : { kind: 'method', allow: [...allowed, 'OPTIONS'].join(', ') };
}

function fit(pattern: string, path: string): { [name: string]: string } | undefined {
  const wanted = pattern.split('/');
  const given = path.split('/');
  if (wanted.length !== given.length) return undefined;
  const params: { [name: string]: string } = {};
  for (const [i, segment] of wanted.entries()) {
    const value = given[i] ?? '';
    if (segment.startsWith('{')) {
      if (value === '') return undefined;
      params[segment.slice(1, -1)] = value;
    } else if (segment !== value) return undefined;
  }
  return params;
}
