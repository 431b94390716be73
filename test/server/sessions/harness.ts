import { PictureCache } from '../../../src/server/sessions/picture-cache.ts';
import { Previews } from '../../../src/server/sessions/previews.ts';
import { MemoryAssets } from '../../../src/adapters/assets-memory.ts';
import { MemoryJournal } from '../../../src/adapters/journal-memory.ts';
import { historyPane, replyPane, scenePane } from '../../../src/panes/index.ts';
import type { AnyPaneDefinition } from '../../../src/server/sessions/body.ts';
import type { Journal } from '../../../src/ports/journal.ts';
import type { ImageModel, Report, TextModel, TextRequest } from '../../../src/ports/models.ts';
import type { WireError } from '../../../src/protocol/codes.ts';
import type { Command } from '../../../src/protocol/commands.ts';
import type { AckFrame, StreamFrame } from '../../../src/protocol/frames.ts';
import { fold } from '../../../src/protocol/fold.ts';
import type { PaneOptions, PhaseFact, Rec } from '../../../src/protocol/records.ts';
import type { View } from '../../../src/protocol/view.ts';
import { createLimits } from '../../../src/server/limits/limits.ts';
import type { Logger } from '../../../src/server/logger.ts';
import type { Refused, Subscription } from '../../../src/server/session-api.ts';
import { Sessions } from '../../../src/server/sessions/sessions.ts';
import { createMetrics } from '../../../src/server/telemetry.ts';
import { SimClock } from '../../support/sim-clock.ts';

/** One call of the text engine, answered by the test. */
export class TextCall {
  readonly stage: string;
  readonly request: TextRequest;
  readonly signal: AbortSignal;
  readonly report: Report;
  readonly #pieces: string[] = [];
  #end: { error?: unknown } | null = null;
  #wake: () => void = () => undefined;

  constructor(request: TextRequest, signal: AbortSignal, report: Report) {
    this.stage = request.stage;
    this.request = request;
    this.signal = signal;
    this.report = report;
  }

  say(...pieces: string[]): this {
    this.#pieces.push(...pieces);
    this.#wake();
    return this;
  }

  end(): void {
    this.#end = {};
    this.#wake();
  }

  fail(error: unknown): void {
    this.#end = { error };
    this.#wake();
  }

  async *pieces(): AsyncGenerator<string> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.report.heard();
        yield piece;
      } else if (this.#end !== null) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return;
      } else await this.#more();
    }
  }

  #more(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#wake = resolve;
      this.signal.addEventListener('abort', () => reject(this.signal.reason), { once: true });
      if (this.signal.aborted) reject(this.signal.reason);
    });
  }
}

/** Answers by stage; a stage without one waits for the test. */
export type Answers = { [stage: string]: string };

/** All panes answer at once. */
export const ready: Answers = {
  reply: 'The reply.',
  evaluate: 'YES',
  summarize: 'The summary.',
  describe: 'The scene.',
};

export interface HarnessOptions {
  answers?: Answers;
  paneOptions?: { [pane: string]: Partial<PaneOptions> };
  panes?: AnyPaneDefinition[];
  maxSessions?: number;
  passivateAfterMs?: number;
  withoutPrompts?: (text: string) => string;
  /** Between Sessions and the journal in memory. */
  journal?: (inner: MemoryJournal) => Journal;
}

/** `Sessions` over a journal in memory, a clock that stands still, and engines in the test's hand. */
export class Harness {
  readonly clock = new SimClock();
  readonly calls: TextCall[] = [];
  readonly errors: string[] = [];
  readonly options: HarnessOptions;
  answers: Answers;
  memory: MemoryJournal;
  sessions: Sessions;
  #ids = 0;
  #uuids = 0;
  readonly #assets = new MemoryAssets();

  constructor(options: HarnessOptions = {}) {
    this.options = options;
    this.answers = options.answers ?? {};
    this.memory = new MemoryJournal({ defer: (fn) => this.clock.defer(fn) });
    this.sessions = this.#start();
  }

  /** `kill -9`, and the next process. It recovers unless told not to. */
  async crash({
    recover = true,
    options,
  }: { recover?: boolean; options?: Partial<HarnessOptions> } = {}): Promise<void> {
    Object.assign(this.options, options);
    this.memory = this.memory.crash();
    this.sessions = this.#start();
    if (recover) void this.sessions.recover();
    await this.clock.settle();
  }

  id(): string {
    this.#ids += 1;
    return `k${this.#ids}`;
  }

  /** Sends a command and lets the disk do its work. */
  async send(command: Command): Promise<AckFrame | Refused> {
    const answer = this.sessions.command(command);
    await this.clock.advance(0);
    return answer;
  }

  /** The ack of a command that is not refused. */
  async ok(command: Command): Promise<AckFrame> {
    const answer = await this.send(command);
    if ('refused' in answer) throw new Error(`refused: ${answer.refused.code} ${answer.refused.message}`);
    return answer;
  }

  async refusal(command: Command): Promise<WireError> {
    const answer = await this.send(command);
    if (!('refused' in answer)) throw new Error(`expected a refusal, got ${JSON.stringify(answer)}`);
    return answer.refused;
  }

  open(session = 'c1', panes: { [pane: string]: Partial<PaneOptions> } = {}): Promise<AckFrame> {
    return this.ok({ type: 'session.open', session, id: this.id(), panes });
  }

  say(text = 'Hello.', more: { session?: string; reply?: boolean; message?: string } = {}): Promise<AckFrame> {
    const { session = 'c1', ...rest } = more;
    return this.ok({ type: 'message.add', session, id: this.id(), role: 'user', text, ...rest });
  }

  async records(session = 'c1', after = 0): Promise<Rec[]> {
    const records: Rec[] = [];
    for await (const record of this.memory.read(session, after)) records.push(record);
    return records;
  }

  /** Phases of a pane on record: `phase` or `phase reason`. */
  async phases(pane: string, session = 'c1'): Promise<string[]> {
    const records = await this.records(session);
    return records
      .filter((record): record is Rec & PhaseFact => record.type === 'pane.phase' && record.pane === pane)
      .map(({ phase, reason, error }) => [phase, reason, error?.code].filter((word) => word !== undefined).join(' '));
  }

  async view(session = 'c1'): Promise<View> {
    const result = await this.sessions.view(session);
    if ('refused' in result) throw new Error(result.refused.message);
    return result.view;
  }

  async watch(session = 'c1', cursor?: string): Promise<Watcher> {
    const watcher = new Watcher();
    const result = await this.sessions.subscribe(session, cursor, watcher);
    if ('refused' in result) throw new Error(result.refused.message);
    watcher.subscription = result;
    return watcher;
  }

  /** The newest call of a stage that waits for the test. */
  call(stage: string): TextCall {
    const call = this.calls.findLast((candidate) => candidate.stage === stage);
    if (call === undefined)
      throw new Error(`no call of ${stage}, only ${this.calls.map(({ stage: other }) => other).join(', ')}`);
    return call;
  }

  #start(): Sessions {
    const { calls } = this;
    const text: TextModel = {
      host: 'http://text',
      engine: () => 'test',
      stream: (request, signal, report) => {
        const call = new TextCall(request, signal, report);
        calls.push(call);
        const answer = this.answers[request.stage];
        if (answer !== undefined) call.say(answer).end();
        return call.pieces();
      },
    };
    const image: ImageModel = {
      engine: 'test-image',
      host: 'http://image',
      generate: (request) => Promise.resolve({ bytes: new TextEncoder().encode(request.prompt), extension: 'png' }),
    };
    const logger: Logger = {
      debug() {},
      info() {},
      warn() {},
      error: (fields, message) => void this.errors.push(`${message} ${JSON.stringify(fields)}`),
    };
    return new Sessions({
      journal: this.options.journal?.(this.memory) ?? this.memory,
      panes: [replyPane(), historyPane, scenePane, ...(this.options.panes ?? [])],
      paneOptions: this.options.paneOptions ?? {},
      maxSessions: this.options.maxSessions ?? 100,
      passivateAfterMs: this.options.passivateAfterMs ?? 60_000,
      world: {
        text,
        images: [image],
        withoutPrompts: this.options.withoutPrompts ?? ((text) => text),
        tryTimeoutMs: 60_000,
        pictures: new PictureCache(),
        previews: new Previews(),
        limits: createLimits({ hosts: {} }, this.clock),
        clock: this.clock,
        ids: {
          uuid: () => {
            this.#uuids += 1;
            return `00000000-0000-7000-8000-${this.#uuids.toString(16).padStart(12, '0')}`;
          },
          random: () => 0.5,
        },
        metrics: createMetrics({ eventLoop: false }),
        assets: this.#assets,
        logger,
      },
    });
  }
}

/** A subscriber that keeps what it gets. */
export class Watcher {
  readonly frames: StreamFrame[] = [];
  subscription: Subscription | undefined;
  view: View | null = null;
  cursor = '';

  push = (batch: { frames: readonly { json: string }[] }): void => {
    for (const { json } of batch.frames) {
      // Written by the server under test.
      const frame: StreamFrame = JSON.parse(json);
      this.frames.push(frame);
      if (frame.type === 'snapshot') this.view = frame.view;
      if (frame.type === 'record' && this.view !== null) {
        if (frame.record.seq !== this.view.seq + 1)
          throw new Error(`record ${frame.record.seq} after ${this.view.seq}`);
        this.view = fold(this.view, frame.record);
      }
      if ('cursor' in frame) this.cursor = frame.cursor;
    }
  };

  /** Types of the frames, snapshots with their reason, records as `#seq`. */
  get kinds(): string[] {
    return this.frames.map((frame) =>
      frame.type === 'snapshot'
        ? `snapshot ${frame.reason}`
        : frame.type === 'record'
          ? `#${frame.record.seq}`
          : frame.type,
    );
  }

  get liveText(): string {
    return this.frames.map((frame) => (frame.type === 'live' ? (frame.text?.add ?? '') : '')).join('');
  }
}

/** Panes that do nothing by themselves, for tests of something else. */
export const quietPanes: { [pane: string]: Partial<PaneOptions> } = {
  reply: { enabled: false },
  history: { enabled: false },
  scene: { enabled: false },
};
