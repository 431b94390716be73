/** One call's own abort controller, tied to the caller's signal for as long as the call lasts. */
export interface Link {
  /** For fetch and the SDK: these add listeners that they never remove, so they never get the caller's signal. */
  readonly signal: AbortSignal;
  /** Rejects with the caller's reason as soon as its signal aborts, whatever the work does. One race at a time. */
  race<T>(work: PromiseLike<T>): Promise<T>;
  /** Unlinks; unless the answer came whole, closes the socket too. */
  close(whole: boolean): void;
}

/** Ties a fresh controller to `outer`. Throws the reason when it has aborted already. */
export function linkAbort(outer: AbortSignal): Link {
  outer.throwIfAborted();
  const controller = new AbortController();
  let reject: ((reason: unknown) => void) | undefined;
  const onAbort = (): void => {
    controller.abort(outer.reason);
    reject?.(outer.reason);
  };
  outer.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    async race<T>(work: PromiseLike<T>): Promise<T> {
      // One slot instead of Promise.race on a long-lived promise: that would keep a reaction per chunk until the end.
      const result = await new Promise<T>((resolve, fail) => {
        reject = fail;
        work.then(resolve, fail);
        if (outer.aborted) fail(outer.reason);
      });
      outer.throwIfAborted();
      return result;
    },
    close(whole: boolean): void {
      outer.removeEventListener('abort', onAbort);
      if (!whole) controller.abort();
    },
  };
}
