import { Chain, type Link } from './chain.ts';
import type { SlotRequest } from './slot.ts';
import type { WaitingCall } from './waiting-call.ts';

/** The calls of one session in one priority, in the order in which they start. Never empty. */
interface Turn extends Link<Turn> {
  readonly session: string;
  readonly calls: Chain<WaitingCall>;
}

/** One priority: its sessions in the order of their turns. Never empty. */
interface Level {
  readonly priority: number;
  readonly turns: Chain<Turn>;
  readonly bySession: Map<string, Turn>;
  size: number;
}

/**
 * The calls that wait for one host: strict priority, inside one priority the sessions in turn, inside one session as they came. `add`, `take`
 * and `remove` cost O(1) (and the handful of priorities).
 */
export class WaitingLine {
  /** Most urgent first. */
  readonly #levels: Level[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** How many wait in one priority. */
  sizeAt(priority: number): number {
    return this.#levels.find((level) => level.priority === priority)?.size ?? 0;
  }

  /** Enters behind its session's calls; one that has yielded, before them. */
  add(call: WaitingCall): void {
    const level = this.#levelOf(call.request.priority);
    let turn = level.bySession.get(call.request.session);
    if (turn === undefined) {
      turn = { session: call.request.session, calls: new Chain(), before: undefined, after: undefined };
      level.bySession.set(turn.session, turn);
      level.turns.push(turn);
    }
    if (call.request.yielded === true) turn.calls.unshift(call);
    else turn.calls.push(call);
    call.waits = true;
    level.size += 1;
    this.#size += 1;
  }

  /** Leaves the line; nothing happens when it is not in it. */
  remove(call: WaitingCall): void {
    const level = this.#levels.find(({ priority }) => priority === call.request.priority);
    const turn = level?.bySession.get(call.request.session);
    if (level === undefined || turn === undefined || !call.waits) return;
    turn.calls.remove(call);
    call.waits = false;
    level.size -= 1;
    this.#size -= 1;
    if (turn.calls.size > 0) return;
    level.turns.remove(turn);
    level.bySession.delete(turn.session);
    if (level.size === 0) this.#levels.splice(this.#levels.indexOf(level), 1);
  }

  /** The next one to start; it leaves the line, and its session goes to the end of its priority. */
  take(): WaitingCall | undefined {
    const level = this.#levels[0];
    const turn = level?.turns.first;
    const call = turn?.calls.first;
    if (level === undefined || turn === undefined || call === undefined) return undefined;
    this.remove(call);
    if (turn.calls.size > 0) {
      level.turns.remove(turn);
      level.turns.push(turn);
    }
    return call;
  }

  /**
   * The first `most` of them in the order in which they would start if nobody else came. Costs that many, and the sessions that stand
   * among them.
   */
  first(most: number): WaitingCall[] {
    const found: WaitingCall[] = [];
    for (const { turns } of this.#levels) {
      let round: WaitingCall[] = [];
      for (const { calls } of turns) {
        if (found.length + round.length >= most) break;
        if (calls.first !== undefined) round.push(calls.first);
      }
      while (round.length > 0) {
        const next: WaitingCall[] = [];
        for (const call of round) {
          if (found.length >= most) return found;
          found.push(call);
          if (call.after !== undefined) next.push(call.after);
        }
        round = next;
      }
    }
    return found;
  }

  /** Moves a session's calls with this tag before its others, in their order. False when none waits. Costs the session's calls. */
  prioritize(session: string, pane: string, tag: string): boolean {
    let found = false;
    for (const { bySession } of this.#levels) {
      const calls = bySession.get(session)?.calls;
      if (calls === undefined) continue;
      const chosen = [...calls].filter((call) => call.request.pane === pane && call.request.tag === tag);
      for (const call of chosen.toReversed()) {
        calls.remove(call);
        calls.unshift(call);
      }
      found ||= chosen.length > 0;
    }
    return found;
  }

  /**
   * Who would have to give way to `request` in a full line: the newest call of the session with most calls in the least urgent priority,
   * if that is less urgent than the request, or as urgent and its session would still have as many as the request's. Costs the number
   * of sessions.
   */
  displaceable(request: SlotRequest): WaitingCall | undefined {
    const level = this.#levels.at(-1);
    if (level === undefined || level.priority < request.priority) return undefined;
    let most: Chain<WaitingCall> | undefined;
    for (const { calls } of level.turns) if (calls.size > (most?.size ?? 0)) most = calls;
    const asUrgent = level.priority === request.priority;
    const own = level.bySession.get(request.session)?.calls.size ?? 0;
    return asUrgent && (most?.size ?? 0) <= own + 1 ? undefined : most?.last;
  }

  #levelOf(priority: number): Level {
    const known = this.#levels.find((level) => level.priority === priority);
    if (known !== undefined) return known;
    const level: Level = { priority, turns: new Chain(), bySession: new Map(), size: 0 };
    const place = this.#levels.findIndex((other) => other.priority > priority);
    this.#levels.splice(place === -1 ? this.#levels.length : place, 0, level);
    return level;
  }
}
