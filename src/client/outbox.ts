import type { AckFrame, ErrorFrame } from '../protocol/frames.ts';
import { maxFrameBytes } from '../protocol/client-limits.ts';
import { utf8Bytes } from '../protocol/text.ts';
import { MullionError, refuse, type Outgoing } from './types.ts';

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
  /** What the server takes, once it has said so. */
  maxFrameBytes: number = maxFrameBytes;
  readonly #pending = new Map<string, Pending>();

  get size(): number {
    return this.#pending.size;
  }

  /** Takes a command in, and gives its frame to `send` unless it waits already or is refused; the promise ends in every case. */
  add(session: string, command: Outgoing, send: (json: string) => void): Promise<AckFrame> {
    const id = command.id ?? crypto.randomUUID();
    const json = JSON.stringify({ ...command, id, session });
    const waiting = this.#pending.get(id);
    if (waiting?.json === json) return waiting.ack;
    const refusal = this.#refusal(json, waiting !== undefined);
    if (refusal !== null) return Promise.reject(refusal);
    let settle!: Pick<Pending, 'resolve' | 'reject'>;
    const ack = new Promise<AckFrame>((resolve, reject) => (settle = { resolve, reject }));
    this.#pending.set(id, { json, ack, ...settle });
    send(json);
    return ack;
  }

  #refusal(json: string, sameId: boolean): MullionError | null {
    if (sameId) return refuse('CONFLICT', 'a command with this id has no answer yet');
    if (this.#pending.size >= maxPending) return refuse('OVERLOADED', `${maxPending} commands have no answer yet`);
    // The server would close the connection (1009), and each reconnect would send it again.
    const bytes = utf8Bytes(json);
    if (bytes > this.maxFrameBytes)
      return refuse('TOO_LARGE', `expected at most ${this.maxFrameBytes} bytes, ${bytes} came`);
    return null;
  }

  /** The frames to send again on a new connection, oldest first. */
  frames(): string[] {
    return [...this.#pending.values()].map((pending) => pending.json);
  }

  /** True if the frame answers a command of this outbox. */
  answer(frame: AckFrame | ErrorFrame): boolean {
    const { id = '' } = frame;
    const pending = this.#pending.get(id);
    if (pending === undefined) return false;
    this.#pending.delete(id);
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
