import type { RunErrorCode } from '../protocol/codes.ts';

/** A provider call that did not end well. Adapters throw nothing else, but for an abort: then the signal's reason. */
export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly code: RunErrorCode;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** What the provider asked for (Retry-After), in ms. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: RunErrorCode,
    message: string,
    extra: { retryAfterMs?: number | undefined; cause?: unknown; retryable?: boolean } = {},
  ) {
    super(message, { cause: extra.cause });
    this.code = code;
    this.retryable = extra.retryable ?? retryableCodes.includes(code);
    this.retryAfterMs = extra.retryAfterMs;
  }
}

const retryableCodes: readonly RunErrorCode[] = ['rate_limited', 'connection', 'truncated', 'provider', 'idle_timeout'];

export type JournalErrorCode =
  | 'stale_writer'
  | 'unknown_outcome'
  | 'full'
  | 'io'
  | 'corrupt'
  | 'trimmed'
  | 'locked'
  | 'format'
  | 'too_large'
  | 'closed';

/**
 * Why a journal did not do what it was asked.
 * stale_writer: nothing stored, somebody else has appended · unknown_outcome: stored or not, re-read the tail · full, io: nothing stored ·
 * corrupt: this session's entries fail their checksum · trimmed: older than what is kept · locked: another process has the data folder ·
 * format: written by a newer version · too_large: the entry is over the limits, nothing stored.
 */
export class JournalError extends Error {
  override readonly name = 'JournalError';
  readonly code: JournalErrorCode;

  constructor(code: JournalErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}
