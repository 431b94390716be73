import { wireError } from '../../../protocol/codes.ts';
import { checkChanges } from '../../limits/host-limit.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Logger } from '../../logger.ts';
import { readJsonBody } from '../body.ts';
import { replyError, replyJson } from '../http-reply.ts';
import type { Call, Route } from '../router.ts';

/** What the routes of the limits need. */
export interface LimitRoutesOptions {
  limits: Limits;
  /** Largest body of a change. */
  maxBytes: number;
  logger: Logger;
}

/**
 * `GET /v1/limits`: what each provider host may do and does. `PATCH /v1/limits`: other limits from the next start on, all or nothing; they
 * last until the process ends, then the configuration holds again. PROTOCOL section 9.
 */
export function limitRoutes(options: LimitRoutesOptions): Route[] {
  const pattern = '/v1/limits';
  return [
    { method: 'GET', pattern, access: 'all', handle: (call) => show(options, call) },
    { method: 'PATCH', pattern, access: 'all', handle: (call) => change(options, call) },
  ];
}

function show({ limits }: LimitRoutesOptions, call: Call): void {
  replyJson(call, 200, { hosts: limits.snapshot() });
}

async function change(options: LimitRoutesOptions, call: Call): Promise<void> {
  const { limits, maxBytes, logger } = options;
  const body = await readJsonBody(call.request, maxBytes);
  if ('refused' in body) return replyError(call, body.refused);
  const value = parsed(body.bytes);
  if (value === undefined)
    return replyError(call, wireError('BAD_MESSAGE', 'expected one JSON object, something else came'));
  const checked = checkChanges(value);
  if ('problem' in checked) return replyError(call, wireError('BAD_MESSAGE', checked.problem));
  const refused = limits.changeAll(checked.hosts);
  if (refused !== undefined) return replyError(call, wireError('BAD_MESSAGE', refused.problem));
  logger.info({ hosts: checked.hosts }, 'the limits of provider hosts were changed');
  show(options, call);
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
