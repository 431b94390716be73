import { isDeepStrictEqual } from 'node:util';
import { connect } from '../../src/client/connect.ts';
import type { ClientSocket, MullionClient, Saved, SocketConstructor, SocketEvent } from '../../src/client/types.ts';
import { decodeClientFrame } from '../../src/protocol/codec.ts';
import type { Command } from '../../src/protocol/commands.ts';
import type { Control } from '../../src/protocol/control.ts';
import type { ServerFrame, StreamFrame } from '../../src/protocol/frames.ts';
import { fold } from '../../src/protocol/fold.ts';
import type { View } from '../../src/protocol/view.ts';
import type { SessionHost, Subscription } from '../../src/server/session-api.ts';
import type { Batch, SharedFrame } from '../../src/server/transport/stream.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Random } from './random.ts';

const parsed = new WeakMap<SharedFrame, StreamFrame>();

function frameOf(shared: SharedFrame): StreamFrame {
  const known = parsed.get(shared);
  if (known !== undefined) return known;
  // Written by the server under test.
  const frame: StreamFrame = JSON.parse(shared.json);
  parsed.set(shared, frame);
  return frame;
}

/** A snapshot or record that somebody outside has seen, for P5. */
export interface Sighting {
  by: string;
  session: string;
  epoch: string;
  frame: Extract<StreamFrame, { type: 'record' | 'snapshot' }>;
}

/** Where clients report. */
export interface ClientWorld {
  clock: Clock;
  random: Random;
  sightings: Sighting[];
  /** The host of now; null while no server runs. */
  host(): SessionHost | null;
  violation(rule: string, what: string): void;
}

function splitCursor(cursor: string): { epoch: string; seq: number } {
  const dot = cursor.lastIndexOf('.');
  return { epoch: cursor.slice(0, dot), seq: Number(cursor.slice(dot + 1)) };
}

/** A subscriber straight at the host: checks order, cursors and live frames as they come. */
export class RawClient {
  readonly name: string;
  readonly session: string;
  view: View | null = null;
  cursor: string | undefined;
  attached = false;
  readonly #world: ClientWorld;
  #subscription: Subscription | null = null;
  #life = 0;
  /** Subscriptions that were closed, or that the server has ended: nothing more may come. */
  readonly #closed = new Set<number>();
  #caughtUp = 0;

  constructor(world: ClientWorld, name: string, session: string) {
    this.#world = world;
    this.name = name;
    this.session = session;
  }

  /** `from`: own = where it stands, none = from a snapshot, bad = a cursor of another epoch. */
  async connect(from: 'own' | 'none' | 'bad' | 'beyond'): Promise<void> {
    const host = this.#world.host();
    if (host === null) return;
    this.drop();
    this.#life += 1;
    const life = this.#life;
    const epoch = this.cursor === undefined ? 'e' : splitCursor(this.cursor).epoch;
    const cursor =
      from === 'own' ? this.cursor : from === 'bad' ? 'dead.3' : from === 'beyond' ? `${epoch}.999999` : undefined;
    if (from !== 'own') {
      this.view = null;
      this.cursor = undefined;
    }
    this.#caughtUp = 0;
    this.attached = true;
    const result = await host.subscribe(this.session, cursor, {
      push: (batch) => {
        if (this.#life === life) this.#take(batch);
        else if (this.#closed.has(life)) this.#complain('order', 'a frame after close() or ended');
      },
    });
    if (this.#life !== life) {
      if (!('refused' in result)) result.close();
      this.#closed.add(life);
      return;
    }
    if ('refused' in result) this.attached = false;
    else if (this.#caughtUp !== 1) this.#complain('order', `${this.#caughtUp} caughtUp at subscribe, expected 1`);
    if (!('refused' in result)) this.#subscription = result;
  }

  drop(): void {
    this.#subscription?.close();
    if (this.#subscription !== null) this.#closed.add(this.#life);
    this.#subscription = null;
    this.attached = false;
    this.#life += 1;
  }

  /** The process is gone: nothing to close. */
  lost(): void {
    this.#subscription = null;
    this.attached = false;
    this.#life += 1;
  }

  /** As for a connection that was too slow. */
  resync(): void {
    if (this.#subscription === null) return;
    // It may hand over what has gathered first.
    const batch = this.#subscription.resync();
    this.#caughtUp = 0;
    this.#take(batch);
  }

  #complain(rule: string, what: string): void {
    this.#world.violation(rule, `${this.name} of ${this.session}: ${what}`);
  }

  #take(batch: Batch): void {
    for (const shared of batch.frames) this.#frame(frameOf(shared));
  }

  #frame(frame: StreamFrame): void {
    switch (frame.type) {
      case 'snapshot': {
        const { epoch, seq } = splitCursor(frame.cursor);
        if (frame.view.seq !== seq)
          this.#complain('cursor', `snapshot of seq ${frame.view.seq} with cursor ${frame.cursor}`);
        this.view = frame.view;
        this.cursor = frame.cursor;
        this.#world.sightings.push({ by: this.name, session: this.session, epoch, frame });
        return;
      }
      case 'record':
        return this.#record(frame);
      case 'caughtUp':
        this.#caughtUp += 1;
        if (this.view === null || splitCursor(frame.cursor).seq !== this.view.seq)
          this.#complain('cursor', `caughtUp ${frame.cursor} at seq ${this.view?.seq ?? 'none'}`);
        this.cursor = frame.cursor;
        return;
      case 'live':
        return this.#live(frame);
      case 'ended':
        this.view = null;
        this.cursor = undefined;
        this.attached = false;
        this.#subscription = null;
        this.#closed.add(this.#life);
        this.#life += 1;
    }
  }

  #record(frame: Extract<StreamFrame, { type: 'record' }>): void {
    const { epoch, seq } = splitCursor(frame.cursor);
    const { record } = frame;
    if (this.view === null) return this.#complain('order', `record ${record.seq} before any snapshot`);
    if (record.seq !== this.view.seq + 1)
      return this.#complain('order', `record ${record.seq} after seq ${this.view.seq}`);
    if (seq !== record.seq) this.#complain('cursor', `record ${record.seq} with cursor ${frame.cursor}`);
    this.view = fold(this.view, record);
    this.cursor = frame.cursor;
    this.#world.sightings.push({ by: this.name, session: this.session, epoch, frame });
  }

  #live(frame: Extract<StreamFrame, { type: 'live' }>): void {
    if (this.#caughtUp === 0) this.#complain('live', 'a live frame before caughtUp');
    const { text, pane } = frame;
    if (pane !== undefined && this.view?.panes[pane] === undefined)
      this.#complain('live', `a live frame of pane ${pane}, which is not there`);
    if (text === undefined) return;
    if (text.add === '') this.#complain('live', 'live text without text');
    if (torn(text.add)) this.#complain('live', `live text tears a surrogate pair: ${JSON.stringify(text.add)}`);
    const message = this.view?.messages.find((candidate) => candidate.id === text.message);
    if (message === undefined && (this.view?.earlier ?? 0) === 0 && !this.#removed(text.message))
      this.#complain('live', `live text of message ${text.message} before its record`);
  }

  #removed(message: string): boolean {
    return this.#world.sightings.some(
      ({ session, frame }) =>
        session === this.session &&
        frame.type === 'record' &&
        'message' in frame.record &&
        frame.record.message === message,
    );
  }
}

/** Begins or ends in the middle of a surrogate pair. */
export function torn(text: string): boolean {
  const first = text.charCodeAt(0);
  const last = text.charCodeAt(text.length - 1);
  return (first >= 0xdc00 && first <= 0xdfff) || (last >= 0xd800 && last <= 0xdbff);
}

/** One in-memory WebSocket with the server's side of PROTOCOL section 3 behind it: each direction in order, with a delay of its own. */
class BridgeSocket implements ClientSocket {
  readonly #world: ClientWorld;
  readonly #delayMs: number;
  readonly #host: SessionHost | null;
  readonly #listeners = new Map<string, ((event: SocketEvent) => void)[]>();
  #lane: { closed: boolean; subscription: Subscription | null } | null = null;
  #open = true;

  constructor(world: ClientWorld) {
    this.#world = world;
    this.#delayMs = world.random.int(15);
    this.#host = world.host();
    this.#later(() => (this.#host === null ? this.fall(1006) : this.#emit({ type: 'open' })));
  }

  addEventListener(type: string, listener: (event: SocketEvent) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  send(text: string): void {
    this.#later(() => this.#hear(text));
  }

  close(): void {
    this.#end();
  }

  /** The connection breaks: what is under way is lost. */
  fall(code: number): void {
    if (!this.#open) return;
    this.#end();
    this.#emit({ type: 'close', code, reason: '' });
  }

  #end(): void {
    this.#open = false;
    this.#dropLane();
  }

  #dropLane(): void {
    if (this.#lane === null) return;
    this.#lane.closed = true;
    if (this.#world.host() === this.#host) this.#lane.subscription?.close();
    this.#lane = null;
  }

  #hear(text: string): void {
    const host = this.#host;
    if (host === null || this.#world.host() !== host) return;
    const decoded = decodeClientFrame(text, 262_144);
    if (decoded.kind === 'command') this.#command(host, decoded.command);
    else if (decoded.kind === 'control') this.#control(host, decoded.frame);
    else this.#world.violation('client', `a client sent what the server does not take: ${text}`);
  }

  #control(host: SessionHost, frame: Control): void {
    switch (frame.type) {
      case 'init':
        return this.#say({
          type: 'ready',
          protocol: 1,
          connection: 'c',
          heartbeatMs: 20_000,
          maxFrameBytes: 262_144,
          now: '',
          server: 'sim',
        });
      case 'ping':
        return this.#say({ type: 'pong' });
      case 'unsubscribe':
        return this.#dropLane();
      case 'subscribe':
        void this.#subscribe(host, frame.id, frame.session, frame.cursor);
    }
  }

  #command(host: SessionHost, command: Command): void {
    void host.command(command).then((result) => {
      const id = command.id ?? '';
      this.#say('refused' in result ? { type: 'error', id, error: result.refused, fatal: false } : { ...result, id });
    });
  }

  async #subscribe(host: SessionHost, id: string, session: string, cursor: string | undefined): Promise<void> {
    this.#dropLane();
    const lane: { closed: boolean; subscription: Subscription | null } = { closed: false, subscription: null };
    this.#lane = lane;
    const result = await host.subscribe(session, cursor, {
      push: (batch) => {
        if (lane.closed) return;
        const frames = batch.frames.map((frame) => frame.json);
        this.#later(() => {
          for (const data of frames) if (this.#open) this.#emit({ type: 'message', data });
        });
      },
    });
    if ('refused' in result) return this.#say({ type: 'error', id, session, error: result.refused, fatal: false });
    if (lane.closed) result.close();
    else lane.subscription = result;
  }

  #say(frame: ServerFrame): void {
    const data = JSON.stringify(frame);
    this.#later(() => this.#emit({ type: 'message', data }));
  }

  #later(fn: () => void): void {
    this.#world.clock.setTimeout(() => {
      if (this.#open) fn();
    }, this.#delayMs);
  }

  #emit(event: SocketEvent): void {
    for (const listener of this.#listeners.get(event.type) ?? []) listener(event);
  }
}

/** The real client store over bridged sockets; it can be restarted from what it saved, as a reloaded page is. */
export class StoreClient {
  readonly name: string;
  readonly session: string;
  client: MullionClient;
  readonly #world: ClientWorld;
  #socket: BridgeSocket | null = null;
  #saved: string | null = null;

  constructor(world: ClientWorld, name: string, session: string) {
    this.#world = world;
    this.name = name;
    this.session = session;
    this.client = this.#start();
  }

  /** The connection breaks. */
  fall(): void {
    this.#socket?.fall(1006);
  }

  /** The page is reloaded: commands without an answer are lost, the view comes back. */
  restart(): void {
    this.client.close();
    this.client = this.#start();
  }

  close(): void {
    this.client.close();
  }

  #start(): MullionClient {
    const world = this.#world;
    const note = (socket: BridgeSocket): void => {
      this.#socket = socket;
    };
    class Socket extends BridgeSocket {
      constructor() {
        super(world);
        note(this);
      }
    }
    const webSocket: SocketConstructor = Socket;
    const client = connect('ws://sim/v1/ws', {
      session: this.session,
      webSocket,
      events: { addEventListener() {}, removeEventListener() {} },
      storage: {
        getItem: () => this.#saved,
        setItem: (_key, value) => {
          this.#saved = value;
        },
      },
      clock: {
        now: () => world.clock.now(),
        after: (ms, task) => {
          const timer = world.clock.setTimeout(task, ms);
          return () => world.clock.clearTimeout(timer);
        },
      },
      random: () => world.random.next(),
    });
    return client;
  }

  /** The saved state, for tests of it. */
  get saved(): Saved | null {
    const saved: Saved | null = JSON.parse(this.#saved ?? 'null');
    return saved;
  }
}

/** Same JSON, whatever the order of keys. */
export function sameJson(a: unknown, b: unknown): boolean {
  return (
    JSON.stringify(a) === JSON.stringify(b) ||
    isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)))
  );
}
