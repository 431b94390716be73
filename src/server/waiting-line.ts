/** One call that wants to go out. */
export interface SlotRequest {
  /** The engine's `host`; null = works in this process, never limited. */
  host: string | null;
  /** Smaller goes first: reply 0, history 1, scene 2, others 3. */
  priority: number;
  session: string;
  pane: string;
}

/** Where a waiting call stands. */
export interface Wait {
  /** queue = all slots of the host are taken; rate-limit = one is free, but the interval since the last start is not over. */
  reason: 'queue' | 'rate-limit';
  /** 1 = the next to start. */
  position: number;
}

/** The right to make one call. */
export interface Slot {
  /** Gives it back. Idempotent. */
  release(): void;
}

/** A call that waits for a slot. */
export interface Waiter extends SlotRequest {
  /** Wall clock when it came, ms. */
  sinceMs: number;
  onWait: ((wait: Wait) => void) | undefined;
  /** What `onWait` was last called with. */
  told: Wait | undefined;
  start(slot: Slot): void;
  refuse(error: Error): void;
}

/** One priority: its sessions in turn order, each with its calls in the order in which they came. Neither is ever empty. */
type Level = Map<string, Set<Waiter>>;

/**
 * The calls that wait for one host: strict priority, inside one priority the sessions in turn. `add`, `take` and `remove` cost O(1)
 * (and the handful of priorities), `inOrder` the length of the line.
 */
export class WaitingLine {
  readonly #levels = new Map<number, Level>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(waiter: Waiter): void {
    let level = this.#levels.get(waiter.priority);
    if (level === undefined) this.#levels.set(waiter.priority, (level = new Map()));
    let calls = level.get(waiter.session);
    if (calls === undefined) level.set(waiter.session, (calls = new Set()));
    calls.add(waiter);
    this.#size += 1;
  }

  /** Leaves the line; nothing happens when it is not in it. */
  remove(waiter: Waiter): void {
    const level = this.#levels.get(waiter.priority);
    const calls = level?.get(waiter.session);
    if (level === undefined || calls === undefined || !calls.delete(waiter)) return;
    this.#size -= 1;
    if (calls.size === 0) level.delete(waiter.session);
    if (level.size === 0) this.#levels.delete(waiter.priority);
  }

  /** The next one to start; it leaves the line, and its session goes to the end of its priority. */
  take(): Waiter | undefined {
    for (const priority of this.#priorities()) {
      for (const [session, calls] of this.#levels.get(priority) ?? []) {
        for (const waiter of calls) {
          this.remove(waiter);
          this.#sendBack(priority, session, calls);
          return waiter;
        }
      }
    }
    return undefined;
  }

  /** All of them, in the order in which they would start if nobody else came. */
  *inOrder(): Iterable<Waiter> {
    for (const priority of this.#priorities()) {
      let turns = Array.from(this.#levels.get(priority)?.values() ?? [], (calls) => calls.values());
      while (turns.length > 0) {
        const going: typeof turns = [];
        for (const calls of turns) {
          const next = calls.next();
          if (next.done === true) continue;
          yield next.value;
          going.push(calls);
        }
        turns = going;
      }
    }
  }

  /**
   * Who would have to give way to `request` in a full line: the newest call of the session with most calls in the least urgent priority,
   * if that is less urgent than the request, or as urgent and its session would still have as many as the request's. Costs the number
   * of sessions.
   */
  displaceable(request: SlotRequest): Waiter | undefined {
    const last = this.#priorities().at(-1);
    if (last === undefined || last < request.priority) return undefined;
    const level = this.#levels.get(last) ?? new Map<string, Set<Waiter>>();
    let most = new Set<Waiter>();
    for (const calls of level.values()) if (calls.size > most.size) most = calls;
    const own = last === request.priority ? (level.get(request.session)?.size ?? 0) : -1;
    if (own !== -1 && most.size <= own + 1) return undefined;
    return Array.from(most).at(-1);
  }

  #priorities(): number[] {
    return Array.from(this.#levels.keys()).sort((a, b) => a - b);
  }

  #sendBack(priority: number, session: string, calls: Set<Waiter>): void {
    if (calls.size === 0) return;
    const level = this.#levels.get(priority);
    level?.delete(session);
    level?.set(session, calls);
  }
}
