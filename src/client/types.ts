import type { ErrorCode, WireError } from '../protocol/codes.ts';
import type { Command } from '../protocol/commands.ts';
import type { AckFrame, LiveFrame, LiveTask } from '../protocol/frames.ts';
import type { JsonObject } from '../protocol/records.ts';
import type { View } from '../protocol/view.ts';
import type { ClientClock } from './clock.ts';

/** Where the connection stands. `reconnecting` keeps everything that was seen; after `closed` nothing more happens. */
export type Status = 'connecting' | 'live' | 'reconnecting' | 'closed';

/** A live value of a pane and the time it came (ms of the client's clock), so that a caller can tell a fresh number from an old one. */
export type Seen<T> = T & { at: number };

/** The newest live frames of a pane's current run. A phase record clears `progress` and `wait`; the end of the run clears all. */
export interface PaneLive {
  run: string;
  progress?: Seen<NonNullable<LiveFrame['progress']>>;
  wait?: Seen<NonNullable<LiveFrame['wait']>>;
  preview?: Seen<{ asset: string }>;
  /** Of a pane with tasks: those at work. */
  tasks?: { [task: string]: TaskLive };
}

/** The newest live values of a task that is at work; another stage or attempt begins without. */
export interface TaskLive extends Omit<LiveTask, 'text'> {
  /** The text of the stage so far. */
  text?: string;
}

/** What was committed between the loss of the connection and now. */
export interface CaughtUp {
  updates: number;
  panes: { [pane: string]: number };
}

/** What a client knows; a new object whenever something in it has changed, never changed in place. */
export interface ClientState {
  status: Status;
  /** The fold of all records so far. PROTOCOL section 6. */
  view: View;
  /** Whole known text of messages that are open and further than their records; see `textOf`. */
  text: { [message: string]: string };
  live: { [pane: string]: PaneLive };
  /** When the next attempt to connect begins (ms of the client's clock); null while none is waiting. */
  retryAt: number | null;
  /** Why the client is closed, or why the session cannot be followed (`NOT_FOUND` until it is opened). */
  error: MullionError | null;
  /** Set once after each reconnect. */
  caughtUp: CaughtUp | null;
  /** Commands without an answer yet. */
  pending: number;
}

/** A position in a session's journal with the view at it: what `storage` keeps. The cursor alone would leave a hole before it. */
export interface Saved {
  cursor: string;
  view: View;
}

type WithoutEnvelope<C> = C extends Command ? Omit<C, 'id' | 'session'> & { id?: string } : never;

/** A command without its envelope: `send` fills in the session, and the id unless the caller names one for a retry of its own. */
export type Outgoing = WithoutEnvelope<Command>;

/** The part of `localStorage` that is used. */
export interface SavedStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** What a socket's events carry, of those fields that are read. */
export interface SocketEvent {
  readonly type: string;
  readonly data?: unknown;
  readonly code?: number;
  readonly reason?: string;
}

/** The part of a WebSocket that is used; the browser's and that of the package `ws` both fit. */
export interface ClientSocket {
  send(text: string): void;
  close(code?: number): void;
  addEventListener(type: 'open' | 'message' | 'close' | 'error', listener: (event: SocketEvent) => void): void;
}

export type SocketConstructor = new (url: string, protocol: string) => ClientSocket;

export interface ConnectOptions {
  session: string;
  token?: string;
  /** Default: `globalThis.WebSocket`. */
  webSocket?: SocketConstructor;
  /** Where to go on, instead of what `storage` holds. */
  saved?: Saved;
  /** Keeps cursor and view over a reload. Without it a reload starts from a snapshot, which shows the same. */
  storage?: SavedStorage;
  /** Source of the events `online` and `pagehide`. Default: the window, if there is one. */
  events?: Pick<EventTarget, 'addEventListener' | 'removeEventListener'>;
  /** Default: the system's. */
  clock?: ClientClock;
  /** 0 ≤ n < 1. Default: `Math.random`. */
  random?: () => number;
}

/** A followed session. All promises of commands end: with the ack, with a refusal, or with `CLOSED`. */
export interface MullionClient {
  /** The same object until something has changed; made for `useSyncExternalStore`. */
  getSnapshot(): ClientState;
  /** Calls back after every change; not while missed records are being replayed. */
  subscribe(listener: () => void): () => void;
  /** Resolves when the command is durable. Sent again with the same id after a reconnect, so it is applied once. */
  send(command: Outgoing): Promise<AckFrame>;
  /** A user's message. */
  say(text: string): Promise<AckFrame>;
  run(pane: string, input?: JsonObject): Promise<AckFrame>;
  /** That run; or all of the pane; or, without either, everything. */
  cancel(pane?: string, run?: string): Promise<AckFrame>;
  pause(pane: string): Promise<AckFrame>;
  resume(pane: string): Promise<AckFrame>;
  /** Connects at once instead of at `retryAt`. */
  retryNow(): void;
  /** Ends the connection, all timers and all waiting promises. The session's runs go on. */
  close(): void;
}

/** A refusal of the server, or `CLOSED`: this client ended before an answer came, and the command may or may not have been applied. */
export class MullionError extends Error {
  // `declare`: the constructor sets them all; nothing of its own is emitted.
  declare readonly code: ErrorCode | 'CLOSED';
  declare readonly retryable: boolean;
  declare readonly retryAfterMs: number | undefined;
  declare readonly data: WireError['data'];
  /** The close code, where a close was the reason. */
  declare readonly closeCode: number | undefined;

  constructor(error: Omit<WireError, 'code'> & { code: ErrorCode | 'CLOSED' }, closeCode?: number) {
    super(error.message);
    this.name = 'MullionError';
    this.code = error.code;
    this.retryable = error.retryable;
    this.retryAfterMs = error.retryAfterMs;
    this.data = error.data;
    this.closeCode = closeCode;
  }
}

/** What this client refuses by itself. Like `wireError`, without its table, which would be a tenth of the bundle. */
export function refuse(code: ErrorCode | 'CLOSED', message: string, closeCode?: number): MullionError {
  return new MullionError({ code, message, retryable: code === 'OVERLOADED' }, closeCode);
}
