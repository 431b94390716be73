import { limits } from '../../protocol/names.ts';
import type { Clock } from '../../ports/clock.ts';
import { wireError, type WireError } from '../../protocol/codes.ts';
import type { Access } from './access.ts';
import type { Flusher } from './flusher.ts';
import type { Logger } from '../logger.ts';
import type { SessionHost } from '../session-api.ts';
import type { Metrics } from '../telemetry.ts';

/** Options of the transports, each with its default. Times in ms, sizes in bytes. */
export const edgeDefaults = {
  /** Name and version, for `ready`. */
  server: 'mullion/0.1.0',
  /** Largest client frame and HTTP body. */
  maxFrameBytes: limits.maxFrameBytes as number,
  /** A ping each; a connection that misses two is cut. */
  heartbeatMs: 20_000,
  /** Until the first frame of a connection must be there. */
  initTimeoutMs: 10_000,
  /** Client frames a second and connection; more closes 4429. */
  framesPerSecond: 500,
  /** How many of them may come at once; undefined = those of four seconds. */
  frameBurst: undefined as number | undefined,
  /** Sessions that one connection may follow. */
  maxSubscriptions: 100,
  /** Commands of one connection that wait for their answer. */
  maxInFlight: 256,
  /** Queued bytes of one connection. */
  outboxBytes: 1_048_576,
  /** A connection that takes nothing for so long is closed. */
  outboxGraceMs: 10_000,
  /** Comment line of an event stream. */
  sseHeartbeatMs: 15_000,
  /** Sockets of all kinds; the next ones get 503. */
  maxConnections: 19_000,
  /** Headers, and a whole request, must be there after so long (slow loris). */
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  /** Until an idle HTTP connection is closed. */
  keepAliveMs: 5_000,
  /** Folder of the play page; undefined = no pages. */
  webRoot: undefined as string | undefined,
  /** The bundled browser client, served as `/client.js`; undefined = none. */
  clientFile: undefined as string | undefined,
};

/** Options of the transports after defaults. */
export type EdgeConfig = typeof edgeDefaults;

/** What every transport of one server shares. */
export interface Edge {
  readonly host: SessionHost;
  readonly config: EdgeConfig;
  readonly access: Access;
  readonly clock: Clock;
  readonly flusher: Flusher;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Why this server should get no traffic (draining, sealed), undefined = it may. For `/readyz`. */
  notReady(): string | undefined;
}

/**
 * The answer for a session that is absent, or that the caller may not see: the words of `machines/decide.ts`, so that nothing can be told
 * apart.
 */
export function absentSession(session: string): WireError {
  return wireError('NOT_FOUND', `no session ${session}`);
}

/** The answer to a fault of ours: the log has the cause, the caller does not. */
export function internalError(): WireError {
  return wireError('INTERNAL', 'the server failed; its log says why');
}
