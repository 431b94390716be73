import type { LiveFrame } from '../../protocol/frames.ts';
import type { Clock } from '../../ports/clock.ts';

/** Least time between two live frames of one pane's progress, ms: at most 10 a second. */
export const liveEveryMs = 100;

type PaneLive = Omit<LiveFrame, 'type' | 'session'>;

interface Slot {
  frame: PaneLive;
  sent: boolean;
  timer: unknown;
}

/** The newest progress, wait or preview of each busy pane: sent at most ten times a second, the last one always; kept for late subscribers. */
export class LiveState {
  readonly #slots = new Map<string, Slot>();
  readonly #clock: Clock;
  readonly #send: (frame: PaneLive) => void;

  constructor(clock: Clock, send: (frame: PaneLive) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  set(pane: string, frame: PaneLive): void {
    const old = this.#slots.get(pane);
    // Nothing was waited for: there is no end of it to tell.
    if (frame.wait === null && (old?.frame.wait ?? null) === null) return;
    const sameRun = old !== undefined && old.frame.run === frame.run && old.frame.attempt === frame.attempt;
    // A number means that the call has got its slot: what it waited for is over.
    const base: PaneLive = sameRun ? { ...old.frame } : {};
    if (frame.progress !== undefined) delete base.wait;
    const slot: Slot = { frame: { ...base, ...frame }, sent: false, timer: old?.timer };
    this.#slots.set(pane, slot);
    if (slot.timer === undefined) this.#flush(pane, slot);
  }

  clear(pane: string): void {
    this.#clock.clearTimeout(this.#slots.get(pane)?.timer);
    this.#slots.delete(pane);
  }

  clearAll(): void {
    for (const pane of this.#slots.keys()) this.clear(pane);
  }

  frames(): PaneLive[] {
    return [...this.#slots.values()].map((slot) => slot.frame);
  }

  #flush(pane: string, slot: Slot): void {
    slot.sent = true;
    this.#send(slot.frame);
    slot.timer = this.#clock.setTimeout(() => {
      const now = this.#slots.get(pane);
      if (now === undefined) return;
      now.timer = undefined;
      if (!now.sent) this.#flush(pane, now);
    }, liveEveryMs);
  }
}
