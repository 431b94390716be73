import type { AckFrame, ErrorFrame, ReadyFrame, ServerFrame } from '../protocol/frames.ts';
import type { JsonObject } from '../protocol/records.ts';
import { systemClock, type ClientClock } from './clock.ts';
import { Connection } from './connection.ts';
import { Outbox } from './outbox.ts';
import { Store } from './store.ts';
import {
  MullionError,
  refuse,
  type CaughtUp,
  type ClientState,
  type ConnectOptions,
  type MullionClient,
} from './types.ts';
import type { Outgoing, Saved, SocketConstructor } from './types.ts';

/** Shortest time between two subscriptions without a cursor, in ms. PROTOCOL section 3. */
const resubscribeMs = 1_000;

/** Follows one session at `url` (`ws://host/v1/ws`), and reconnects by itself until `close()` or a close that forbids it. */
export function connect(url: string, options: ConnectOptions): MullionClient {
  return new Client(url, options);
}

class Client implements MullionClient {
  readonly #session: string;
  readonly #options: ConnectOptions;
  readonly #key: string;
  readonly #clock: ClientClock;
  readonly #events: ConnectOptions['events'];
  readonly #store: Store;
  readonly #outbox = new Outbox();
  readonly #connection: Connection;
  readonly #listeners = new Set<() => void>();
  #state: ClientState;
  /** Makes the id of the newest `subscribe`; answers to older ones do not count. */
  #subscriptions = 0;
  /** Between `subscribe` and `caughtUp`: nobody is told, so that a long replay is one change. */
  #replaying = false;
  #snapshotAskedAt = -Infinity;
  #cancelResubscribe: () => void = () => {};

  constructor(url: string, options: ConnectOptions) {
    this.#session = options.session;
    this.#options = options;
    this.#key = `mullion ${url} ${options.session}`;
    this.#clock = options.clock ?? systemClock;
    this.#events = options.events ?? ('addEventListener' in globalThis ? globalThis : undefined);
    this.#store = new Store(options.session, options.saved ?? this.#load());
    this.#state = {
      status: 'connecting',
      retryAt: null,
      error: null,
      caughtUp: null,
      ...this.#known(),
    };
    const webSocket: SocketConstructor = options.webSocket ?? WebSocket;
    this.#connection = new Connection(
      { url, token: options.token, webSocket, clock: this.#clock, random: options.random ?? Math.random },
      {
        ready: (frame) => this.#onReady(frame),
        frame: (frame) => this.#onFrame(frame),
        down: (retryAt) => this.#onDown(retryAt),
        closed: (error) => this.#end(error),
      },
    );
    this.#events?.addEventListener('online', this.retryNow);
    this.#events?.addEventListener('pagehide', this.#save);
    this.#connection.open();
  }

  getSnapshot = (): ClientState => this.#state;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  send(command: Outgoing): Promise<AckFrame> {
    if (this.#state.status === 'closed') return Promise.reject(this.#state.error ?? closedError());
    return this.#outbox.add(this.#session, command, (json) => {
      this.#connection.send(json);
      this.#publish({});
    });
  }

  say(text: string): Promise<AckFrame> {
    return this.send({ type: 'message.add', role: 'user', text });
  }

  run(pane: string, input?: JsonObject): Promise<AckFrame> {
    return this.send({ type: 'pane.run', pane, ...(input !== undefined && { input }) });
  }

  cancel(pane?: string, run?: string): Promise<AckFrame> {
    return this.send({
      type: 'pane.cancel',
      ...(pane !== undefined && { pane }),
      ...(run !== undefined && { run }),
    });
  }

  pause(pane: string): Promise<AckFrame> {
    return this.send({ type: 'pane.pause', pane });
  }

  resume(pane: string): Promise<AckFrame> {
    return this.send({ type: 'pane.resume', pane });
  }

  retryNow = (): void => {
    if (this.#state.status !== 'closed') this.#connection.retryNow();
  };

  close(): void {
    this.#end(null);
  }

  #onReady(frame: ReadyFrame): void {
    this.#outbox.maxFrameBytes = frame.maxFrameBytes;
    this.#follow(this.#store.lost ? undefined : this.#store.cursor);
    for (const json of this.#outbox.frames()) this.#connection.send(json);
  }

  #follow(cursor?: string): void {
    this.#cancelResubscribe();
    if (cursor === undefined) this.#snapshotAskedAt = this.#clock.now();
    this.#subscriptions += 1;
    this.#replaying = true;
    this.#connection.send(
      JSON.stringify({ type: 'subscribe', id: this.#subscription(), session: this.#session, cursor }),
    );
  }

  #subscription(): string {
    return `s${this.#subscriptions}`;
  }

  /** A hole, or a record of a newer server: only a snapshot helps. At most once a second, so that neither side is kept busy. */
  #followAnew(): void {
    this.#cancelResubscribe();
    const waitMs = this.#snapshotAskedAt + resubscribeMs - this.#clock.now();
    if (waitMs <= 0) this.#follow();
    else this.#cancelResubscribe = this.#clock.after(waitMs, () => this.#follow());
  }

  #onFrame(frame: Exclude<ServerFrame, ReadyFrame>): void {
    if ('session' in frame && frame.session !== this.#session) return;
    switch (frame.type) {
      case 'snapshot':
        this.#store.takeSnapshot(frame);
        return this.#publish({});
      case 'record':
        if (!this.#store.takeRecord(frame)) this.#followAnew();
        return this.#publish({});
      case 'live':
        if (this.#store.takeLive(frame, this.#clock.now())) this.#publish({});
        return;
      case 'caughtUp':
        return this.#onCaughtUp(frame.cursor);
      case 'ended':
        this.#store.forget();
        return this.#nowLive(
          refuse(frame.reason === 'deleted' ? 'NOT_FOUND' : 'FORBIDDEN', `the session is ${frame.reason}`),
          null,
        );
      case 'ack':
      case 'error':
        return this.#onAnswer(frame);
      case 'pong':
    }
  }

  #onCaughtUp(cursor: string): void {
    if (this.#store.lost) return;
    this.#store.cursor = cursor;
    this.#nowLive(null, this.#store.stopCounting());
  }

  #nowLive(error: MullionError | null, caughtUp: CaughtUp | null = this.#state.caughtUp): void {
    this.#replaying = false;
    this.#connection.settled();
    this.#publish({ status: 'live', retryAt: null, error, caughtUp });
  }

  #onAnswer(frame: AckFrame | ErrorFrame): void {
    if (frame.type === 'error' && frame.id === this.#subscription())
      return this.#onRefused(new MullionError(frame.error));
    if (!this.#outbox.answer(frame)) return;
    // The session was absent and somebody, perhaps this client, has made it: now it can be followed.
    if (frame.type === 'ack' && this.#state.error !== null) this.#follow();
    this.#publish({});
  }

  /** The subscription is refused: for good until somebody opens the session, or for a while. */
  #onRefused(error: MullionError): void {
    if (error.retryable) {
      const waitMs = Math.max(resubscribeMs, error.retryAfterMs ?? 0);
      this.#cancelResubscribe = this.#clock.after(waitMs, () => this.#follow(this.#store.cursor));
    } else this.#store.forget();
    this.#nowLive(error);
  }

  #onDown(retryAt: number | null): void {
    this.#cancelResubscribe();
    this.#replaying = false;
    if (this.#store.cursor !== undefined) this.#store.startCounting();
    const status =
      this.#store.cursor === undefined && this.#state.status === 'connecting' ? 'connecting' : 'reconnecting';
    this.#save();
    this.#publish({ status, retryAt });
  }

  #end(error: MullionError | null): void {
    if (this.#state.status === 'closed') return;
    this.#save();
    this.#cancelResubscribe();
    this.#connection.close();
    this.#events?.removeEventListener('online', this.retryNow);
    this.#events?.removeEventListener('pagehide', this.#save);
    this.#outbox.close(error ?? closedError());
    this.#replaying = false;
    this.#publish({ status: 'closed', retryAt: null, error });
    this.#listeners.clear();
  }

  #publish(change: Partial<ClientState>): void {
    if (this.#replaying) return;
    this.#state = { ...this.#state, ...change, ...this.#known() };
    for (const listener of this.#listeners) listener();
  }

  #known(): Pick<ClientState, 'view' | 'text' | 'live' | 'pending'> {
    const { view, live } = this.#store;
    return { view, text: this.#store.text(), live: live.panes, pending: this.#outbox.size };
  }

  #load(): Saved | null {
    try {
      const saved: Saved | null = JSON.parse(this.#options.storage?.getItem(this.#key) ?? 'null');
      return saved?.view.session === this.#session ? saved : null;
    } catch {
      return null;
    }
  }

  #save = (): void => {
    const { cursor, view, lost } = this.#store;
    try {
      if (cursor !== undefined && !lost) this.#options.storage?.setItem(this.#key, JSON.stringify({ cursor, view }));
    } catch {
      // A full or forbidden storage only costs a snapshot at the next start.
    }
  };
}

function closedError(): MullionError {
  return refuse('CLOSED', 'closed before an answer came');
}
