import type { Edge } from '../edge.ts';
import { reply, replyJson } from '../http-reply.ts';
import type { Route } from '../router.ts';

/** The routes for those who run the server: liveness, readiness, metrics. PROTOCOL section 9. */
export function operationRoutes(edge: Edge): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/healthz',
      access: 'open',
      handle: (call) => replyJson(call, 200, { status: 'ok' }),
    },
    {
      method: 'GET',
      pattern: '/readyz',
      access: 'open',
      handle: (call) => {
        const reason = edge.notReady();
        if (reason === undefined) replyJson(call, 200, { status: 'ready' });
        else replyJson(call, 503, { status: reason }, { 'retry-after': 1 });
      },
    },
    {
      method: 'GET',
      pattern: '/metrics',
      access: 'all',
      handle: (call) =>
        reply(
          call,
          200,
          { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
          edge.metrics.registry.render(),
        ),
    },
  ];
}
