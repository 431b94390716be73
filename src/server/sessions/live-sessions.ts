import { JournalError } from '../../ports/errors.ts';
import type { Head } from '../../ports/journal.ts';
import { wireError } from '../../protocol/codes.ts';
import type { JsonObject } from '../../protocol/records.ts';
import { emptyState, foldState, stateFormat, type State } from '../../protocol/state.ts';
import { absentSession } from '../transport/edge.ts';
import type { Refused } from '../session-api.ts';
import { Session, type SessionWorld } from './session.ts';

/** A session in memory. */
export interface LiveSession {
  readonly session: Session;
  /** The sweep before which it was last used: counted, not timed, since the wall clock may jump. */
  usedSweep: number;
  /** What is being asked of it, in order of arrival. */
  lane: Promise<unknown>;
  /** Asked and not yet answered: it must stay in memory. */
  asked: number;
}

export interface LiveSessionsOptions {
  maxSessions: number;
  passivateAfterMs: number;
}

/** Sweeps without a use after which a session may leave. */
const sweepsToPassivate = 4;

/** The sessions in memory: read from the journal when something is asked of them, gone again when they have been idle for a while. */
export class LiveSessions {
  /** In order of last use, oldest first: what passivates next stands in front. */
  readonly #live = new Map<string, LiveSession>();
  readonly #loading = new Map<string, Promise<LiveSession | Refused>>();
  readonly #world: SessionWorld;
  readonly #options: LiveSessionsOptions;
  readonly #fault: (session: string, error: unknown) => Refused;
  #sweepTimer: unknown;
  /** Used since the last sweep, and in the interval before it: whose actors are given up first. */
  #usedNow = new Set<LiveSession>();
  #usedBefore = new Set<LiveSession>();
  #sweeps = 0;
  #stopped = false;

  constructor(world: SessionWorld, options: LiveSessionsOptions, fault: (session: string, error: unknown) => Refused) {
    this.#world = world;
    this.#options = options;
    this.#fault = fault;
  }

  get size(): number {
    return this.#live.size;
  }

  get(id: string): Session | undefined {
    return this.#live.get(id)?.session;
  }

  all(): Session[] {
    return [...this.#live.values()].map(({ session }) => session);
  }

  /** The session, from memory or from the journal; `create`: a new one where there is none. Never rejects. */
  open(id: string, create = false): Promise<LiveSession | Refused> {
    const live = this.#live.get(id);
    if (live !== undefined) return Promise.resolve(live);
    const loading = this.#loading.get(id);
    if (loading !== undefined)
      return loading.then((found) => (create && 'refused' in found ? this.open(id, true) : found));
    const load = this.#load(id, create)
      .catch((error: unknown) => this.#fault(id, error))
      .finally(() => this.#loading.delete(id));
    // Everybody waits for the same promise, so that they go on in the order in which they came.
    this.#loading.set(id, load);
    return load;
  }

  /** Runs `ask` behind all that was asked of the session before. Resolves with undefined when the session left memory meanwhile. */
  async inLane<T>(live: LiveSession, ask: (session: Session) => Promise<T>): Promise<T | undefined> {
    this.#touch(live);
    live.asked += 1;
    const asked = live.lane.then(() => (this.#live.get(live.session.id) === live ? ask(live.session) : undefined));
    live.lane = asked.catch(() => undefined);
    try {
      return await asked;
    } finally {
      live.asked -= 1;
    }
  }

  /** Passivates a session at once, if nothing needs it in memory. */
  release(live: LiveSession): void {
    if (isIdle(live) && this.#live.get(live.session.id) === live) this.#passivate(live.session);
  }

  /** Forgets a session that was erased or cannot be read. */
  forget(session: Session): void {
    session.gate.stop();
    this.#live.delete(session.id);
    this.#gauge();
  }

  stop(): void {
    this.#stopped = true;
    this.#world.clock.clearTimeout(this.#sweepTimer);
  }

  async #load(id: string, create: boolean): Promise<LiveSession | Refused> {
    const { journal, ids } = this.#world;
    const head = await journal.head(id);
    if (head === undefined && !create) return { refused: absentSession(id) };
    const { state, savedSeq } =
      head === undefined ? { state: emptyState(id), savedSeq: 0 } : await this.#read(id, head);
    const session = new Session(this.#world, id, head?.epoch ?? ids.uuid(), state, savedSeq);
    const texts = await session.openTexts();
    if (!this.#makeRoom()) {
      const most = `${this.#options.maxSessions} sessions are at work already`;
      return { refused: wireError('OVERLOADED', most, { retryAfterMs: 5_000 }) };
    }
    const live: LiveSession = { session, usedSweep: this.#sweeps, lane: Promise.resolve(), asked: 0 };
    this.#live.set(id, live);
    this.#usedNow.add(live);
    this.#gauge();
    this.#sweepLater();
    session.begin(texts);
    return live;
  }

  async #read(id: string, head: Head): Promise<{ state: State; savedSeq: number }> {
    const { journal } = this.#world;
    const saved = await journal.loadState(id);
    let state = saved === undefined ? emptyState(id) : savedState(id, saved.state);
    for await (const record of journal.read(id, state.view.seq)) state = foldState(state, record);
    if (state.view.seq !== head.seq) {
      throw new JournalError('corrupt', `session ${id}: records end at ${state.view.seq}, expected ${head.seq}`);
    }
    return { state, savedSeq: saved?.seq ?? 0 };
  }

  #touch(live: LiveSession): void {
    const { id } = live.session;
    live.usedSweep = this.#sweeps;
    if (this.#live.get(id) !== live) return;
    this.#usedNow.add(live);
    this.#live.delete(id);
    this.#live.set(id, live);
  }

  /** At the limit the session that was used longest ago and is idle makes room. */
  #makeRoom(): boolean {
    if (this.#live.size < this.#options.maxSessions) return true;
    for (const live of this.#live.values()) {
      if (!isIdle(live)) continue;
      this.#passivate(live.session);
      return true;
    }
    return false;
  }

  /** One timer for all: sessions stand in order of last use, so each sweep looks only at those that are due. */
  #sweepLater(): void {
    if (this.#sweepTimer !== undefined || this.#live.size === 0 || this.#stopped) return;
    const { clock } = this.#world;
    this.#sweepTimer = clock.setTimeout(
      () => {
        this.#sweepTimer = undefined;
        this.#sweep();
        this.#sweepLater();
      },
      Math.max(50, this.#options.passivateAfterMs / sweepsToPassivate),
    );
  }

  #sweep(): void {
    this.#sweeps += 1;
    this.#rest();
    for (const live of this.#live.values()) {
      // The sweep that comes first after the use does not count: it may come at once.
      if (this.#sweeps - live.usedSweep <= sweepsToPassivate) break;
      if (isIdle(live)) this.#passivate(live.session);
      // Watched or at work: looked at again later.
      else this.#touch(live);
    }
  }

  /** Sessions without work give up their actor, the larger half of their memory; their state stays for who comes next. */
  #rest(): void {
    const busy = new Set<LiveSession>();
    for (const live of this.#usedBefore) {
      if (this.#usedNow.has(live) || this.#live.get(live.session.id) !== live) continue;
      if (!live.session.quiet) busy.add(live);
      else if (live.session.gate.awake) live.session.gate.stop();
    }
    this.#usedBefore = new Set([...this.#usedNow, ...busy]);
    this.#usedNow = new Set();
  }

  #passivate(session: Session): void {
    this.forget(session);
    void session.save(20);
  }

  #gauge(): void {
    this.#world.metrics.sessions.with({ state: 'live' }).set(this.#live.size);
  }
}

function isIdle({ session, asked }: LiveSession): boolean {
  return session.idle && asked === 0 && session.sealedMs === null;
}

/** The state that was saved. Throws JournalError `format` for one of another format. */
export function savedState(id: string, saved: JsonObject): State {
  if (saved['format'] !== stateFormat) {
    throw new JournalError(
      'format',
      `session ${id}: a state of format ${JSON.stringify(saved['format'])}, expected ${stateFormat}`,
    );
  }
  // Written by `Session.save` from a State and read back under a checksum; the format number guards its shape.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return saved as unknown as State;
}
