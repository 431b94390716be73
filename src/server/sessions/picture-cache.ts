import { createHash } from 'node:crypto';
import type { ImageModel } from '../../ports/models.ts';

/** Most pictures that are remembered, of all sessions together. */
export const maxRememberedPictures = 1_000;

/** Whose picture of what: all that decides how it looks, but for chance. */
export interface PictureKey {
  session: string;
  model: Pick<ImageModel, 'engine' | 'variant'>;
  prompt: string;
}

/**
 * Which pictures were drawn, so that the same description is not drawn twice. Found by the exact prompt, and only in the session that it was
 * drawn for: how fast a picture comes would else tell what others have drawn, and its path would outlive their session. In memory: after
 * a restart everything is drawn anew. At the limit the one that was not used for longest is forgotten; its file stays.
 */
export class PictureCache {
  /** Hits, misses, and what the limit has pushed out, since the start. */
  readonly counts = { hits: 0, misses: 0, evicted: 0 };
  /** Least recently used first. Keys are digests: a prompt may be long. */
  readonly #pictures = new Map<string, { session: string; path: string }>();
  readonly #max: number;

  constructor(max: number = maxRememberedPictures) {
    this.#max = max;
  }

  get size(): number {
    return this.#pictures.size;
  }

  /** Path of the picture; undefined when none is remembered. */
  find(key: PictureKey): string | undefined {
    const name = digest(key);
    const found = this.#pictures.get(name);
    if (found === undefined) {
      this.counts.misses += 1;
      return undefined;
    }
    this.counts.hits += 1;
    this.#pictures.delete(name);
    this.#pictures.set(name, found);
    return found.path;
  }

  remember(key: PictureKey, path: string): void {
    const name = digest(key);
    this.#pictures.delete(name);
    this.#pictures.set(name, { session: key.session, path });
    for (const oldest of this.#pictures.keys()) {
      if (this.#pictures.size <= this.#max) return;
      this.#pictures.delete(oldest);
      this.counts.evicted += 1;
    }
  }

  /** Everything of a session that was deleted. */
  forget(session: string): void {
    for (const [name, picture] of this.#pictures) if (picture.session === session) this.#pictures.delete(name);
  }
}

function digest({ session, model, prompt }: PictureKey): string {
  const parts = [session, model.engine, model.variant ?? null, prompt];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64');
}
