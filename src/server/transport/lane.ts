import type { Subscriber, Subscription } from '../session-api.ts';
import { Batch } from './stream.ts';

/** The part of an outbox that its lanes use. */
interface LaneOwner {
  queue(lane: Lane, batch: Batch): void;
  forget(lane: Lane): void;
  release(lane: Lane): void;
  skip(batch: Batch): void;
  wake(): void;
}

/**
 * One subscription's place in an outbox. Stale = its queue gave way: what is pushed meanwhile is dropped, since the snapshot that comes
 * when the socket is free holds it all.
 */
export class Lane implements Subscriber {
  /** Bytes queued for this lane; kept by the outbox. */
  bytes = 0;
  readonly #owner: LaneOwner;
  readonly #ended: () => void;
  #subscription: Subscription | undefined;
  #state: 'live' | 'stale' | 'ended' | 'closed' = 'live';
  #last: Batch | undefined;

  constructor(owner: LaneOwner, ended: () => void) {
    this.#owner = owner;
    this.#ended = ended;
  }

  /** Its last frame has been pushed. */
  get ended(): boolean {
    return this.#state === 'ended';
  }

  /** Names the subscription, once the host has given it (frames may come before). Closes it when the lane is closed already. */
  attach(subscription: Subscription): void {
    if (this.#state === 'closed') {
      subscription.close();
      return;
    }
    this.#subscription = subscription;
    if (this.#state === 'stale') this.#owner.wake();
  }

  push(batch: Batch): void {
    if (this.#state === 'closed' || this.#state === 'ended') return;
    const last = batch.frames.at(-1);
    if (last?.kind !== 'ended') {
      if (this.#state === 'live') this.#owner.queue(this, batch);
      else this.#owner.skip(batch);
      return;
    }
    this.#last = new Batch([last]);
    const whole = this.#state === 'stale' ? this.#last : batch;
    this.#state = 'ended';
    this.#owner.queue(this, whole);
    this.#owner.release(this);
    this.#ended();
  }

  /** Ends the subscription and drops what is queued for it. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#subscription?.close();
    this.#owner.forget(this);
  }

  /** The outbox has dropped this lane's queue. Returns what must be kept of it all the same: the `ended` frame. */
  giveWay(): Batch | undefined {
    if (this.#state === 'live') this.#state = 'stale';
    return this.#state === 'ended' ? this.#last : undefined;
  }

  /** The state of now, when this lane is stale and the host has answered; from then on pushes are queued again. */
  renew(): Batch | undefined {
    if (this.#state !== 'stale' || this.#subscription === undefined) return undefined;
    // Still stale while the host works: what it pushes in between is in the snapshot.
    const batch = this.#subscription.resync();
    if (this.#state === 'stale') this.#state = 'live';
    return batch;
  }
}
