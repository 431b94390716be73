import type { Clock, Ids } from '../../ports/clock.ts';
import { replacedReply } from '../../machines/derive.ts';
import type { LiveFrame } from '../../protocol/frames.ts';
import type { Outcome } from '../../protocol/names.ts';
import type { Fact } from '../../protocol/records.ts';
import type { State } from '../../protocol/state.ts';
import { wholeCharacters } from '../../protocol/text.ts';
import { Draft, type TextPiece } from './draft.ts';

/** How long an app may be silent while it streams a message, when the session has no reply pane to say so, ms. */
const appIdleMs = 30_000;

/** What drafts need of the gate that owns them. */
export interface DraftOwner {
  readonly proposed: State;
  push(fact: Fact): void;
  live(frame: LiveFrame): void;
  /** Text has come. */
  wrote(message: string, add: string): void;
  /** Runs `fn` as a turn. */
  turn(fn: () => void): void;
}

/** The messages of one session that are being written, by its reply pane or by an app. */
export class Drafts {
  readonly #owner: DraftOwner;
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #drafts = new Map<string, Draft>();
  readonly #idleTimers = new Map<string, unknown>();

  constructor(owner: DraftOwner, clock: Clock, ids: Ids) {
    this.#owner = owner;
    this.#clock = clock;
    this.#ids = ids;
  }

  get size(): number {
    return this.#drafts.size;
  }

  get(message: string): Draft | undefined {
    return this.#drafts.get(message);
  }

  /** What this run writes; also a message that it opened before a restart and has not written to since. */
  ofRun(run: string): Draft | undefined {
    const draft = [...this.#drafts.values()].find((candidate) => candidate.run === run);
    if (draft !== undefined) return draft;
    const begun = Object.entries(this.#owner.proposed.private.open).find(([, open]) => open.run === run);
    return begun === undefined ? undefined : this.#open(begun[0], run, '');
  }

  /** Text from a run; the first opens its message. */
  write(run: string, add: string): void {
    const draft = this.ofRun(run) ?? this.#openReply(run);
    draft.append(add);
    this.#owner.wrote(draft.message, add);
  }

  /** Text from an app. */
  append(message: string, add: string, ackWanted: boolean): void {
    this.#drafts.get(message)?.append(add, { ackWanted });
    if (add !== '') this.#owner.wrote(message, add);
    this.#watchIdle(message);
  }

  /** A message that an app has begun, or goes on with after a restart. */
  openApp(message: string, text: string): void {
    const open = this.#owner.proposed.private.open[message];
    if (open === undefined || open.run !== null || this.#drafts.has(message)) return;
    this.#open(message, null, text);
    this.#watchIdle(message);
  }

  /** Ends a message: the rest of its text, then `message.ended`. */
  end(draft: Draft, outcome: Outcome, reason?: string): void {
    const { message } = draft;
    draft.finish();
    this.#drafts.delete(message);
    this.#clock.clearTimeout(this.#idleTimers.get(message));
    this.#idleTimers.delete(message);
    const rest = draft.rest();
    if (rest.add !== '') this.#owner.push({ type: 'message.text', text: rest });
    this.#owner.push({ type: 'message.ended', message, outcome, ...(reason === undefined ? {} : { reason }) });
  }

  /** Stops all timers and forgets all texts, without a record. */
  drop(): void {
    for (const draft of this.#drafts.values()) draft.finish();
    for (const timer of this.#idleTimers.values()) this.#clock.clearTimeout(timer);
    this.#drafts.clear();
    this.#idleTimers.clear();
  }

  /** What a late subscriber does not get as records: the texts beyond the committed state. */
  liveFrames(committed: State): LiveFrame[] {
    return [...this.#drafts.values()].flatMap((draft) => {
      const at = committed.private.open[draft.message]?.length;
      const add = at === undefined ? '' : wholeCharacters(draft.text).slice(at);
      return at === undefined || add === '' ? [] : [this.#frame(draft, { message: draft.message, at, add })];
    });
  }

  #openReply(run: string): Draft {
    const { view } = this.#owner.proposed;
    const id = this.#ids.uuid();
    const replaces = replacedReply(view)?.id;
    const message = {
      id,
      role: 'assistant',
      text: '',
      generation: view.generation,
      final: false,
      reply: 'none',
      run,
    } as const;
    this.#owner.push({ type: 'message.added', message: replaces === undefined ? message : { ...message, replaces } });
    return this.#open(id, run, '');
  }

  #open(message: string, run: string | null, text: string): Draft {
    const draft: Draft = new Draft({ message, run, text }, this.#clock, {
      live: (piece) => this.#owner.live(this.#frame(draft, piece)),
      record: (piece) => this.#owner.push({ type: 'message.text', text: piece }),
    });
    this.#drafts.set(message, draft);
    return draft;
  }

  /** An app that stops sending: its message ends as `failed`. PROTOCOL section 4, `message.delta`. */
  #watchIdle(message: string): void {
    this.#clock.clearTimeout(this.#idleTimers.get(message));
    const idleMs = this.#owner.proposed.private.panes['reply']?.declaration.idleTimeoutMs ?? appIdleMs;
    const timer = this.#clock.setTimeout(() => {
      const draft = this.#drafts.get(message);
      if (draft !== undefined) this.#owner.turn(() => this.end(draft, 'failed', 'idle_timeout'));
    }, idleMs);
    this.#idleTimers.set(message, timer);
  }

  #frame(draft: Draft, text: TextPiece): LiveFrame {
    const { session, panes } = this.#owner.proposed.view;
    const writer = Object.entries(panes).find(([, view]) => draft.run !== null && view.run === draft.run);
    if (writer === undefined || draft.run === null) return { type: 'live', session, text };
    return { type: 'live', session, pane: writer[0], run: draft.run, attempt: writer[1].attempt, text };
  }
}

/** How a message ends whose run ends in this phase. */
export function outcomeOf(phase: string): Outcome {
  if (phase === 'updated' || phase === 'unchanged') return 'complete';
  return phase === 'cancelled' ? 'stopped' : 'failed';
}
