/** Images and long texts, addressed by content, belonging to a session. Written atomically; immutable. */
export interface Assets {
  /** Stores the bytes durably and resolves with their path `/v1/assets/<session>/<sha256>.<extension>`. */
  put(session: string, bytes: Uint8Array, extension: string): Promise<string>;
  /** The bytes of `<sha256>.<extension>`; undefined when there are none. */
  get(session: string, name: string): Promise<Uint8Array | undefined>;
  /** Deletes all assets of a session. */
  erase(session: string): Promise<void>;
}
