import { createHash } from 'node:crypto';
import { fromCallback } from 'xstate';
import type { Found, Knowledge } from '../../machines/decision.ts';
import type { PaneEvent } from '../../machines/pane-types.ts';
import { idleStage, type StageInput } from '../../machines/pane-setup.ts';
import { createSessionMachine } from '../../machines/session.ts';
import { JournalError } from '../../ports/errors.ts';
import type { Journal } from '../../ports/journal.ts';
import { canonicalJson } from '../../protocol/canonical.ts';
import { wireError } from '../../protocol/codes.ts';
import type { Command } from '../../protocol/commands.ts';
import type { AckFrame } from '../../protocol/frames.ts';
import type { JsonObject, PaneDeclaration, PaneOptions } from '../../protocol/records.ts';
import type { Message, View } from '../../protocol/view.ts';
import { absentSession, internalError } from '../transport/edge.ts';
import type { Refused, SessionHost, SessionSummary, Subscriber, Subscription } from '../session-api.ts';
import { readTranscript, type Transcript } from '../export/transcript.ts';
import { LiveSessions } from './live-sessions.ts';
import { createPaneRegistry } from './pane-registry.ts';
import { failedValueOf, planRetry, planWork, readersOf } from './planning.ts';
import { waitsOf } from './reports.ts';
import { notStored, Session, type SessionWorld } from './session.ts';
import type { AnyPaneDefinition, StageWorld } from './body.ts';
import { probeTimes, StoreWatch } from './store-watch.ts';
import { attach } from './subscription.ts';

export interface SessionsOptions {
  journal: Journal;
  world: StageWorld;
  panes: readonly AnyPaneDefinition[];
  paneOptions: { [pane: string]: Partial<PaneOptions> };
  /** Records of the session have become durable. Synchronous, quick; must not throw. */
  committed?: (session: string) => void;
  /** The session's journal and transcript are gone. Synchronous, quick; must not throw. */
  erased?: (session: string) => void;
  /** Most sessions in memory. */
  maxSessions: number;
  /** A session without work and subscribers leaves memory after this, ms. */
  passivateAfterMs: number;
}

const stopping: Refused = { refused: wireError('OVERLOADED', 'the server is stopping', { retryAfterMs: 1_000 }) };

const staleWriterMs = 1_500;

/**
 * All sessions of one server: wakes them from the journal when something is asked of them, recovers the unfinished ones at start, lets idle
 * ones leave memory, seals them while the store cannot be written.
 */
export class Sessions implements SessionHost {
  readonly #live: LiveSessions;
  readonly #asked = new Map<string, { digest: string; answer: Promise<AckFrame | Refused> }>();
  readonly #world: SessionWorld;
  readonly #declarations: { [pane: string]: PaneDeclaration };
  readonly #definitions: ReadonlyMap<string, AnyPaneDefinition>;
  readonly #watch: StoreWatch;
  readonly #erased: ((session: string) => void) | undefined;
  #draining = false;

  constructor(options: SessionsOptions) {
    const stage: typeof idleStage = fromCallback<PaneEvent, StageInput>(
      ({ input, sendBack }) => this.#live.get(input.session)?.stages.start(input, sendBack) ?? (() => undefined),
    );
    const registry = createPaneRegistry(options.panes, options.paneOptions, stage);
    this.#declarations = registry.declarations;
    this.#definitions = registry.definitions;
    this.#erased = options.erased;
    const { clock, logger, metrics } = options.world;
    this.#watch = new StoreWatch(options.journal, clock, {
      failing: (retryMs) => {
        metrics.sealed.with({}).set(1);
        for (const session of this.#live.all()) if (session.sealedMs !== null) session.sealedMs = retryMs;
      },
      works: () => {
        metrics.sealed.with({}).set(0);
        logger.info({}, 'the store can be written again');
        this.#unseal();
      },
    });
    const isDraining = () => this.#draining;
    this.#world = {
      ...options.world,
      journal: options.journal,
      machine: createSessionMachine(registry.machines),
      definition: (pane) => registry.definitions.get(pane),
      readers: (state) => readersOf(registry.definitions, state),
      failedValue: failedValueOf(registry.definitions),
      get draining() {
        return isDraining();
      },
      storeFailed: (session, error) => this.#storeFailed(session, error),
      ...(options.committed === undefined ? {} : { committed: options.committed }),
    };
    this.#live = new LiveSessions(this.#world, options, (session, error) => this.#fault(session, error));
  }

  /** Goes on with every session that has unfinished runs. Resolves with how many. A corrupt one is left alone and logged. */
  async recover(): Promise<number> {
    let recovered = 0;
    for await (const id of this.#world.journal.unfinished()) {
      if (this.#draining) break;
      if (!('refused' in (await this.#live.open(id)))) recovered += 1;
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
    if (this.#draining) return stopping;
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

  /** Looks up what the decision needs, behind all commands that came before, and decides. The answer waits for the disk, not in the lane. */
  async #admit(command: Command, digest: string): Promise<AckFrame | Refused> {
    const live = await this.#live.open(command.session, command.type === 'session.open');
    if ('refused' in live) return this.#absent(command, digest, live);
    try {
      const outcome = await this.#live.inLane(live, async (session) => {
        const found = await this.#lookUp(session, command, digest);
        if ('answer' in found) return found;
        // It was looked up while the server began to stop: what is decided now would come after the last that is stored.
        if (this.#draining) return { answer: stopping };
        const promise = session.command(command, digest, found.known);
        // Nothing may come between the end of a session and its erasure.
        return command.type === 'session.delete'
          ? { answer: await this.#erase(session, command, digest, await promise) }
          : { promise };
      });
      if (outcome === undefined) return await this.#admit(command, digest);
      if ('answer' in outcome) return outcome.answer;
      const answer = await outcome.promise;
      if (command.type === 'session.close') this.#live.release(live);
      return answer;
    } catch (error) {
      return this.#fault(command.session, error);
    }
  }

  async #lookUp(
    session: Session,
    command: Command,
    digest: string,
  ): Promise<{ answer: AckFrame | Refused } | { known: Knowledge }> {
    const { journal, clock, ids } = this.#world;
    const nowMs = clock.now();
    if (command.id !== undefined && command.type !== 'message.delta') {
      const key = await journal.command(session.id, command.id, nowMs);
      if (key !== undefined)
        return { answer: key.digest === digest ? remembered(command, key.ack) : usedId(command.id) };
    }
    const message = 'message' in command ? command.message : undefined;
    const stored =
      message === undefined || inView(session, message) !== undefined
        ? undefined
        : await journal.message(session.id, message);
    return {
      known: {
        nowMs,
        ids: { message: ids.uuid(), run: ids.uuid() },
        panes: this.#declarations,
        find: (id) => inView(session, id) ?? stored,
        draft: (id) => session.gate.draft(id),
        plan: (pane, input) => planWork(this.#definitions, this.#declarations, session.proposed, pane, input),
        retry: (pane, key) => planRetry(this.#definitions, session.proposed, pane, key),
      },
    };
  }

  /** A session that cannot be had: a remembered command (a delete's, say) gets its answer, a damaged session can be deleted. */
  async #absent(command: Command, digest: string, refusal: Refused): Promise<AckFrame | Refused> {
    if (command.type === 'session.delete' && refusal.refused.data?.['damaged'] === true) {
      try {
        await this.#eraseStored(command, digest, { seq: 0, generation: 0 });
        return { type: 'ack', id: command.id, session: command.session, seq: 0, generation: 0, duplicate: false };
      } catch (error) {
        return this.#fault(command.session, error);
      }
    }
    if (command.id === undefined || refusal.refused.code !== 'NOT_FOUND') return refusal;
    try {
      const key = await this.#world.journal.command(command.session, command.id, this.#world.clock.now());
      if (key === undefined) return refusal;
      return key.digest === digest ? remembered(command, key.ack) : usedId(command.id);
    } catch (error) {
      return this.#fault(command.session, error);
    }
  }

  async #erase(
    session: Session,
    command: Command,
    digest: string,
    answer: AckFrame | Refused,
  ): Promise<AckFrame | Refused> {
    if ('refused' in answer) return answer;
    const { seq = 0, generation = 0 } = answer;
    session.drop(new JournalError('closed', 'the session is deleted'));
    await this.#eraseStored(command, digest, { seq, generation });
    this.#live.forget(session);
    session.broadcast.send({ type: 'ended', session: session.id, reason: 'deleted' });
    return answer;
  }

  async #eraseStored({ session, id = '' }: Command, digest: string, ack: JsonObject): Promise<void> {
    const { journal, assets, previews, pictures, clock } = this.#world;
    try {
      await journal.erase(session, { id, digest, ack }, clock.now());
    } catch (error) {
      // Erased or not? What is there now tells; asked again, a delete begins anew.
      if (!(error instanceof JournalError) || error.code !== 'unknown_outcome') throw error;
      if ((await journal.head(session)) !== undefined) throw error;
    }
    this.#erased?.(session);
    previews.erase(session);
    pictures.forget(session);
    await assets.erase(session);
  }

  async subscribe(
    session: string,
    cursor: string | undefined,
    subscriber: Subscriber,
  ): Promise<Subscription | Refused> {
    return this.#read(session, (opened) => attach(opened, this.#world.journal, cursor, subscriber));
  }

  async view(session: string): Promise<{ view: View; cursor: string } | Refused> {
    return this.#read(session, (opened) => Promise.resolve({ view: opened.committed.view, cursor: opened.cursor() }));
  }

  async messages(session: string, before: string | null, limit: number): Promise<{ messages: Message[] } | Refused> {
    return this.#read(session, async () => ({ messages: await this.#world.journal.messages(session, before, limit) }));
  }

  /** Reads behind the commands that came before (one of them may create the session), as of what is durable. */
  async #read<T>(id: string, read: (session: Session) => Promise<T>): Promise<T | Refused> {
    const live = await this.#live.open(id);
    if ('refused' in live) return live;
    try {
      const result = await this.#live.inLane(live, async (session) => {
        if (session.committed.view.seq === 0) await session.durable();
        return session.committed.view.seq === 0 ? { refused: absentSession(id) } : await read(session);
      });
      return result ?? (await this.#read(id, read));
    } catch (error) {
      return this.#fault(id, error);
    }
  }

  async transcript(session: string): Promise<Transcript | Refused> {
    try {
      return await readTranscript(this.#world.journal, session, () => this.#live.get(session)?.committed);
    } catch (error) {
      return this.#fault(session, error);
    }
  }

  async list(limit: number): Promise<SessionSummary[]> {
    const lines = await this.#world.journal.sessions(limit);
    return lines.map(({ session, seq, atMs, unfinished, summary }) => {
      const live = this.#live.get(session);
      const waits = live === undefined ? {} : waitsOf(live.committed, live.gate.waits());
      return {
        session,
        seq,
        at: new Date(atMs).toISOString(),
        unfinished,
        live: live !== undefined,
        summary,
        ...(Object.keys(waits).length === 0 ? {} : { waits }),
      };
    });
  }

  asset(session: string, name: string): Promise<Uint8Array | undefined> {
    const preview = this.#world.previews.get(session, name);
    return preview === undefined ? this.#world.assets.get(session, name) : Promise.resolve(preview);
  }

  /** Sessions in memory. */
  get liveCount(): number {
    return this.#live.size;
  }

  /** Some session cannot be stored at the moment. */
  get sealed(): boolean {
    return this.#watch.failing;
  }

  /**
   * Stops: no command, no new stage; running stages get `graceMs` to end, then are aborted (and recovered at the next start). Resolves
   * when everything handed to the journal is stored. Writes no terminal records. PROTOCOL section 5.
   */
  async close(graceMs: number): Promise<void> {
    this.#draining = true;
    this.#live.stop();
    this.#watch.stop();
    const { clock } = this.#world;
    const sessions = this.#live.all();
    let timer: unknown;
    const grace = new Promise<void>((resolve) => {
      timer = clock.setTimeout(resolve, graceMs);
    });
    await Promise.race([Promise.all(sessions.map((session) => session.stages.ended())), grace]);
    clock.clearTimeout(timer);
    for (const session of sessions) session.gate.stop();
    await Promise.all(sessions.map((session) => session.durable().catch(() => undefined)));
    await Promise.all(sessions.map((session) => session.save(1)));
  }

  // ---- a store that cannot be written

  #storeFailed(session: Session, error: JournalError): void {
    this.#world.logger.error(
      { session: session.id, code: error.code, error: error.message },
      'an append failed: the session is sealed',
    );
    // Somebody else writes this session: do not look again at once. Anything else is the store's trouble.
    if (error.code === 'stale_writer') this.#world.clock.setTimeout(() => this.#startAgain(session), staleWriterMs);
    else this.#watch.failed();
  }

  #unseal(): void {
    for (const session of this.#live.all()) if (session.sealedMs !== null) this.#startAgain(session);
  }

  /** A sealed session starts again from what the journal holds; its subscribers stay. */
  #startAgain(session: Session): void {
    session.start().catch((error: unknown) => {
      this.#fault(session.id, error);
      this.#live.forget(session);
    });
  }

  #fault(session: string, error: unknown): Refused {
    const { logger } = this.#world;
    if (error instanceof JournalError && ['full', 'io', 'unknown_outcome'].includes(error.code))
      return { refused: notStored(probeTimes.firstMs) };
    logger.error(
      { session, error: error instanceof Error ? (error.stack ?? error.message) : String(error) },
      'a session cannot be read',
    );
    if (error instanceof JournalError && (error.code === 'corrupt' || error.code === 'format')) {
      const message = `the journal of session ${session} is damaged: it is kept aside, other sessions are not affected`;
      const damaged = error.code === 'corrupt';
      return { refused: { ...wireError('INTERNAL', message, { data: { damaged } }), retryable: false } };
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
