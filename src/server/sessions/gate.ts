import { decide } from '../../machines/decide.ts';
import type { Decision, Knowledge } from '../../machines/decision.ts';
import {
  coversOf,
  crashEnd,
  drivenPanes,
  hasWork,
  isUnfinished,
  panesToWake,
  replyHold,
} from '../../machines/derive.ts';
import type { TaskPaneEvent } from '../../machines/tasks/types.ts';
import type { StageInput } from '../../machines/pane-setup.ts';
import { optionsEvent, paneInput, recoveryFacts } from '../../machines/recover.ts';
import type { SessionEvent, SessionMachine } from '../../machines/session.ts';
import type { Kept } from '../../panes/define-tasks.ts';
import type { Clock, Ids } from '../../ports/clock.ts';
import type { Command } from '../../protocol/commands.ts';
import type { WireError } from '../../protocol/codes.ts';
import type { LiveFrame } from '../../protocol/frames.ts';
import { isTerminal } from '../../protocol/names.ts';
import type { Fact, PhaseFact } from '../../protocol/records.ts';
import { foldState, type State } from '../../protocol/state.ts';
import { Actors, type Emitted } from './actors.ts';
import type { Draft } from './draft.ts';
import { Drafts, outcomeOf, type DraftOwner } from './drafts.ts';
import type { GateEvents } from './gate-events.ts';
import { LiveState } from './live-state.ts';
import { contentFact, failedFact, withQueuedTasks } from './parts.ts';
import { newTurn, recordOf, runOnRecord, type Turn } from './turn.ts';
import { Watches, type WatchNews } from './watches.ts';

/**
 * The one gate of a session: commands, reports of stages and timers all pass here, one at a time. Each is a turn: the statechart takes the
 * event at once, what it says becomes records of the *proposed* state, and everything of the turn is one append. ARCHITECTURE.md, "One gate".
 */
export class Gate {
  proposed: State;
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #events: GateEvents;
  readonly #live: LiveState;
  readonly #drafts: Drafts;
  readonly #actors: Actors;
  readonly #watches: Watches;
  #turn: Turn | null = null;
  #fault: { error: unknown } | null = null;
  #told: { transcript: number; generation: number; hold: string };

  constructor(state: State, machine: SessionMachine, clock: Clock, ids: Ids, events: GateEvents) {
    this.proposed = state;
    this.#clock = clock;
    this.#ids = ids;
    this.#events = events;
    const turn = (fn: () => void): void => void this.turn(fn);
    const stateOf = (): State => this.proposed;
    const owner: DraftOwner = {
      get proposed() {
        return stateOf();
      },
      push: (fact) => this.#push(fact),
      live: (frame) => events.live(frame, this.proposed.view.seq),
      wrote: (message, add) => this.#watches.wrote(message, add),
      turn,
    };
    this.#drafts = new Drafts(owner, clock, ids);
    this.#actors = new Actors(machine, clock, {
      turn,
      hear: (emitted) => this.#hear(emitted),
      died: (error) => events.crashed('', error),
    });
    this.#watches = new Watches(events.world);
    this.#live = new LiveState(clock, (frame) => this.#sendLive(frame));
    this.#told = { transcript: state.view.transcript, generation: state.view.generation, hold: 'none' };
  }

  /** True while it has an actor. */
  get awake(): boolean {
    return this.#actors.awake;
  }

  get idle(): boolean {
    return this.#drafts.size === 0 && !isUnfinished(this.proposed);
  }

  /** Runs `fn` as a turn; inside a turn, as part of it. Returns the turn, already handed on. */
  turn(fn: (turn: Turn) => void, by?: string): Turn {
    if (this.#turn !== null) {
      fn(this.#turn);
      return this.#turn;
    }
    const turn = newTurn(by, this.proposed);
    this.#turn = turn;
    try {
      fn(turn);
      this.#settle();
      if (this.#fault !== null) throw this.#fault.error;
    } catch (error) {
      // Half a turn must not be stored, and what it proposed must not stay: the session starts again from what is committed.
      this.#turn = null;
      this.#fault = null;
      this.#events.broken(error, turn);
      return turn;
    }
    this.#turn = null;
    turn.after = this.proposed;
    if (turn.records.length > 0 || turn.key !== undefined) this.#events.turned(turn);
    return turn;
  }

  /** Decides a command and, unless it is refused, does it as one turn. `finish` sees the turn before it is handed on. */
  command(
    command: Command,
    known: Knowledge,
    finish: (turn: Turn, made: { message?: string; run?: string }) => void,
  ): WireError | null {
    const decision = decide(this.proposed, command, known);
    if (decision.kind === 'refuse') return decision.error;
    this.turn((turn) => {
      const made = this.#do(decision, command.id !== undefined);
      this.#settle();
      const run = turn.accepted ?? runOnRecord(turn.records, made.run);
      finish(turn, {
        ...(made.message === undefined ? {} : { message: made.message }),
        ...(run === undefined ? {} : { run }),
      });
    }, command.id);
    return null;
  }

  /** Goes on with what the state says was unfinished. */
  start(texts: ReadonlyMap<string, string>): void {
    this.turn(() => {
      for (const fact of recoveryFacts(this.proposed, (pane) => this.#events.registered(pane))) this.#push(fact);
      for (const [message, open] of Object.entries(this.proposed.private.open)) {
        // A reply of which there is text was ended above; one without goes on in the same message.
        const text = texts.get(message) ?? '';
        if (open.run === null) this.#drafts.openApp(message, text);
        this.#watches.restore(message, text, this.proposed);
      }
      const { busy, due } = panesToWake(this.proposed);
      this.#ensure([...busy, ...due]);
      if (due.length > 0) this.#fanOut(due);
    });
  }

  /** Stops everything without a record: calls are aborted, timers cleared. What is proposed and not stored is forgotten by the caller. */
  stop(): void {
    this.#actors.stop();
    this.#live.clearAll();
    this.#drafts.drop();
    this.#watches.drop();
  }

  /** Starts again from a state, after `stop`. */
  reset(state: State): void {
    this.proposed = state;
    this.#told = { transcript: state.view.transcript, generation: state.view.generation, hold: 'none' };
  }

  /** A body that was stopped has ended. */
  unwound(pane: string): void {
    if (this.#actors.has(pane)) this.turn(() => this.#send({ type: 'tell', pane, event: { type: 'unwound' } }));
  }

  /** The text of a message that is being written, with what has come since the last record. */
  draft(message: string): Draft | undefined {
    return this.#drafts.get(message);
  }

  /** The newest live state, for a subscriber that comes late: as of the committed state. */
  liveFrames(committed: State): LiveFrame[] {
    const session = this.proposed.view.session;
    const frames: LiveFrame[] = this.#live.frames().map((frame) => ({ type: 'live', session, ...frame }));
    return [...frames, ...this.#drafts.liveFrames(committed)];
  }

  /** Text from the run of a pane for the message that it writes; the first opens the message. */
  write(input: StageInput, add: string): void {
    this.turn(() => this.#drafts.write(input.run, add));
  }

  /** What a cancelled task's body has kept. */
  kept({ pane, run, task = '', attempt }: StageInput, { asset, value }: Kept): void {
    const event: TaskPaneEvent = { type: 'kept', run, task, attempt, asset, ...(value === undefined ? {} : { value }) };
    this.turn(() => this.#send({ type: 'tell', pane, event }));
  }

  /** What each pane waits for. */
  waits(): ReturnType<LiveState['waits']> {
    return this.#live.waits();
  }

  /** Ephemeral news of a run. */
  live(frame: Omit<LiveFrame, 'type' | 'session'>): void {
    const current = frame.pane === undefined ? undefined : this.proposed.view.panes[frame.pane];
    if (frame.pane !== undefined && current?.run === frame.run) this.#live.set(frame.pane, frame);
  }

  // ---- doing what was decided

  #do(decision: Exclude<Decision, { kind: 'refuse' }>, ackWanted: boolean): { message?: string; run?: string } {
    if (decision.kind === 'write') return this.#writeDelta(decision, ackWanted);
    if (decision.declare !== undefined) this.#push({ type: 'session.opened', panes: decision.declare });
    this.#ensure(decision.spawn ?? []);
    for (const fact of decision.facts ?? []) this.#endOrPush(fact);
    for (const event of decision.events)
      this.#send(event.type === 'close' ? { ...event, panes: this.#present(event.panes) } : event);
    if (decision.message !== undefined) this.#openAppDraft(decision.message);
    this.#tellOptions(decision.events);
    return decision;
  }

  #writeDelta(decision: Extract<Decision, { kind: 'write' }>, ackWanted: boolean): { message?: string; run?: string } {
    const { message } = decision;
    const draft = this.#drafts.get(message);
    if (draft === undefined) return {};
    // Also without new text: the app is alive, and what it asks an ack for may not be on record yet.
    this.#drafts.append(message, decision.add, ackWanted);
    if (decision.end === null) return { message };
    const answer = this.proposed.private.open[message]?.reply === 'pane' ? this.#ids.uuid() : null;
    this.#drafts.end(draft, decision.end);
    if (answer === null) return { message };
    this.#ensure(['reply']);
    const { generation } = this.proposed.view;
    this.#send({
      type: 'tell',
      pane: 'reply',
      event: { type: 'update', run: answer, generation, hold: 'none', at: this.#clock.now() },
    });
    return { message, run: answer };
  }

  #openAppDraft(message: string): void {
    if (this.proposed.private.open[message] === undefined) return;
    const text = this.proposed.view.messages.findLast((candidate) => candidate.id === message)?.text ?? '';
    this.#drafts.openApp(message, text);
  }

  /** Panes that are at work already hear of new options; the others read them when they are spawned. */
  #tellOptions(events: readonly SessionEvent[]): void {
    for (const event of events) {
      if (event.type !== 'open') continue;
      for (const [pane, declaration] of Object.entries(event.panes)) {
        if (this.#actors.has(pane)) this.#send({ type: 'tell', pane, event: optionsEvent(declaration) });
      }
    }
  }

  #endOrPush(fact: Fact): void {
    const draft = fact.type === 'message.ended' ? this.#drafts.get(fact.message) : undefined;
    if (fact.type === 'message.ended' && draft !== undefined) this.#drafts.end(draft, fact.outcome, fact.reason);
    else this.#push(fact);
  }

  /** Tells the panes what has become of the transcript and of the reply, until nothing changes any more. */
  #settle(): void {
    for (let rounds = 0; rounds < 50; rounds += 1) {
      for (const news of this.#watches.take()) this.#tellReader(news);
      const { transcript, generation } = this.proposed.view;
      const hold = replyHold(this.proposed);
      if (transcript !== this.#told.transcript || generation !== this.#told.generation) {
        this.#told = { transcript, generation, hold };
        const driven = drivenPanes(this.proposed);
        this.#ensure(driven);
        this.#fanOut(driven);
      } else if (hold !== this.#told.hold) {
        this.#told.hold = hold;
        this.#send({
          type: 'hold',
          panes: this.#present(drivenPanes(this.proposed)),
          hold,
          at: this.#clock.now(),
        });
      } else return;
    }
    throw new Error('the session did not settle: panes and replies keep outdating each other');
  }

  /** What a message has brought for a pane that reads it. Its text is on record first: no task is about words that a crash can take away. */
  #tellReader(news: WatchNews): void {
    const { pane, message } = news;
    if (news.type !== 'found') {
      // A pane that stands still has given up its actor, and what it was to make of the message is still on record.
      if (news.type === 'gone' && hasWork(this.proposed, pane)) this.#ensure([pane]);
      this.#send({ type: 'tell', pane, event: { type: news.type, message } });
      return;
    }
    this.#drafts.get(message)?.flush();
    this.#ensure([pane]);
    const { tasks, streaming } = news;
    const { generation } = this.proposed.view;
    const work = { type: 'work', run: this.#ids.uuid(), generation, tasks, asked: false } as const;
    this.#send({ type: 'tell', pane, event: streaming ? { ...work, streaming: message } : work });
  }

  /** Those of the panes that have an actor: a session of another configuration may name panes that this server does not know. */
  #present(panes: readonly string[]): string[] {
    return panes.filter((pane) => this.#actors.has(pane));
  }

  #fanOut(panes: string[]): void {
    const runs = Object.fromEntries(this.#present(panes).map((pane) => [pane, this.#ids.uuid()]));
    this.#send({ type: 'transcript', runs, hold: replyHold(this.proposed), at: this.#clock.now() });
  }

  // ---- actors

  #send(event: SessionEvent): void {
    // Not there by now: a pane that this server does not know, or one without work for which a message is over.
    if (event.type === 'tell' && !this.#actors.has(event.pane)) return;
    this.#wake();
    this.#actors.send(event);
  }

  #wake(): void {
    const { session, generation } = this.proposed.view;
    if (this.#actors.wake(session, generation)) this.#told.hold = 'none';
  }

  /** Spawns the panes that are not there yet. */
  #ensure(panes: readonly string[]): void {
    const missing = [...new Set(panes)].filter((pane) => !this.#actors.has(pane) && this.#events.registered(pane));
    if (missing.length === 0) return;
    const nowMs = this.#clock.now();
    this.#wake();
    this.#actors.spawn(
      missing.flatMap((pane) => paneInput(this.proposed, pane, nowMs, this.#events.bodies(pane)) ?? []),
    );
  }

  /** What goes wrong here is the turn's fault: thrown into xstate, it would end the process and the record would be missing. */
  #hear(emitted: Emitted): void {
    try {
      this.#take(emitted);
    } catch (error) {
      this.#fault ??= { error };
    }
  }

  #take(emitted: Emitted): void {
    switch (emitted.type) {
      case 'fact':
        this.#say(emitted.fact, 'retryInMs' in emitted ? emitted.retryInMs : undefined);
        return;
      case 'accepted':
        if (this.#turn !== null) this.#turn.accepted = emitted.run;
        return;
      case 'draining':
        this.#live.set(emitted.pane, { pane: emitted.pane, run: emitted.run, wait: { reason: 'draining' } });
        return;
      case 'commit':
        this.#push(contentFact(this.proposed, emitted));
        return;
      case 'failed':
        this.#push(failedFact(this.proposed, emitted, this.#events.world.failedValue));
        return;
      case 'prioritized':
        this.#events.world.limits.prioritize(this.proposed.view.session, emitted.pane, emitted.task);
        return;
      case 'crashed':
        this.#buryPane(emitted.pane, emitted.error);
    }
  }

  /** A crashed pane: its run ends in `error internal`, its calls are aborted, the next event spawns it again. The session lives on. */
  #buryPane(pane: string, error: unknown): void {
    this.#actors.bury(pane);
    this.#events.crashed(pane, error);
    this.#events.stopBodies(pane);
    const end = crashEnd(this.proposed, pane);
    if (end !== undefined) this.#say(end);
  }

  // ---- records

  #say(fact: Fact, retryInMs?: number): void {
    if (fact.type !== 'pane.phase') {
      this.#push(fact);
      return;
    }
    const whole: PhaseFact = { ...withQueuedTasks(this.proposed, fact) };
    if (retryInMs !== undefined) whole.retryAt = new Date(this.#clock.now() + retryInMs).toISOString();
    const isCurrent = this.proposed.view.panes[fact.pane]?.run === fact.run;
    if (isTerminal(fact.phase) && isCurrent) {
      const draft = this.#drafts.ofRun(fact.run);
      if (draft !== undefined) {
        this.#drafts.end(draft, outcomeOf(fact.phase), fact.reason ?? fact.error?.code);
        if (fact.content !== undefined) whole.content = { ...fact.content, message: draft.message };
      }
      const covers = coversOf(this.proposed, fact);
      if (covers !== undefined) whole.covers = covers;
    }
    // Live news belongs to a phase of a run: the next one begins without.
    if (isCurrent || fact.phase !== 'queued') this.#live.clear(fact.pane);
    this.#push(whole);
  }

  #push(fact: Fact): void {
    const turn = this.#turn;
    if (turn === null) {
      this.turn(() => this.#push(fact));
      return;
    }
    const before = this.proposed;
    const record = recordOf(fact, before, turn, this.#clock.now());
    this.proposed = foldState(before, record);
    turn.records.push(record);
    this.#events.proposed(record, before);
    this.#watches.see(fact, this.proposed);
    this.#live.settle(fact);
  }

  #sendLive(frame: Omit<LiveFrame, 'type' | 'session'>): void {
    const { session, seq } = this.proposed.view;
    this.#events.live({ type: 'live', session, ...frame }, seq);
  }
}
