import type { Command } from '../../src/protocol/commands.ts';
import type { AckFrame, StreamFrame } from '../../src/protocol/frames.ts';
import type { Rec } from '../../src/protocol/records.ts';
import { wireError } from '../../src/protocol/codes.ts';
import { emptyView, type Message, type View } from '../../src/protocol/view.ts';
import type { Refused, SessionHost, SessionSummary, Subscriber, Subscription } from '../../src/server/session-api.ts';
import type { Transcript } from '../../src/server/export/transcript.ts';
import { Batch, SharedFrame } from '../../src/server/transport/stream.ts';

const at = '2026-11-20T18:00:00.000Z';

interface FakeSession {
  seq: number;
  /** Text of the newest record, so that a snapshot can be told from an old one. */
  text: string;
  records: Rec[];
  subscribers: Set<Subscriber>;
}

/**
 * A SessionHost in memory without panes, journal or machines: enough for the transports. `publish` and `live` fan out at once; cursors are
 * `e1:<seq>`. Commands are acked with the head; `answer` replaces that.
 */
export class FakeSessions implements SessionHost {
  readonly sessions = new Map<string, FakeSession>();
  readonly commands: Command[] = [];
  readonly assets = new Map<string, Uint8Array>();
  readonly asked: { before: string | null; limit: number }[] = [];
  subscribed = 0;
  unsubscribed = 0;
  answer: ((command: Command) => Promise<AckFrame | Refused>) | undefined;
  refuseSubscribe: Refused | undefined;
  throwOnSubscribe = false;

  constructor(...names: string[]) {
    for (const name of names) this.#make(name);
  }

  async command(command: Command): Promise<AckFrame | Refused> {
    this.commands.push(command);
    if (this.answer !== undefined) return this.answer(command);
    const session = this.sessions.get(command.session);
    if (session === undefined) {
      if (command.type !== 'session.open') return absent(command.session);
      this.#make(command.session);
    }
    return { type: 'ack', id: command.id ?? '', session: command.session, seq: session?.seq ?? 0, duplicate: false };
  }

  async subscribe(name: string, cursor: string | undefined, subscriber: Subscriber): Promise<Subscription | Refused> {
    if (this.throwOnSubscribe) throw new Error('subscribe failed on purpose');
    if (this.refuseSubscribe !== undefined) return this.refuseSubscribe;
    const session = this.sessions.get(name);
    if (session === undefined) return absent(name);
    const seen = /^e1:(\d+)$/.exec(cursor ?? '');
    const first =
      seen === null
        ? [this.#snapshot(name, cursor === undefined ? 'initial' : 'reset')]
        : session.records.filter((rec) => rec.seq > Number(seen[1])).map((rec) => recordFrame(name, rec));
    subscriber.push(batchOf(...first, this.#caughtUp(name)));
    session.subscribers.add(subscriber);
    this.subscribed += 1;
    return {
      session: name,
      resync: () => batchOf(this.#snapshot(name, 'resync'), this.#caughtUp(name)),
      close: () => {
        if (session.subscribers.delete(subscriber)) this.unsubscribed += 1;
      },
    };
  }

  async view(session: string): Promise<{ view: View; cursor: string } | Refused> {
    const found = this.sessions.get(session);
    return found === undefined ? absent(session) : { view: this.#view(session), cursor: `e1:${found.seq}` };
  }

  async messages(session: string, before: string | null, limit: number): Promise<{ messages: Message[] } | Refused> {
    this.asked.push({ before, limit });
    return this.sessions.has(session) ? { messages: this.#view(session).messages } : absent(session);
  }

  async transcript(session: string): Promise<Transcript | Refused> {
    return this.sessions.has(session)
      ? { view: this.#view(session), at, messages: this.#view(session).messages, leftOut: 0 }
      : absent(session);
  }

  async list(limit: number): Promise<SessionSummary[]> {
    return [...this.sessions]
      .slice(0, limit)
      .map(([session, { seq }]) => ({ session, seq, at, unfinished: false, live: true, summary: {} }));
  }

  async asset(session: string, name: string): Promise<Uint8Array | undefined> {
    return this.assets.get(`${session}/${name}`);
  }

  /** Records a text and fans it out; all texts of one call are one batch. */
  publish(name: string, ...texts: string[]): void {
    const session = this.#get(name);
    const frames = texts.map((text) => {
      session.seq += 1;
      session.text = text;
      const rec: Rec = { seq: session.seq, at, type: 'message.text', text: { message: 'm1', at: 0, add: text } };
      session.records.push(rec);
      return recordFrame(name, rec);
    });
    this.#push(session, batchOf(...frames));
  }

  /** Fans a live frame out. */
  live(name: string, add: string): void {
    this.#push(this.#get(name), batchOf({ type: 'live', session: name, text: { message: 'm1', at: 0, add } }));
  }

  /** Ends every subscription of a session. */
  delete(name: string): void {
    const session = this.#get(name);
    this.sessions.delete(name);
    this.#push(session, batchOf({ type: 'ended', session: name, reason: 'deleted' }));
    session.subscribers.clear();
  }

  #push(session: FakeSession, batch: Batch): void {
    for (const subscriber of session.subscribers) subscriber.push(batch);
  }

  #make(name: string): void {
    this.sessions.set(name, { seq: 0, text: '', records: [], subscribers: new Set() });
  }

  #get(name: string): FakeSession {
    const session = this.sessions.get(name);
    if (session === undefined) throw new Error(`no fake session ${name}`);
    return session;
  }

  #view(name: string): View {
    const { seq, text } = this.#get(name);
    const view = emptyView(name);
    const message: Message = { id: 'm1', role: 'assistant', text, generation: 0, at, final: false, outcome: null };
    return { ...view, seq, messages: seq === 0 ? [] : [message] };
  }

  #snapshot(name: string, reason: 'initial' | 'reset' | 'resync'): StreamFrame {
    return { type: 'snapshot', session: name, cursor: `e1:${this.#get(name).seq}`, reason, view: this.#view(name) };
  }

  #caughtUp(name: string): StreamFrame {
    return { type: 'caughtUp', session: name, cursor: `e1:${this.#get(name).seq}` };
  }
}

/** A batch of frames. */
export function batchOf(...frames: StreamFrame[]): Batch {
  return new Batch(frames.map((frame) => new SharedFrame(frame)));
}

function recordFrame(session: string, record: Rec): StreamFrame {
  return { type: 'record', session, cursor: `e1:${record.seq}`, record };
}

function absent(session: string): Refused {
  return { refused: wireError('NOT_FOUND', `no session ${session}`) };
}
