import { WebSocket } from 'ws';
import type { Command } from '../../src/protocol/commands.ts';
import { fold } from '../../src/protocol/fold.ts';
import type { AckFrame, ErrorFrame, ServerFrame } from '../../src/protocol/frames.ts';
import { isTerminal } from '../../src/protocol/names.ts';
import type { PhaseFact, Rec } from '../../src/protocol/records.ts';
import type { PaneView, View } from '../../src/protocol/view.ts';

type WithoutEnvelope<C> = C extends Command ? Omit<C, 'session' | 'id'> & { id?: string } : never;
/** A command as a test writes it. */
export type Asked = WithoutEnvelope<Command>;

/** What one subscriber of one session has seen, over all its connections. */
export interface Seen {
  view: View | undefined;
  /** What the last snapshot said: `records` after it were folded into `view`. */
  base?: View;
  cursor: string | undefined;
  /** Records in the order of arrival, without those that only a snapshot told. */
  records: Rec[];
  snapshots: string[];
  caughtUp: number;
  /** What must never be: a gap, a duplicate, a record before any snapshot. */
  violations: string[];
}

/** Nothing seen yet. */
export const nothingSeen = (): Seen => ({
  view: undefined,
  cursor: undefined,
  records: [],
  snapshots: [],
  caughtUp: 0,
  violations: [],
});

/** One WebSocket connection to one session; every frame is kept, so that none is missed between two awaits. */
export class Wire {
  readonly session: string;
  readonly seen: Seen;
  readonly frames: ServerFrame[] = [];
  /** `performance.now()` of each frame. */
  readonly arrivals: number[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #socket: WebSocket;
  readonly #checks = new Set<() => void>();
  #over: { code: number; reason: string } | undefined;
  #ids = 0;

  private constructor(url: string, session: string, seen: Seen) {
    this.session = session;
    this.seen = seen;
    this.#socket = new WebSocket(url, 'mullion.v1');
    this.closed = new Promise((resolve) => {
      this.#socket.once('close', (code, reason) => {
        this.#over = { code, reason: reason.toString() };
        resolve(this.#over);
        this.#wake();
      });
    });
    this.#socket.on('error', () => undefined);
    this.#socket.on('message', (data: Buffer) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the server under test speaks its own protocol
      const frame = JSON.parse(data.toString()) as ServerFrame;
      this.frames.push(frame);
      this.arrivals.push(performance.now());
      this.#take(frame);
      this.#wake();
    });
  }

  /** Connects and says `init`; resolves at `ready`. */
  static async open(url: string, session: string, options: { token?: string; seen?: Seen } = {}): Promise<Wire> {
    const wire = new Wire(url, session, options.seen ?? nothingSeen());
    await wire.#opened();
    wire.send({ type: 'init', ...(options.token === undefined ? {} : { token: options.token }) });
    await wire.frame((frame) => frame.type === 'ready');
    return wire;
  }

  /** Connects, opens the session if asked, and subscribes from where `seen` ended. Resolves at `caughtUp`. */
  static async follow(
    url: string,
    session: string,
    options: { token?: string; seen?: Seen; create?: boolean } = {},
  ): Promise<Wire> {
    const wire = await Wire.open(url, session, options);
    if (options.create === true) await wire.ack({ type: 'session.open' });
    await wire.subscribe();
    return wire;
  }

  send(frame: object): void {
    this.#socket.send(JSON.stringify(frame));
  }

  /** Subscribes from the last seen cursor; resolves at `caughtUp`, rejects when refused. */
  async subscribe(): Promise<void> {
    const { cursor, caughtUp } = this.seen;
    const id = this.#id();
    this.send({ type: 'subscribe', id, session: this.session, ...(cursor === undefined ? {} : { cursor }) });
    await this.until(() => this.seen.caughtUp > caughtUp || this.#answer(id) !== undefined, 'caughtUp');
    const refused = this.#answer(id);
    if (refused !== undefined) throw new Error(`subscribe: ${JSON.stringify(refused)}`);
  }

  /** Sends a command and waits for its answer. */
  async command(asked: Asked): Promise<AckFrame | ErrorFrame> {
    const id = asked.id ?? this.#id();
    const from = this.frames.length;
    this.send({ ...asked, id, session: this.session });
    await this.until(() => this.#answer(id, from) !== undefined, `the answer to ${asked.type}`);
    const answer = this.#answer(id, from);
    if (answer === undefined) throw new Error('unreachable');
    return answer;
  }

  /** Sends a command; rejects unless it is acked. */
  async ack(asked: Asked): Promise<AckFrame> {
    const answer = await this.command(asked);
    if (answer.type === 'error') throw new Error(`${asked.type}: ${JSON.stringify(answer.error)}`);
    return answer;
  }

  /** A user's message. */
  say(text: string): Promise<AckFrame> {
    return this.ack({ type: 'message.add', role: 'user', text });
  }

  /** The first frame, old or new, that fits. */
  async frame(fits: (frame: ServerFrame) => boolean): Promise<ServerFrame> {
    await this.until(() => this.frames.some(fits), `a frame: ${String(fits)}`);
    const found = this.frames.find(fits);
    if (found === undefined) throw new Error('unreachable');
    return found;
  }

  /** The first record, old or new, that fits. */
  async record(fits: (record: Rec) => boolean): Promise<Rec> {
    await this.until(() => this.seen.records.some(fits), `a record: ${String(fits)}`);
    const found = this.seen.records.find(fits);
    if (found === undefined) throw new Error('unreachable');
    return found;
  }

  /** The first `pane.phase` record of this pane and phase, from `attempt` on. */
  async phase(pane: string, phase: string, attempt = 0): Promise<PhaseFact & Rec> {
    const fits = (record: Rec): record is PhaseFact & Rec =>
      record.type === 'pane.phase' && record.pane === pane && record.phase === phase && record.attempt >= attempt;
    const found = await this.record(fits);
    if (!fits(found)) throw new Error('unreachable');
    return found;
  }

  /** Waits until the view fits. */
  async view(fits: (view: View) => boolean): Promise<View> {
    await this.until(() => this.seen.view !== undefined && fits(this.seen.view), `a view: ${String(fits)}`);
    return this.current;
  }

  /** Waits until no pane has anything to do and no message is open. */
  quiet(generation = 0): Promise<View> {
    return this.view((view) => view.generation >= generation && isQuiet(view));
  }

  /** What is known now. */
  get current(): View {
    if (this.seen.view === undefined) throw new Error('nothing was seen yet');
    return this.seen.view;
  }

  /** Resolves as soon as `done()`; rejects when the socket closes before. The test's own timeout bounds the wait. */
  async until(done: () => boolean, what: string): Promise<void> {
    if (done()) return;
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        if (done()) resolve();
        else if (this.#over === undefined) return;
        else reject(new Error(`the socket closed (${this.#over.code} ${this.#over.reason}) in the wait for ${what}`));
        this.#checks.delete(check);
      };
      this.#checks.add(check);
      if (this.#over !== undefined) check();
    });
  }

  close(): void {
    this.#socket.close(1000);
  }

  /** Cuts the connection without a word. */
  cut(): void {
    this.#socket.terminate();
  }

  #id(): string {
    this.#ids += 1;
    return `w${process.pid}-${this.#ids}-${Math.trunc(performance.now() * 1000)}`;
  }

  #opened(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.once('open', () => resolve());
      this.#socket.once('error', reject);
    });
  }

  #answer(id: string, from = 0): AckFrame | ErrorFrame | undefined {
    for (const frame of this.frames.slice(from))
      if ((frame.type === 'ack' || frame.type === 'error') && frame.id === id) return frame;
    return undefined;
  }

  #wake(): void {
    for (const check of this.#checks) check();
  }

  #take(frame: ServerFrame): void {
    const { seen } = this;
    if ('session' in frame && frame.session !== undefined && frame.session !== this.session) return;
    switch (frame.type) {
      case 'snapshot':
        seen.view = frame.view;
        seen.base = frame.view;
        seen.cursor = frame.cursor;
        seen.snapshots.push(frame.reason);
        return;
      case 'record': {
        const { record } = frame;
        const expected = (seen.view?.seq ?? 0) + 1;
        if (record.seq !== expected) seen.violations.push(`record ${record.seq} where ${expected} was due`);
        if (seen.view !== undefined) seen.view = fold(seen.view, record);
        seen.cursor = frame.cursor;
        seen.records.push(record);
        return;
      }
      case 'caughtUp':
        seen.cursor = frame.cursor;
        seen.caughtUp += 1;
        return;
      case 'ready':
      case 'live':
      case 'ended':
      case 'ack':
      case 'error':
      case 'pong':
    }
  }
}

/** Ends after which a pane may lag behind the transcript. PROTOCOL P6. */
const excuses: ReadonlySet<string> = new Set(['error', 'imaging_failed', 'cancelled']);

/** True when no message is being written, and every pane is at rest and covers the transcript, or its phase says why not. [P6] */
export function isQuiet(view: View): boolean {
  return view.messages.every((message) => message.final) && Object.values(view.panes).every((pane) => isResting(pane));
}

function isResting({ phase, queued, fresh }: PaneView): boolean {
  if (queued.length > 0) return false;
  return phase === 'idle' || excuses.has(phase) || (isTerminal(phase) && fresh !== false);
}
