import type { Assets } from '../ports/assets.ts';
import { assetName, assetPath, checkSession } from './assets-disk.ts';

/** Assets in memory, with the same names and refusals as on disk; for tests and for a server without a data folder. */
export class MemoryAssets implements Assets {
  readonly #sessions = new Map<string, Map<string, Uint8Array>>();

  async put(session: string, bytes: Uint8Array, extension: string): Promise<string> {
    checkSession(session);
    const name = assetName(bytes, extension);
    const assets = this.#sessions.get(session) ?? new Map<string, Uint8Array>();
    this.#sessions.set(session, assets);
    // A copy: the caller may use its buffer again.
    assets.set(name, bytes.slice());
    return assetPath(session, name);
  }

  async get(session: string, name: string): Promise<Uint8Array | undefined> {
    return this.#sessions.get(session)?.get(name)?.slice();
  }

  async erase(session: string): Promise<void> {
    checkSession(session);
    this.#sessions.delete(session);
  }
}
