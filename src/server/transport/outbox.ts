import type { Clock } from '../../ports/clock.ts';
import type { Flusher } from './flusher.ts';
import { Lane } from './lane.ts';
import type { Batch } from './stream.ts';
import type { Metrics } from '../telemetry.ts';

/** The part of a socket or an HTTP response that an outbox uses. */
export interface Wire {
  /** Bytes handed over and not yet taken by the system. */
  readonly writableLength: number;
  /** True after `write` returned false, until `drain`. */
  readonly writableNeedDrain: boolean;
  write(chunk: Uint8Array): boolean;
  cork(): void;
  uncork(): void;
  on(event: 'drain', listener: () => void): unknown;
  off(event: 'drain', listener: () => void): unknown;
}

/** What an outbox counts. */
export interface OutboxCounters {
  /** Dropped frames: `live`, or `record` when a resync takes their place; `connection` = one closed as too slow. */
  dropped(kind: 'live' | 'record' | 'connection', amount: number): void;
  resynced(): void;
}

/** Options of one outbox. */
export interface OutboxOptions {
  wire: Wire;
  /** False once nothing may be written any more (closing). */
  open: () => boolean;
  /** Which encoding of a batch is written. */
  encoding: 'ws' | 'sse';
  /** Bound on queued bytes, those in the socket's own buffer included. */
  outboxBytes: number;
  /** A whole such time without one byte taken by the system ends the connection, ms. */
  graceMs: number;
  clock: Pick<Clock, 'setTimeout' | 'clearTimeout'>;
  flusher: Flusher;
  counters: OutboxCounters;
  /** Where the socket can tell: the rest of the write that the system has in hand (`systemQueue`). Any change is progress. */
  inHand?: () => number;
  /** Called once when the grace is over: close 4508. */
  tooSlow: () => void;
  /** Answers pile up (true): stop reading from this client, until false. */
  pause?: (paused: boolean) => void;
}

/** One thing to write: an answer (no lane) or a batch of a subscription. */
interface Item {
  lane: Lane | null;
  batch: Batch | null;
  bytes: Buffer;
}

/** Most bytes handed to the socket at once. What it has cannot be replaced by a resync any more. */
const burstBytes = 262_144;

/**
 * What waits to be written to one connection, bounded. Answers (acks, errors, pong) are never dropped and keep their place in the order.
 * Past `outboxBytes`: live frames are dropped, then the queue of the fullest subscription gives way to one resync snapshot, which is made
 * only when the socket can take it; so a client that reads slowly costs `outboxBytes` and gets the newest state. PROTOCOL section 3.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #lanes = new Set<Lane>();
  #queue: Item[] = [];
  #queued = 0;
  #answers = 0;
  #scheduled = false;
  #slow = false;
  #paused = false;
  #closed = false;
  #grace: unknown = undefined;
  #graceStart = { taken: 0, inHand: 0 };
  #written = 0;
  readonly #onDrain = (): void => {
    this.#endGrace();
    this.flush();
  };

  constructor(options: OutboxOptions) {
    this.#options = options;
    options.wire.on('drain', this.#onDrain);
  }

  /** Bytes that wait here or in the socket's buffer. */
  get pending(): number {
    return this.#queued + this.#options.wire.writableLength;
  }

  /** The socket takes nothing more for now. */
  get blocked(): boolean {
    return this.#options.wire.writableNeedDrain;
  }

  /** A new subscription's place in this outbox. `ended` is called when its last frame is queued. */
  lane(ended: () => void): Lane {
    const lane = new Lane(this, ended);
    this.#lanes.add(lane);
    return lane;
  }

  /** Queues an answer: framed, never dropped. */
  answer(bytes: Buffer): void {
    if (this.#closed) return;
    this.#answers += bytes.length;
    this.#add({ lane: null, batch: null, bytes });
    if (this.#answers > this.#options.outboxBytes && !this.#paused) {
      this.#paused = true;
      this.#options.pause?.(true);
    }
  }

  /** Queues a batch of a lane, or what the bounds leave of it. Called by the lane. */
  queue(lane: Lane, given: Batch): void {
    if (this.#closed) return;
    const batch = this.#slow ? this.#lasting(given) : given;
    if (batch.frames.length === 0) return;
    const bytes = this.#encode(batch);
    // One batch over the bound (a very long replay) would only be queued to be thrown away.
    if (bytes.length > this.#options.outboxBytes) return this.#giveWay(lane, batch);
    this.#add({ lane, batch, bytes });
    if (this.pending <= this.#options.outboxBytes) return;
    // A quick client with much to get (a hundred snapshots in one tick) is not a slow one: let its socket decide.
    if (!this.blocked) this.flush();
    if (this.pending <= this.#options.outboxBytes) return;
    if (lane.ended) this.#giveWay(lane, null);
    this.#shed();
  }

  /** The lane has queued its last frame: it is no subscription any more. Called by the lane. */
  release(lane: Lane): void {
    this.#lanes.delete(lane);
  }

  /** Counts what comes for a stale lane. Called by the lane. */
  skip(batch: Batch): void {
    this.#options.counters.dropped('record', batch.frames.length);
  }

  /** Asks for a turn in which a stale lane may be made new. Called by the lane. */
  wake(): void {
    // A blocked socket calls `flush` by its drain.
    if (this.#scheduled || this.#closed || this.blocked) return;
    this.#scheduled = true;
    this.#options.flusher.schedule(this);
  }

  /** Forgets a lane and what is queued for it. Called by the lane. */
  forget(lane: Lane): void {
    this.#lanes.delete(lane);
    this.#remove((item) => item.lane === lane);
  }

  /** Writes what the socket takes: in one system call as a rule. Called by the flusher, and by `drain`. */
  flush(): void {
    this.#scheduled = false;
    while (!this.#closed && !this.blocked && this.#options.open()) {
      const stale = this.#queue.length === 0 ? this.#renew() : undefined;
      if (stale !== undefined) this.#add({ lane: stale.lane, batch: stale.batch, bytes: this.#encode(stale.batch) });
      if (this.#queue.length === 0) break;
      this.#write(this.#take());
    }
    if (this.#queue.length === 0 && !this.blocked) this.#slow = false;
    if (this.#paused && this.#answers <= this.#options.outboxBytes / 2) {
      this.#paused = false;
      this.#options.pause?.(false);
    }
    if (this.#options.wire.writableLength > 0) this.#startGrace();
  }

  /** Writes the answers and last words that still wait, drops the rest; nothing is queued from now on. */
  close(): void {
    if (this.#closed) return;
    const answers = this.#queue.filter((item) => item.lane === null || item.lane.ended);
    if (answers.length > 0 && this.#options.open()) this.#write(answers);
    this.#closed = true;
    this.#queue = [];
    this.#queued = 0;
    this.#endGrace();
    this.#options.wire.off('drain', this.#onDrain);
  }

  #add(item: Item): void {
    this.#queue.push(item);
    this.#queued += item.bytes.length;
    if (item.lane !== null) item.lane.bytes += item.bytes.length;
    this.wake();
  }

  /** Takes the items of the coming write off the queue. */
  #take(): Item[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && bytes < burstBytes) {
      bytes += this.#queue[count]?.bytes.length ?? 0;
      count += 1;
    }
    const items = count === this.#queue.length ? this.#queue : this.#queue.slice(0, count);
    this.#queue = count === this.#queue.length ? [] : this.#queue.slice(count);
    for (const item of items) this.#count(item);
    return items;
  }

  #count(item: Item): void {
    this.#queued -= item.bytes.length;
    if (item.lane === null) this.#answers -= item.bytes.length;
    else item.lane.bytes -= item.bytes.length;
  }

  #write(items: readonly Item[]): void {
    const { wire } = this.#options;
    const [only] = items;
    if (items.length === 1 && only !== undefined) {
      this.#written += only.bytes.length;
      wire.write(only.bytes);
      return;
    }
    // Uncorking hands all of them over as one vectored write, without copying.
    wire.cork();
    for (const item of items) {
      this.#written += item.bytes.length;
      wire.write(item.bytes);
    }
    wire.uncork();
  }

  /** The rules at the bound: first the live frames of all, then the fullest subscriptions, until it fits. */
  #shed(): void {
    this.#slow = true;
    this.#startGrace();
    this.#dropLive();
    while (this.pending > this.#options.outboxBytes) {
      let fullest: Lane | undefined;
      for (const lane of this.#lanes) if (lane.bytes > (fullest?.bytes ?? 0)) fullest = lane;
      if (fullest === undefined) return;
      this.#giveWay(fullest, null);
    }
  }

  #dropLive(): void {
    const kept: Item[] = [];
    for (const item of this.#queue) {
      if (item.batch === null || item.batch.lasting === item.batch) {
        kept.push(item);
        continue;
      }
      this.#count(item);
      const batch = this.#lasting(item.batch);
      if (batch.frames.length === 0) continue;
      const smaller = { ...item, batch, bytes: this.#encode(batch) };
      kept.push(smaller);
      this.#queued += smaller.bytes.length;
      if (item.lane !== null) item.lane.bytes += smaller.bytes.length;
    }
    this.#queue = kept;
  }

  /** Drops what is queued for a lane; a snapshot takes its place when the socket is free. `more` = a batch that was not even queued. */
  #giveWay(lane: Lane, more: Batch | null): void {
    let frames = more?.frames.length ?? 0;
    this.#remove((item) => {
      if (item.lane !== lane) return false;
      frames += item.batch?.frames.length ?? 0;
      return true;
    });
    this.#options.counters.dropped('record', frames);
    const last = lane.giveWay();
    // `ended` is the last word on a subscription: there is no state to take its place.
    if (last !== undefined) this.#add({ lane, batch: last, bytes: this.#encode(last) });
    else this.wake();
  }

  /** The next lane that gave way, as it is now. */
  #renew(): { lane: Lane; batch: Batch } | undefined {
    for (const lane of this.#lanes) {
      const batch = lane.renew();
      if (batch === undefined) continue;
      this.#options.counters.resynced();
      return { lane, batch };
    }
    return undefined;
  }

  #remove(gone: (item: Item) => boolean): void {
    this.#queue = this.#queue.filter((item) => {
      if (!gone(item)) return true;
      this.#count(item);
      return false;
    });
  }

  #lasting(batch: Batch): Batch {
    const { lasting } = batch;
    if (lasting !== batch) this.#options.counters.dropped('live', batch.frames.length - lasting.frames.length);
    return lasting;
  }

  #encode(batch: Batch): Buffer {
    return this.#options.encoding === 'ws' ? batch.ws : batch.sse;
  }

  /** What the system has taken so far. */
  #progress(): { taken: number; inHand: number } {
    return { taken: this.#written - this.#options.wire.writableLength, inHand: this.#options.inHand?.() ?? 0 };
  }

  #startGrace(): void {
    if (this.#grace !== undefined || this.#closed) return;
    this.#graceStart = this.#progress();
    this.#grace = this.#options.clock.setTimeout(() => {
      this.#grace = undefined;
      if (this.#options.wire.writableLength === 0) return;
      const { taken, inHand } = this.#progress();
      if (taken > this.#graceStart.taken || inHand !== this.#graceStart.inHand) return this.#startGrace();
      this.#options.counters.dropped('connection', 1);
      this.#options.tooSlow();
    }, this.#options.graceMs);
  }

  #endGrace(): void {
    if (this.#grace === undefined) return;
    this.#options.clock.clearTimeout(this.#grace);
    this.#grace = undefined;
  }
}

/** Counts what outboxes drop in the metrics of the server. */
export function outboxCounters(metrics: Pick<Metrics, 'outboxDropped' | 'resyncs'>): OutboxCounters {
  return {
    dropped: (kind, amount) => metrics.outboxDropped.with({ kind }).add(amount),
    resynced: () => metrics.resyncs.with({}).add(),
  };
}
