import type { StreamFrame } from '../../protocol/frames.ts';

/**
 * One stream frame, encoded once for all subscribers and for both transports. Encodings are made when first asked for and shared.
 */
export class SharedFrame {
  readonly kind: StreamFrame['type'];
  readonly json: string;
  /** Set on records, snapshots and caughtUp: the SSE event id. */
  readonly cursor: string | undefined;
  #ws: Buffer | undefined;
  #sse: Buffer | undefined;

  constructor(frame: StreamFrame) {
    this.kind = frame.type;
    this.json = JSON.stringify(frame);
    this.cursor = 'cursor' in frame ? frame.cursor : undefined;
  }

  /** A whole unmasked WebSocket text frame, ready for the socket. */
  get ws(): Buffer {
    return (this.#ws ??= textFrame(this.json));
  }

  /** A whole server-sent event. JSON has no raw line breaks, so one `data:` line does. */
  get sse(): Buffer {
    const id = this.cursor === undefined ? '' : `id: ${this.cursor}\n`;
    return (this.#sse ??= Buffer.from(`event: ${this.kind}\n${id}data: ${this.json}\n\n`));
  }
}

/**
 * What one session produced in one tick, in order. Subscribers get the same object; each encoding is joined once, so that N frames to
 * M sockets cost M writes, not N × M.
 */
export class Batch {
  readonly frames: readonly SharedFrame[];
  #ws: Buffer | undefined;
  #sse: Buffer | undefined;
  #lasting: Batch | undefined;

  constructor(frames: readonly SharedFrame[]) {
    this.frames = frames;
  }

  get ws(): Buffer {
    return (this.#ws ??= join(this.frames.map((frame) => frame.ws)));
  }

  get sse(): Buffer {
    return (this.#sse ??= join(this.frames.map((frame) => frame.sse)));
  }

  /** The batch without its live frames (what a slow connection still gets); shared too. May be empty. */
  get lasting(): Batch {
    if (this.#lasting === undefined) {
      const frames = this.frames.filter((frame) => frame.kind !== 'live');
      this.#lasting = frames.length === this.frames.length ? this : new Batch(frames);
    }
    return this.#lasting;
  }
}

function join(buffers: Buffer[]): Buffer {
  const [only] = buffers;
  return buffers.length === 1 && only !== undefined ? only : Buffer.concat(buffers);
}

/** RFC 6455 section 5.2: FIN + text, length in 7, 16 or 64 bits, no mask (server to client). */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const headerBytes = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(headerBytes + length);
  frame[0] = 0x81;
  if (length < 126) frame[1] = length;
  else if (length < 65_536) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.write(text, headerBytes);
  return frame;
}
