import { PictureCache } from '../../src/server/sessions/picture-cache.ts';
import { Previews } from '../../src/server/sessions/previews.ts';
import { MemoryAssets } from '../../src/adapters/assets-memory.ts';
import { MemoryJournal } from '../../src/adapters/journal-memory.ts';
import { definePane, type PaneDefinition } from '../../src/panes/define.ts';
import { historyPane, replyPane, scenePane } from '../../src/panes/index.ts';
import type { Clock, Ids } from '../../src/ports/clock.ts';
import type { TextModel } from '../../src/ports/models.ts';
import type { Journal } from '../../src/ports/journal.ts';
import type { Outgoing } from '../../src/client/types.ts';
import type { Command } from '../../src/protocol/commands.ts';
import type { AnyPaneDefinition } from '../../src/server/sessions/body.ts';
import type { AckFrame } from '../../src/protocol/frames.ts';
import type { PaneOptions } from '../../src/protocol/records.ts';
import {
  createLimits,
  type HostLimitChange,
  type Limits,
  type Slot,
  type SlotRequest,
} from '../../src/server/limits/limits.ts';
import type { LogFields, Logger } from '../../src/server/logger.ts';
import type { Refused, SessionHost } from '../../src/server/session-api.ts';
import { Sessions } from '../../src/server/sessions/sessions.ts';
import { createMetrics } from '../../src/server/telemetry.ts';
import { worksPane } from '../server/sessions/task-pane.ts';
import { SimClock } from '../support/sim-clock.ts';
import { RawClient, StoreClient, type ClientWorld, type Sighting } from './clients.ts';
import { SimImage, SimText, type Call } from './models.ts';
import { options as randomOptions } from './plan.ts';
import { ProcessClock, Steady } from './process.ts';
import { Random } from './random.ts';
import { SimJournal, Truth } from './truth.ts';

/** A broken promise that was found. */
export interface Violation {
  rule: string;
  what: string;
}

/** One command as its sender sees it. */
export interface Sent {
  command: Command;
  /** Steady ms. */
  sentMs: number;
  answeredMs: number | null;
  answer: AckFrame | Refused | null;
  /** The server process that took it; 0 = through a client's socket. */
  process: number;
  /** Nothing stood in its way: the store could be written, no process ended meanwhile. */
  calm: boolean;
}

/** Where a test gets between the parts. */
export interface Wrap {
  journal?: (journal: Journal, world: World) => Journal;
  host?: (host: SessionHost, world: World) => SessionHost;
  text?: (text: TextModel, world: World) => TextModel;
  limits?: (limits: Limits) => Limits;
  clock?: (clock: Clock) => Clock;
  panes?: (panes: PaneDefinition[]) => PaneDefinition[];
  works?: (pane: AnyPaneDefinition) => AnyPaneDefinition;
}

interface Running {
  number: number;
  clock: ProcessClock;
  sessions: Sessions;
  host: SessionHost;
  journal: SimJournal;
  limits: Limits;
}

/** What the one host of the simulation allows, from a moment on. */
export interface LimitThen {
  ms: number;
  concurrency: number;
  minIntervalMs: number;
}

export const sessionNames = ['s1', 's2'] as const;
export const paneNames = ['reply', 'history', 'scene', 'mood'] as const;

/** Most tasks in a run of the pane `works`. */
export const maxTasks = 20;

/** Steady ms in which an ack has to be there when nothing stands in its way. */
export const passivateAfterMs = 20_000;

const standardLimit = { concurrency: 2, minIntervalMs: 0 };

/** A pane of an app's own, with one stage. */
const moodPane = definePane({
  name: 'mood',
  stages: [
    {
      name: 'feeling',
      run: async (context) => {
        const text = await context.text.complete({
          stage: 'feel',
          prompt: [],
          material: { messages: context.messages, current: '', maxChars: 50 },
        });
        return text === '' ? { outcome: 'unchanged' } : { outcome: 'updated', content: { text } };
      },
    },
  ],
});

/** A whole server in one process, under a simulated clock, with its clients, its disk and its providers. All of it from one seed. */
export class World implements ClientWorld {
  readonly seed: number;
  readonly clock = new SimClock();
  readonly steady = new Steady(this.clock);
  readonly random: Random;
  readonly truth = new Truth();
  readonly violations: Violation[] = [];
  readonly sightings: Sighting[] = [];
  readonly calls: Call[] = [];
  readonly sent: Sent[] = [];
  readonly raw: RawClient[];
  readonly stores: StoreClient[];
  readonly wrap: Wrap;
  readonly paneOptions: { [pane: string]: Partial<PaneOptions> };
  memory: MemoryJournal;
  running: Running | null = null;
  #processes = 0;
  #names = 0;
  #full = false;
  #waitingReplies = 0;
  readonly #assets = new MemoryAssets();
  readonly #metrics = createMetrics({ eventLoop: false });
  /** What the host allowed, and since when. */
  readonly limitsThen: LimitThen[] = [];
  readonly #works: AnyPaneDefinition;
  readonly #models: Random;
  readonly #disk: Random;
  readonly #ids: Random;

  constructor(seed: number, wrap: Wrap = {}) {
    const root = new Random(seed);
    this.seed = seed;
    this.wrap = wrap;
    this.random = root.fork('clients');
    this.#models = root.fork('models');
    this.#disk = root.fork('disk');
    this.#ids = root.fork('ids');
    const options = root.fork('options');
    const quick = { timeoutMs: 8_000, idleTimeoutMs: 3_000, replyWaitMs: 3_000 };
    this.paneOptions = Object.fromEntries(
      paneNames.map((name) => [
        name,
        { ...quick, ...(name !== 'reply' && options.chance(0.4) ? randomOptions(options) : {}) },
      ]),
    );
    const tasks = root.fork('tasks');
    this.#works = worksPane({
      joins: tasks.chance(0.5),
      failed: tasks.chance(0.5),
      maxTasks,
      options: {
        ...quick,
        taskTimeoutMs: tasks.pick([4_000, 20_000]),
        parallel: tasks.between(1, 3),
        retries: tasks.int(3),
        ...(tasks.chance(0.4) ? { policy: tasks.pick(['supersede', 'latest', 'queue', 'reject']) } : {}),
      },
    });
    this.memory = new MemoryJournal({
      defer: (fn) => this.clock.setTimeout(fn, this.#disk.int(8)),
    });
    this.start();
    this.raw = [0, 1, 2, 3].map((index) => new RawClient(this, `raw${index}`, sessionNames[index % 2] ?? 's1'));
    this.stores = [0, 1].map((index) => new StoreClient(this, `store${index}`, sessionNames[index % 2] ?? 's1'));
  }

  host(): SessionHost | null {
    return this.running?.host ?? null;
  }

  violation(rule: string, what: string): void {
    this.violations.push({ rule, what: `at ${this.steady.ms} ms: ${what}` });
  }

  name(prefix: string): string {
    this.#names += 1;
    return `${prefix}${this.#names}`;
  }

  // ---- the process

  start(): void {
    if (this.running !== null) return;
    this.#processes += 1;
    const clock = new ProcessClock(this.clock);
    const journal = new SimJournal(this.memory, this.truth, clock, this.steady, this.#disk);
    journal.full = this.#full;
    this.#waitingReplies = 0;
    const wrapped = this.wrap.clock?.(clock) ?? clock;
    const models = {
      clock,
      random: this.#models,
      nowMs: () => this.steady.ms,
      called: (stage: string, signal: AbortSignal) => this.#called(stage, signal, clock),
    };
    const text = new SimText(models);
    const limits = createLimits(this.#limits(), wrapped);
    const panes: PaneDefinition[] = [replyPane(), historyPane, scenePane, moodPane];
    const sessions = new Sessions({
      journal: this.wrap.journal?.(journal, this) ?? journal,
      panes: [...(this.wrap.panes?.(panes) ?? panes), this.wrap.works?.(this.#works) ?? this.#works],
      paneOptions: this.paneOptions,
      maxSessions: 8,
      passivateAfterMs,
      world: {
        text: this.wrap.text?.(text, this) ?? text,
        images: [new SimImage(models)],
        withoutPrompts: (text) => text,
        tryTimeoutMs: 60_000,
        pictures: new PictureCache(),
        previews: new Previews(),
        limits: this.#watched(this.wrap.limits?.(limits) ?? limits),
        clock: wrapped,
        ids: this.#makeIds(),
        metrics: this.#metrics,
        assets: this.#assets,
        logger: this.#logger(clock),
      },
    });
    const host = this.wrap.host?.(sessions, this) ?? sessions;
    this.running = { number: this.#processes, clock, sessions, host, journal, limits };
    this.limitsThen.push({ ms: this.steady.ms, ...standardLimit });
    void sessions.recover();
  }

  /** Other limits for the host, from now on. */
  changeLimits(change: HostLimitChange): void {
    if (this.running === null) return;
    const limit = this.running.limits.change('http://sim', change);
    if (!('problem' in limit)) this.limitsThen.push({ ms: this.steady.ms, ...limit });
  }

  /** `kill -9`: what was not stored is gone, nobody gets an answer. */
  async crash(): Promise<void> {
    if (this.running === null) return;
    this.#end();
    this.memory = this.memory.crash();
    for (const session of sessionNames) await this.truth.sync(this.memory, session);
  }

  /** A stop as at SIGTERM. */
  async stop(graceMs: number): Promise<void> {
    const { running } = this;
    if (running === null) return;
    const closed = new Set<boolean>();
    void running.sessions.close(graceMs).then(() => closed.add(true));
    for (let i = 0; i < 400 && closed.size === 0; i += 1) await this.clock.advance(10);
    if (closed.size === 0) this.violation('stop', `a graceful stop with ${graceMs} ms took more than 4 s`);
    for (const session of sessionNames) await this.truth.sync(this.memory, session);
    this.#end();
    if (running.clock.pending > 0) this.violation('leak', 'timers after a graceful stop');
  }

  /** Only between crash or stop and start. */
  #end(): void {
    const { running } = this;
    if (running === null) return;
    this.running = null;
    running.clock.kill();
    for (const call of this.calls) if (call.endMs === null) call.endMs = this.steady.ms;
    for (const client of this.raw) client.lost();
    for (const client of this.stores) client.fall();
    for (const sent of this.sent) if (sent.answeredMs === null) sent.calm = false;
  }

  setFull(full: boolean): void {
    this.#full = full;
    if (this.running !== null) this.running.journal.full = full;
    if (full) this.disturbed();
  }

  get full(): boolean {
    return this.#full;
  }

  /** Something stands in the way of what is under way: it is not measured. */
  disturbed(): void {
    for (const sent of this.sent) if (sent.answeredMs === null) sent.calm = false;
  }

  // ---- commands

  /** Straight to the host. */
  send(command: Command): Sent {
    const sent: Sent = {
      command,
      sentMs: this.steady.ms,
      answeredMs: null,
      answer: null,
      process: this.running?.number ?? 0,
      calm: !this.#full,
    };
    this.sent.push(sent);
    void this.running?.host.command(command).then((answer) => this.#answered(sent, answer));
    return sent;
  }

  /** Through a client's store, which sends it again after each loss of its connection. */
  sendVia(client: StoreClient, command: Command): Sent {
    const sent: Sent = { command, sentMs: this.steady.ms, answeredMs: null, answer: null, process: 0, calm: false };
    this.sent.push(sent);
    const { session: _, ...outgoing } = command;
    // A command without its envelope: a spread does not keep the union apart.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    client.client.send(outgoing as Outgoing).then(
      (ack) => this.#answered(sent, ack),
      () => undefined,
    );
    return sent;
  }

  #answered(sent: Sent, answer: AckFrame | Refused): void {
    if (sent.process !== 0 && sent.process !== this.running?.number) return;
    sent.answer = answer;
    sent.answeredMs = this.steady.ms;
    if ('refused' in answer && answer.refused.code === 'INTERNAL')
      this.violation('internal', `${JSON.stringify(sent.command)} was answered INTERNAL: ${answer.refused.message}`);
  }

  // ---- parts

  #makeIds(): Ids {
    return {
      uuid: () => {
        this.#uuids += 1;
        return `00000000-0000-7000-8000-${this.#uuids.toString(16).padStart(12, '0')}`;
      },
      random: () => this.#ids.next(),
    };
  }

  #uuids = 0;

  #limits(): Parameters<typeof createLimits>[0] {
    return {
      hosts: {},
      default: standardLimit,
      observe: ({ pane }) => {
        if (pane === 'reply') this.#waitingReplies = Math.max(0, this.#waitingReplies - 1);
        else if (this.#waitingReplies > 0)
          this.violation('P9', `a call of ${pane} started while a reply's call waited`);
      },
    };
  }

  /** Notes whose call it is that comes with a signal, and which replies wait. */
  #watched(limits: Limits): Limits {
    return {
      ...limits,
      acquire: (request, signal, onWait) => {
        const acquire = () => limits.acquire(request, signal, onWait).then((slot) => this.#named(slot, request));
        if (request.pane !== 'reply') return acquire();
        this.#waitingReplies += 1;
        let waiting = true;
        const over = (): void => {
          if (waiting) this.#waitingReplies = Math.max(0, this.#waitingReplies - 1);
          waiting = false;
        };
        signal.addEventListener('abort', over, { once: true });
        return acquire().then(
          (slot) => {
            // `observe` has counted it already.
            waiting = false;
            signal.removeEventListener('abort', over);
            return slot;
          },
          (error: unknown) => {
            over();
            throw error;
          },
        );
      },
    };
  }

  /** Each call has a signal of its own: it is known by its slot, which is looked at right before the engine is called. */
  #named(slot: Slot, request: SlotRequest): Slot {
    const begins = (): void => {
      this.#beginning = request;
    };
    return {
      get yielded() {
        begins();
        return slot.yielded;
      },
      drain: () => slot.drain(),
      spent: (tokens) => slot.spent(tokens),
      release: () => slot.release(),
    };
  }

  #beginning: Pick<SlotRequest, 'session' | 'pane' | 'tag'> = { session: '', pane: '' };

  #called(stage: string, signal: AbortSignal, clock: ProcessClock): Call {
    const owner = this.#beginning;
    const pane = this.truth.current(owner.session)?.state.view.panes[owner.pane];
    const task = owner.tag === undefined ? undefined : pane?.tasks[owner.tag];
    const call: Call = {
      id: this.calls.length + 1,
      stage,
      session: owner.session,
      pane: owner.pane,
      run: pane?.run ?? '',
      phase: pane?.phase ?? '',
      process: this.#processes,
      task: owner.tag,
      key: task?.key ?? '',
      abortedAtStart: signal.aborted,
      startMs: this.steady.ms,
      abortMs: signal.aborted ? this.steady.ms : null,
      // What a dead process still seems to do does not happen.
      endMs: clock.alive ? null : this.steady.ms,
      outcome: 'open',
    };
    signal.addEventListener(
      'abort',
      () => {
        call.abortMs ??= this.steady.ms;
      },
      { once: true },
    );
    if (clock.alive) this.calls.push(call);
    return call;
  }

  /** Every error that the server logs and no fault has caused is a finding. */
  #logger(clock: ProcessClock): Logger {
    const expected = ['an append failed: the session is sealed'];
    return {
      debug() {},
      info() {},
      warn() {},
      error: (fields: LogFields, message: string) => {
        if (clock.alive && !expected.includes(message)) this.violation('log', `${message}: ${JSON.stringify(fields)}`);
      },
    };
  }
}
