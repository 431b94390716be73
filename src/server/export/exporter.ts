import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../logger.ts';
import type { Refused, SessionHost } from '../session-api.ts';
import type { Metrics } from '../telemetry.ts';
import { buildExport } from './build.ts';
import { ExportFolder, type Done } from './export-folder.ts';

/** What the exporter works with. */
export interface ExporterParts {
  /** Where the files go. */
  folder: string;
  sessions: Pick<SessionHost, 'transcript' | 'asset' | 'list'>;
  clock: Clock;
  logger: Logger;
  metrics: Pick<Metrics, 'exports' | 'exportsWaiting'>;
}

/** Times in ms. */
export const exporterDefaults = {
  /** A session is written when nothing has changed for so long (at most twice that) … */
  quietMs: 1_000,
  /** … or so long after the first change. */
  maxWaitMs: 10_000,
  /** Most sessions that wait; a change of another one is left for the next look through all of them. */
  maxWaiting: 10_000,
  /** After a failure: doubling, up to `maxRetryMs`. */
  retryMs: 1_000,
  maxRetryMs: 60_000,
};

/** Failures that are logged as such; until one succeeds, the others only count. */
const loggedFailures = 5;

interface Waiting {
  /** Something has changed since its timer was set. */
  restless: boolean;
  waitedMs: number;
  failures: number;
  timer: unknown;
}

/**
 * Keeps a folder of Markdown files, one a session, in step with the sessions: each change is written after a while of quiet, one file at a
 * time, beside everything else. Never throws, never holds anything up. What a crash, a full queue or a stop has left undone is found again by
 * `start`.
 */
export class Exporter {
  readonly #parts: ExporterParts;
  readonly #options: typeof exporterDefaults;
  readonly #folder: ExportFolder;
  /** Each session is here at most once: waiting for quiet or a retry, due, or in `#atWork`. */
  readonly #waiting = new Map<string, Waiting>();
  /** Those whose turn has come, in order. */
  readonly #due = new Map<string, Waiting>();
  #working: Promise<void> | null = null;
  #failing = 0;
  #missed = false;
  #lookTimer: unknown;
  #state: 'open' | 'closing' | 'closed' = 'open';

  constructor(parts: ExporterParts, options: Partial<typeof exporterDefaults> = {}) {
    this.#parts = parts;
    this.#options = { ...exporterDefaults, ...options };
    this.#folder = new ExportFolder(parts.folder);
  }

  /** Sessions whose files are not yet as they are. */
  get size(): number {
    return this.#waiting.size + this.#due.size;
  }

  /** A file is being written, or one is due. */
  get working(): boolean {
    return this.#working !== null;
  }

  /** Looks through folder and sessions for what changed while nobody watched. Never rejects. */
  async start(): Promise<void> {
    this.#missed = false;
    try {
      await this.#folder.open();
      await this.#lookThrough();
    } catch (error) {
      this.#failed('', 0, error);
      if (this.#state !== 'open') return;
      this.#parts.clock.clearTimeout(this.#lookTimer);
      this.#lookTimer = this.#parts.clock.setTimeout(() => void this.start(), this.#options.maxRetryMs);
    }
  }

  /** A session has changed. */
  changed(session: string): void {
    if (this.#state !== 'open' || this.#due.has(session)) return;
    const waiting = this.#waiting.get(session);
    if (waiting !== undefined) waiting.restless = true;
    else this.#wait(session);
  }

  /** A session is gone: its file goes as soon as may be. */
  erased(session: string): void {
    if (this.#state !== 'open' || this.#due.has(session)) return;
    if (!this.#waiting.has(session)) this.#wait(session);
    this.#makeDue(session);
  }

  /** Writes what waits, within `boundMs`; the rest is found by the next `start`. */
  async close(boundMs: number): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    this.#parts.clock.clearTimeout(this.#lookTimer);
    for (const session of this.#waiting.keys()) this.#makeDue(session);
    let timer: unknown;
    const bound = new Promise<void>((resolve) => {
      timer = this.#parts.clock.setTimeout(resolve, boundMs);
    });
    await Promise.race([this.#working, bound]);
    this.#parts.clock.clearTimeout(timer);
    this.#state = 'closed';
    if (this.size > 0) this.#parts.logger.warn({ sessions: this.size }, 'stopped before all exports were written');
  }

  #wait(session: string): void {
    if (this.size >= this.#options.maxWaiting) {
      if (!this.#missed) this.#parts.logger.warn({}, 'more sessions change than can wait for their export');
      this.#missed = true;
      this.#count('missed');
      return;
    }
    const waiting: Waiting = { restless: false, waitedMs: 0, failures: 0, timer: undefined };
    this.#waiting.set(session, waiting);
    this.#arm(session, waiting);
    this.#gauge();
  }

  /** One timer a session, set anew when it is over and not with each change. */
  #arm(session: string, waiting: Waiting): void {
    const { quietMs, maxWaitMs } = this.#options;
    const delayMs = Math.min(quietMs, maxWaitMs - waiting.waitedMs);
    waiting.restless = false;
    waiting.timer = this.#parts.clock.setTimeout(() => {
      waiting.waitedMs += delayMs;
      if (waiting.restless && waiting.waitedMs < maxWaitMs) this.#arm(session, waiting);
      else this.#makeDue(session);
    }, delayMs);
  }

  #makeDue(session: string): void {
    const waiting = this.#waiting.get(session);
    if (waiting === undefined) return;
    this.#parts.clock.clearTimeout(waiting.timer);
    this.#waiting.delete(session);
    this.#due.set(session, waiting);
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    while (this.#state !== 'closed') {
      const next = first(this.#due);
      if (next !== undefined) await this.#take(...next);
      else if (this.#missed && this.#state === 'open') await this.start();
      else break;
    }
    // In the same turn as the last look: what becomes due after it must find nobody at work.
    this.#working = null;
  }

  async #take(session: string, { failures }: Waiting): Promise<void> {
    // From here on a change makes it wait again: this export may not have it.
    this.#due.delete(session);
    await this.#export(session, failures);
    this.#gauge();
  }

  async #export(session: string, failures: number): Promise<void> {
    const { sessions, clock } = this.#parts;
    try {
      const made = await buildExport(sessions, session, (fn) => clock.defer(fn));
      if (!('refused' in made)) this.#done(session, await this.#folder.write(session, made));
      else if (made.refused.code === 'NOT_FOUND') this.#done(session, await this.#folder.remove(session));
      else this.#refused(session, failures, made);
    } catch (error) {
      this.#failed(session, failures, error);
      this.#retry(session, failures);
    }
  }

  #done(session: string, { outcome, aside }: Done): void {
    const { logger } = this.#parts;
    this.#failing = 0;
    this.#count(outcome);
    if (aside !== undefined) {
      this.#count('aside');
      logger.warn(
        { session, file: aside },
        'an export was edited by somebody: the edited file is kept under another name',
      );
    }
    if (outcome === 'taken')
      logger.error({ session }, 'not exported: the disk does not tell its file from that of a session of another case');
  }

  #refused(session: string, failures: number, { refused }: Refused): void {
    this.#failed(session, failures, refused.message);
    if (refused.retryable) this.#retry(session, failures);
  }

  #failed(session: string, failures: number, error: unknown): void {
    this.#count('failed');
    if (failures > 0 || this.#failing >= loggedFailures) return;
    this.#failing += 1;
    const fields = session === '' ? { error: String(error) } : { session, error: String(error) };
    this.#parts.logger.error(fields, 'an export failed');
  }

  #retry(session: string, failures: number): void {
    if (this.#state !== 'open') return;
    const { retryMs, maxRetryMs } = this.#options;
    const old = this.#waiting.get(session);
    if (old !== undefined) this.#parts.clock.clearTimeout(old.timer);
    const waiting: Waiting = { restless: false, waitedMs: 0, failures: failures + 1, timer: undefined };
    waiting.timer = this.#parts.clock.setTimeout(
      () => this.#makeDue(session),
      Math.min(maxRetryMs, retryMs * 2 ** Math.min(failures, 30)),
    );
    this.#waiting.set(session, waiting);
  }

  /** Exports that are behind their session, or whose session is gone. */
  async #lookThrough(): Promise<void> {
    const { maxWaiting } = this.#options;
    const standing = await this.#folder.standing(maxWaiting);
    for (const { session, seq } of await this.#parts.sessions.list(maxWaiting)) {
      if (standing.get(session) !== seq) this.changed(session);
      standing.delete(session);
    }
    // Beyond the list there may be older sessions: exporting one that is there changes nothing.
    for (const session of standing.keys()) this.changed(session);
  }

  #count(result: Done['outcome'] | 'aside' | 'failed' | 'missed'): void {
    this.#parts.metrics.exports.with({ result }).add();
  }

  #gauge(): void {
    this.#parts.metrics.exportsWaiting.with({}).set(this.size);
  }
}

function first<K, V>(map: ReadonlyMap<K, V>): [K, V] | undefined {
  for (const entry of map) return entry;
  return undefined;
}
