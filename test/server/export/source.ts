import { createHash } from 'node:crypto';
import { wireError } from '../../../src/protocol/codes.ts';
import type { Json, JsonObject } from '../../../src/protocol/records.ts';
import { emptyView, type Message, type PaneView, type View } from '../../../src/protocol/view.ts';
import type { Refused, SessionSummary } from '../../../src/server/session-api.ts';
import type { Transcript } from '../../../src/server/export/transcript.ts';

export const at = '2026-11-20T18:00:00.000Z';

/** A path of an asset that looks like one. */
export function assetPath(session: string, text: string, extension = 'png'): string {
  return `/v1/assets/${session}/${createHash('sha256').update(text).digest('hex')}.${extension}`;
}

export function message(id: string, text: string, more: Partial<Message> = {}): Message {
  return { id, role: 'user', text, generation: 1, at, final: true, outcome: null, ...more };
}

/** A pane that holds this content and these parts. */
export function pane(content: JsonObject | null, parts: { [key: string]: Json } = {}): PaneView {
  return {
    kind: 'test',
    phase: 'updated',
    generation: 1,
    run: 'r1',
    attempt: 1,
    since: at,
    reason: null,
    error: null,
    retryAt: null,
    paused: false,
    queued: [],
    content,
    contentGeneration: 1,
    covers: 7,
    fresh: true,
    parts: Object.fromEntries(
      Object.entries(parts).map(([key, value]) => [key, { value, version: 1, run: 'r1', seq: 1, earlier: [] }]),
    ),
    tasks: {},
    counts: null,
  };
}

export function transcript(messages: Message[], panes: View['panes'] = {}, session = 'c1'): Transcript {
  return {
    view: { ...emptyView(session), seq: 9, generation: 2, transcript: 8, messages, panes },
    at,
    messages,
    leftOut: 0,
  };
}

/** Sessions as an exporter sees them, in the test's hand. */
export class TestSource {
  readonly sessions = new Map<string, Transcript>();
  readonly assets = new Map<string, string>();
  /** Answers instead of the sessions, once. */
  readonly refusals: Refused[] = [];
  /** Sessions that were read, in order. */
  readonly read: string[] = [];
  /** Awaited before each reading. */
  hold: Promise<void> | undefined;

  say(session: string, text: string): void {
    const old = this.sessions.get(session);
    const seq = (old?.view.seq ?? 0) + 1;
    const messages = [...(old?.messages ?? []), message(`m${seq}`, text)];
    this.sessions.set(session, { view: { ...emptyView(session), seq, messages }, at, messages, leftOut: 0 });
  }

  async transcript(session: string): Promise<Transcript | Refused> {
    this.read.push(session);
    await this.hold;
    return this.refusals.shift() ?? this.sessions.get(session) ?? { refused: wireError('NOT_FOUND', 'none') };
  }

  async asset(session: string, name: string): Promise<Uint8Array | undefined> {
    const text = this.assets.get(`/v1/assets/${session}/${name}`);
    return text === undefined ? undefined : new TextEncoder().encode(text);
  }

  async list(limit: number): Promise<SessionSummary[]> {
    return [...this.sessions]
      .slice(0, limit)
      .map(([session, { view }]) => ({ session, seq: view.seq, at, unfinished: false, live: false, summary: {} }));
  }
}
