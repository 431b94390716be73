import { defaultPaneOptions } from '../../src/server/sessions/pane-registry.ts';
import type { ClientClock } from '../../src/client/clock.ts';
import type { ClientSocket, SocketConstructor, SocketEvent } from '../../src/client/types.ts';
import type { ServerFrame } from '../../src/protocol/frames.ts';
import type { Fact, PaneDeclaration, Rec } from '../../src/protocol/records.ts';
import { emptyView, type View } from '../../src/protocol/view.ts';
import { fold } from '../../src/protocol/fold.ts';

/** One end of a connection that a test plays the server of. Frames are cloned, so that shared mutable objects are found. */
export class FakeSocket implements ClientSocket {
  readonly url: string;
  readonly protocol: string;
  readonly sent: Frame[] = [];
  closed = false;
  readonly #listeners = new Map<string, ((event: SocketEvent) => void)[]>();

  constructor(url: string, protocol: string) {
    this.url = url;
    this.protocol = protocol;
  }

  addEventListener(type: string, listener: (event: SocketEvent) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  send(text: string): void {
    if (this.closed) throw new Error('sent on a closed socket');
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.closed = true;
  }

  /** The server accepts and answers `init`. */
  accept(heartbeatMs = 20_000, maxFrameBytes = 262_144): void {
    this.#emit({ type: 'open' });
    this.say({
      type: 'ready',
      protocol: 1,
      connection: 'c1',
      heartbeatMs,
      maxFrameBytes,
      now: '2026-11-20T18:00:00.000Z',
      server: 'fake',
    });
  }

  open(): void {
    this.#emit({ type: 'open' });
  }

  say(...frames: (ServerFrame | Frame)[]): void {
    for (const frame of frames) this.raw(JSON.stringify(frame));
  }

  raw(data: string): void {
    this.#emit({ type: 'message', data });
  }

  fall(code = 1006, reason = ''): void {
    this.closed = true;
    this.#emit({ type: 'close', code, reason });
  }

  /** Frames of one type, in the order in which the client sent them. */
  of(type: string): Frame[] {
    return this.sent.filter((frame) => frame.type === type);
  }

  #emit(event: SocketEvent): void {
    for (const listener of this.#listeners.get(event.type) ?? []) listener(event);
  }
}

/** A frame as it crosses the wire, before anybody has looked at it. */
export interface Frame {
  type: string;
  [field: string]: unknown;
}

/** All sockets that the client under test has opened, newest last. */
export function fakeSockets(): { webSocket: SocketConstructor; all: FakeSocket[]; last(): FakeSocket } {
  const all: FakeSocket[] = [];
  class Recorded extends FakeSocket {
    constructor(url: string, protocol: string) {
      super(url, protocol);
      all.push(this);
    }
  }
  return {
    webSocket: Recorded,
    all,
    last() {
      const socket = all.at(-1);
      if (socket === undefined) throw new Error('no socket was opened');
      return socket;
    },
  };
}

/** Time that stands still until the test moves it. */
export class FakeClock implements ClientClock {
  #now = 0;
  readonly #timers = new Map<number, { at: number; task: () => void }>();
  #ids = 0;

  now(): number {
    return this.#now;
  }

  after(ms: number, task: () => void): () => void {
    this.#ids += 1;
    const id = this.#ids;
    this.#timers.set(id, { at: this.#now + ms, task });
    return () => this.#timers.delete(id);
  }

  get waiting(): number {
    return this.#timers.size;
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#now = due[1].at;
      due[1].task();
    }
    this.#now = end;
  }
}

/** A journal that gives each fact its place: the server's side of the truth. */
export class FakeJournal {
  readonly records: Rec[] = [];
  view: View;
  readonly session: string;

  constructor(session = 'chat-7') {
    this.session = session;
    this.view = emptyView(session);
  }

  add(fact: Fact, at = '2026-11-20T18:00:00.000Z'): Rec {
    const record: Rec = { ...fact, seq: this.records.length + 1, at };
    this.records.push(record);
    this.view = fold(this.view, record);
    return record;
  }

  frame(record: Rec): Frame {
    return { type: 'record', session: this.session, cursor: `e1.${record.seq}`, record };
  }

  /** Adds and frames. */
  tell(fact: Fact, at?: string): Frame {
    return this.frame(this.add(fact, at));
  }

  since(seq: number): Frame[] {
    return this.records.slice(seq).map((record) => this.frame(record));
  }

  snapshot(reason: 'initial' | 'reset' | 'resync' = 'initial'): Frame {
    return { type: 'snapshot', session: this.session, cursor: `e1.${this.view.seq}`, reason, view: this.view };
  }

  caughtUp(): Frame {
    return { type: 'caughtUp', session: this.session, cursor: `e1.${this.view.seq}` };
  }
}

/** A pane's declaration with the protocol's defaults. */
export function declare(kind: string, phases: string[], driven = true): PaneDeclaration {
  return {
    kind,
    phases,
    driven,
    ...defaultPaneOptions,
    startOn: driven ? 'reply' : 'message',
  };
}

/** `session.opened` with the chat's reply and the two panes beside it. */
export const opened: Fact = {
  type: 'session.opened',
  panes: {
    reply: declare('reply', ['streaming'], false),
    history: declare('history', ['evaluating', 'summarizing']),
    scene: declare('scene', ['evaluating', 'describing', 'imaging']),
  },
};

/** A phase record's fact with the usual fields filled in. */
export function phase(
  pane: string,
  run: string,
  name: string,
  more: Partial<Fact & { type: 'pane.phase' }> = {},
): Fact {
  return { type: 'pane.phase', pane, run, generation: 1, attempt: 1, phase: name, ...more };
}
