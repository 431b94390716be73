import { createHash } from 'node:crypto';
import { fromCallback } from 'xstate';
import type { Found, Knowledge } from '../../machines/decision.ts';
import type { PaneEvent } from '../../machines/pane-types.ts';
import { idleStage, type StageInput } from '../../machines/pane-setup.ts';
import { createSessionMachine } from '../../machines/session.ts';
import { JournalError } from '../../ports/errors.ts';
import type { Head, Journal } from '../../ports/journal.ts';
import type { PaneDefinition } from '../../panes/define.ts';
import { canonicalJson } from '../../protocol/canonical.ts';
import { wireError } from '../../protocol/codes.ts';
import type { Command } from '../../protocol/commands.ts';
import type { AckFrame } from '../../protocol/frames.ts';
import type { PaneOptions } from '../../protocol/records.ts';
import { emptyState, foldState, stateFormat, type State } from '../../protocol/state.ts';
import type { Message, View } from '../../protocol/view.ts';
import { absentSession, internalError } from '../edge.ts';
import type { Refused, SessionHost, SessionSummary, Subscriber, Subscription } from '../session-api.ts';
import { createPaneRegistry } from './pane-registry.ts';
import { notStored, Session, type SessionWorld } from './session.ts';
import type { StageWorld } from './stage-body.ts';
import { attach } from './subscription.ts';

export interface SessionsOptions {
  journal: Journal;
  world: StageWorld;
  panes: readonly PaneDefinition[];
  paneOptions: { [pane: string]: Partial<PaneOptions> };
  /** Most sessions in memory. */
  maxSessions: number;
  /** A session without work and subscribers leaves memory after this, ms. */
  passivateAfterMs: number;
}

const probeFirstMs = 1_000;
const probeMaxMs = 30_000;
const staleWriterMs = 1_500;

/**
 * All sessions of one server: wakes them from the journal when something is asked of them, recovers the unfinished ones at start, lets idle
 * ones leave memory, seals them while the store cannot be written.
 */
export class Sessions implements SessionHost {
  /** In order of last use, oldest first: what passivates next stands in front. */
  readonly #live = new Map<string, { session: Session; usedMs: number; lane: Promise<unknown> }>();
  readonly #loading = new Map<string, Promise<Session | Refused>>();
  readonly #asked = new Map<string, { digest: string; answer: Promise<AckFrame | Refused> }>();
  readonly #options: SessionsOptions;
  readonly #world: SessionWorld;
  #sweepTimer: unknown;
  #probeTimer: unknown;
  #draining = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
    const stage: typeof idleStage = fromCallback<PaneEvent, StageInput>(
      ({ input, sendBack }) => this.#live.get(input.session)?.session.startStage(input, sendBack) ?? (() => undefined),
    );
    const registry = createPaneRegistry(options.panes, options.paneOptions, stage);
    const isDraining = () => this.#draining;
    this.#world = {
      ...options.world,
      journal: options.journal,
      machine: createSessionMachine(registry.machines),
      registry,
      get draining() {
        return isDraining();
      },
      storeFailed: (session, error) => this.#storeFailed(session, error),
    };
  }

  /** Goes on with every session that has unfinished runs. Resolves with how many. A corrupt one is left alone and logged. */
  async recover(): Promise<number> {
    let recovered = 0;
    for await (const id of this.#options.journal.unfinished()) {
      if (this.#draining) break;
      const session = await this.#open(id);
      if (session instanceof Session) recovered += 1;
    }
    return recovered;
  }

  async command(command: Command): Promise<AckFrame | Refused> {
    const answer = await this.#answer(command);
    const result = 'refused' in answer ? answer.refused.code : answer.duplicate === true ? 'duplicate' : 'ok';
    this.#world.metrics.commands.with({ type: command.type, result }).add();
    return answer;
  }

  async #answer(command: Command): Promise<AckFrame | Refused> {
    if (this.#draining) return { refused: wireError('OVERLOADED', 'the server is stopping', { retryAfterMs: 1_000 }) };
    const digest = createHash('sha256').update(canonicalJson(command)).digest('hex');
    if (command.id === undefined || command.type === 'message.delta') return this.#admit(command, digest);
    const place = `${command.session} ${command.id}`;
    const asked = this.#asked.get(place);
    if (asked !== undefined) return asked.digest === digest ? duplicate(await asked.answer) : usedId(command.id);
    const answer = this.#admit(command, digest);
    this.#asked.set(place, { digest, answer });
    try {
      return await answer;
    } finally {
      this.#asked.delete(place);
    }
  }

  /** Looks up what the decision needs, in the order of arrival, and decides. */
  async #admit(command: Command, digest: string): Promise<AckFrame | Refused> {
    const opened = await this.#open(command.session, command.type === 'session.open');
    if (!(opened instanceof Session)) return this.#remembered(command, digest, opened);
    const entry = this.#touch(opened);
    const admitted = entry.lane.then(async () => {
      const found = await this.#lookUp(opened, command, digest);
      return 'answer' in found ? found : { promise: opened.command(command, digest, found.known) };
    });
    entry.lane = admitted.catch(() => undefined);
    try {
      const outcome = await admitted;
      if ('answer' in outcome) return outcome.answer;
      const answer = await outcome.promise;
      return command.type === 'session.delete' && !('refused' in answer) ? await this.#erase(opened, command, digest, answer) : answer;
    } catch (error) {
      return this.#fault(command.session, error);
    }
  }

  async #lookUp(session: Session, command: Command, digest: string): Promise<{ answer: AckFrame | Refused } | { known: Knowledge }> {
    const { journal, clock, ids, registry } = this.#world;
    const nowMs = clock.now();
    if (command.id !== undefined && command.type !== 'message.delta' && session.committed.view.seq > 0) {
      const key = await journal.command(session.id, command.id, nowMs);
      if (key !== undefined) return { answer: key.digest === digest ? remembered(command, key.ack) : usedId(command.id) };
    }
    const message = 'message' in command ? command.message : undefined;
    const stored = message === undefined || inView(session, message) !== undefined ? undefined : await journal.message(session.id, message);
    return {
      known: {
        nowMs,
        ids: { message: ids.uuid(), run: ids.uuid() },
        panes: registry.declarations,
        find: (id) => inView(session, id) ?? stored,
        draft: (id) => session.gate.draft(id),
      },
    };
  }

  /** The answer for a session that is not there: a remembered command (a delete's, say), else the refusal. */
  async #remembered(command: Command, digest: string, refusal: Refused): Promise<AckFrame | Refused> {
    if (command.id === undefined || refusal.refused.code !== 'NOT_FOUND') return refusal;
    try {
      const key = await this.#world.journal.command(command.session, command.id, this.#world.clock.now());
      if (key === undefined) return refusal;
      return key.digest === digest ? remembered(command, key.ack) : usedId(command.id);
    } catch (error) {
      return this.#fault(command.session, error);
    }
  }

  async #erase(session: Session, command: Command, digest: string, answer: AckFrame): Promise<AckFrame | Refused> {
    const { seq = 0, generation = 0 } = answer;
    const { journal, assets, clock } = this.#world;
    session.gate.stop();
    await journal.erase(session.id, { id: command.id ?? '', digest, ack: { seq, generation } }, clock.now());
    this.#live.delete(session.id);
    session.broadcast.send({ type: 'ended', session: session.id, reason: 'deleted' });
    await assets.erase(session.id);
    return answer;
  }

  async subscribe(session: string, cursor: string | undefined, subscriber: Subscriber): Promise<Subscription | Refused> {
    const opened = await this.#open(session);
    if (!(opened instanceof Session)) return opened;
    try {
      // Behind the commands that came before: one of them may create the session.
      await this.#touch(opened).lane;
      return await attach(opened, this.#world.journal, cursor, subscriber);
    } catch (error) {
      return this.#fault(session, error);
    }
  }

  async view(session: string): Promise<{ view: View; cursor: string } | Refused> {
    const opened = await this.#open(session);
    return opened instanceof Session ? { view: opened.committed.view, cursor: opened.cursor() } : opened;
  }

  async messages(session: string, before: string | null, limit: number): Promise<{ messages: Message[] } | Refused> {
    const opened = await this.#open(session);
    if (!(opened instanceof Session)) return opened;
    try {
      return { messages: await this.#world.journal.messages(session, before, limit) };
    } catch (error) {
      return this.#fault(session, error);
    }
  }

  async list(limit: number): Promise<SessionSummary[]> {
    const lines = await this.#world.journal.sessions(limit);
    return lines.map(({ session, seq, atMs, unfinished, summary }) => ({
      session,
      seq,
      at: new Date(atMs).toISOString(),
      unfinished,
      live: this.#live.has(session),
      summary,
    }));
  }

  asset(session: string, name: string): Promise<Uint8Array | undefined> {
    return this.#world.assets.get(session, name);
  }

  /** Sessions in memory. */
  get liveCount(): number {
    return this.#live.size;
  }

  /** Some session cannot be stored at the moment. */
  get sealed(): boolean {
    return this.#probeTimer !== undefined;
  }

  /**
   * Stops: no command, no new stage; running stages get `graceMs` to end, then are aborted (and recovered at the next start). Resolves
   * when everything handed to the journal is stored. Writes no terminal records. PROTOCOL section 5.
   */
  async close(graceMs: number): Promise<void> {
    this.#draining = true;
    const { clock } = this.#world;
    clock.clearTimeout(this.#sweepTimer);
    clock.clearTimeout(this.#probeTimer);
    const sessions = [...this.#live.values()].map(({ session }) => session);
    const untilMs = clock.now() + graceMs;
    while (clock.now() < untilMs && sessions.some((session) => session.working)) {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 25));
    }
    for (const session of sessions) session.gate.stop();
    await Promise.all(sessions.map((session) => session.durable().catch(() => undefined)));
    await Promise.all(sessions.map((session) => session.save(1)));
    this.#live.clear();
  }

  // ---- waking and passivating

  #open(id: string, create = false): Promise<Session | Refused> {
    const live = this.#live.get(id);
    if (live !== undefined) return Promise.resolve(live.session);
    const loading = this.#loading.get(id);
    if (loading !== undefined) return loading.then((session) => (create && !(session instanceof Session) ? this.#open(id, true) : session));
    const load = this.#load(id, create)
      .catch((error: unknown) => this.#fault(id, error))
      .finally(() => this.#loading.delete(id));
    // Everybody waits for the same promise, so that they go on in the order in which they came.
    this.#loading.set(id, load);
    return load;
  }

  async #load(id: string, create: boolean): Promise<Session | Refused> {
    const { journal, ids } = this.#world;
    const head = await journal.head(id);
    if (head === undefined && !create) return { refused: absentSession(id) };
    if (!this.#makeRoom()) {
      return { refused: wireError('OVERLOADED', `${this.#options.maxSessions} sessions are at work already`, { retryAfterMs: 5_000 }) };
    }
    const { state, savedSeq } = head === undefined ? { state: emptyState(id), savedSeq: 0 } : await this.#read(id, head);
    const session = new Session(this.#world, id, head?.epoch ?? ids.uuid(), state, savedSeq);
    this.#live.set(id, { session, usedMs: this.#world.clock.now(), lane: Promise.resolve() });
    this.#gauge();
    this.#sweepLater();
    await session.start();
    return session;
  }

  async #read(id: string, head: Head): Promise<{ state: State; savedSeq: number }> {
    const { journal } = this.#world;
    const saved = await journal.loadState(id);
    // Written by `save` from a State; the format number guards its shape.
    let state = saved === undefined ? emptyState(id) : (saved.state as unknown as State);
    if (state.format !== stateFormat) throw new JournalError('format', `session ${id}: state of format ${String(state.format)}, expected ${stateFormat}`);
    for await (const record of journal.read(id, state.view.seq)) state = foldState(state, record);
    if (state.view.seq !== head.seq) throw new JournalError('corrupt', `session ${id}: records end at ${state.view.seq}, expected ${head.seq}`);
    return { state, savedSeq: saved?.seq ?? 0 };
  }

  #touch(session: Session): { session: Session; usedMs: number; lane: Promise<unknown> } {
    const entry = this.#live.get(session.id) ?? { session, usedMs: 0, lane: Promise.resolve() };
    entry.usedMs = this.#world.clock.now();
    this.#live.delete(session.id);
    this.#live.set(session.id, entry);
    return entry;
  }

  /** At the limit the session that was used longest ago and is idle makes room. */
  #makeRoom(): boolean {
    if (this.#live.size < this.#options.maxSessions) return true;
    for (const { session } of this.#live.values()) {
      if (!session.idle) continue;
      this.#passivate(session);
      return true;
    }
    return false;
  }

  /** One timer for all: sessions stand in order of last use, so each sweep looks only at those that are due. */
  #sweepLater(): void {
    if (this.#sweepTimer !== undefined || this.#live.size === 0 || this.#draining) return;
    const { clock } = this.#world;
    this.#sweepTimer = clock.setTimeout(
      () => {
        this.#sweepTimer = undefined;
        this.#sweep(clock.now());
        this.#sweepLater();
      },
      Math.max(50, this.#options.passivateAfterMs / 4),
    );
  }

  #sweep(nowMs: number): void {
    for (const entry of this.#live.values()) {
      if (nowMs - entry.usedMs < this.#options.passivateAfterMs) break;
      const { session } = entry;
      if (session.idle) this.#passivate(session);
      else {
        // A watched session keeps its state in memory and gives up its actor; a busy one is looked at again later.
        if (session.quiet && session.gate.awake) session.gate.stop();
        this.#touch(session);
      }
    }
  }

  #passivate(session: Session): void {
    session.gate.stop();
    this.#live.delete(session.id);
    this.#gauge();
    void session.save(20);
  }

  #gauge(): void {
    this.#world.metrics.sessions.with({ state: 'live' }).set(this.#live.size);
  }

  // ---- a store that cannot be written

  #storeFailed(session: Session, error: JournalError): void {
    const { logger, metrics } = this.#world;
    logger.error({ session: session.id, code: error.code, error: error.message }, 'an append failed: the session is sealed');
    if (error.code === 'stale_writer') {
      // Somebody else writes this session: forget it, and do not look again at once.
      this.#world.clock.setTimeout(() => this.#forget(session), staleWriterMs);
      return;
    }
    metrics.sealed.with({}).set(1);
    this.#probeLater(probeFirstMs);
  }

  #probeLater(delayMs: number): void {
    if (this.#probeTimer !== undefined || this.#draining) return;
    this.#probeTimer = this.#world.clock.setTimeout(() => {
      this.#world.journal.probe().then(
        () => {
          this.#probeTimer = undefined;
          this.#unseal();
        },
        () => {
          this.#probeTimer = undefined;
          for (const { session } of this.#live.values()) if (session.sealedMs !== null) session.sealedMs = delayMs;
          this.#probeLater(Math.min(probeMaxMs, delayMs * 2));
        },
      );
    }, delayMs);
  }

  #unseal(): void {
    this.#world.metrics.sealed.with({}).set(0);
    this.#world.logger.info({}, 'the store can be written again');
    for (const { session } of this.#live.values()) {
      if (session.sealedMs === null) continue;
      this.#forget(session);
    }
  }

  /** A sealed session starts again from what the journal holds: watched ones keep their subscribers. */
  #forget(session: Session): void {
    session.start().catch((error: unknown) => {
      this.#fault(session.id, error);
      this.#live.delete(session.id);
    });
  }

  #fault(session: string, error: unknown): Refused {
    const { logger } = this.#world;
    if (error instanceof JournalError && (error.code === 'full' || error.code === 'io')) return { refused: notStored(probeFirstMs) };
    logger.error({ session, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }, 'a session cannot be read');
    if (error instanceof JournalError && (error.code === 'corrupt' || error.code === 'format')) {
      return { refused: wireError('INTERNAL', `the journal of session ${session} is damaged: it is kept aside, other sessions are not affected`) };
    }
    return { refused: internalError() };
  }
}

function inView(session: Session, id: string): Found | undefined {
  const message = session.proposed.view.messages.find((candidate) => candidate.id === id);
  return message === undefined || message.cut === true ? undefined : { ...message, removed: false };
}

function remembered(command: Command, ack: { [field: string]: unknown }): AckFrame {
  return { type: 'ack', id: command.id ?? '', session: command.session, ...ack, duplicate: true };
}

function duplicate(answer: AckFrame | Refused): AckFrame | Refused {
  return 'refused' in answer ? answer : { ...answer, duplicate: true };
}

function usedId(id: string): Refused {
  return { refused: wireError('CONFLICT', `id ${id} was used for another command`) };
}
