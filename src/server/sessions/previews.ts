import { createHash } from 'node:crypto';
import type { Image } from '../../ports/models.ts';
import { sessionPattern } from '../../protocol/names.ts';

/** Bounds of what is kept of unfinished pictures, of all sessions together. */
export interface PreviewBounds {
  /** All of them, in bytes. */
  maxBytes: number;
  /** One of them, in bytes; a larger one is not kept. */
  maxOneBytes: number;
  maxCount: number;
}

export const previewBounds: PreviewBounds = {
  maxBytes: 32 * 1024 * 1024,
  maxOneBytes: 2 * 1024 * 1024,
  maxCount: 1_000,
};

/**
 * Pictures that are not finished: to be looked at now, worth nothing tomorrow. In memory only; at a limit the oldest go first. A path that
 * leads nowhere any more is no fault: whoever asks shows the next one.
 */
export class Previews {
  /** Oldest first, by path. */
  readonly #kept = new Map<string, { session: string; bytes: Uint8Array }>();
  readonly #bounds: PreviewBounds;
  #bytes = 0;

  constructor(bounds: PreviewBounds = previewBounds) {
    this.#bounds = bounds;
  }

  /** Bytes that are kept now. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#kept.size;
  }

  /** Keeps a picture; its path `/v1/assets/<session>/<sha256>.<extension>`, or undefined when it is too large to be kept. */
  put(session: string, { bytes, extension }: Image): string | undefined {
    if (!sessionPattern.test(session)) throw new RangeError(`no name of a session: ${JSON.stringify(session)}`);
    if (bytes.byteLength > Math.min(this.#bounds.maxOneBytes, this.#bounds.maxBytes)) return undefined;
    const path = pathOf(session, `${createHash('sha256').update(bytes).digest('hex')}.${extension}`);
    this.#drop(path);
    // A copy: a view of a larger buffer would keep all of that, uncounted.
    this.#kept.set(path, { session, bytes: new Uint8Array(bytes) });
    this.#bytes += bytes.byteLength;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#bounds.maxBytes && this.#kept.size <= this.#bounds.maxCount) break;
      this.#drop(oldest);
    }
    return path;
  }

  /** The bytes of `<sha256>.<extension>`; undefined when they are not kept, or not any more. */
  get(session: string, name: string): Uint8Array | undefined {
    return this.#kept.get(pathOf(session, name))?.bytes;
  }

  /** Everything of a session. */
  erase(session: string): void {
    for (const [path, kept] of this.#kept) if (kept.session === session) this.#drop(path);
  }

  #drop(path: string): void {
    this.#bytes -= this.#kept.get(path)?.bytes.byteLength ?? 0;
    this.#kept.delete(path);
  }
}

const pathOf = (session: string, name: string): string => `/v1/assets/${session}/${name}`;
