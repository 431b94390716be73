/** One call that wants to go out. */
export interface SlotRequest {
  /** The engine's `host`; null = works in this process, never limited. */
  host: string | null;
  /** Smaller goes first: reply 0, history 1, scene 2, others 3. */
  priority: number;
  session: string;
  pane: string;
  /** What `prioritize` knows it by: the id of a task. */
  tag?: string | undefined;
  /** This call gave up its slot and comes again: it stands before its session's other calls, also in a full line. */
  yielded?: boolean | undefined;
  /**
   * Whether its slot may be taken back now for a reply that waits: doing the work again must be safe. Asked at that moment, cheap, must not
   * throw. Absent = never.
   */
  mayYield?: (() => boolean) | undefined;
}

/** The right to make one call. */
export interface Slot {
  /** Aborts when the slot is taken back for a reply that waits: the call is to be aborted, and the slot released once it has settled. */
  readonly yielded: AbortSignal;
  /** The call was aborted, and the backend still works on it: the slot is not free, and counted apart. Idempotent. */
  drain(): void;
  /** Tokens that the call has cost, as the backend counted them: each of them once. */
  spent(tokens: number): void;
  /** Gives it back. Idempotent. */
  release(): void;
}

/** What happens to a slot that is held. */
export interface SlotEvents {
  drained(slot: HeldSlot): void;
  spent(tokens: number): void;
  /** `from`: what it was until now. */
  released(slot: HeldSlot, from: 'running' | 'draining'): void;
}

/** A slot of a host, from its start to its release. */
export class HeldSlot implements Slot {
  readonly request: SlotRequest;
  readonly #events: SlotEvents;
  #state: 'running' | 'draining' | 'released' = 'running';
  /** Made when it is asked for: few calls ever yield. */
  #yield: AbortController | undefined;

  constructor(request: SlotRequest, events: SlotEvents) {
    this.request = request;
    this.#events = events;
  }

  get yielded(): AbortSignal {
    return (this.#yield ??= new AbortController()).signal;
  }

  /** Takes it back: it drains from now on. */
  takeBack(): void {
    this.drain();
    (this.#yield ??= new AbortController()).abort();
  }

  drain(): void {
    if (this.#state !== 'running') return;
    this.#state = 'draining';
    this.#events.drained(this);
  }

  spent(tokens: number): void {
    this.#events.spent(tokens);
  }

  release(): void {
    const from = this.#state;
    if (from === 'released') return;
    this.#state = 'released';
    this.#events.released(this, from);
  }
}

/** The slot of an engine that works in this process: nothing is counted, nothing is taken back. */
export function freeSlot(): Slot {
  return { yielded: new AbortController().signal, drain() {}, spent() {}, release() {} };
}
