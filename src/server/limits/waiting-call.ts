import type { LiveWait } from '../../protocol/frames.ts';
import type { Link } from './chain.ts';
import type { Slot, SlotRequest } from './slot.ts';

/** What becomes of a call that waits. */
export interface CallFate {
  resolve(slot: Slot): void;
  reject(reason: unknown): void;
  /** Its signal has aborted: it is to leave the line. */
  aborted(call: WaitingCall): void;
}

/** A call that waits for a slot, until it starts, is refused or aborts. There may be very many: one object each, without closures. */
export class WaitingCall implements Link<WaitingCall> {
  readonly request: SlotRequest;
  /** Wall clock when it came, ms. */
  readonly sinceMs: number;
  readonly onWait: ((wait: LiveWait) => void) | undefined;
  /** What `onWait` was last called with. */
  told: LiveWait | undefined;
  /** Whether it is in the line. */
  waits = false;
  before: WaitingCall | undefined;
  after: WaitingCall | undefined;
  readonly #signal: AbortSignal;
  readonly #fate: CallFate;

  constructor(
    request: SlotRequest,
    signal: AbortSignal,
    sinceMs: number,
    onWait: WaitingCall['onWait'],
    fate: CallFate,
  ) {
    this.request = request;
    this.sinceMs = sinceMs;
    this.onWait = onWait;
    this.#signal = signal;
    this.#fate = fate;
    signal.addEventListener('abort', this);
  }

  start(slot: Slot): void {
    this.#signal.removeEventListener('abort', this);
    this.#fate.resolve(slot);
  }

  refuse(error: Error): void {
    this.#signal.removeEventListener('abort', this);
    this.#fate.reject(error);
  }

  /** The signal has aborted. */
  handleEvent(): void {
    this.#signal.removeEventListener('abort', this);
    this.#fate.aborted(this);
    this.#fate.reject(this.#signal.reason);
  }
}
