import type { Clock } from '../../ports/clock.ts';
import { ProviderError } from '../../ports/errors.ts';
import type { LiveWait } from '../../protocol/frames.ts';
import type { HostLimit } from './host-limit.ts';
import { Pace } from './pace.ts';
import { HeldSlot, type Slot, type SlotEvents, type SlotRequest } from './slot.ts';
import { WaitingCall } from './waiting-call.ts';
import { WaitingLine } from './waiting-line.ts';

/** Counters of one host, since the start. */
export interface HostLoad {
  limits: HostLimit;
  running: number;
  /** Calls that were aborted, and whose backend still works on them: they hold their slots. */
  draining: number;
  waiting: number;
  started: number;
  /** Calls refused or displaced because the queue was full. */
  refused: number;
}

/** Called at each start: how long the call has waited, in ms. */
export type ObserveStart = (start: { host: string; pane: string; priority: number; waitMs: number }) => void;

/** The priority of the calls that others give way to. */
const reply = 0;
/** Whoever stands further back hears of its place only every `longLineMs`. */
const nearPlaces = 100;
const longLineMs = 1_000;

/** The calls of one host: those that wait, those that run, and those that drain. */
export class HostQueue {
  readonly #host: string;
  readonly #maxWaiting: number;
  readonly #observe: ObserveStart | undefined;
  readonly #clock: Clock;
  readonly #line = new WaitingLine();
  readonly #pace: Pace;
  /** In the order of their starts. */
  readonly #running = new Set<HeldSlot>();
  readonly #slotEvents: SlotEvents;
  #limit: HostLimit;
  #draining = 0;
  #started = 0;
  #refused = 0;
  #announcing = false;
  /** A long line has been told as a whole not long ago. */
  #toldAll = false;
  /** Something has changed since. */
  #owesAll = false;

  constructor(
    host: string,
    limit: HostLimit,
    clock: Clock,
    options: { maxWaiting: number; observe: ObserveStart | undefined },
  ) {
    this.#host = host;
    this.#limit = limit;
    this.#clock = clock;
    this.#maxWaiting = options.maxWaiting;
    this.#observe = options.observe;
    this.#pace = new Pace(limit, clock, () => this.#settle());
    this.#slotEvents = this.#follow();
  }

  get limit(): HostLimit {
    return this.#limit;
  }

  get load(): HostLoad {
    return {
      limits: this.#limit,
      running: this.#running.size,
      draining: this.#draining,
      waiting: this.#line.size,
      started: this.#started,
      refused: this.#refused,
    };
  }

  /** As `Limits.acquire`. */
  acquire(request: SlotRequest, signal: AbortSignal, onWait: WaitingCall['onWait']): Promise<Slot> {
    return new Promise((resolve, reject) => {
      // Who had a slot and gave it up is not turned away: at most as many as there are slots come above the bound.
      if (this.#line.size >= this.#maxWaiting && request.yielded !== true && !this.#displaceFor(request)) {
        this.#refused += 1;
        reject(this.#full());
        return;
      }
      const aborted = this.#aborted;
      const call = new WaitingCall(request, signal, this.#clock.now(), onWait, { resolve, reject, aborted });
      this.#line.add(call);
      this.#settle();
    });
  }

  /** Holds from the next start on; what runs goes on. */
  change(limit: HostLimit): void {
    this.#limit = limit;
    this.#pace.change(limit);
    this.#settle();
  }

  /** As `Limits.prioritize`. */
  prioritize(session: string, pane: string, tag: string): boolean {
    const found = this.#line.prioritize(session, pane, tag);
    if (found) this.#announceSoon();
    return found;
  }

  /** Starts what may start, makes room for replies, then has the others told where they stand. */
  #settle(): void {
    while (this.#running.size + this.#draining < this.#limit.concurrency && this.#pace.open) {
      const next = this.#line.take();
      if (next === undefined) return;
      this.#start(next);
    }
    this.#makeRoom();
    this.#announceSoon();
  }

  readonly #aborted = (call: WaitingCall): void => {
    this.#line.remove(call);
    this.#settle();
  };

  #start(call: WaitingCall): void {
    const { request, sinceMs } = call;
    const slot = new HeldSlot(request, this.#slotEvents);
    this.#running.add(slot);
    this.#started += 1;
    this.#pace.started();
    const { pane, priority } = request;
    this.#observe?.({ host: this.#host, pane, priority, waitMs: Math.max(0, this.#clock.now() - sinceMs) });
    call.start(slot);
  }

  #follow(): SlotEvents {
    return {
      drained: (slot) => {
        this.#running.delete(slot);
        this.#draining += 1;
        this.#announceSoon();
      },
      spent: (tokens) => {
        this.#pace.spent(tokens);
        this.#announceSoon();
      },
      released: (slot, from) => {
        if (from === 'draining') this.#draining -= 1;
        else this.#running.delete(slot);
        this.#settle();
      },
    };
  }

  /**
   * One call gives up its slot for each reply that waits for one; slots that are free or draining count as theirs already. Not while the
   * pace holds the replies back, and not while more run than may since the limit was lowered: it would not let them start.
   */
  #makeRoom(): void {
    while (this.#pace.open && this.#running.size <= this.#limit.concurrency) {
      if (this.#line.sizeAt(reply) <= this.#limit.concurrency - this.#running.size) return;
      const victim = this.#leastUrgent();
      if (victim === undefined) return;
      victim.takeBack();
    }
  }

  /** The youngest of the least urgent calls that may be done again. */
  #leastUrgent(): HeldSlot | undefined {
    let found: HeldSlot | undefined;
    for (const slot of this.#running) {
      const { priority, mayYield } = slot.request;
      if (priority <= reply || priority < (found?.request.priority ?? reply)) continue;
      if (mayYield?.() === true) found = slot;
    }
    return found;
  }

  /** Once a tick, however many calls came and went in it; of a long line only its beginning, and all of it from time to time. */
  #announceSoon(): void {
    if (this.#announcing || this.#line.size === 0) return;
    this.#announcing = true;
    this.#clock.defer(() => {
      this.#announcing = false;
      this.#announce();
    });
  }

  #announce(): void {
    const all = !this.#toldAll || this.#line.size <= nearPlaces;
    if (all) this.#pauseWholeWalks();
    else this.#owesAll = true;
    const until = this.#until();
    for (const [index, call] of this.#line.first(all ? Infinity : nearPlaces).entries()) {
      const { request, onWait, told } = call;
      // What one of those before it did when it heard may have made it leave.
      if (!call.waits || onWait === undefined) continue;
      const wait = this.#waitAt(index + 1, request.yielded === true, until);
      if (told?.position === wait.position && told?.reason === wait.reason && told?.until === wait.until) continue;
      call.told = wait;
      onWait(wait);
    }
  }

  /** A walk over a long line costs its length: after one, there is none for a while. */
  #pauseWholeWalks(): void {
    if (this.#line.size <= nearPlaces) return;
    this.#toldAll = true;
    this.#owesAll = false;
    this.#clock.setTimeout(() => {
      this.#toldAll = false;
      if (this.#owesAll) this.#announceSoon();
    }, longLineMs);
  }

  #waitAt(position: number, yielded: boolean, until: Pick<LiveWait, 'until'>): LiveWait {
    if (yielded) return { reason: 'yielded', position };
    const kept = this.#limit.concurrency - this.#running.size;
    if (kept > this.#draining) return { reason: 'rate-limit', position, ...until };
    return { reason: position <= kept ? 'draining' : 'queue', position };
  }

  #until(): Pick<LiveWait, 'until'> {
    const atMs = this.#pace.opensAtMs;
    return atMs === undefined ? {} : { until: new Date(atMs).toISOString() };
  }

  /**
   * A full queue must not turn the reply away for the sake of panes that have not started (PROTOCOL P9), nor a quiet session for a busy
   * one: the newest call of whoever has most of the least urgent ones gives way. False when nobody has to.
   */
  #displaceFor(request: SlotRequest): boolean {
    const victim = this.#line.displaceable(request);
    if (victim === undefined) return false;
    this.#line.remove(victim);
    this.#refused += 1;
    victim.refuse(this.#full());
    return true;
  }

  #full(): ProviderError {
    return new ProviderError(
      'provider',
      `the queue for ${this.#host} is full: ${this.#maxWaiting} calls are waiting, ${this.#running.size} are running`,
    );
  }
}
