import { WebSocket } from 'ws';
import type { Clock } from '../../ports/clock.ts';
import type { ErrorCode } from '../../protocol/codes.ts';
import type { Command } from '../../protocol/commands.ts';
import { fold } from '../../protocol/fold.ts';
import type { AckFrame, ErrorFrame, LiveFrame, ServerFrame } from '../../protocol/frames.ts';
import { subprotocol } from '../../protocol/names.ts';
import { emptyView, type View } from '../../protocol/view.ts';

/** The replay cannot go on. The message says what was expected and what came. */
export class ReplayError extends Error {
  override readonly name = 'ReplayError';
  /** The server's code, where it sent one. */
  readonly code: ErrorCode | undefined;

  constructor(message: string, code?: ErrorCode, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** Which session of which server. */
export interface ConnectOptions {
  /** Address of the server, `http:` or `ws:`. */
  url: string;
  token?: string;
  session: string;
  clock: Clock;
}

const openMs = 10_000;
const retryMs = 500;
const attempts = 8;

interface Pending {
  resolve: (ack: AckFrame) => void;
  reject: (error: unknown) => void;
}

/**
 * One connection to one session: what is sent is answered, and `view` follows the records. After the socket closes everything pending and
 * everything later rejects with ReplayError. Whoever opened it closes it.
 */
export class ReplayConnection {
  /** Called after each frame that may have changed what there is to see. */
  onChange: () => void = () => {};
  onLive: (frame: LiveFrame) => void = () => {};
  view: View;
  /** Why the connection is over; undefined while it is not. */
  failure: ReplayError | undefined;
  readonly #socket: WebSocket;
  readonly #options: ConnectOptions;
  readonly #pending = new Map<string, Pending>();

  private constructor(socket: WebSocket, options: ConnectOptions) {
    this.#socket = socket;
    this.#options = options;
    this.view = emptyView(options.session);
  }

  /** Resolves when the server has said `ready`. Rejects with ReplayError: not reachable, token refused, no answer in 10 s. */
  static open(options: ConnectOptions): Promise<ReplayConnection> {
    const address = new URL('/v1/ws', options.url);
    address.protocol = /^(?:https|wss):$/.test(address.protocol) ? 'wss:' : 'ws:';
    const socket = new WebSocket(address, subprotocol, { perMessageDeflate: false });
    const connection = new ReplayConnection(socket, options);
    const { token, clock } = options;
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => {
        connection.#fail(new ReplayError(`expected ${options.url} to answer within ${openMs} ms, got nothing`));
        socket.terminate();
      }, openMs);
      connection.#pending.set('', {
        resolve: () => {
          clock.clearTimeout(timer);
          resolve(connection);
        },
        reject: (error) => {
          clock.clearTimeout(timer);
          reject(error);
        },
      });
      socket.on('open', () =>
        connection.#write({ type: 'init', client: 'mullion-replay', ...(token === undefined ? {} : { token }) }),
      );
      // ws gives Buffers unless told otherwise.
      socket.on('message', (data) => connection.#receive(Buffer.isBuffer(data) ? data.toString('utf8') : ''));
      socket.on('error', (error) =>
        connection.#fail(
          new ReplayError(`expected a Mullion server at ${options.url}, got: ${error.message}`, undefined, error),
        ),
      );
      socket.on('close', (code, reason) => {
        const why = String(reason);
        connection.#fail(
          new ReplayError(`the server has closed the connection (${code}${why === '' ? '' : ` ${why}`})`),
        );
      });
    });
  }

  /**
   * Sends a command, again (with the same id, so that nothing happens twice) while the server says that it is busy. Rejects with
   * ReplayError when it is refused.
   */
  async command(command: Command & { id: string }): Promise<AckFrame> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#ask(command.id, command);
      } catch (error) {
        if (!(error instanceof Busy)) throw error;
        if (attempt === attempts) throw error.refusal;
        await new Promise<void>((resolve) => {
          this.#options.clock.setTimeout(resolve, error.afterMs);
        });
      }
    }
  }

  /** Attaches to the session; `view` follows from then on. Rejects with ReplayError. */
  async subscribe(id: string): Promise<void> {
    await this.#ask(id, { type: 'subscribe', id, session: this.#options.session });
  }

  /** Ends the connection; what is pending rejects. Idempotent. */
  close(): void {
    this.#fail(new ReplayError('the replay is over'));
    this.#socket.close(1000);
  }

  #ask(id: string, frame: object): Promise<AckFrame> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) {
        reject(this.failure);
        return;
      }
      this.#pending.set(id, { resolve, reject });
      this.#write(frame);
    });
  }

  #write(frame: object): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #receive(text: string): void {
    const frame = parseFrame(text);
    if (frame === undefined) {
      this.#fail(new ReplayError('expected a frame of mullion.v1, got something else: is this a Mullion server?'));
      this.#socket.close(1002);
      return;
    }
    this.#apply(frame);
    this.onChange();
  }

  #apply(frame: ServerFrame): void {
    switch (frame.type) {
      case 'ready':
        this.#settle('', { type: 'ack', id: '', session: this.#options.session });
        return;
      case 'snapshot':
        this.view = frame.view;
        return;
      case 'record':
        if (frame.record.seq === this.view.seq + 1) this.view = fold(this.view, frame.record);
        return;
      case 'live':
        this.onLive(frame);
        return;
      case 'caughtUp':
        for (const id of this.#pending.keys())
          if (id.startsWith(subscribePrefix)) this.#settle(id, { type: 'ack', id, session: frame.session });
        return;
      case 'ended':
        this.#fail(new ReplayError(`the session is gone: ${frame.reason}`));
        return;
      case 'ack':
        this.#settle(frame.id, frame);
        return;
      case 'error':
        this.#refuse(frame);
        return;
      case 'pong':
        return;
    }
  }

  #settle(id: string, ack: AckFrame): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.resolve(ack);
  }

  #refuse({ id, error }: ErrorFrame): void {
    const refusal = new ReplayError(`the server has refused: ${error.message} (${error.code})`, error.code);
    const pending = id === undefined ? undefined : this.#pending.get(id);
    if (id === undefined || pending === undefined) {
      this.#fail(refusal);
      return;
    }
    this.#pending.delete(id);
    pending.reject(error.retryable ? new Busy(refusal, error.retryAfterMs ?? retryMs) : refusal);
  }

  /** The first reason counts: a close after an error says less than the error. */
  #fail(error: ReplayError): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    this.onChange();
  }
}

/** Ids of `subscribe` begin like this: its answer is `caughtUp`, which has no id. */
export const subscribePrefix = 'subscribe-';

class Busy extends Error {
  readonly refusal: ReplayError;
  readonly afterMs: number;

  constructor(refusal: ReplayError, afterMs: number) {
    super(refusal.message);
    this.refusal = refusal;
    this.afterMs = afterMs;
  }
}

/** The frame; undefined when it is no object with a known type. The rest is believed: it is our own server's protocol. */
function parseFrame(text: string): ServerFrame | undefined {
  try {
    const frame: unknown = JSON.parse(text);
    return isFrame(frame) ? frame : undefined;
  } catch {
    return undefined;
  }
}

const frameTypes: readonly string[] = [
  'ready',
  'snapshot',
  'record',
  'live',
  'caughtUp',
  'ended',
  'ack',
  'error',
  'pong',
];

function isFrame(value: unknown): value is ServerFrame {
  return typeof value === 'object' && value !== null && 'type' in value && frameTypes.includes(String(value.type));
}
