import { fatalCloseCodes, type ErrorCode, type WireError } from '../protocol/codes.ts';
import type { ReadyFrame, ServerFrame } from '../protocol/frames.ts';
import { subprotocol } from '../protocol/names.ts';
import { backoffMs, type ClientClock } from './clock.ts';
import { MullionError, refuse, type ClientSocket, type SocketConstructor } from './types.ts';

/** Longest wait for `ready`, in ms: a bit more than the server gives for `init`. */
const readyTimeoutMs = 12_000;

/** What a connection asks of its owner. After `closed` nothing more is called. */
export interface ConnectionEvents {
  /** Authenticated; `send` works from here until `down`. */
  ready(frame: ReadyFrame): void;
  frame(frame: Exclude<ServerFrame, ReadyFrame>): void;
  /** Lost; the next attempt begins at `retryAt` (ms), or is under way (null). */
  down(retryAt: number | null): void;
  closed(error: MullionError): void;
}

export interface ConnectionSettings {
  url: string;
  token: string | undefined;
  webSocket: SocketConstructor;
  clock: ClientClock;
  random: () => number;
}

/** One socket at a time: opens it, watches that it lives, opens another when it does not. */
export class Connection {
  readonly #settings: ConnectionSettings;
  readonly #events: ConnectionEvents;
  #socket: ClientSocket | null = null;
  #ready = false;
  #failures = 0;
  #heardAt = 0;
  #cancelTimer: () => void = () => {};
  /** The newest error frame without an id: why the server is about to close. */
  #lastError: { error: WireError; fatal: boolean } | null = null;

  constructor(settings: ConnectionSettings, events: ConnectionEvents) {
    this.#settings = settings;
    this.#events = events;
  }

  open(): void {
    this.#cancelTimer();
    this.#lastError = null;
    const { url, token, webSocket } = this.#settings;
    const socket = new webSocket(url, subprotocol);
    this.#socket = socket;
    this.#heardAt = this.#settings.clock.now();
    this.#watch(readyTimeoutMs, readyTimeoutMs);
    // A socket that was given up may still speak; only the current one is heard.
    const whileCurrent = (task: () => void) => {
      if (this.#socket === socket) task();
    };
    socket.addEventListener('open', () =>
      whileCurrent(() => socket.send(JSON.stringify({ type: 'init', client: 'mullion-js/0.1', token }))),
    );
    socket.addEventListener('message', (event) => whileCurrent(() => this.#hear(event.data)));
    socket.addEventListener('close', (event) => whileCurrent(() => this.#fell(event.code, event.reason)));
    socket.addEventListener('error', () => {});
  }

  /** Sends if the connection is ready; else the owner sends it again at `ready`. */
  send(json: string): void {
    if (this.#ready) this.#socket?.send(json);
  }

  /** The session is followed: the next loss starts with the shortest wait. */
  settled(): void {
    this.#failures = 0;
  }

  /** Ends the wait for the next attempt. */
  retryNow(): void {
    if (this.#socket !== null) return;
    this.open();
    this.#events.down(null);
  }

  close(): void {
    this.#cancelTimer();
    this.#drop();
  }

  #hear(raw: unknown): void {
    this.#heardAt = this.#settings.clock.now();
    const frame = parse(raw);
    if (frame === null) return;
    if (frame.type === 'ready') {
      this.#ready = true;
      this.#watch(frame.heartbeatMs / 2, frame.heartbeatMs * 2.5);
      this.#events.ready(frame);
      return;
    }
    if (frame.type === 'error' && (frame.fatal || frame.id === undefined)) this.#lastError = frame;
    this.#events.frame(frame);
  }

  /** Looks every `everyMs`: silent for `limitMs` = dead; silent for a while = ask. Browsers hide the server's WebSocket pings. */
  #watch(everyMs: number, limitMs: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#settings.clock.after(everyMs, () => {
      const silentMs = this.#settings.clock.now() - this.#heardAt;
      if (silentMs >= limitMs) return this.#fell();
      if (silentMs >= everyMs) this.send('{"type":"ping"}');
      this.#watch(everyMs, limitMs);
    });
  }

  #fell(code?: number, reason?: string): void {
    this.#cancelTimer();
    this.#drop();
    const last = this.#lastError;
    if (last?.fatal === true || fatalCloseCodes.includes(code ?? 0)) {
      this.#events.closed(last === null ? closeError(code, reason) : new MullionError(last.error, code));
      return;
    }
    const { clock, random } = this.#settings;
    const waitMs = backoffMs(this.#failures, code, random) + (last?.error.retryAfterMs ?? 0);
    this.#failures += 1;
    this.#cancelTimer = clock.after(waitMs, () => this.retryNow());
    this.#events.down(clock.now() + waitMs);
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    socket?.close(1000);
  }
}

/** What a fatal close means when no error frame came before it. */
function closeError(closeCode = 0, reason = ''): MullionError {
  return refuse(meanings[closeCode] ?? 'BAD_MESSAGE', reason || `the server closed with ${closeCode}`, closeCode);
}

const meanings: { [closeCode: number]: ErrorCode } = {
  4401: 'UNAUTHENTICATED',
  4403: 'FORBIDDEN',
  4406: 'UNSUPPORTED',
};

/** The server is trusted to keep the protocol; what is not an object with a type is not from it. */
function parse(raw: unknown): ServerFrame | null {
  if (typeof raw !== 'string') return null;
  try {
    const frame: ServerFrame | null = JSON.parse(raw);
    return typeof frame?.type === 'string' ? frame : null;
  } catch {
    return null;
  }
}
