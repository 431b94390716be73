import type { WireError } from '../protocol/codes.ts';
import type { AckFrame, ErrorFrame } from '../protocol/frames.ts';
import { limits } from '../protocol/names.ts';
import { utf8Bytes } from '../protocol/text.ts';
import { MullionError, type Outgoing } from './types.ts';

/** Most commands without an answer. Past it, `send` refuses with OVERLOADED: the caller learns it now, not after an hour offline. */
export const maxPending = 100;

interface Pending {
  json: string;
  ack: Promise<AckFrame>;
  resolve: (ack: AckFrame) => void;
  reject: (error: MullionError) => void;
}

/** Commands that wait for their answer, in the order in which they were given. */
export class Outbox {
  maxFrameBytes: number = limits.maxFrameBytes;
  readonly #pending = new Map<string, Pending>();

  get size(): number {
    return this.#pending.size;
  }

  /** Takes a command in and gives its frame, or null where it must not be sent; `ack` ends in every case. */
  add(session: string, command: Outgoing): { json: string | null; ack: Promise<AckFrame> } {
    const id = command.id ?? crypto.randomUUID();
    const json = JSON.stringify({ ...command, id, session });
    const waiting = this.#pending.get(id);
    if (waiting?.json === json) return { json: null, ack: waiting.ack };
    const refusal = this.#refusal(json, waiting !== undefined);
    if (refusal !== null) return { json: null, ack: Promise.reject(new MullionError(refusal)) };
    let settle: Pick<Pending, 'resolve' | 'reject'> | undefined;
    const ack = new Promise<AckFrame>((resolve, reject) => {
      settle = { resolve, reject };
    });
    if (settle !== undefined) this.#pending.set(id, { json, ack, ...settle });
    return { json, ack };
  }

  #refusal(json: string, sameId: boolean): WireError | null {
    if (sameId) return refuse('CONFLICT', 'another command with this id has no answer yet');
    if (this.#pending.size >= maxPending)
      return refuse('OVERLOADED', `${maxPending} commands have no answer yet; wait for some of them`);
    // The server would close the connection (1009), and each reconnect would send it again.
    const bytes = utf8Bytes(json);
    if (bytes > this.maxFrameBytes)
      return refuse('TOO_LARGE', `a frame may have ${this.maxFrameBytes} bytes, this command has ${bytes}`);
    return null;
  }

  /** The frames to send again on a new connection, oldest first. */
  frames(): string[] {
    return [...this.#pending.values()].map((pending) => pending.json);
  }

  /** True if the frame answers a command of this outbox. */
  answer(frame: AckFrame | ErrorFrame): boolean {
    const pending = frame.id === undefined ? undefined : this.#pending.get(frame.id);
    if (pending === undefined || frame.id === undefined) return false;
    this.#pending.delete(frame.id);
    if (frame.type === 'ack') pending.resolve(frame);
    else pending.reject(new MullionError(frame.error));
    return true;
  }

  /** Ends all waiting promises. */
  close(error: MullionError): void {
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}

/** Like `wireError`, without its table of texts, which would be a tenth of the bundle. */
function refuse(code: 'CONFLICT' | 'OVERLOADED' | 'TOO_LARGE', message: string): WireError {
  return { code, message, retryable: code === 'OVERLOADED' };
}
