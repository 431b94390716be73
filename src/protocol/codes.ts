/** The one table of error codes: what each means, whether the same request may succeed later, and its HTTP status. PROTOCOL section 8. */
export const errorCodes = {
  BAD_MESSAGE: {
    status: 400,
    retryable: false,
    meaning: 'the message has an unknown type, or a missing, unknown or bad field',
  },
  UNAUTHENTICATED: { status: 401, retryable: false, meaning: 'a token is required and none or a wrong one came' },
  FORBIDDEN: { status: 403, retryable: false, meaning: 'the caller, or the page it comes from, may not do this' },
  NOT_FOUND: { status: 404, retryable: false, meaning: 'no such session, pane, run, task or message' },
  CONFLICT: { status: 409, retryable: false, meaning: 'it contradicts what is already recorded' },
  STALE_GENERATION: {
    status: 412,
    retryable: false,
    meaning: 'the session has moved past the generation that the command names',
  },
  RATE_LIMITED: { status: 429, retryable: true, meaning: 'too many requests' },
  OVERLOADED: {
    status: 503,
    retryable: true,
    meaning: 'a limit of the server is reached, or its disk cannot be written',
  },
  TOO_LARGE: { status: 413, retryable: false, meaning: 'a text or frame is larger than allowed' },
  UNSUPPORTED: { status: 400, retryable: false, meaning: 'known to the protocol, not available here' },
  INTERNAL: { status: 500, retryable: true, meaning: 'a fault of the server' },
} as const;

export type ErrorCode = keyof typeof errorCodes;

/** The one table of WebSocket close codes. `retry: false` = a client must not reconnect by itself. PROTOCOL section 8. */
export const closeCodes = {
  done: { code: 1000, retry: false, reason: 'done' },
  goingAway: { code: 1001, retry: true, reason: 'going away' },
  tooBig: { code: 1009, retry: true, reason: 'frame too big' },
  restart: { code: 1012, retry: true, reason: 'restart' },
  overloaded: { code: 1013, retry: true, reason: 'overloaded' },
  badFrame: { code: 4400, retry: false, reason: 'bad frame' },
  unauthenticated: { code: 4401, retry: false, reason: 'not authenticated' },
  forbidden: { code: 4403, retry: false, reason: 'forbidden' },
  subprotocol: { code: 4406, retry: false, reason: 'subprotocol' },
  initTimeout: { code: 4408, retry: true, reason: 'init timeout' },
  tooMany: { code: 4429, retry: true, reason: 'too many' },
  internal: { code: 4500, retry: true, reason: 'internal' },
  tooSlow: { code: 4508, retry: true, reason: 'too slow' },
} as const;

export type CloseName = keyof typeof closeCodes;

/** Close codes after which a client must not reconnect by itself. */
export const fatalCloseCodes: readonly number[] = [4400, 4401, 4403, 4406];

/** Why a run ended in phase `error`. PROTOCOL section 5. */
export type RunErrorCode =
  | 'timeout'
  | 'idle_timeout'
  | 'rate_limited'
  | 'connection'
  | 'truncated'
  | 'refused'
  | 'auth'
  | 'bad_request'
  | 'provider'
  | 'interrupted'
  | 'internal';

/** The error object of error frames, HTTP error bodies and refusals. */
export interface WireError {
  code: ErrorCode;
  /** One sentence for the person who reads it: what was expected and what came. */
  message: string;
  retryable: boolean;
  retryAfterMs?: number;
  data?: { [key: string]: unknown };
}

/** Builds the error object of a code; `retryable` comes from the table. */
export function wireError(
  code: ErrorCode,
  message: string,
  extra: { retryAfterMs?: number; data?: { [key: string]: unknown } } = {},
): WireError {
  return { code, message, retryable: errorCodes[code].retryable, ...extra };
}
